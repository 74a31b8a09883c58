// A centre's gateway may pack what it writes, and a broker may be set to: what can be read is read, and what would take all
// memory or can't be unpacked stops neither broker nor reader.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import kafkajs from 'kafkajs';
import pino from 'pino';
import { openBus } from '../../services/adapters/event-bus.ts';
import { applyTopics, topicPlans } from '../../services/adapters/kafka-topics.ts';
import { BUS_CLIENTS, type BusRecord } from '../../services/ports/event-bus.ts';
import { adminClient } from './kafka-bus-suite.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

// On a busy machine packing 300 MiB and two readers take most of two minutes.

const MIB = 1 << 20;
const prefix = testPrefix('packed');
const TOPIC = 'ct.clinical.c01.study-available.v1';
let producer: kafkajs.Producer;

beforeAll(async () => {
  const { kafka } = await testPlatform();
  const admin = await adminClient();
  const topics = topicPlans(['c01'], 1).filter(({ name }) => name === TOPIC);
  await admin.createTopics({
    topics: topics.map(({ name, retentionMs }) => ({
      topic: prefix + name,
      numPartitions: 1,
      configEntries: [
        { name: 'retention.ms', value: String(retentionMs) },
        { name: 'compression.type', value: 'zstd' },
      ],
    })),
    waitForLeaders: true,
  });
  await admin.disconnect();
  const client = new kafkajs.Kafka({
    brokers: kafka.brokers,
    sasl: { mechanism: 'scram-sha-512', ...kafka.admin },
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { retries: 0 },
  });
  producer = client.producer();
  await producer.connect();
});

afterAll(async () => {
  await producer.disconnect();
  await releasePlatform();
});

const send = (values: readonly Buffer[], compression: kafkajs.CompressionTypes): Promise<unknown> =>
  producer.send({ topic: prefix + TOPIC, compression, messages: values.map((value) => ({ key: 'k', value })) });

/** All records, by one client. */
async function read(client: (typeof BUS_CLIENTS)[number]): Promise<BusRecord[]> {
  const { kafka } = await testPlatform();
  const bus = await openBus({
    brokers: kafka.brokers,
    ...kafka.admin,
    prefix,
    clientId: 'packed',
    log: pino({ level: 'silent' }),
    client,
    sessionTimeoutMs: 6000,
  });
  try {
    const records: BusRecord[] = [];
    for await (const record of bus.read(await bus.ends([TOPIC]))) records.push(record);
    return records;
  } finally {
    await bus.close();
  }
}

test('a broker that packs is told not to; what was packed is read, what is a danger to unpack is one empty record, and both sides live', async () => {
  const { kafka } = await testPlatform();
  const before = kafka.pid;
  const values = [Buffer.from('one'), randomBytes(2000)];
  // As the broker's own setting has it until the topics are applied.
  await send(values, kafkajs.CompressionTypes.None);
  await applyTopics({ brokers: kafka.brokers, ...kafka.admin, prefix, centres: ['c01'], partitionsOverride: 1 });
  await send(values, kafkajs.CompressionTypes.GZIP);
  for (const client of BUS_CLIENTS) expect((await read(client)).map(({ value }) => Buffer.from(value))).toEqual([...values, ...values]);

  // A broker that unpacks it dies of the first.
  await send([Buffer.alloc(300 * MIB)], kafkajs.CompressionTypes.GZIP);
  await send(
    Array.from({ length: 60_000 }, () => Buffer.alloc(0)),
    kafkajs.CompressionTypes.ZSTD,
  );
  await send(values, kafkajs.CompressionTypes.None);
  expect(kafka.pid).toBe(before);
  const all = [...values, ...values, Buffer.alloc(0), Buffer.alloc(0), ...values];
  for (const client of BUS_CLIENTS) {
    const heldBefore = process.memoryUsage().rss;
    const records = await read(client);
    const grown = process.memoryUsage().rss - heldBefore;
    expect(records.map(({ value }) => Buffer.from(value))).toEqual(all);
    expect(records.map(({ offset }) => Number(offset))).toEqual([0, 1, 2, 3, 4, 60_004, 60_005, 60_006]);
    expect(records[5]).toMatchObject({ key: '', headers: {} });
    expect(grown).toBeLessThan(200 * MIB);
  }
});
