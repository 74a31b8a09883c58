// The loop of a stage: leases from its topics and its retry topics, into a pool with a limit, until the process stops.
import { join } from 'node:path';
import type { EventType } from '../../schemas/events.gen.ts';
import type { Stage } from '../kernel/stage.ts';
import type { EventBus, Lease, Subscription } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import { begunIn } from './begun.ts';
import { runJob, type JobDeps } from './job.ts';
import { describeError } from './log.ts';
import type { ProcessContext } from './process.ts';
import { retryTopics, waitOf } from './retry.ts';

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
  /** How long running jobs may go on after the stop signal; 20 s by default. */
  readonly drainMs?: number;
}

/** Centres share the retry topics: what waits there for a slow PACS must not stand before the studies of others. */
const RETRY_WINDOW = 2048;
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
    begun: deps.jobsFolder === undefined ? undefined : begunIn(join(deps.jobsFolder, group), ctx.clock.nowMs()),
  };
  let joined = false;
  ctx.health.ready(() => joined || `${stage.name} has not joined its consumer groups yet`);
  const main = await bus.subscribe({ group, topics: stage.consumes, window: deps.window });
  const waiting = await bus
    .subscribe({ group: `${group}.retry`, topics: retryTopics(stage.zone, stage.name), window: Math.max(deps.window, RETRY_WINDOW) })
    .catch(async (error: unknown) => {
      await main.stop();
      throw error;
    });
  joined = true;
  const slots = makeSlots(deps.concurrency);
  const work = (lease: Lease): Promise<void> => runJob(stage, ports, lease, job).finally(slots.free);
  const running = watch(ctx, stage.name, main, slots);
  let drainEnd: NodeJS.Timeout | undefined;
  const drain = (): void => {
    drainEnd = setTimeout(() => giveUp.abort(), deps.drainMs ?? DRAIN_MS);
  };
  stopTaking.addEventListener('abort', drain, { once: true });
  ctx.log.info({ stage: stage.name, group, concurrency: deps.concurrency, window: deps.window }, 'taking events');
  await Promise.all([takeNew(main, slots, work, failed, stopTaking), takeWaiting(waiting, slots, work, failed, stopTaking, deps)]);
  clearTimeout(drainEnd);
  running.stop();
  await Promise.all(
    [main.stop(), waiting.stop()].map((s) => s.catch((error: unknown) => ctx.log.warn(describeError(error), 'leaving the group failed'))),
  );
  if (errors.length > 0) throw errors[0];
}

interface Slots {
  /** False when the signal aborted first. */
  wait(signal: AbortSignal): Promise<boolean>;
  readonly free: () => void;
  readonly used: () => number;
}

function makeSlots(size: number): Slots {
  let used = 0;
  const queue: (() => void)[] = [];
  return {
    wait: async (signal) => {
      if (signal.aborted) return false;
      if (used < size) {
        used++;
        return true;
      }
      return await new Promise<boolean>((resolve) => {
        const give = (): void => {
          signal.removeEventListener('abort', leave);
          resolve(true);
        };
        const leave = (): void => {
          queue.splice(queue.indexOf(give), 1);
          resolve(false);
        };
        signal.addEventListener('abort', leave, { once: true });
        queue.push(give);
      });
    },
    // A freed slot goes straight to the next one who waits.
    free: () => {
      const next = queue.shift();
      if (next === undefined) used--;
      else next();
    },
    used: () => used,
  };
}

type Work = (lease: Lease) => Promise<void>;

/** New events: a lease first, then a slot: a slot that waited for an event would be missing to the waiting records. */
async function takeNew(
  subscription: Subscription,
  slots: Slots,
  work: Work,
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
    if (!(await slots.wait(AbortSignal.any([signal, lease.signal])))) {
      lease.release();
      continue;
    }
    const running = work(lease)
      .catch(failed)
      .finally(() => jobs.delete(running));
    jobs.add(running);
  }
  await Promise.all(jobs);
}

/** Waiting records: a lease first, which then sleeps until it is due and only then takes a slot. */
async function takeWaiting(
  subscription: Subscription,
  slots: Slots,
  work: Work,
  failed: (error: unknown) => void,
  signal: AbortSignal,
  { ctx, retryDelaysMs }: StageDeps,
): Promise<void> {
  const jobs = new Set<Promise<void>>();
  const whenDue = async (lease: Lease): Promise<void> => {
    const wake = AbortSignal.any([signal, lease.signal]);
    await ctx.clock.sleep(waitOf(lease.record, ctx.clock.nowMs(), retryDelaysMs), wake);
    if (await slots.wait(wake)) await work(lease);
    else lease.release();
  };
  for (;;) {
    const lease = await subscription.take(signal).catch((error: unknown) => {
      failed(error);
      return undefined;
    });
    if (lease === undefined) break;
    const running = whenDue(lease)
      .catch(failed)
      .finally(() => jobs.delete(running));
    jobs.add(running);
  }
  await Promise.all(jobs);
}

/** Gauges of the stage: jobs that run, records not finished. */
function watch(ctx: ProcessContext, stage: string, main: Subscription, slots: Slots): { stop(): void } {
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
  ctx.telemetry.gauge('ctstream_jobs_running', slots.used, { stage });
  ctx.telemetry.gauge('ctstream_lag_records', () => lag, { stage });
  return { stop: () => clearInterval(timer) };
}
