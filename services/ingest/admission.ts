// Whether ingest takes new studies: not while there is no room for them. What waits keeps its lease and nothing else; what
// is under way goes on.
import { statfs } from 'node:fs/promises';
import { Fault } from '../kernel/fault.ts';
import type { Clock } from '../ports/clock.ts';
import type { ObjectStore } from '../ports/object-store.ts';

/** Stops at or above `high` and goes on at or below `low`: in between it stays as it is, so it does not flutter. */
export interface Watermark {
  readonly high: number;
  readonly low: number;
}

/** Whether to be paused from now on. */
export function pausedNext(paused: boolean, used: number, { high, low }: Watermark): boolean {
  if (used >= high) return true;
  if (used <= low) return false;
  return paused;
}

const HIGH = 0.9;
const LOW = 0.8;
/** Room that the store must have again after it refused something. */
const PROBE_BYTES = 16 * 1024 * 1024;
/** A handler may wait for 24 h in all, half of it for its turn at the PACS. */
const LONGEST_WAIT_MS = 6 * 3_600_000;

export interface AdmissionOptions {
  readonly store: ObjectStore;
  readonly bucket: string;
  readonly clock: Clock;
  /** Most bytes that `bucket` is to hold; without it only the store's own refusal counts. */
  readonly budgetBytes?: number | undefined;
  readonly spillFolder: string;
  /** Least free bytes of the file system of `spillFolder`. */
  readonly spillFreeBytes: number;
  /** Free bytes of a folder's file system, in place of the real ones. */
  readonly freeBytes?: (folder: string) => Promise<number>;
}

/** Why nothing is taken. */
export const PAUSES = {
  unmeasured: 'ct-clinical has a budget and was not measured yet',
  budget: 'ct-clinical is at its budget',
  spill: 'the spill folder has no room',
  store: 'the object store has no room',
} as const;
export type Pause = keyof typeof PAUSES;

export interface Admission {
  readonly isOpen: () => boolean;
  /** Resolves once a study may be taken. @throws Fault STORE_FULL when that takes hours from `sinceMs`; the signal's reason */
  open(sinceMs: number, signal: AbortSignal): Promise<void>;
  /** What the bucket holds by a listing; what goes in later is added. */
  measured(bytes: number): void;
  /** Looks at the spill folder, and whether a store that refused has room again. */
  look(signal: AbortSignal): Promise<void>;
  readonly pauses: () => readonly Pause[];
  readonly usedBytes: () => number;
  /** The store, watched: what goes in counts, and a refusal for lack of room pauses. */
  readonly watched: ObjectStore;
}

/** `changed` is told when it stops taking studies or goes on. */
export function admission(o: AdmissionOptions, changed: (pauses: readonly Pause[]) => void): Admission {
  // Whoever starts on a bucket that is over its budget must not take studies until its first look has ended.
  const paused = new Set<Pause>(o.budgetBytes === undefined ? [] : ['unmeasured']);
  const waiting = new Set<() => void>();
  let used = 0;

  const set = (what: Pause, is: boolean): void => {
    if (paused.has(what) === is) return;
    if (is) paused.add(what);
    else paused.delete(what);
    changed([...paused]);
    if (paused.size > 0) return;
    for (const wake of waiting) wake();
    waiting.clear();
  };
  const use = (bytes: number): void => {
    used = bytes;
    if (o.budgetBytes !== undefined)
      set('budget', pausedNext(paused.has('budget'), used, { high: HIGH * o.budgetBytes, low: LOW * o.budgetBytes }));
  };
  /** What went wrong in the body itself, `failed` is told. */
  const counted = async function* (body: AsyncIterable<Uint8Array>, failed: (error: unknown) => void): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of body) {
        use(used + chunk.byteLength);
        yield chunk;
      }
    } catch (error) {
      failed(error);
      throw error;
    }
  };
  const woken = (ms: number, signal: AbortSignal): Promise<void> => {
    const wake = new AbortController();
    const awake = (): void => wake.abort();
    waiting.add(awake);
    return o.clock.sleep(ms, AbortSignal.any([signal, wake.signal])).finally(() => waiting.delete(awake));
  };
  const look = async (signal: AbortSignal): Promise<void> => {
    // First: a spill folder that can't be asked must not keep a store that has room again from being seen.
    if (paused.has('store')) set('store', !(await hasRoom(o, signal)));
    const free = await (o.freeBytes ?? freeBytesOf)(o.spillFolder);
    // Free bytes fall where used ones rise.
    set('spill', pausedNext(paused.has('spill'), -free, { high: -o.spillFreeBytes, low: -1.25 * o.spillFreeBytes }));
  };

  return {
    isOpen: () => paused.size === 0,
    open: async (sinceMs, signal) => {
      while (paused.size > 0) {
        signal.throwIfAborted();
        const leftMs = sinceMs + LONGEST_WAIT_MS - o.clock.nowMs();
        if (leftMs <= 0) throw new Fault('STORE_FULL', true, `no new study is taken: ${[...paused].map((p) => PAUSES[p]).join(', ')}`);
        await woken(leftMs, signal);
      }
    },
    measured: (bytes) => {
      use(bytes);
      set('unmeasured', false);
    },
    look,
    pauses: () => [...paused],
    usedBytes: () => used,
    watched: {
      ...o.store,
      put: async (bucket, key, body, options) => {
        let ofBody: unknown;
        try {
          return await o.store.put(bucket, key, body instanceof Uint8Array ? body : counted(body, (error) => (ofBody = error)), options);
        } catch (error) {
          // A spill folder without room has the same code, and may be full for one large study alone.
          if (error instanceof Fault && error.code === 'STORE_FULL' && error !== ofBody) set('store', true);
          throw error;
        }
      },
    },
  };
}

async function freeBytesOf(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** One name for all probes: whatever becomes of its removal, there is one such object at most. */
const PROBE_KEY = '.admission/0000000000000000';

/** Whether the store takes what a study needs at once. A store that does not answer has not said that it has room. */
async function hasRoom({ store, bucket }: AdmissionOptions, signal: AbortSignal): Promise<boolean> {
  try {
    await store.put(bucket, PROBE_KEY, Buffer.alloc(PROBE_BYTES), { signal });
    return true;
  } catch {
    return false;
  } finally {
    await store.remove(bucket, [PROBE_KEY], signal).catch(() => undefined);
  }
}
