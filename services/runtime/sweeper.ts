// Goes through a bucket of attempts from time to time: removes what no manifest names, frees what is done, sums what is left.
// Any number of processes may do it at once: each finds the same, and removing twice is removing.
import type { Logger } from 'pino';
import { Fault, faultOf } from '../kernel/fault.ts';
import { MANIFEST_LIMIT_BYTES } from '../kernel/manifest.ts';
import {
  inOrderOfRemoval,
  isDoneMark,
  isTrial,
  type Layout,
  type Listed,
  manifestKeys,
  manifestsToTellAgain,
  orphans,
  revisionsToRead,
  standingOf,
  studyOf,
  SWEEP_AFTER_MS,
} from '../kernel/sweep.ts';
import type { Clock, Randomness } from '../ports/clock.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { describeError } from './log.ts';

export interface SweepOptions {
  readonly store: ObjectStore;
  readonly bucket: string;
  readonly layout: Layout;
  readonly clock: Clock;
  readonly random: Randomness;
  /** SWEEP_AFTER_MS by default; another one in tests only. */
  readonly minAgeMs?: number;
  /** ct-clinical: how long a study stays after its final outcome. Without it nothing is freed. */
  readonly keepMs?: number;
  /** ct-clinical: tells the log of a stored revision again. @throws when its manifest can't be read or the bus does not take it */
  readonly tellAgain?: (manifestKey: string, signal: AbortSignal) => Promise<void>;
}

export interface Swept {
  /** What stays. */
  readonly objects: number;
  readonly bytes: number;
  readonly orphans: number;
  readonly orphanBytes: number;
  /** Studies whose originals were removed, some time after their final outcome. */
  readonly freed: number;
  readonly freedBytes: number;
  /** Studies that are stored for longer than `keepMs` and have no final outcome: they stay. */
  readonly unfinished: number;
  /** Stored revisions without an outcome that the log was told of again. */
  readonly toldAgain: number;
  /** Studies with a manifest that can't be read: they stay as they are. */
  readonly unreadable: number;
  /** Of how many studies something could not be read, removed or told: they are tried again in the next pass. */
  readonly refused: number;
}

type Counts = { -readonly [K in keyof Swept]: Swept[K] };

/** What a pass has from the one before, and what it leaves to the next. */
export interface Pass {
  /** Time since the pass before, for what is told again. */
  readonly windowMs?: number;
  /** Manifests that the pass before was to tell of again and could not. */
  readonly untold?: ReadonlySet<string>;
  /** What the process knows of the store's clock from the passes before. */
  readonly storeNow?: StoreNow;
  /** Told of each refusal, with the manifest when it was one to tell of again. */
  readonly refused?: (error: unknown, untold?: string) => void;
}

const NOTHING: Swept = {
  objects: 0,
  bytes: 0,
  orphans: 0,
  orphanBytes: 0,
  freed: 0,
  freedBytes: 0,
  unfinished: 0,
  toldAgain: 0,
  unreadable: 0,
  refused: 0,
};

/** Of the bus: it would take nothing of the other studies either. A store that is away fails the listing. */
const isOfBus = (error: unknown): boolean => error instanceof Fault && (error.code.startsWith('BUS_') || error.code === 'DENIED_BY_BROKER');

/** One pass. @throws the bus's Faults, and the store's when it can't be listed; what was removed by then was to be removed. */
export async function sweep(o: SweepOptions, signal: AbortSignal, pass: Pass = {}): Promise<Swept> {
  const { windowMs = 0, untold, refused, storeNow = storeClock(o) } = pass;
  // The earlier of the store's clock and ours: one that jumps ahead makes nothing old.
  const nowMs = Math.min(await storeNow(signal), o.clock.nowMs());
  const counts: Counts = { ...NOTHING };
  let study: { prefix: string; objects: Listed[] } | undefined;
  // One object that can't be read or removed must not keep those after it.
  const isDone = async (work: () => Promise<void>, manifestKey?: string): Promise<boolean> => {
    try {
      await work();
      return true;
    } catch (error) {
      if (signal.aborted || isOfBus(error)) throw error;
      refused?.(error, manifestKey);
      return false;
    }
  };
  const flush = async (): Promise<void> => {
    const objects = study?.objects ?? [];
    study = undefined;
    const done = [await isDone(() => sweepStudy(o, objects, nowMs, counts, signal))];
    for (const { key } of manifestsToTellAgain(objects, nowMs, windowMs, untold))
      done.push(await isDone(() => tellAgain(o, key, counts, signal), key));
    if (done.includes(false)) counts.refused += 1;
  };
  for await (const object of o.store.list(o.bucket, '', signal)) {
    counts.objects += 1;
    counts.bytes += object.sizeBytes;
    const prefix = studyOf(o.layout, object.key);
    if (prefix === undefined) {
      if (isTrial(object.key) && nowMs - object.lastModifiedMs >= (o.minAgeMs ?? SWEEP_AFTER_MS))
        await removeOrphans(o, [object], counts, signal);
      continue;
    }
    // The listing is in the order of names, so a study's objects come together.
    if (study?.prefix !== prefix) await flush();
    study ??= { prefix, objects: [] };
    study.objects.push(object);
  }
  await flush();
  return counts;
}

/** The time by the store's clock, or an earlier one. */
export type StoreNow = (signal: AbortSignal) => Promise<number>;

/**
 * Asks the store for its time by writing. One that is full takes nothing, and must be swept all the same: then the last time
 * that it gave, or its newest object's, and what has passed since by a clock that does not jump.
 * @param steadyMs that clock; another one in tests only
 */
export function storeClock(o: SweepOptions, steadyMs: () => number = () => performance.now()): StoreNow {
  let known: { readonly storeMs: number; readonly steadyMs: number } | undefined;
  return async (signal) => {
    try {
      known = { storeMs: await timeOfWriting(o, signal), steadyMs: steadyMs() };
    } catch (error) {
      if (!(error instanceof Fault && error.code === 'STORE_FULL')) throw error;
      known ??= { storeMs: await timeOfNewest(o, signal), steadyMs: steadyMs() };
    }
    return known.storeMs + steadyMs() - known.steadyMs;
  };
}

async function timeOfWriting({ store, bucket, random }: SweepOptions, signal: AbortSignal): Promise<number> {
  const key = `.sweep/${random.attempt()}`;
  await store.put(bucket, key, new Uint8Array(0), { signal });
  const written = await store.head(bucket, key, signal);
  await store.remove(bucket, [key], signal);
  if (written === undefined) throw new Fault('STORE_UNAVAILABLE', true, `${bucket}: an object that was just written is not there`);
  return written.lastModifiedMs;
}

/** Of an empty bucket the oldest there is: nothing in it can be old. */
async function timeOfNewest({ store, bucket }: SweepOptions, signal: AbortSignal): Promise<number> {
  let newestMs = 0;
  for await (const { lastModifiedMs } of store.list(bucket, '', signal)) newestMs = Math.max(newestMs, lastModifiedMs);
  return newestMs;
}

async function sweepStudy(o: SweepOptions, objects: readonly Listed[], nowMs: number, counts: Counts, signal: AbortSignal): Promise<void> {
  const minAgeMs = o.minAgeMs ?? SWEEP_AFTER_MS;
  const named = new Map<string, ReadonlySet<string>>();
  for (const revision of revisionsToRead(o.layout, objects, nowMs, minAgeMs)) {
    const attempts = await namedAttempts(o, revision, signal);
    if (attempts === undefined) return void (counts.unreadable += 1);
    named.set(revision, attempts);
  }
  const unnamed = orphans(o.layout, objects, named, nowMs, minAgeMs);
  await removeOrphans(o, unnamed, counts, signal);
  if (o.keepMs === undefined) return;
  const gone = new Set(unnamed);
  const left = objects.filter((object) => !gone.has(object));
  const standing = standingOf(left, nowMs, o.keepMs);
  if (standing === 'unfinished') counts.unfinished += 1;
  if (standing !== 'free') return;
  if (standingOf(await withMarksOfNow(o, left, signal), nowMs, o.keepMs) !== 'free') return;
  // One after the other, so that a stop half-way leaves no manifest whose objects are gone.
  for (const { key } of inOrderOfRemoval(left)) await o.store.remove(o.bucket, [key], signal);
  const bytes = sum(left);
  counts.freed += 1;
  counts.freedBytes += bytes;
  counts.objects -= left.length;
  counts.bytes -= bytes;
}

/** The objects with their marks as they are now: anonymise takes one away when its study comes again, and the listing may be minutes old. */
async function withMarksOfNow({ store, bucket }: SweepOptions, objects: readonly Listed[], signal: AbortSignal): Promise<Listed[]> {
  const now: Listed[] = [];
  for (const object of objects) {
    const found = isDoneMark(object.key) ? await store.head(bucket, object.key, signal) : object;
    if (found !== undefined) now.push(found);
  }
  return now;
}

async function tellAgain(o: SweepOptions, manifestKey: string, counts: Counts, signal: AbortSignal): Promise<void> {
  if (o.tellAgain === undefined) return;
  await o.tellAgain(manifestKey, signal);
  counts.toldAgain += 1;
}

const sum = (objects: readonly Listed[]): number => objects.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0);

async function removeOrphans(o: SweepOptions, found: readonly Listed[], counts: Counts, signal: AbortSignal): Promise<void> {
  if (found.length === 0) return;
  await o.store.remove(
    o.bucket,
    found.map(({ key }) => key),
    signal,
  );
  const bytes = sum(found);
  counts.orphans += found.length;
  counts.orphanBytes += bytes;
  counts.objects -= found.length;
  counts.bytes -= bytes;
}

/** The attempts that the manifests name, read now and not taken from the listing: one may have appeared since. Undefined
 * when one of them can't be read: nothing is removed on the word of such a manifest. */
async function namedAttempts(o: SweepOptions, revision: string, signal: AbortSignal): Promise<ReadonlySet<string> | undefined> {
  const attempts = new Set<string>();
  for (const key of manifestKeys(o.layout, revision)) {
    const bytes = await o.store.getBytes(o.bucket, key, MANIFEST_LIMIT_BYTES, signal);
    if (bytes === undefined) continue;
    const attempt = attemptIn(bytes);
    if (attempt === undefined) return undefined;
    attempts.add(attempt);
  }
  return attempts;
}

function attemptIn(bytes: Uint8Array): string | undefined {
  try {
    const manifest: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
    if (typeof manifest !== 'object' || manifest === null || !('attempt' in manifest)) return undefined;
    return typeof manifest.attempt === 'string' ? manifest.attempt : undefined;
  } catch {
    return undefined;
  }
}

export interface SweeperDeps {
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly everyMs: number;
  /** Told after each pass. */
  readonly swept?: (result: Swept) => void;
}

/** What a first pass looks back over, and by how much passes overlap: what is told twice is done once. */
const FIRST_WINDOW_MS = 24 * 60 * 60_000;
const OVERLAP_MS = 60_000;
/** Most time after a pass that failed: ingest may take nothing before the first that did not. */
const AFTER_FAILURE_MS = 60_000;

/** Sweeps until the signal aborts; a pass that fails is logged, and the next one comes in a minute at most. */
export async function runSweeper(o: SweepOptions, { signal, log, everyMs, swept }: SweeperDeps): Promise<void> {
  let lastMs: number | undefined;
  let untold: ReadonlySet<string> = new Set();
  const storeNow = storeClock(o);
  while (!signal.aborted) {
    let waitMs = everyMs;
    try {
      const beganMs = o.clock.nowMs();
      const windowMs = lastMs === undefined ? FIRST_WINDOW_MS : Math.max(0, beganMs - lastMs) + OVERLAP_MS;
      const missed = new Set<string>();
      let first: unknown;
      const refused = (error: unknown, manifestKey?: string): void => {
        first ??= error;
        if (manifestKey !== undefined) missed.add(manifestKey);
      };
      const result = await sweep(o, signal, { windowMs, untold, storeNow, refused });
      lastMs = beganMs;
      untold = missed;
      swept?.(result);
      log.info({ bucket: o.bucket, ...result }, 'swept');
      if (result.refused > 0)
        log.warn(
          { bucket: o.bucket, studies: result.refused, first: describeError(faultOf(first)) },
          'something of these studies could not be read, removed or told again',
        );
      if (result.unfinished > 0)
        log.warn(
          { bucket: o.bucket, studies: result.unfinished },
          'stored studies have no final outcome after the time to keep them; they stay',
        );
    } catch (error) {
      waitMs = Math.min(everyMs, AFTER_FAILURE_MS);
      if (!signal.aborted) log.warn({ bucket: o.bucket, ...describeError(error) }, 'sweeping failed');
    }
    await o.clock.sleep(waitMs, signal);
  }
}
