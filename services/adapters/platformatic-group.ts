// Membership in a consumer group over @platformatic/kafka: joins (and joins again), heartbeats by the library's own
// timer, commits by generation. Partitions are dealt as the kafkajs adapter deals them, so that both can share a group.
import {
  Consumer,
  offsetCommitV8,
  type ClusterMetadata,
  type ExtendedGroupProtocolSubscription,
  type GroupAssignment,
  type GroupPartitionsAssignments,
} from '@platformatic/kafka';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from '../kernel/fault.ts';
import { busFault } from './kafka-client.ts';
import { within } from './answered.ts';
import type { KafkaBusOptions } from './kafka-offsets.ts';
import { assignSticky, ASSIGNER, holdingIn, sayHolding, type Holding } from './kafkajs-assigner.ts';
import type { CommitPoint, PartitionName } from './lease-board.ts';
import { clientOptions } from './platformatic-client.ts';

export interface GroupHooks {
  /** A join begins: commit nothing more. The answer is what this member has, logical names. */
  onJoin(): Holding;
  /** What is ours from now on. Logical names. */
  onAssigned(ours: readonly PartitionName[]): void;
  /** The group can't be gone on with. */
  onFault(fault: Fault): void;
}

export interface Group {
  /** Joins, also again with further topics. @throws Fault */
  join(topics: readonly string[]): Promise<void>;
  /** Names no other topics at the next join. */
  forgetAllBut(topics: readonly string[]): void;
  /** The topics that the last join named. */
  joined(): readonly string[];
  /**
   * One request, never repeated: a second one after a join would carry the new generation and could commit a lost
   * partition. `points` is asked for in the tick in which the generation is read. Gives the points that were committed.
   */
  commit(points: () => readonly CommitPoint[]): Promise<readonly CommitPoint[]>;
  leave(): Promise<void>;
}

/** Longest wait for the broker to take note that we leave: after that the session timeout does it. */
const LEAVE_MS = 5000;

/** A member that has not joined yet. @param group logical name */
export function openGroup(options: KafkaBusOptions, group: string, hooks: GroupHooks): Group {
  const { prefix } = options;
  const sessionTimeout = options.sessionTimeoutMs ?? 10_000;
  const member = new Consumer({ ...clientOptions(options), groupId: prefix + group });
  let left = false;
  let asked: readonly string[] | undefined;
  let named: readonly string[] = [];
  const joinOptions = {
    sessionTimeout,
    rebalanceTimeout: Math.max(sessionTimeout, 15_000),
    heartbeatInterval: Math.floor(sessionTimeout / 5),
    protocols: [{ name: ASSIGNER, version: 0 }],
    protocolsMetadata: (_protocols: unknown, topics: readonly string[]) => {
      const { partitions, sinceMs } = hooks.onJoin();
      // The library makes one request of joins at the same time: the first one's topics count.
      asked ??= [...topics];
      return sayHolding({ partitions: partitions.map((p) => ({ ...p, topic: prefix + p.topic })), sinceMs });
    },
    partitionAssigner: deal,
  };
  const joinOnce = async (): Promise<void> => {
    try {
      // A copy: the library writes its defaults into what it is given.
      await member.joinGroup({ ...joinOptions });
    } finally {
      asked = undefined;
    }
  };
  /** After the library gave up on a join of its own. */
  const joinAgain = async (error: unknown): Promise<void> => {
    asked = undefined;
    for (let fault = busFault(error, `joining the group ${group} again`); !left;) {
      if (!fault.retryable) return hooks.onFault(fault);
      options.log.warn({ err: fault, group }, 'joining again');
      await sleep(500);
      if (left) return;
      try {
        return await joinOnce();
      } catch (next) {
        fault = busFault(next, `joining the group ${group} again`);
      }
    }
  };
  member.on('error', (error: Error) => void joinAgain(error));
  member.on('consumer:heartbeat:error', ({ error }) => {
    const fault = busFault(error, `heartbeat of the group ${group}`);
    if (!fault.retryable && !left) hooks.onFault(fault);
  });
  member.on('consumer:group:join', ({ assignments }) => {
    named = (asked ?? named.map((t) => prefix + t)).map((t) => t.slice(prefix.length));
    asked = undefined;
    hooks.onAssigned(
      (assignments ?? []).flatMap(({ topic, partitions }) =>
        partitions.map((partition) => ({ topic: topic.slice(prefix.length), partition })),
      ),
    );
  });
  return {
    join: async (topics) => {
      for (const topic of topics) if (!member.topics.has(prefix + topic)) member.topics.track(prefix + topic);
      await joinOnce().catch((error: unknown) => Promise.reject(busFault(error, `joining the group ${group}`)));
    },
    forgetAllBut: (topics) => {
      const names = new Set(topics.map((t) => prefix + t));
      for (const topic of member.topics.current) if (!names.has(topic)) member.topics.untrack(topic);
    },
    joined: () => named,
    commit: async (points) => {
      const coordinator = await member.findGroupCoordinator();
      const connection = (await member.connectToBrokers([coordinator])).get(coordinator);
      const { generationId, memberId } = member;
      const list = points();
      if (connection === undefined || memberId === null || list.length === 0) return [];
      const topics = [...Map.groupBy(list, (p) => p.topic)].map(([topic, of]) => ({ name: prefix + topic, partitions: of.map(commitOf) }));
      await offsetCommitV8.api.async(connection, prefix + group, generationId, memberId, null, topics);
      return list;
    },
    leave: async () => {
      left = true;
      await within(LEAVE_MS, member.close(true));
    },
  };
}

function commitOf({ partition, offset }: CommitPoint): {
  partitionIndex: number;
  committedOffset: bigint;
  committedLeaderEpoch: number;
  committedMetadata: null;
} {
  return { partitionIndex: partition, committedOffset: offset, committedLeaderEpoch: -1, committedMetadata: null };
}

/** The library's form of the deal; names with their prefix. */
export function deal(
  _leader: string,
  members: ReadonlyMap<string, ExtendedGroupProtocolSubscription>,
  _topics: ReadonlySet<string>,
  metadata: ClusterMetadata,
): GroupPartitionsAssignments[] {
  const partitions = [...metadata.topics].flatMap(([topic, { partitionsCount }]) =>
    Array.from({ length: partitionsCount }, (_, partition) => ({ topic, partition })),
  );
  const said = [...members].map(([id, { topics, metadata: userData }]) => ({
    id,
    topics: topics ?? [],
    ...holdingIn(typeof userData === 'string' ? Buffer.from(userData) : userData),
  }));
  return [...assignSticky(said, partitions)].map(([memberId, list]) => ({ memberId, assignments: byTopic(list) }));
}

function byTopic(list: readonly PartitionName[]): Map<string, GroupAssignment> {
  return new Map([...Map.groupBy(list, (p) => p.topic)].map(([topic, of]) => [topic, { topic, partitions: of.map((p) => p.partition) }]));
}
