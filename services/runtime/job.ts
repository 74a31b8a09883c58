// One job: decode, handle, publish, acknowledge; or send the record to wait or to the dead letters.
import type { EventType } from '../../schemas/events.gen.ts';
import { Fault, faultOf } from '../kernel/fault.ts';
import type { Outcome } from '../kernel/outcome.ts';
import { typeOfTopic } from '../kernel/route.ts';
import type { EventIn, Job, Stage, Zone } from '../kernel/stage.ts';
import type { EventBus, Lease, OutgoingRecord } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import { inTime } from '../kernel/in-time.ts';
import { describeError } from './log.ts';
import { encodeEvents, eventsOf, InvariantViolation } from './outgoing.ts';
import type { ProcessContext } from './process.ts';
import type { Begun } from './begun.ts';
import { afterFailure, codeOfFailure, diedBefore, isRetry, originOf, wholeRecord } from './retry.ts';
import { traceIdOf, type OpenSpan } from './telemetry.ts';

export interface JobDeps {
  readonly bus: EventBus;
  readonly codec: EventCodec;
  readonly ctx: ProcessContext;
  readonly retryDelaysMs?: readonly number[] | undefined;
  readonly jobTimeoutMs: number;
  readonly begun?: Begun | undefined;
  /** Aborted when the drain takes too long. */
  readonly giveUp: AbortSignal;
}

/**
 * Does one lease to its end. Resolves when the record is settled: acknowledged, handed on, or let go.
 * @throws InvariantViolation, or Fault DENIED_BY_BROKER: the process must end.
 */
export async function runJob<T extends EventType, P>(stage: Stage<T, P>, ports: P, lease: Lease, deps: JobDeps): Promise<void> {
  const { ctx } = deps;
  const startedMs = ctx.clock.nowMs();
  const labels = { stage: stage.name };
  const parent = lease.record.headers['traceparent'];
  const result = await ctx.telemetry.span(
    `handle ${stage.name}`,
    { parent, kind: 'consumer', attributes: { 'ctstream.stage': stage.name, 'ctstream.partition': lease.record.partition } },
    async (span) => {
      const held = holding(deps, isRetry(stage, lease.record));
      const notes = noting(lease, deps);
      try {
        return await attempt(stage, ports, lease, deps, span, { ...held.job, begin: notes.begin });
      } catch (error) {
        // What breaks the contract ends the process, and would do so for ever.
        if (error instanceof InvariantViolation) notes.keep();
        throw error;
      } finally {
        await held.release();
        notes.end();
      }
    },
  );
  ctx.telemetry.counter('ctstream_jobs_total', 1, { ...labels, ...result });
  ctx.telemetry.histogram('ctstream_job_seconds', (ctx.clock.nowMs() - startedMs) / 1000, labels);
}

/** What handlers hold until their record is settled; the newest is released first. */
function holding(deps: JobDeps, retried: boolean): { readonly job: Omit<Job, 'begin'>; release(): Promise<void> } {
  const releases: (() => Promise<void>)[] = [];
  let settled = false;
  const run = async (release: () => Promise<void>): Promise<void> => {
    try {
      await release();
    } catch (error) {
      deps.ctx.log.warn(describeError(error), 'releasing what the job held failed');
    }
  };
  return {
    job: {
      isRetry: retried,
      untilSettled: (release) => {
        // A handler that was left alone after its abort may still come here.
        if (settled) void run(release);
        else releases.push(release);
      },
    },
    release: async () => {
      settled = true;
      for (const release of releases.toReversed()) await run(release);
    },
  };
}

/** Ends of the process in the middle of a job before its record has to wait; one is enough when it waited for that already. */
const DEATHS = 2;

/** That the job is under way, for whoever gets its record when this process is killed. */
function noting({ record }: Lease, { begun }: JobDeps): { begin(): void; keep(): void; end(): void } {
  let isNoted = false;
  let isOver = false;
  return {
    begin: () => {
      // A handler that was left alone after its abort may still come here.
      if (isNoted || isOver || begun === undefined) return;
      isNoted = true;
      const deaths = begun.begin(record);
      if (deaths >= (diedBefore(record) ? 1 : DEATHS))
        throw new Fault('PROCESS_DIED', true, `the process ended ${deaths} times in this job`);
    },
    keep: () => {
      isNoted = false;
    },
    end: () => {
      isOver = true;
      if (isNoted) begun?.end(record);
    },
  };
}

type Result = { readonly outcome: string; readonly code: string };

async function attempt<T extends EventType, P>(
  stage: Stage<T, P>,
  ports: P,
  lease: Lease,
  deps: JobDeps,
  span: OpenSpan,
  job: Job,
): Promise<Result> {
  try {
    const event = await decode(stage, lease, deps);
    span.setAttribute('ctstream.event_id', event.id);
    if (stage.beginsItself !== true) job.begin();
    const stopped = AbortSignal.any([lease.signal, deps.giveUp]);
    const outcome = await inTime(deps.jobTimeoutMs, stopped, (signal) => stage.handle(event, ports, signal, job));
    const records = await encode(stage, event, outcome, deps, span);
    if (lost(lease, deps)) return letGo(lease, deps);
    await publishSurely(records, lease, deps, isRetry(stage, lease.record) ? RETRY_PUBLISH_MS : Infinity);
    if (stage.told !== undefined) {
      // Whoever has the record now tells: what is noted here could come after what that one does.
      if (lost(lease, deps)) return letGo(lease, deps);
      await stage.told(event, outcome, ports, AbortSignal.any([lease.signal, deps.giveUp, AbortSignal.timeout(deps.jobTimeoutMs)]));
    }
    lease.ack();
    return tell(stage, event, outcome, deps);
  } catch (error) {
    if (error instanceof InvariantViolation || (error instanceof Fault && error.code === 'DENIED_BY_BROKER')) throw error;
    if (lost(lease, deps)) return letGo(lease, deps);
    return await handOn(stage, lease, error, deps);
  }
}

function lost(lease: Lease, deps: JobDeps): boolean {
  return lease.signal.aborted || deps.giveUp.aborted;
}

function letGo(lease: Lease, deps: JobDeps): Result {
  lease.release();
  deps.ctx.log.info({ partition: lease.record.partition }, 'let go: the partition was lost or the process stops');
  return { outcome: 'released', code: '' };
}

/** A topic carries one type: bytes of another type in it are a bad record, however well they decode. */
async function decode<T extends EventType, P>(stage: Stage<T, P>, lease: Lease, deps: JobDeps): Promise<EventIn<T>> {
  const origin = originOf(stage, lease.record);
  if (origin === undefined) throw new Fault('BAD_EVENT', false, `a record in ${lease.record.topic} does not say where it came from`);
  const record =
    origin.reference === undefined
      ? origin.record
      : await wholeRecord(deps.bus, origin, AbortSignal.any([lease.signal, deps.giveUp, AbortSignal.timeout(deps.jobTimeoutMs)]));
  const event = deps.codec.decode(record);
  if (typeOfTopic(record.topic) !== event.type) throw new Fault('BAD_EVENT', false, `a ${event.type} in ${record.topic}`);
  // The stage consumes this topic, so its type is among the stage's.
  return event as EventIn<T>;
}

/** Events of the stage's other zone go out in a trace of their own: the link is noted on the clinical side only. */
async function encode<T extends EventType, P>(
  stage: Stage<T, P>,
  event: EventIn<T>,
  outcome: Outcome,
  deps: JobDeps,
  span: OpenSpan,
): Promise<OutgoingRecord[]> {
  const events = eventsOf(stage, event as EventIn, outcome);
  const own: Zone = event.type.startsWith('ctstream.clinical.') ? 'clinical' : 'research';
  const crosses = events.some((e) => !e.type.startsWith(`ctstream.${own}.`));
  const timeMs = deps.ctx.clock.nowMs();
  const encodeWith = (other: string): OutgoingRecord[] =>
    encodeEvents(stage, event as EventIn, events, {
      codec: deps.codec,
      timeMs,
      traceparent: (zone) => (zone === own ? span.traceparent : other),
    });
  if (!crosses) return encodeWith(span.traceparent);
  return await deps.ctx.telemetry.span(
    'enter research',
    { kind: 'producer', attributes: { 'ctstream.stage': stage.name } },
    async (root) => {
      if (own === 'clinical') span.setAttribute('ctstream.research_trace_id', traceIdOf(root.traceparent) ?? '');
      return encodeWith(root.traceparent);
    },
  );
}

/**
 * A record of a retry topic waits no longer than this for the bus, and then in its topic again: all centres share that, and one whose
 * own topic takes nothing must not hold it up. The next try finds the effect done, and publishes the same.
 */
const RETRY_PUBLISH_MS = 5 * 60_000;

/** Publishes, waiting as long as the bus is away: the effect is done, so a record of a main topic need not go elsewhere. */
async function publishSurely(records: readonly OutgoingRecord[], lease: Lease, deps: JobDeps, limitMs = Infinity): Promise<void> {
  if (records.length === 0) return;
  const untilMs = deps.ctx.clock.nowMs() + limitMs;
  const signal = AbortSignal.any([lease.signal, deps.giveUp]);
  for (let waitMs = 250; ; waitMs = Math.min(waitMs * 2, 10_000)) {
    try {
      return await deps.bus.publish(records, signal);
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== 'BUS_UNAVAILABLE' || signal.aborted || deps.ctx.clock.nowMs() >= untilMs) throw error;
      deps.ctx.log.warn({ err: error }, 'publishing failed, trying again');
      await deps.ctx.clock.sleep(waitMs, signal);
      signal.throwIfAborted();
    }
  }
}

function tell<T extends EventType, P>(stage: Stage<T, P>, event: EventIn<T>, outcome: Outcome, deps: JobDeps): Result {
  const code = outcome.kind === 'emit' ? '' : outcome.code;
  deps.ctx.log.info({ stage: stage.name, eventId: event.id, outcome: outcome.kind, ...(code === '' ? {} : { code }) }, 'done');
  return { outcome: outcome.kind, code };
}

/** Sends a waiting record that had no turn for a slot behind those that wait already, with the code that it came with. */
export async function backInLine<T extends EventType, P>(stage: Stage<T, P>, lease: Lease, deps: JobDeps): Promise<void> {
  const code = codeOfFailure(lease.record) ?? 'UNEXPECTED';
  await handOn(stage, lease, new Fault(code, true, 'no slot was free', { onlyWaited: true }), deps);
}

async function handOn<T extends EventType, P>(stage: Stage<T, P>, lease: Lease, error: unknown, deps: JobDeps): Promise<Result> {
  const fault = faultOf(error);
  const failure = afterFailure({
    stage,
    record: lease.record,
    fault,
    nowMs: deps.ctx.clock.nowMs(),
    delaysMs: deps.retryDelaysMs,
  });
  const fields = {
    stage: stage.name,
    eventId: lease.record.headers['ce_id'],
    attempt: failure.attempt,
    ...describeError(error),
    code: failure.code,
  };
  try {
    await publishSurely([failure.record], lease, deps);
  } catch (second) {
    if (!lost(lease, deps)) throw second;
    return letGo(lease, deps);
  }
  lease.ack();
  if (failure.where === 'dead') deps.ctx.log.error(fields, 'to the dead letters');
  else deps.ctx.log.warn(fields, 'waits to be tried again');
  return { outcome: failure.where, code: failure.code };
}
