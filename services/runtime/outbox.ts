// Publishes what sources wrote into their outbox, in the order of its sequence, at least once.
import { Fault } from '../kernel/fault.ts';
import type { EventBus, OutgoingRecord } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import type { OutboxRow, OutboxSource } from '../ports/outbox.ts';
import type { ProcessContext } from './process.ts';

export interface OutboxDeps {
  readonly bus: EventBus;
  readonly codec?: EventCodec;
  readonly ctx: ProcessContext;
  readonly sourceName: string;
  /** Pause between two looks when there was nothing; 200 ms by default. */
  readonly pollMs?: number;
}

const BATCH = 200;
const LONGEST_WAIT_MS = 10_000;
const STOP_GRACE_MS = 3000;

/**
 * Publishes until `ctx.signal` aborts. A batch is marked when all of it is in the log, so a crash between the two sends
 * it again with the same ids. One batch at a time: rows of a key never overtake each other.
 * @throws Fault that trying again can't mend, such as DENIED_BY_BROKER.
 */
export async function runOutbox(source: OutboxSource, deps: OutboxDeps): Promise<void> {
  const { ctx } = deps;
  let depth = 0;
  ctx.telemetry.gauge('ctstream_outbox_rows', () => depth, { source: deps.sourceName });
  // A batch on its way at the stop signal has a moment to arrive and be marked; else it goes again, with the same ids.
  const giveUp = new AbortController();
  const stopping = (): void => void setTimeout(() => giveUp.abort(), STOP_GRACE_MS).unref();
  ctx.signal.addEventListener('abort', stopping, { once: true });
  try {
    await publishAll(source, deps, giveUp.signal, (rows) => (depth = rows));
  } finally {
    // A supervisor may begin this again and again within one life of the process.
    ctx.signal.removeEventListener('abort', stopping);
  }
}

async function publishAll(source: OutboxSource, deps: OutboxDeps, giveUp: AbortSignal, noteDepth: (rows: number) => void): Promise<void> {
  const { bus, ctx } = deps;
  const pollMs = deps.pollMs ?? 200;
  let waitMs = 0;
  let lookedMs = 0;
  while (!ctx.signal.aborted) {
    try {
      // First: it is most wanted while nothing can be published.
      if (ctx.clock.nowMs() - lookedMs > 5000) {
        noteDepth(await source.depth());
        lookedMs = ctx.clock.nowMs();
      }
      const rows = await source.next(BATCH);
      if (rows.length > 0) {
        await bus.publish(
          rows.map((row) => recordOf(row)),
          giveUp,
        );
        await source.markSent(rows.map((row) => row.sequence));
        ctx.telemetry.counter('ctstream_outbox_published_total', rows.length, { source: deps.sourceName });
      }
      waitMs = rows.length === 0 ? pollMs : 0;
    } catch (error) {
      if (giveUp.aborted) return;
      if (!(error instanceof Fault) || !error.retryable) throw error;
      waitMs = Math.min(Math.max(waitMs * 2, 500), LONGEST_WAIT_MS);
      ctx.log.warn({ err: error, source: deps.sourceName }, 'the outbox waits');
    }
    if (waitMs > 0) await ctx.clock.sleep(waitMs, ctx.signal);
  }
}

function recordOf(row: OutboxRow): OutgoingRecord {
  return { topic: row.topic, key: row.key, value: row.value, headers: { ...row.headers, ce_sequence: String(row.sequence) } };
}
