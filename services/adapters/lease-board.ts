// The book of records in hand: leases by key and partition, and the offset that may be committed. Pure of any
// client library, so that every bus adapter (and the fake) keeps the same promises.
import type { BusRecord, Lease } from '../ports/event-bus.ts';
import { memoryBytes } from './record-memory.ts';

export interface PartitionName {
  readonly topic: string;
  readonly partition: number;
}

export interface CommitPoint extends PartitionName {
  /** First offset that is not finished. */
  readonly offset: bigint;
}

interface Entry {
  /** Without its bytes once it is finished. */
  record: BusRecord;
  readonly abort: AbortController;
  state: 'queued' | 'leased' | 'done';
}

interface Held extends PartitionName {
  /** In offset order; finished ones stay until every lower one is finished. */
  readonly entries: Map<bigint, Entry>;
  /** Unfinished entries of a key, oldest first: only the head may run. */
  readonly keys: Map<string, Entry[]>;
  readonly ready: Entry[];
  /** Fetched, beyond the window: taken into hand as soon as there is room, without another fetch. */
  backlog: BusRecord[];
  /** One more than the highest offset taken into hand. */
  next: bigint;
  /** One more than the highest offset fetched. */
  received: bigint;
  committed: bigint;
  /** Of unfinished entries: key, value and headers, any of which may be what is large. */
  bytes: number;
  full: boolean;
}

/**
 * Bytes of a partition's unfinished records from which on it is full, whatever its window: a thousand records of a megabyte
 * that wait for hours would fill the memory. Ours have a few hundred bytes, so that only the strange ones meet this.
 */
export const WINDOW_BYTES = 4 * 1024 * 1024;
/** The same of all partitions together; each may still have one record in hand, so that none waits for the others. */
export const BOARD_BYTES = 64 * 1024 * 1024;
const NO_BYTES = new Uint8Array(0);

export interface LeaseBoard {
  /** Sets what is ours: jobs of every other partition are aborted and lose their right to commit. */
  assign(partitions: readonly PartitionName[]): void;
  /** What the group had committed already: unfinished records below it are someone else's work. */
  committedBefore(point: CommitPoint): void;
  /** Takes a fetched record; false when it is known (delivered again) or not ours. */
  offer(record: BusRecord): boolean;
  isFull(name: PartitionName): boolean;
  /** One more than the highest offset fetched; undefined before the first. */
  nextOffset(name: PartitionName): bigint | undefined;
  take(signal: AbortSignal): Promise<Lease | undefined>;
  /** Commit points that moved since they were last noted. */
  commits(): CommitPoint[];
  noteCommitted(points: readonly CommitPoint[]): void;
  /** An older commit came after a newer one: the group stands there again, and what is beyond is to be committed once more. */
  setBack(points: readonly CommitPoint[]): void;
  inHand(): number;
  /** Takers get undefined from now on, or the error. */
  close(error?: Error): void;
  /** Aborts whatever is still leased. */
  abortAll(): void;
}

export interface BoardOptions {
  readonly window: number;
  /** The partition has `window` records in hand, or WINDOW_BYTES: fetch no more. What was fetched already may still be offered. */
  onFull(name: PartitionName): void;
  /** Half of both is free again. */
  onRoom(name: PartitionName): void;
  /** A commit point moved. */
  onProgress(): void;
}

const idOf = (name: PartitionName): string => `${name.topic}/${name.partition}`;

/** Makes an empty board. */
export function leaseBoard(o: BoardOptions): LeaseBoard {
  const held = new Map<string, Held>();
  const waiting: { give: (lease: Lease | undefined) => void; fail: (error: Error) => void }[] = [];
  let turn: string[] = [];
  let closed: { error?: Error } | undefined;

  let bytes = 0;

  const hasRoom = (p: Held): boolean =>
    p.entries.size < o.window && (p.entries.size === 0 || (p.bytes < WINDOW_BYTES && bytes < BOARD_BYTES));

  const finish = (p: Held, entry: Entry): void => {
    entry.state = 'done';
    const { key } = entry.record;
    weigh(p, -memoryBytes(entry.record));
    entry.record = { ...entry.record, key: '', value: NO_BYTES, headers: {} };
    const queue = p.keys.get(key) ?? [];
    queue.splice(queue.indexOf(entry), 1);
    if (queue.length === 0) p.keys.delete(key);
    else makeReady(p, queue[0]);
    let moved = false;
    for (const [offset, first] of p.entries) {
      if (first.state !== 'done') break;
      p.entries.delete(offset);
      moved = true;
    }
    if (moved) o.onProgress();
    refill(p);
    // What this one made room for may be another partition's.
    for (const one of held.values()) if (one.full && one !== p) refill(one);
  };

  const weigh = (p: Held, change: number): void => {
    p.bytes += change;
    bytes += change;
  };

  const refill = (p: Held): void => {
    while (hasRoom(p) && p.backlog.length > 0) admit(p, p.backlog.shift());
    const isHalfFree = p.entries.size <= o.window / 2 && p.bytes <= WINDOW_BYTES / 2 && bytes <= BOARD_BYTES / 2;
    if (!p.full || p.backlog.length > 0 || !(isHalfFree || p.entries.size === 0)) return;
    p.full = false;
    o.onRoom(p);
  };

  const makeReady = (p: Held, entry: Entry | undefined): void => {
    if (entry === undefined || entry.state !== 'queued' || p.ready.includes(entry)) return;
    p.ready.push(entry);
    serve();
  };

  const admit = (p: Held, record: BusRecord | undefined): void => {
    if (record === undefined) return;
    const entry: Entry = { record, abort: new AbortController(), state: 'queued' };
    p.entries.set(record.offset, entry);
    weigh(p, memoryBytes(record));
    p.next = record.offset + 1n;
    // Where a group starts that has committed nothing is nothing to commit.
    if (p.committed < 0n) p.committed = record.offset;
    const queue = p.keys.get(record.key);
    if (queue === undefined) {
      p.keys.set(record.key, [entry]);
      makeReady(p, entry);
    } else queue.push(entry);
  };

  /** Partitions take turns, so that one with a slow centre does not take every slot. */
  const nextReady = (): { p: Held; entry: Entry } | undefined => {
    for (let i = 0; i < turn.length; i++) {
      const id = turn.shift();
      if (id === undefined) return undefined;
      turn.push(id);
      const p = held.get(id);
      const entry = p?.ready.shift();
      if (p !== undefined && entry !== undefined) return { p, entry };
    }
    return undefined;
  };

  const lease = (p: Held, entry: Entry): Lease => {
    entry.state = 'leased';
    const ours = (): boolean => held.get(idOf(p)) === p && entry.state === 'leased' && p.entries.has(entry.record.offset);
    return {
      record: entry.record,
      signal: entry.abort.signal,
      ack: () => {
        if (ours()) finish(p, entry);
      },
      release: () => {
        if (!ours()) return;
        entry.state = 'queued';
        makeReady(p, entry);
      },
    };
  };

  const serve = (): void => {
    while (waiting.length > 0 && closed === undefined) {
      const next = nextReady();
      if (next === undefined) return;
      waiting.shift()?.give(lease(next.p, next.entry));
    }
  };

  const drop = (p: Held): void => {
    for (const entry of p.entries.values()) if (entry.state !== 'done') entry.abort.abort(new Error('the partition was lost'));
  };

  return {
    assign: (partitions) => {
      const ours = new Set(partitions.map(idOf));
      for (const [id, p] of held) {
        if (ours.has(id)) continue;
        held.delete(id);
        bytes -= p.bytes;
        drop(p);
      }
      for (const { topic, partition } of partitions) {
        const id = idOf({ topic, partition });
        if (!held.has(id))
          held.set(id, {
            topic,
            partition,
            entries: new Map(),
            keys: new Map(),
            ready: [],
            backlog: [],
            next: -1n,
            received: -1n,
            committed: -1n,
            bytes: 0,
            full: false,
          });
      }
      turn = [...held.keys()];
      // What was lost left room.
      for (const p of held.values()) refill(p);
    },
    committedBefore: (point) => {
      const p = held.get(idOf(point));
      if (p === undefined) return;
      p.committed = point.offset;
      p.backlog = p.backlog.filter((record) => record.offset >= point.offset);
      for (const [offset, entry] of p.entries) {
        if (offset >= point.offset) break;
        if (entry.state === 'done') continue;
        entry.abort.abort(new Error('another process finished it'));
        const at = p.ready.indexOf(entry);
        if (at >= 0) p.ready.splice(at, 1);
        finish(p, entry);
      }
      if (p.next >= 0n && p.next < point.offset) p.next = point.offset;
      if (p.received >= 0n && p.received < point.offset) p.received = point.offset;
    },
    offer: (record) => {
      const p = held.get(idOf(record));
      if (p === undefined || record.offset < p.received || closed !== undefined) return false;
      p.received = record.offset + 1n;
      if (hasRoom(p) && p.backlog.length === 0) admit(p, record);
      else p.backlog.push(record);
      if (!p.full && !hasRoom(p)) {
        p.full = true;
        o.onFull(p);
      }
      return true;
    },
    isFull: (name) => held.get(idOf(name))?.full ?? false,
    nextOffset: (name) => {
      const next = held.get(idOf(name))?.received;
      return next === undefined || next < 0n ? undefined : next;
    },
    take: (signal) => {
      if (closed?.error !== undefined) return Promise.reject(closed.error);
      if (closed !== undefined || signal.aborted) return Promise.resolve(undefined);
      const next = nextReady();
      if (next !== undefined) return Promise.resolve(lease(next.p, next.entry));
      return new Promise((resolve, reject) => {
        const leave = (): void => signal.removeEventListener('abort', onAbort);
        const waiter = {
          give: (value: Lease | undefined) => (leave(), resolve(value)),
          fail: (error: Error) => (leave(), reject(error)),
        };
        const onAbort = (): void => {
          waiting.splice(waiting.indexOf(waiter), 1);
          waiter.give(undefined);
        };
        signal.addEventListener('abort', onAbort, { once: true });
        waiting.push(waiter);
      });
    },
    commits: () => {
      const points: CommitPoint[] = [];
      for (const p of held.values()) {
        if (p.next < 0n) continue;
        const first = p.entries.keys().next();
        const offset = first.done === true ? p.next : first.value;
        if (offset > p.committed) points.push({ topic: p.topic, partition: p.partition, offset });
      }
      return points;
    },
    noteCommitted: (points) => {
      for (const point of points) {
        const p = held.get(idOf(point));
        if (p !== undefined && point.offset > p.committed) p.committed = point.offset;
      }
    },
    setBack: (points) => {
      for (const point of points) {
        const p = held.get(idOf(point));
        if (p !== undefined && point.offset < p.committed) p.committed = point.offset;
      }
      o.onProgress();
    },
    inHand: () => [...held.values()].reduce((sum, p) => sum + p.entries.size, 0),
    close: (error) => {
      closed ??= error === undefined ? {} : { error };
      for (const waiter of waiting.splice(0)) {
        if (error === undefined) waiter.give(undefined);
        else waiter.fail(error);
      }
    },
    abortAll: () => {
      for (const p of held.values()) drop(p);
    },
  };
}
