// The loop of a stage: leases from its topics and its retry topics, into a pool with a limit, until the process stops.
import { join } from 'node:path';
import type { EventType } from '../../schemas/events.gen.ts';
import { fairPlaces } from '../kernel/fair-places.ts';
import type { FairPlaces, Place } from '../kernel/fair-places.ts';
import type { Stage } from '../kernel/stage.ts';
import type { EventBus, Lease, Subscription } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import { begunIn } from './begun.ts';
import { backInLine, runJob, type JobDeps } from './job.ts';
import { describeError } from './log.ts';
import type { ProcessContext } from './process.ts';
import { retryTopics, waitOf } from './retry.ts';
import { lineOf } from './whose-turn.ts';

export interface StageDeps {
  readonly bus: EventBus;
  readonly codec: EventCodec;
  readonly ctx: ProcessContext;
  /** Consumer group; the stage's name by default. */
  readonly group?: string;
  /** Most jobs at a time. */
  readonly concurrency: number;
  /** Most records in hand per partition. */
  readonly window: number;
  /** In place of the delays of schemas/topics.json, in its order. */
  readonly retryDelaysMs?: readonly number[] | undefined;
  /** In place of the stage's own limit. */
  readonly jobTimeoutMs?: number | undefined;
  /** Folder that outlasts the process, for what it has begun; without it a job that ends the process comes again for ever. */
  readonly jobsFolder?: string | undefined;
  /** Longest wait of a record from a retry topic for a slot, before it goes behind the others there; 5 minutes by default. */
  readonly turnMs?: number;
  /** How long running jobs may go on after the stop signal; 20 s by default. */
  readonly drainMs?: number;
}

/** Centres share the retry topics: what waits there for a slow PACS must not stand before the studies of others. */
const RETRY_WINDOW = 2048;
const TURN_MS = 5 * 60_000;
const DRAIN_MS = 20_000;
const LAG_EVERY_MS = 15_000;

/**
 * Runs the stage until `ctx.signal` aborts, then lets its jobs end.
 * @throws Fault LOG_TRUNCATED, DENIED_BY_BROKER or BUS_UNAVAILABLE (after the client's own retries), InvariantViolation.
 */
export async function runStage<T extends EventType, P>(stage: Stage<T, P>, ports: P, deps: StageDeps): Promise<void> {
  const { bus, ctx } = deps;
  const group = deps.group ?? stage.name;
  const giveUp = new AbortController();
  // Aborted by the stop signal or by the first error that ends the process.
  const end = new AbortController();
  const stopTaking = AbortSignal.any([ctx.signal, end.signal]);
  const errors: unknown[] = [];
  const failed = (error: unknown): void => {
    errors.push(error);
    end.abort();
    giveUp.abort();
  };
  const job: JobDeps = {
    bus,
    codec: deps.codec,
    ctx,
    retryDelaysMs: deps.retryDelaysMs,
    jobTimeoutMs: deps.jobTimeoutMs ?? stage.jobTimeoutMs,
    giveUp: giveUp.signal,
    begun:
      deps.jobsFolder === undefined
        ? undefined
        : begunIn(join(deps.jobsFolder, group), ctx.clock.nowMs(), (error) =>
            ctx.log.warn(describeError(error), 'JOBS_FOLDER can not be written: a job that ends the process comes again for ever'),
          ),
  };
  let isJoined = false;
  ctx.health.ready(() => isJoined || `${stage.name} has not joined its consumer groups yet`);
  const main = await bus.subscribe({ group, topics: stage.consumes, window: deps.window });
  const waiting = await bus
    .subscribe({ group: `${group}.retry`, topics: retryTopics(stage.zone, stage.name), window: Math.max(deps.window, RETRY_WINDOW) })
    .catch(async (error: unknown) => {
      await main.stop();
      throw error;
    });
  isJoined = true;
  const slots = fairPlaces(deps.concurrency);
  const inSlot: InSlot = async (lease, isRetry, wake) => {
    const slot = slots.place(lineOf(deps.codec, lease.record, isRetry));
    if (!(await joined(slot, wake))) return false;
    await runJob(stage, ports, lease, job).finally(() => slot.leave());
    return true;
  };
  const running = watch(ctx, stage.name, main, slots);
  let drainEnd: NodeJS.Timeout | undefined;
  const drain = (): void => {
    drainEnd = setTimeout(() => giveUp.abort(), deps.drainMs ?? DRAIN_MS);
  };
  stopTaking.addEventListener('abort', drain, { once: true });
  ctx.log.info({ stage: stage.name, group, concurrency: deps.concurrency, window: deps.window }, 'taking events');
  const behind = (lease: Lease): Promise<void> => backInLine(stage, lease, job);
  await Promise.all([
    takeAll(main, (lease) => doNew(lease, inSlot, stopTaking), failed, stopTaking),
    takeAll(waiting, (lease) => doWaiting(lease, inSlot, behind, stopTaking, deps), failed, stopTaking),
  ]);
  clearTimeout(drainEnd);
  running.stop();
  await Promise.all(
    [main.stop(), waiting.stop()].map((s) => s.catch((error: unknown) => ctx.log.warn(describeError(error), 'leaving the group failed'))),
  );
  if (errors.length > 0) throw errors[0];
}

/** False when the signal aborted first. */
async function joined(slot: Place, signal: AbortSignal): Promise<boolean> {
  try {
    await slot.join(signal);
    return true;
  } catch {
    return false;
  }
}

/** Does a lease in a slot, once it is its line's turn; false when `wake` aborted first. */
type InSlot = (lease: Lease, isRetry: boolean, wake: AbortSignal) => Promise<boolean>;

/**
 * Takes leases as fast as the windows allow and begins each at once: what waits for a slot waits in a line of `slots`, where it
 * is in nobody's way. Resolves when taking has ended and all that was begun too.
 */
async function takeAll(
  subscription: Subscription,
  begin: (lease: Lease) => Promise<void>,
  failed: (error: unknown) => void,
  signal: AbortSignal,
): Promise<void> {
  const jobs = new Set<Promise<void>>();
  for (;;) {
    const lease = await subscription.take(signal).catch((error: unknown) => {
      failed(error);
      return undefined;
    });
    if (lease === undefined) break;
    const running = begin(lease)
      .catch(failed)
      .finally(() => jobs.delete(running));
    jobs.add(running);
  }
  await Promise.all(jobs);
}

async function doNew(lease: Lease, inSlot: InSlot, signal: AbortSignal): Promise<void> {
  if (!(await inSlot(lease, false, AbortSignal.any([signal, lease.signal])))) lease.release();
}

/** A waiting record sleeps until it is due and only then waits for a slot; what gets none for long makes room for others. */
async function doWaiting(
  lease: Lease,
  inSlot: InSlot,
  backInLine: (lease: Lease) => Promise<void>,
  signal: AbortSignal,
  { ctx, retryDelaysMs, turnMs }: StageDeps,
): Promise<void> {
  const wake = AbortSignal.any([signal, lease.signal]);
  await ctx.clock.sleep(waitOf(lease.record, ctx.clock.nowMs(), retryDelaysMs), wake);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), turnMs ?? TURN_MS);
  const wasDone = await inSlot(lease, true, AbortSignal.any([wake, late.signal])).finally(() => clearTimeout(timer));
  if (wasDone) return;
  if (wake.aborted) lease.release();
  else await backInLine(lease);
}

/** Gauges of the stage: jobs that run, records not finished. */
function watch(ctx: ProcessContext, stage: string, main: Subscription, slots: FairPlaces): { stop(): void } {
  let lag = 0;
  const ask = (): void => {
    main.lag().then(
      (parts) => {
        lag = parts.reduce((sum, p) => sum + Number(p.end - p.committed), 0);
      },
      () => undefined,
    );
  };
  const timer = setInterval(ask, LAG_EVERY_MS);
  timer.unref();
  ctx.telemetry.gauge('ctstream_jobs_running', slots.taken, { stage });
  ctx.telemetry.gauge('ctstream_lag_records', () => lag, { stage });
  return { stop: () => clearInterval(timer) };
}
