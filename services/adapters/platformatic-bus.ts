// The event bus over @platformatic/kafka. Consuming is in platformatic-subscription.ts, reading without a group in
// platformatic-reader.ts. Its groups can be shared with kafkajs members: both say and read the same.
import { compatibilityPartitioner, ProduceAcks, Producer, type SendOptions } from '@platformatic/kafka';
import type { EventBus, OutgoingRecord } from '../ports/event-bus.ts';
import { publisher, type Sender } from './bus-publisher.ts';
import { within } from './answered.ts';
import type { KafkaBusOptions } from './kafka-offsets.ts';
import { clientOptions, openAsking } from './platformatic-client.ts';
import { readRecords } from './platformatic-reader.ts';
import { openPlatformaticSubscription } from './platformatic-subscription.ts';

const CLOSE_MS = 5000;

/** The bus. Nothing is connected before its first use. */
export function platformaticBus(options: KafkaBusOptions): EventBus {
  const asking = openAsking(options);
  // The publisher tries again: the library would do so for a missing topic too, and all others would wait for that.
  const producer = new Producer({ ...clientOptions(options), retries: 0 });
  const publishing = publisher({
    send: sendWith(producer, options.prefix),
    existing: (topics) => asking.find(topics),
    close: async () => await within(CLOSE_MS, producer.close()),
  });
  const closers: (() => Promise<void>)[] = [];
  return {
    publish: publishing.publish,
    subscribe: async (o) => {
      const subscription = await openPlatformaticSubscription({ options, asking }, o);
      closers.push(() => subscription.stop());
      return subscription;
    },
    topics: (patterns) => asking.find(patterns),
    ends: (topics) => asking.ends(topics),
    read: (ends, signal) => readRecords(options, ends, signal),
    committed: async (group, topics) => (await asking.committed(group, topics)).filter((p) => p.offset >= 0n),
    close: async () => {
      await Promise.all(closers.map((close) => close()));
      await publishing.close();
      await within(CLOSE_MS, asking.close());
    },
  };
}

interface Sending {
  send(options: SendOptions<Buffer, Buffer, Buffer, Buffer>): Promise<unknown>;
  clearMetadata(): void;
}

/** One request over the library's producer. @param prefix before the names of the topics */
export function sendWith(producer: Sending, prefix: string): Sender['send'] {
  return async (records) => {
    try {
      await producer.send({
        messages: records.map((r) => messageOf(prefix, r)),
        acks: ProduceAcks.ALL,
        // The default one does not deal keys as Java's and kafkajs' do: a key would change its partition.
        partitioner: compatibilityPartitioner,
      });
    } catch (error) {
      // The library looks for other leaders in a try of its own only, and it has none: each of ours would ask a broker that is gone,
      // until what it knows is a minute old, and the other brokers' records of the request would be in the log each time.
      producer.clearMetadata();
      throw error;
    }
  };
}

function messageOf(
  prefix: string,
  { topic, key, value, headers }: OutgoingRecord,
): { topic: string; key: Buffer; value: Buffer; headers: Map<Buffer, Buffer> } {
  return {
    topic: prefix + topic,
    key: Buffer.from(key),
    value: Buffer.from(value.buffer, value.byteOffset, value.byteLength),
    headers: new Map(Object.entries(headers).map(([name, text]) => [Buffer.from(name), Buffer.from(text)])),
  };
}
