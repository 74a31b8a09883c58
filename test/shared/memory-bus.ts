// An event bus in memory: topics with partitions, consumer groups that rebalance, commits. Held to the same contract
// suite as the real one.
import { leaseBoard, type LeaseBoard } from '../../services/adapters/lease-board.ts';
import { isPattern, topicPattern } from '../../services/adapters/kafka-client.ts';
import { Fault } from '../../services/kernel/fault.ts';
import type { BusRecord, EventBus, OutgoingRecord, SubscribeOptions, Subscription } from '../../services/ports/event-bus.ts';

interface Member {
  readonly options: SubscribeOptions;
  readonly board: LeaseBoard;
  readonly positions: Map<string, bigint>;
}

interface Group {
  readonly members: Member[];
  readonly committed: Map<string, bigint>;
}

export interface MemoryBroker {
  createTopic(name: string, partitions: number): void;
  /** Every record of a topic, partition by partition. */
  records(topic: string): BusRecord[];
  bus(): EventBus;
  /** While set, publishing throws it. */
  outage: Fault | undefined;
}

const idOf = (p: { topic: string; partition: number }): string => `${p.topic}/${p.partition}`;

function hash(text: string): number {
  let h = 0;
  for (const c of text) h = (Math.imul(h, 31) + (c.codePointAt(0) ?? 0)) >>> 0;
  return h;
}

/** An empty broker. */
export function memoryBroker(): MemoryBroker {
  const topics = new Map<string, BusRecord[][]>();
  const groups = new Map<string, Group>();

  const matching = (patterns: readonly string[]): string[] =>
    [...topics.keys()].filter((t) => patterns.some((p) => topicPattern(p).test(t))).sort();
  const logOf = (p: { topic: string; partition: number }): BusRecord[] => topics.get(p.topic)?.[p.partition] ?? [];

  const feed = (member: Member): void => {
    for (const [id, position] of member.positions) {
      const slash = id.lastIndexOf('/');
      const name = { topic: id.slice(0, slash), partition: Number(id.slice(slash + 1)) };
      const log = logOf(name);
      let next = position;
      while (next < BigInt(log.length) && !member.board.isFull(name)) {
        const record = log[Number(next)];
        next += 1n;
        member.positions.set(id, next);
        if (record !== undefined) member.board.offer(record);
      }
    }
  };

  const commit = (group: Group, member: Member): void => {
    if (!group.members.includes(member)) return;
    const points = member.board.commits();
    for (const p of points) group.committed.set(idOf(p), p.offset);
    member.board.noteCommitted(points);
  };

  const rebalance = (group: Group): void => {
    for (const m of group.members) commit(group, m);
    const wanted = [...new Set(group.members.flatMap((m) => matching(m.options.topics)))].flatMap((topic) =>
      (topics.get(topic) ?? []).map((_, partition) => ({ topic, partition })),
    );
    group.members.forEach((m, i) => {
      const ours = wanted.filter((_, at) => at % group.members.length === i);
      m.board.assign(ours);
      const before = new Map(m.positions);
      m.positions.clear();
      for (const p of ours) {
        const committed = group.committed.get(idOf(p));
        if (committed !== undefined) m.board.committedBefore({ ...p, offset: committed });
        m.positions.set(idOf(p), before.get(idOf(p)) ?? committed ?? 0n);
      }
    });
    for (const m of group.members) feed(m);
  };

  const subscribe = (options: SubscribeOptions): Subscription => {
    const group = groups.get(options.group) ?? { members: [], committed: new Map<string, bigint>() };
    groups.set(options.group, group);
    const board = leaseBoard({
      window: options.window,
      onFull: () => undefined,
      // Not inside the acknowledgement that made the room.
      onRoom: () => queueMicrotask(() => feed(member)),
      onProgress: () => queueMicrotask(() => commit(group, member)),
    });
    const member: Member = { options, board, positions: new Map() };
    group.members.push(member);
    rebalance(group);
    return {
      take: (signal) => board.take(signal),
      lag: async () =>
        matching(options.topics).flatMap((topic) =>
          (topics.get(topic) ?? []).map((log, partition) => ({
            topic,
            partition,
            committed: group.committed.get(idOf({ topic, partition })) ?? 0n,
            end: BigInt(log.length),
          })),
        ),
      stop: async () => {
        board.close();
        commit(group, member);
        board.abortAll();
        if (!group.members.includes(member)) return;
        group.members.splice(group.members.indexOf(member), 1);
        rebalance(group);
      },
    };
  };

  const publish = async (records: readonly OutgoingRecord[]): Promise<void> => {
    if (broker.outage !== undefined) throw broker.outage;
    for (const r of records) {
      const partitions = topics.get(r.topic);
      if (partitions === undefined) throw new Fault('BUS_UNAVAILABLE', true, `no topic ${r.topic}`);
      const partition = hash(r.key) % partitions.length;
      const log = partitions[partition];
      log?.push({ ...r, headers: { ...r.headers }, partition, offset: BigInt(log.length), timestampMs: Date.now() });
    }
    for (const group of groups.values()) for (const m of group.members) feed(m);
  };

  async function* read(ends: Parameters<EventBus['read']>[0], signal?: AbortSignal): AsyncGenerator<BusRecord> {
    for (const e of ends) {
      for (const record of logOf(e).slice(Number(e.first), Number(e.end))) {
        signal?.throwIfAborted();
        yield record;
      }
    }
  }

  const broker: MemoryBroker = {
    outage: undefined,
    createTopic: (name, partitions) => {
      topics.set(
        name,
        Array.from({ length: partitions }, () => []),
      );
      for (const group of groups.values())
        if (group.members.some((m) => m.options.topics.some((t) => isPattern(t) && topicPattern(t).test(name)))) rebalance(group);
    },
    records: (topic) => (topics.get(topic) ?? []).flat(),
    bus: () => {
      const own: Subscription[] = [];
      return {
        publish,
        subscribe: async (options) => {
          const subscription = subscribe(options);
          own.push(subscription);
          return subscription;
        },
        topics: async (patterns) => matching(patterns),
        ends: async (names) =>
          names.flatMap((topic) =>
            (topics.get(topic) ?? []).map((log, partition) => ({ topic, partition, first: 0n, end: BigInt(log.length) })),
          ),
        read,
        committed: async (group, names) =>
          [...(groups.get(group)?.committed ?? [])]
            .map(([id, offset]) => ({
              topic: id.slice(0, id.lastIndexOf('/')),
              partition: Number(id.slice(id.lastIndexOf('/') + 1)),
              offset,
            }))
            .filter((p) => names.includes(p.topic)),
        close: async () => {
          for (const subscription of own) await subscription.stop();
        },
      };
    },
  };
  return broker;
}
