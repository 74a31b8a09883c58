// The fetch loop of a subscription: asks each broker for those partitions only that have room, from where each goes on.
// A kept partition goes on where it was: nothing of it is fetched again after a rebalance.
import { findErrorBy } from '@platformatic/kafka';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Fault } from '../kernel/fault.ts';
import { busFault } from './kafka-client.ts';
import { within } from './answered.ts';
import { partitionId } from './kafka-offsets.ts';
import { truncated, type StartingPoint } from './kafkajs-truncation.ts';
import type { LeaseBoard, PartitionName } from './lease-board.ts';
import type { Asking } from './platformatic-client.ts';
import type { Fetcher } from './platformatic-fetch.ts';

export interface FetchLoop {
  /** Forgets every other partition. */
  keep(ours: readonly PartitionName[]): void;
  /** Where a partition begins; one that is kept goes on where it is, or further on where the group has committed more. */
  begin(start: StartingPoint): void;
  /** A partition has room again. */
  ring(): void;
  /** Fetches from every broker that leads one of the partitions. Rejects with the library's error. */
  run(): Promise<void>;
  stop(): Promise<void>;
}

export interface FetchLoopOptions {
  readonly fetcher: Fetcher;
  readonly asking: Pick<Asking, 'ends'>;
  readonly board: Pick<LeaseBoard, 'offer' | 'isFull'>;
  readonly log: Pick<Logger, 'debug'>;
  /** For the words of a fault. */
  readonly what: string;
  onFault(fault: Fault): void;
}

/** Where a partition goes on. One that is lost and comes back gets a new one: what was fetched for the old is dropped. */
interface Position {
  readonly name: PartitionName;
  next: bigint;
}

/** Longest wait for records when all partitions have room, and when some are left out and may get room meanwhile. */
const WAIT_MS = 1000;
const SHORT_WAIT_MS = 100;
const PAUSE_MS = 200;
const CLOSE_MS = 5000;

/** A loop without partitions. */
export function fetchLoop(o: FetchLoopOptions): FetchLoop {
  const positions = new Map<string, Position>();
  const running = new Set<number>();
  /** Nodes that were found to lead one of the partitions since their loop looked last. */
  const wanted = new Set<number>();
  const bell = makeBell();
  let stopped = false;

  const leaders = (): Promise<Map<number, Position[]>> => o.fetcher.byLeader([...positions.values()]);
  const isOurs = (p: Position): boolean => !stopped && positions.get(partitionId(p.name)) === p;

  const startDrains = (nodes: Iterable<number>): void => {
    for (const node of nodes) {
      wanted.add(node);
      if (!running.has(node) && !stopped) void drain(node);
    }
  };
  const run = async (): Promise<void> => startDrains((await leaders()).keys());

  const drain = async (node: number): Promise<void> => {
    running.add(node);
    // In one tick with the end: what is assigned while a look finds nothing is looked for again.
    while (!stopped && wanted.delete(node)) await drainOnce(node);
    running.delete(node);
  };

  /** Wants the node again unless it was found to lead nothing. */
  const drainOnce = async (node: number): Promise<void> => {
    let asked: readonly Position[] = [];
    try {
      const byLeader = await leaders();
      // A partition may have moved to a node without a loop while it was full: nobody asked for it, so nobody was told.
      startDrains(byLeader.keys());
      const ours = byLeader.get(node) ?? [];
      asked = ours.filter((p) => !o.board.isFull(p.name));
      if (ours.length === 0) return;
      if (asked.length === 0) await bell.wait(WAIT_MS);
      else await fetchInto(node, asked, asked.length < ours.length ? SHORT_WAIT_MS : WAIT_MS);
    } catch (error) {
      wanted.add(node);
      await failed(error, asked);
    }
  };

  const fetchInto = async (node: number, asked: readonly Position[], waitMs: number): Promise<void> => {
    for (const { place, records, next } of await o.fetcher.fetch(node, asked, waitMs)) {
      if (!isOurs(place)) continue;
      for (const record of records) o.board.offer(record);
      if (next > place.next) place.next = next;
    }
  };

  const giveUp = (fault: Fault): void => {
    stopped = true;
    o.onFault(fault);
  };

  const failed = async (error: unknown, asked: readonly Position[]): Promise<void> => {
    if (stopped) return;
    const fault = busFault(error, o.what);
    if (!fault.retryable) return giveUp(fault);
    if (isOutOfRange(error)) {
      const gone = await outOfRange(asked).catch(() => undefined);
      if (gone !== undefined) return giveUp(gone);
    }
    o.log.debug({ err: fault }, 'fetching again');
    o.fetcher.forget();
    await sleep(PAUSE_MS);
    // Another broker may lead now.
    await run().catch(() => undefined);
  };

  /** It must not jump: the fault when the log no longer has the place where we must go on. */
  const outOfRange = async (asked: readonly Position[]): Promise<Fault | undefined> => {
    const ends = await o.asking.ends([...new Set(asked.map((p) => p.name.topic))]);
    const endOf = new Map(ends.map((e) => [partitionId(e), e]));
    for (const position of asked.filter(isOurs)) {
      const end = endOf.get(partitionId(position.name));
      if (end !== undefined && (position.next < end.first || position.next > end.end))
        return truncated({ ...position.name, offset: position.next }, `the log has ${end.first} to ${end.end}`);
    }
    return undefined;
  };

  return {
    keep: (ours) => {
      const ids = new Set(ours.map(partitionId));
      for (const id of positions.keys()) if (!ids.has(id)) positions.delete(id);
    },
    begin: ({ point: { topic, partition, offset }, committed }) => {
      const name = { topic, partition };
      const kept = positions.get(partitionId(name));
      if (kept === undefined) positions.set(partitionId(name), { name, next: offset });
      else if (committed && kept.next < offset) kept.next = offset;
    },
    ring: bell.ring,
    run,
    stop: async () => {
      stopped = true;
      bell.ring();
      await within(CLOSE_MS, o.fetcher.close());
    },
  };
}

/** Whether the broker said that the log does not reach the offset. */
export function isOutOfRange(error: unknown): boolean {
  return findErrorBy(error instanceof Error ? error : null, 'apiId', 'OFFSET_OUT_OF_RANGE') !== null;
}

interface Bell {
  ring(): void;
  /** Resolves at the next ring, or after the time. */
  wait(ms: number): Promise<void>;
}

function makeBell(): Bell {
  const waiting = new Set<() => void>();
  return {
    ring: () => {
      for (const go of waiting) go();
    },
    wait: (ms) =>
      new Promise((resolve) => {
        const go = (): void => {
          clearTimeout(timer);
          waiting.delete(go);
          resolve();
        };
        const timer = setTimeout(go, ms);
        waiting.add(go);
      }),
  };
}
