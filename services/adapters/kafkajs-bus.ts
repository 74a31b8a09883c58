// The event bus over kafkajs: publish with acks from all in-sync replicas, topics, ends.
// Consuming is in kafkajs-subscription.ts, reading without a group in kafkajs-reader.ts.
import kafkajs from 'kafkajs';
import type { Kafka, Producer } from 'kafkajs';
import type { EventBus } from '../ports/event-bus.ts';
import { publisher as publisherOf, type Publisher } from './bus-publisher.ts';
import { kafkaClient, saysTopicMissing, topicPattern } from './kafka-client.ts';
import { within } from './answered.ts';
import { committedBy, endsOf, type KafkaBusOptions, type KafkaParts } from './kafka-offsets.ts';
import { kafkaAdmin } from './kafkajs-admin.ts';
import { readRecords } from './kafkajs-reader.ts';
import { openSubscription } from './kafkajs-subscription.ts';

/** The bus. Nothing is connected before its first use. */
export function kafkaBus(options: KafkaBusOptions): EventBus {
  let denial: string | undefined;
  const kafka = kafkaClient(options, (what) => {
    denial = what;
  });
  const admin = kafkaAdmin(() => kafka.admin());
  const parts: KafkaParts = {
    kafka,
    options,
    denied: () => denial,
    about: admin.about,
    find: async (patterns) => {
      const wanted = patterns.map(topicPattern);
      return (await admin.topics())
        .filter((name) => name.startsWith(options.prefix))
        .map((name) => name.slice(options.prefix.length))
        .filter((name) => wanted.some((w) => w.test(name)))
        .sort();
    },
  };
  const publisher = makePublisher(kafka, options.prefix, (topics) => parts.find(topics));
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
      await admin.close();
    },
  };
}

/** Longest wait for the broker to be told when the bus closes. */
const CLOSE_MS = 5000;

/** The publisher over kafkajs. @param existing those of the logical topics that are there */
export function makePublisher(
  kafka: Pick<Kafka, 'producer'>,
  prefix: string,
  existing: (topics: readonly string[]) => Promise<readonly string[]>,
): Publisher {
  let producer: Promise<Producer> | undefined;
  const connect = async (): Promise<Producer> => {
    const client = kafka.producer({
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
      allowAutoTopicCreation: false,
      maxInFlightRequests: 1,
      // The publisher tries again. kafkajs would do so for a missing topic too, and all others would wait for that.
      retry: { retries: 0 },
    });
    try {
      await client.connect();
      return client;
    } catch (error) {
      producer = undefined;
      await client.disconnect().catch(() => undefined);
      throw error;
    }
  };
  return publisherOf({
    send: async (records) => {
      const client = await (producer ??= connect());
      const byTopic = Map.groupBy(records, (r) => prefix + r.topic);
      const topicMessages = [...byTopic].map(([topic, list]) => ({
        topic,
        messages: list.map((r) => ({ key: r.key, value: Buffer.from(r.value), headers: { ...r.headers } })),
      }));
      try {
        await client.sendBatch({ acks: -1, timeout: 30_000, topicMessages });
      } catch (error) {
        // It asks about every topic that it ever sent to, and takes no answer in which one is missing: after a topic
        // was deleted it could send to no new one, and in five minutes to none at all.
        if (saysTopicMissing(error)) {
          producer = undefined;
          void client.disconnect().catch(() => undefined);
        }
        throw error;
      }
    },
    existing,
    close: async () => {
      if (producer !== undefined)
        await within(
          CLOSE_MS,
          producer.then((client) => client.disconnect()),
        );
    },
  });
}
