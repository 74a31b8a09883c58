// The archiver's loop: pass after pass, patient with what trying again may mend, and honest about what it can't archive.
import { Fault } from '../kernel/fault.ts';
import type { Clock } from '../ports/clock.ts';
import { archiveOnce, newState, type ArchiveOptions, type ArchivePorts, type ArchiveState, type Archived } from './archive.ts';

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 60_000;

type Labels = Readonly<Record<string, string>>;
type Line = (fields: Readonly<Record<string, unknown>>, text: string) => void;

/** What it uses of its process (services/runtime/process.ts). */
export interface ArchiverContext {
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly log: { readonly info: Line; readonly warn: Line; readonly error: Line };
  readonly telemetry: {
    counter(name: string, n: number, labels: Labels): void;
    gauge(name: string, read: () => number, labels: Labels): void;
  };
  readonly health: { ready(check: () => true | string): void };
}

export interface ArchiverDeps {
  readonly ctx: ArchiverContext;
  /** Pause between two passes. */
  readonly everyMs: number;
}

/** Archives until `ctx.signal` aborts. @throws what trying again can't mend, such as DENIED_BY_BROKER. */
export async function runArchiver(ports: ArchivePorts, options: ArchiveOptions, { ctx, everyMs }: ArchiverDeps): Promise<void> {
  const { zone } = options;
  const state = newState();
  const told = new Set<string>();
  let fault: Fault | undefined;
  ctx.telemetry.gauge('ctstream_archive_failing', () => (fault === undefined ? 0 : 1), { zone });
  ctx.telemetry.gauge('ctstream_archive_failed_partitions', () => state.failed.size, { zone });
  ctx.health.ready(() => (fault === undefined ? true : `the last pass failed: ${fault.code}`));
  ctx.health.ready(() => (state.failed.size === 0 ? true : `not archived: ${[...state.failed.values()].map((f) => f.message).join('; ')}`));
  let waitMs = everyMs;
  while (!ctx.signal.aborted) {
    try {
      tell(await archiveOnce(ports, options, state, ctx.signal), ctx, zone);
      tellFailed(state, told, ctx);
      fault = undefined;
      waitMs = everyMs;
    } catch (error) {
      if (ctx.signal.aborted) return;
      if (!(error instanceof Fault) || !error.retryable) throw error;
      waitMs = fault === undefined ? FIRST_WAIT_MS : Math.min(waitMs * 2, LONGEST_WAIT_MS);
      fault = error;
      // Kafka may come back as another one.
      state.proven.clear();
      ctx.log.warn({ err: error, waitMs }, 'the archiver waits');
    } finally {
      tellBegunAnew(state, ctx);
    }
    await ctx.clock.sleep(waitMs, ctx.signal);
  }
}

/** As an error: what lies between the two logs, if anything, is in neither. */
function tellBegunAnew(state: ArchiveState, ctx: ArchiverContext): void {
  for (const { topic, partition, from, earlierEnd } of state.begunAnew.splice(0))
    ctx.log.error({ topic, partition, from: `${from}`, earlierEnd: `${earlierEnd}` }, 'a partition is archived anew, from this offset on');
}

function tell({ written, bad }: Archived, ctx: ArchiverContext, zone: string): void {
  for (const [code, count] of Object.entries(bad)) {
    ctx.telemetry.counter('ctstream_archived_bad_records', count, { zone, code });
    ctx.log.warn({ code, count }, 'archived records that are no good events');
  }
  if (written === 0) return;
  ctx.telemetry.counter('ctstream_archived_records', written, { zone });
  ctx.log.info({ written }, 'archived');
}

/** Once per partition and fault: a pass comes every few seconds. */
function tellFailed(state: ArchiveState, told: Set<string>, ctx: ArchiverContext): void {
  for (const fault of state.failed.values()) {
    if (told.has(fault.message)) continue;
    told.add(fault.message);
    ctx.log.error({ err: fault }, 'a partition is not archived');
  }
}
