// The event bus over kafkajs: publish with acks from all in-sync replicas, topics, ends.
// Consuming is in kafkajs-subscription.ts, reading without a group in kafkajs-reader.ts.
import kafkajs from 'kafkajs';
import type { Admin, Kafka, Producer } from 'kafkajs';
import type { EventBus, OutgoingRecord } from '../ports/event-bus.ts';
import { busFault, kafkaClient, topicPattern } from './kafka-client.ts';
import { committedBy, endsOf, within, type KafkaBusOptions, type KafkaParts } from './kafka-offsets.ts';
import { readRecords } from './kafkajs-reader.ts';
import { openSubscription } from './kafkajs-subscription.ts';

/** The bus. Nothing is connected before its first use. */
export function kafkaBus(options: KafkaBusOptions): EventBus {
  let denial: string | undefined;
  const kafka = kafkaClient(options, (what) => {
    denial = what;
  });
  let admin: Promise<Admin> | undefined;
  const connectAdmin = async (): Promise<Admin> => {
    const client = kafka.admin();
    try {
      await client.connect();
    } catch (error) {
      admin = undefined;
      await client.disconnect().catch(() => undefined);
      throw busFault(error, 'connecting to Kafka');
    }
    return client;
  };
  const parts: KafkaParts = {
    kafka,
    options,
    denied: () => denial,
    admin: () => (admin ??= connectAdmin()),
    find: async (patterns) => {
      const wanted = patterns.map(topicPattern);
      const all = await (await parts.admin()).listTopics().catch((error: unknown) => Promise.reject(busFault(error, 'listing topics')));
      return all
        .filter((name) => name.startsWith(options.prefix))
        .map((name) => name.slice(options.prefix.length))
        .filter((name) => wanted.some((w) => w.test(name)))
        .sort();
    },
  };
  const publisher = makePublisher(kafka, options.prefix);
  const closers: (() => Promise<void>)[] = [];
  return {
    publish: (records, signal) => publisher.publish(records, signal),
    subscribe: async (o) => {
      const subscription = await openSubscription(parts, o);
      closers.push(() => subscription.stop());
      return subscription;
    },
    topics: (patterns) => parts.find(patterns),
    ends: (topics) => endsOf(parts, topics),
    read: (ends, signal) => readRecords(parts, ends, signal),
    committed: async (group, topics) => (await committedBy(parts, group, topics)).filter((p) => p.offset >= 0n),
    close: async () => {
      await Promise.all(closers.map((close) => close()));
      await publisher.close();
      await (await admin?.catch(() => undefined))?.disconnect();
    },
  };
}

interface Waiting {
  readonly records: readonly OutgoingRecord[];
  readonly bytes: number;
  resolve(): void;
  reject(error: unknown): void;
}

/** Least size at which a request is sent without looking for more records. A larger record goes alone: its topic decides. */
const REQUEST_BYTES = 512 * 1024;

/** Longest wait for requests under way when the bus closes, and for the broker to be told. */
const CLOSE_MS = 5000;

function sizeOf(record: OutgoingRecord): number {
  const headers = Object.entries(record.headers).reduce((sum, [k, v]) => sum + Buffer.byteLength(k) + Buffer.byteLength(v), 64);
  return record.value.byteLength + Buffer.byteLength(record.key) + headers;
}

/**
 * One request at a time, with everything that came in meanwhile in the next one: fast under load, no wait when
 * idle, and a retried request can't overtake another, so records of a key keep their order.
 */
export function makePublisher(kafka: Pick<Kafka, 'producer'>, prefix: string): { publish: EventBus['publish']; close(): Promise<void> } {
  const producer: Producer = kafka.producer({
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    allowAutoTopicCreation: false,
    maxInFlightRequests: 1,
  });
  const queue: Waiting[] = [];
  let connected: Promise<void> | undefined;
  let pumping: Promise<void> | undefined;

  const send = async (records: readonly OutgoingRecord[]): Promise<void> => {
    connected ??= producer.connect().catch((error: unknown) => {
      connected = undefined;
      throw error;
    });
    await connected;
    const byTopic = Map.groupBy(records, (r) => prefix + r.topic);
    const topicMessages = [...byTopic].map(([topic, list]) => ({
      topic,
      messages: list.map((r) => ({ key: r.key, value: Buffer.from(r.value), headers: { ...r.headers } })),
    }));
    await producer.sendBatch({ acks: -1, timeout: 30_000, topicMessages });
  };

  const sendFor = async (waiting: readonly Waiting[]): Promise<void> => {
    try {
      await send(waiting.flatMap((w) => w.records));
      for (const w of waiting) w.resolve();
    } catch (error) {
      // One refused topic must not fail its neighbours: each caller gets its own answer.
      if (waiting.length > 1) for (const w of waiting) await sendFor([w]);
      else for (const w of waiting) w.reject(busFault(error, `publishing to ${[...new Set(w.records.map((r) => r.topic))].join(', ')}`));
    }
  };

  const pump = async (): Promise<void> => {
    // Callers of the same tick go together.
    await Promise.resolve();
    while (queue.length > 0) {
      const batch: Waiting[] = [];
      let bytes = 0;
      while (queue[0] !== undefined && (batch.length === 0 || bytes + queue[0].bytes <= REQUEST_BYTES)) {
        bytes += queue[0].bytes;
        batch.push(queue[0]);
        queue.shift();
      }
      await sendFor(batch);
    }
    pumping = undefined;
  };

  /** Whoever aborts waits no longer. What was not sent yet never is; what is on its way may arrive, with the ids of the next try. */
  const enqueue = (records: readonly OutgoingRecord[], bytes: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const settled = (): void => signal?.removeEventListener('abort', leave);
      const waiting: Waiting = {
        records,
        bytes,
        resolve: () => (settled(), resolve()),
        reject: (error) => (settled(), reject(error)),
      };
      const leave = (): void => {
        const at = queue.indexOf(waiting);
        if (at >= 0) queue.splice(at, 1);
        reject(signal?.reason);
      };
      signal?.throwIfAborted();
      signal?.addEventListener('abort', leave, { once: true });
      queue.push(waiting);
      pumping ??= pump();
    });

  return {
    publish: async (records, signal) => {
      let chunk: OutgoingRecord[] = [];
      let bytes = 0;
      for (const record of records) {
        const size = sizeOf(record);
        if (chunk.length > 0 && bytes + size > REQUEST_BYTES) {
          await enqueue(chunk, bytes, signal);
          chunk = [];
          bytes = 0;
        }
        chunk.push(record);
        bytes += size;
      }
      if (chunk.length > 0) await enqueue(chunk, bytes, signal);
    },
    close: async () => {
      if (pumping !== undefined) await within(CLOSE_MS, pumping);
      if (connected !== undefined) await within(CLOSE_MS, producer.disconnect());
    },
  };
}
