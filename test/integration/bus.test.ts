// The contract of the event bus on the real broker, and what only a real broker can show.
import { afterAll, expect, jest, test } from '@jest/globals';
import kafkajs from 'kafkajs';
import { randomBytes } from 'node:crypto';
import pino from 'pino';
import { aclsOf, applyTopics, principals, topicPlans } from '../../services/adapters/kafka-topics.ts';
import { kafkaBus } from '../../services/adapters/kafkajs-bus.ts';
import type { EventBus, Lease, Subscription } from '../../services/ports/event-bus.ts';
import { PARK_BYTES } from '../../services/runtime/retry.ts';
import { busSuite } from '../contract/bus-suite.ts';
import { until } from '../shared/test-context.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

// Real parts on a busy machine: a limit, not an expectation.
jest.setTimeout(90_000);

const log = pino({ level: 'silent' });
const prefix = testPrefix('bus');
const opened: EventBus[] = [];
const never = new AbortController().signal;

async function busAs(username?: string): Promise<EventBus> {
  const { kafka } = await testPlatform();
  const user = username === undefined ? kafka.admin : { username, password: `pw-${username}` };
  const bus = kafkaBus({
    brokers: kafka.brokers,
    ...user,
    prefix,
    clientId: user.username,
    log,
    sessionTimeoutMs: 6000,
    metadataPollMs: 1000,
  });
  opened.push(bus);
  return bus;
}

async function adminClient(): Promise<kafkajs.Admin> {
  const { kafka } = await testPlatform();
  const client = new kafkajs.Kafka({
    brokers: kafka.brokers,
    sasl: { mechanism: 'scram-sha-512', ...kafka.admin },
    logLevel: kafkajs.logLevel.NOTHING,
  }).admin();
  await client.connect();
  return client;
}

async function createTopic(name: string, partitions: number): Promise<void> {
  const client = await adminClient();
  await client.createTopics({ topics: [{ topic: prefix + name, numPartitions: partitions }], waitForLeaders: true });
  await client.disconnect();
}

afterAll(async () => {
  await Promise.all(opened.map((b) => b.close()));
  await releasePlatform();
});

busSuite('kafkajs on Kafka', async () => {
  const { kafka } = await testPlatform();
  const make = (): EventBus => {
    const bus = kafkaBus({
      brokers: kafka.brokers,
      ...kafka.admin,
      prefix,
      clientId: 'suite',
      log,
      sessionTimeoutMs: 6000,
      metadataPollMs: 1000,
    });
    opened.push(bus);
    return bus;
  };
  return { bus: make, createTopic, close: async () => undefined };
});

async function deleteBefore(topic: string, offset: string): Promise<void> {
  const client = await adminClient();
  // deleteTopicRecords looks into metadata that it does not load itself.
  await client.fetchTopicOffsets(prefix + topic);
  await client.deleteTopicRecords({ topic: prefix + topic, partitions: [{ partition: 0, offset }] });
  await client.disconnect();
}

const event = (topic: string, key: string): { topic: string; key: string; value: Uint8Array; headers: Record<string, string> } => ({
  topic,
  key,
  value: Buffer.from(key),
  headers: {},
});

test('a job that outlasts the session timeout keeps its partition: heartbeats go on', async () => {
  await createTopic('long.v1', 1);
  const bus = await busAs();
  await bus.publish([event('long.v1', 'a')]);
  const s = await bus.subscribe({ group: 'long', topics: ['long.v1'], window: 1 });
  const lease = await s.take(AbortSignal.timeout(15_000));
  await new Promise((resolve) => setTimeout(resolve, 9000));
  expect(lease?.signal.aborted).toBe(false);
  lease?.ack();
  await until('the commit', async () => (await bus.committed('long', ['long.v1']))[0]?.offset === 1n);
  await s.stop();
});

test('a third consumer takes its share of the partitions and moves no other', async () => {
  await createTopic('sticky.v1', 8);
  const bus = await busAs();
  await bus.publish(Array.from({ length: 80 }, (_, i) => event('sticky.v1', `k${i}`)));
  const join = async (): Promise<Subscription> => await (await busAs()).subscribe({ group: 'sticky', topics: ['sticky.v1'], window: 64 });
  const held = new Map<string, Lease>();
  const isHeld = (): boolean => [...held.values()].filter((l) => !l.signal.aborted).length === 80;
  const hold = async (s: Subscription): Promise<void> => {
    for (let lease = await s.take(never); lease !== undefined; lease = await s.take(never)) held.set(lease.record.key, lease);
  };
  const one = await join();
  const two = await join();
  const holding = [hold(one), hold(two)];
  await until('all are held by the two', isHeld);
  const before = [...held.values()];
  const three = await join();
  holding.push(hold(three));
  await until('some went to the third', () => before.some((l) => l.signal.aborted));
  await until('all are held by the three', isHeld);
  const moved = new Set(before.filter((l) => l.signal.aborted).map((l) => l.record.partition));
  expect(moved.size).toBeLessThanOrEqual(3);
  await Promise.all([one, two, three].map((s) => s.stop()));
  await Promise.all(holding);
});

test('LOG_TRUNCATED: a committed offset that the log no longer has stops the consumer, also at the next start', async () => {
  await createTopic('cut.v1', 1);
  const bus = await busAs();
  await bus.publish(Array.from({ length: 5 }, (_, i) => event('cut.v1', `k${i}`)));
  const one = await bus.subscribe({ group: 'cut', topics: ['cut.v1'], window: 8 });
  (await one.take(AbortSignal.timeout(15_000)))?.ack();
  await until('the commit', async () => (await bus.committed('cut', ['cut.v1']))[0]?.offset === 1n);
  await one.stop();
  await deleteBefore('cut.v1', '4');
  for (let start = 0; start < 2; start++) {
    const s = await (await busAs()).subscribe({ group: 'cut', topics: ['cut.v1'], window: 8 });
    await expect(s.take(AbortSignal.timeout(15_000))).rejects.toMatchObject({ code: 'LOG_TRUNCATED', retryable: false });
    await s.stop();
  }
});

test('LOG_TRUNCATED while consuming: records that were deleted before they were read', async () => {
  await createTopic('gone.v1', 1);
  const bus = await busAs();
  await bus.publish([event('gone.v1', 'first')]);
  const s = await bus.subscribe({ group: 'gone', topics: ['gone.v1'], window: 1 });
  const lease = await s.take(AbortSignal.timeout(15_000));
  // The window is full, so nothing more is fetched while these come and go.
  await until('the partition is paused', () => lease !== undefined);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await bus.publish([event('gone.v1', 'second'), event('gone.v1', 'third'), event('gone.v1', 'fourth')]);
  await deleteBefore('gone.v1', '3');
  lease?.ack();
  await expect(s.take(AbortSignal.timeout(20_000))).rejects.toMatchObject({ code: 'LOG_TRUNCATED' });
  await s.stop();
});

test('topics.json is applied: a centre writes its own topics only and reads its status only; all other stages their own', async () => {
  const { kafka } = await testPlatform();
  const centres = ['c1', 'c10'];
  const options = { brokers: kafka.brokers, ...kafka.admin, prefix, centres, partitionsOverride: 2 };
  await kafka.addUsers(principals(centres).map((username) => ({ username, password: `pw-${username}` })));
  await applyTopics(options);
  await applyTopics(options);
  const gateway = await busAs('gateway-c1');
  await gateway.publish([event('ct.clinical.c1.study-available.v1', 'c1|1'), event('ct.clinical.c1.census.v1', 'c1')]);
  const refused = { code: 'DENIED_BY_BROKER', retryable: false };
  for (const topic of [
    'ct.clinical.c10.study-available.v1',
    'ct.clinical.c1.study-status.v1',
    'ct.clinical.study-stored.v1',
    'ct.research.study-anonymised.v1',
  ]) {
    await expect(gateway.publish([event(topic, 'x')])).rejects.toMatchObject(refused);
  }
  expect(await gateway.topics(['*'])).toEqual(
    ['census', 'intake-refused', 'study-available', 'study-status'].map((t) => `ct.clinical.c1.${t}.v1`),
  );
  const reading = async (group: string, topic: string): Promise<unknown> =>
    (await gateway.subscribe({ group, topics: [topic], window: 1 })).take(AbortSignal.timeout(15_000));
  await expect(reading('gateway-c1', 'ct.clinical.c10.study-status.v1')).rejects.toMatchObject(refused);
  await expect(reading('gateway-c1', 'ct.clinical.c1.study-available.v1')).rejects.toMatchObject(refused);
  await expect(reading('gateway-c10', 'ct.clinical.c1.study-status.v1')).rejects.toMatchObject(refused);
  const own = await gateway.subscribe({ group: 'gateway-c1', topics: ['ct.clinical.<centre>.study-status.v1'], window: 1 });
  await (await busAs('ingest')).publish([event('ct.clinical.c1.study-status.v1', 'c1|1')]);
  expect((await own.take(AbortSignal.timeout(15_000)))?.record.topic).toBe('ct.clinical.c1.study-status.v1');
  await own.stop();
  // What a main topic takes can be parked with what parking adds.
  const large = { value: randomBytes(PARK_BYTES) };
  await (
    await busAs('ingest')
  ).publish(['ct.clinical.ingest.retry.30s', 'ct.clinical.ingest.dead'].map((t) => ({ ...event(t, 'x'), ...large })));
  await expect((await busAs('ingest')).publish([{ ...event('ct.clinical.study-stored.v1', 'x'), ...large }])).rejects.toMatchObject({
    message: expect.stringContaining('MESSAGE_TOO_LARGE'),
  });
  await expect((await busAs('assess')).publish([event('ct.clinical.study-stored.v1', 'x')])).rejects.toMatchObject(refused);
  await expect((await busAs('assess')).ends(['ct.clinical.study-stored.v1'])).rejects.toMatchObject(refused);
});

test('a topic that differs from topics.json is named and not mended in silence', async () => {
  const { kafka } = await testPlatform();
  const other = testPrefix('differs');
  const client = await adminClient();
  await client.createTopics({
    topics: [{ topic: `${other}ct.clinical.study-stored.v1`, numPartitions: 1, configEntries: [{ name: 'retention.ms', value: '1000' }] }],
    waitForLeaders: true,
  });
  await client.disconnect();
  const applied = applyTopics({ brokers: kafka.brokers, ...kafka.admin, prefix: other, centres: [], partitionsOverride: 2 });
  await expect(applied).rejects.toThrow(/study-stored\.v1 has 1 partitions, not 2.*retention\.ms=1000, not 2592000000/);
});

test('48 centres: every topic once, and no rule that reaches across zones or centres', () => {
  const centres = Array.from({ length: 48 }, (_, i) => `c${String(i + 1).padStart(2, '0')}`);
  const plans = topicPlans(centres);
  expect(new Set(plans.map((p) => p.name)).size).toBe(plans.length);
  const research = new Set(['assess', 'select', 'label-queue', 'release', 'archiver-research']);
  const wrong = aclsOf(plans, 'p-').filter((a) => {
    const user = a.principal.slice('User:'.length);
    const centre = /^gateway-(.*)$/.exec(user)?.[1];
    if (centre !== undefined)
      return !a.resourceName.startsWith(`p-ct.clinical.${centre}.`) && a.resourceName !== `p-${user}` && a.resourceName !== `p-${user}.`;
    return research.has(user) && a.resourceName.startsWith('p-ct.clinical.');
  });
  expect(wrong).toEqual([]);
});
