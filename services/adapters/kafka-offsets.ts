// What the parts of the kafkajs adapter share: options, the admin client, and questions about offsets.
import type { Batch, Kafka, KafkaMessage } from 'kafkajs';
import type { BusRecord, TopicEnd } from '../ports/event-bus.ts';
import { Fault } from '../kernel/fault.ts';
import { askGroup } from './group-patience.ts';
import { busFault, type KafkaAccess } from './kafka-client.ts';
import type { KafkaAdmin } from './kafkajs-admin.ts';
import type { CommitPoint, PartitionName } from './lease-board.ts';

export interface KafkaBusOptions extends KafkaAccess {
  /** Put before every topic and group name. */
  readonly prefix: string;
  /** 10 s by default; 6 s in tests. */
  readonly sessionTimeoutMs?: number;
  /** How often new topics of a pattern are looked for; 10 s by default. */
  readonly metadataPollMs?: number;
}

/** What the parts of the adapter share. */
export interface KafkaParts {
  readonly kafka: Kafka;
  readonly options: KafkaBusOptions;
  /** What the broker refused last, in its own words. */
  denied(): string | undefined;
  readonly about: KafkaAdmin['about'];
  /** Logical topics that exist and match. */
  find(patterns: readonly string[]): Promise<string[]>;
}

const withPrefix = (prefix: string, topics: readonly string[]): string[] => topics.map((topic) => prefix + topic);

/** First and end offset of every partition of the topics. */
export async function endsOf(parts: Pick<KafkaParts, 'options' | 'about'>, topics: readonly string[]): Promise<TopicEnd[]> {
  if (topics.length === 0) return [];
  const { prefix } = parts.options;
  const perTopic = await parts.about(withPrefix(prefix, topics), (admin) =>
    inSteps(topics, 16, async (topic) => {
      const offsets = await admin
        .fetchTopicOffsets(prefix + topic)
        .catch((error: unknown) => Promise.reject(busFault(error, `asking for the ends of ${topic}`)));
      return offsets
        .map((p) => ({ topic, partition: p.partition, first: BigInt(p.low), end: BigInt(p.high) }))
        .sort((a, b) => a.partition - b.partition);
    }),
  );
  return perTopic.flat();
}

/** What a group (logical name) has committed in the topics: -1 for nothing, -2 after kafkajs' own reset. */
export async function committedBy(parts: KafkaParts, group: string, topics: readonly string[]): Promise<CommitPoint[]> {
  if (topics.length === 0) return [];
  const { prefix } = parts.options;
  const names = withPrefix(prefix, topics);
  const answer = await askGroup(
    `asking for the offsets of ${group}`,
    () => parts.about(names, (admin) => admin.fetchOffsets({ groupId: prefix + group, topics: names })),
    (error, what) => groupFault(parts, error, what),
  );
  return answer.flatMap(({ topic, partitions }) =>
    partitions.map((p) => ({ topic: topic.slice(prefix.length), partition: p.partition, offset: BigInt(p.offset) })),
  );
}

/** As `busFault`; kafkajs hides behind 'coordinator not found' that the group is refused. */
export function groupFault(parts: Pick<KafkaParts, 'denied'>, error: unknown, what: string): Fault {
  const fault = busFault(error, what);
  const denied = fault.code === 'BUS_NO_COORDINATOR' ? parts.denied() : undefined;
  return denied === undefined ? fault : new Fault('DENIED_BY_BROKER', false, `${what}: ${denied}`, { cause: error });
}

/** Maps with at most `width` at a time, keeping the order. */
export async function inSteps<A, B>(items: readonly A[], width: number, work: (item: A) => Promise<B>): Promise<B[]> {
  const results: B[] = [];
  for (let i = 0; i < items.length; i += width) results.push(...(await Promise.all(items.slice(i, i + width).map(work))));
  return results;
}

export function partitionId(p: PartitionName): string {
  return `${p.topic}/${p.partition}`;
}

/** From which offset on a batch was fetched: kafkajs' types do not name it. */
export function fetchedOffsetOf(batch: Batch): bigint {
  return BigInt((batch as Batch & { readonly fetchedOffset: string }).fetchedOffset);
}

/** A kafkajs message as a record of the port. Of a header that stands twice the first counts. */
export function recordOf(place: PartitionName, message: KafkaMessage): BusRecord {
  const headers = Object.entries(message.headers ?? {}).map(([name, value]) => {
    const first = Array.isArray(value) ? value[0] : value;
    return [name, first === undefined ? '' : first.toString()] as const;
  });
  return {
    topic: place.topic,
    partition: place.partition,
    offset: BigInt(message.offset),
    key: message.key?.toString('utf8') ?? '',
    // kafkajs gives a view of the whole answer to a fetch: a record that waits for hours would keep all of it.
    value: new Uint8Array(message.value ?? []),
    headers: Object.fromEntries(headers),
    timestampMs: Number(message.timestamp),
  };
}
