// Fetching from named offsets of named partitions, without a group: the library's streams can't hold back one partition
// alone, so the subscription and the reader ask for themselves.
import {
  Consumer,
  createAPI,
  FetchIsolationLevels,
  fetchV11,
  IS_CONTROL,
  Reader,
  type KafkaRecord,
  type RecordsBatch,
} from '@platformatic/kafka';
import type { BusRecord } from '../ports/event-bus.ts';
import { Fault } from '../kernel/fault.ts';
import type { KafkaBusOptions } from './kafka-offsets.ts';
import type { PartitionName } from './lease-board.ts';
import { blankBadBatches, FETCH, FETCH_VERSION } from './packed-batches.ts';
import { clientOptions } from './platformatic-client.ts';

/** A partition and the offset to go on from. */
export interface Place {
  readonly name: PartitionName;
  readonly next: bigint;
}

export interface Fetched<P extends Place> {
  readonly place: P;
  /** From `place.next` on. */
  readonly records: readonly BusRecord[];
  /** Where to go on: behind the last batch, also where that holds nothing but markers. */
  readonly next: bigint;
}

export interface Fetcher {
  /** Places by the broker that leads them. */
  byLeader<P extends Place>(places: readonly P[]): Promise<Map<number, P[]>>;
  /** Records of some of the places, all led by this broker. One call at a time for a broker. Rejects with the library's error. */
  fetch<P extends Place>(node: number, places: readonly P[], waitMs: number): Promise<Fetched<P>[]>;
  /** The leaders may have changed. */
  forget(): void;
  close(): Promise<void>;
}

const PARTITION_BYTES = 1_048_576;
const ANSWER_BYTES = 8_388_608;

/**
 * The library unpacks while it reads an answer, without a limit: so its bytes are looked through first. In one piece, since what
 * is no good is overwritten in place.
 */
const fetchLooked = createAPI<Parameters<typeof fetchV11.createRequest>, fetchV11.FetchResponse>(
  FETCH,
  FETCH_VERSION,
  fetchV11.createRequest,
  (correlationId, apiKey, apiVersion, reader) => {
    const answer = reader.buffer.buffer;
    blankBadBatches(answer);
    return fetchV11.parseResponse(correlationId, apiKey, apiVersion, Reader.from(answer));
  },
  false,
  false,
);
/** Neither a session, which would save bytes of the request, nor a rack. */
const NO_SESSION = [0, -1] as const;
const NO_RACK = '';

/** A client of its own, hence its own connection: the broker answers a connection in order, and a fetch that waits must not delay heartbeats. */
export function openFetcher(o: KafkaBusOptions): Fetcher {
  // It never joins: the library wants a name for every consumer.
  const client = new Consumer({ ...clientOptions(o), groupId: `${o.prefix}fetcher`, retries: 1 });
  const topicsOf = async (places: readonly Place[]): Promise<Awaited<ReturnType<typeof client.metadata>>['topics']> => {
    const names = [...new Set(places.map((p) => o.prefix + p.name.topic))];
    return (await client.metadata({ topics: names })).topics;
  };
  return {
    byLeader: async (places) => {
      const topics = await topicsOf(places);
      return Map.groupBy(places, (p) => topics.get(o.prefix + p.name.topic)?.partitions[p.name.partition]?.leader ?? -1);
    },
    fetch: async (node, places, waitMs) => {
      const connection = (await client.connectToBrokers([node])).get(node);
      if (connection === undefined) throw new Fault('BUS_UNAVAILABLE', true, `there is no broker ${node}`);
      const nameOf = (p: Place): string => o.prefix + p.name.topic;
      const asked = new Map(places.map((p) => [`${nameOf(p)}/${p.name.partition}`, p]));
      // Before the versions with ids the library has the name in the id's place.
      const topics = [...Map.groupBy(places, nameOf)].map(([topicId, list]) => ({ topicId, partitions: list.map(request) }));
      const answer = await fetchLooked.async(
        connection,
        waitMs,
        1,
        ANSWER_BYTES,
        FetchIsolationLevels.READ_COMMITTED,
        ...NO_SESSION,
        topics,
        [],
        NO_RACK,
      );
      return answer.responses.flatMap(({ topicId, partitions }) =>
        partitions.flatMap(({ partitionIndex, records, abortedTransactions }) => {
          const place = asked.get(`${topicId}/${partitionIndex}`);
          if (place === undefined || records === undefined || records === null || records.length === 0) return [];
          return [fetched(place, records, abortedTransactions ?? [])];
        }),
      );
    },
    forget: () => client.clearMetadata(),
    close: async () => await client.close(true),
  };
}

function request({ name, next }: Place): {
  partition: number;
  currentLeaderEpoch: number;
  fetchOffset: bigint;
  lastFetchedEpoch: number;
  partitionMaxBytes: number;
} {
  return {
    partition: name.partition,
    currentLeaderEpoch: -1,
    fetchOffset: next,
    lastFetchedEpoch: -1,
    partitionMaxBytes: PARTITION_BYTES,
  };
}

/** Attribute of a batch that was sent in a transaction. */
const IS_TRANSACTIONAL = 0b1_0000;
/** Attribute of a batch whose records have the broker's time, which stands in the batch alone. */
const IS_LOG_APPEND_TIME = 0b1000;

type Aborted = fetchV11.FetchResponsePartitionAbortedTransaction;

/** Without markers, and without what its producer took back. That ends with the producer's marker. */
function committedOf(batches: readonly RecordsBatch[], aborted: readonly Aborted[]): RecordsBatch[] {
  const coming = aborted.toSorted((a, b) => Number(a.firstOffset - b.firstOffset));
  const takenBack = new Set<bigint>();
  return batches.filter((batch) => {
    for (let next = coming[0]; next !== undefined && next.firstOffset <= batch.firstOffset; next = coming[0]) {
      takenBack.add(next.producerId);
      coming.shift();
    }
    if ((batch.attributes & IS_CONTROL) !== 0) {
      takenBack.delete(batch.producerId);
      return false;
    }
    return (batch.attributes & IS_TRANSACTIONAL) === 0 || !takenBack.has(batch.producerId);
  });
}

/** A batch is sent whole: it may begin before the offset that was asked for. */
export function fetched<P extends Place>(place: P, batches: readonly RecordsBatch[], aborted: readonly Aborted[] = []): Fetched<P> {
  const records = committedOf(batches, aborted)
    .flatMap((batch) => batch.records.map((record) => recordOf(place.name, batch, record)))
    .filter((record) => record.offset >= place.next);
  const last = batches.at(-1);
  const behind = last === undefined ? place.next : last.firstOffset + BigInt(last.lastOffsetDelta) + 1n;
  return { place, records, next: behind > place.next ? behind : place.next };
}

/** Of a header that stands twice the first counts. */
function recordOf({ topic, partition }: PartitionName, batch: RecordsBatch, record: KafkaRecord): BusRecord {
  const headers: Record<string, string> = {};
  for (const [name, value] of record.headers) headers[name?.toString('utf8') ?? ''] ??= value?.toString('utf8') ?? '';
  return {
    topic,
    partition,
    offset: batch.firstOffset + BigInt(record.offsetDelta),
    key: record.key?.toString('utf8') ?? '',
    // The library gives a view of the whole answer: a record that waits for hours would keep all of it.
    value: new Uint8Array(record.value ?? []),
    headers,
    timestampMs: Number((batch.attributes & IS_LOG_APPEND_TIME) === 0 ? batch.firstTimestamp + record.timestampDelta : batch.maxTimestamp),
  };
}
