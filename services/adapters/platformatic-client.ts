// What the parts of the adapter on @platformatic/kafka share: options of its clients, and questions about topics and offsets.
import { Admin, FetchIsolationLevels, type BaseOptions } from '@platformatic/kafka';
import type { TopicEnd } from '../ports/event-bus.ts';
import { askGroup } from './group-patience.ts';
import { busFault, topicPattern } from './kafka-client.ts';
import type { KafkaBusOptions } from './kafka-offsets.ts';
import type { CommitPoint } from './lease-board.ts';

/** Options of every client. A request that can be tried again is, after 0.2 s, then twice that, up to 5 s. */
export function clientOptions(o: KafkaBusOptions): BaseOptions {
  return {
    clientId: o.clientId,
    bootstrapBrokers: [...o.brokers],
    // `timeout` is how long the broker may take to have a record on all replicas, `requestTimeout` how long we wait.
    timeout: 30_000,
    requestTimeout: 35_000,
    connectTimeout: 5000,
    retries: 5,
    // The library tries a refused password again, too: then at least without a wait.
    retryDelay: (_client, _operation, attempt, _retries, error) => (busFault(error, '').retryable ? Math.min(5000, 100 * 2 ** attempt) : 0),
    metadataMaxAge: 60_000,
    autocreateTopics: false,
    sasl: { mechanism: 'SCRAM-SHA-512', username: o.username, password: o.password },
    ...(o.ssl === undefined ? {} : { tls: { ...o.ssl } }),
  };
}

/** Questions to the cluster, with logical names. All throw Fault. */
export interface Asking {
  /** Logical topics that exist and match. */
  find(patterns: readonly string[]): Promise<string[]>;
  ends(topics: readonly string[]): Promise<TopicEnd[]>;
  /** What a group has committed; -1 for nothing, -2 after kafkajs' own reset. */
  committed(group: string, topics: readonly string[]): Promise<CommitPoint[]>;
  close(): Promise<void>;
}

const or = async <T>(work: Promise<T>, what: string): Promise<T> =>
  await work.catch((error: unknown) => Promise.reject(busFault(error, what)));

/** Opens an admin client at the first question. */
export function openAsking(o: KafkaBusOptions): Asking {
  const admin = new Admin(clientOptions(o));
  const partitionsOf = async (topics: readonly string[]): Promise<{ name: string; partitions: number[] }[]> => {
    const { topics: found } = await admin.metadata({ topics: topics.map((t) => o.prefix + t), forceUpdate: true });
    return [...found].map(([name, { partitions }]) => ({ name, partitions: partitions.map((_, i) => i) }));
  };
  const offsetsAt = async (topics: readonly { name: string; partitions: number[] }[], timestamp: bigint): Promise<Map<string, bigint>> => {
    const answer = await admin.listOffsets({
      topics: topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map((partitionIndex) => ({ partitionIndex, timestamp })),
      })),
      isolationLevel: FetchIsolationLevels.READ_UNCOMMITTED,
    });
    return new Map(answer.flatMap(({ name, partitions }) => partitions.map((p) => [`${name}/${p.partitionIndex}`, p.offset] as const)));
  };
  const endsOf = async (topics: readonly string[]): Promise<TopicEnd[]> => {
    const found = await partitionsOf(topics);
    const [first, end] = await Promise.all([offsetsAt(found, EARLIEST), offsetsAt(found, LATEST)]);
    const byName = new Map(found.map((t) => [t.name, t.partitions]));
    return topics.flatMap((topic) =>
      (byName.get(o.prefix + topic) ?? []).map((partition) => {
        const id = `${o.prefix + topic}/${partition}`;
        return { topic, partition, first: first.get(id) ?? 0n, end: end.get(id) ?? 0n };
      }),
    );
  };
  const committedBy = async (group: string, topics: readonly string[]): Promise<CommitPoint[]> => {
    const found = await partitionsOf(topics);
    const asked = found.map(({ name, partitions }) => ({ name, partitionIndexes: partitions }));
    const answer = await admin.listConsumerGroupOffsets({ groups: [{ groupId: o.prefix + group, topics: asked }] });
    return answer.flatMap((g) =>
      g.topics.flatMap(({ name, partitions }) =>
        partitions.map((p) => ({ topic: name.slice(o.prefix.length), partition: p.partitionIndex, offset: p.committedOffset })),
      ),
    );
  };
  return {
    find: async (patterns) => {
      const wanted = patterns.map(topicPattern);
      return (await or(admin.listTopics(), 'listing topics'))
        .filter((name) => name.startsWith(o.prefix))
        .map((name) => name.slice(o.prefix.length))
        .filter((name) => wanted.some((w) => w.test(name)))
        .sort();
    },
    // Without a topic the library would ask about all.
    ends: async (topics) => (topics.length === 0 ? [] : await or(endsOf(topics), `asking for the ends of ${topics.join(', ')}`)),
    committed: async (group, topics) =>
      topics.length === 0 ? [] : await askGroup(`asking for the offsets of ${group}`, () => committedBy(group, topics)),
    close: async () => await admin.close(),
  };
}

/** Timestamps that stand for the two ends of a log in the protocol. */
const EARLIEST = -2n;
const LATEST = -1n;
