// The event bus over kafkajs: publish with acks from all in-sync replicas, topics, ends.
// Consuming is in kafkajs-subscription.ts, reading without a group in kafkajs-reader.ts.
import kafkajs from 'kafkajs';
import type { Admin, Kafka, Producer } from 'kafkajs';
import type { EventBus } from '../ports/event-bus.ts';
import { publisher as publisherOf, type Publisher } from './bus-publisher.ts';
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

/** Longest wait for the broker to be told when the bus closes. */
const CLOSE_MS = 5000;

/** The publisher over kafkajs: one request at a time, of whatever came in meanwhile. */
export function makePublisher(kafka: Pick<Kafka, 'producer'>, prefix: string): Publisher {
  const producer: Producer = kafka.producer({
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    allowAutoTopicCreation: false,
    maxInFlightRequests: 1,
  });
  let connected: Promise<void> | undefined;
  return publisherOf({
    send: async (records) => {
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
    },
    close: async () => {
      if (connected !== undefined) await within(CLOSE_MS, producer.disconnect());
    },
  });
}
