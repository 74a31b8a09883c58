// The contract of the event bus on the real broker with kafkajs, and what the broker grants.
import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { aclsOf, applyTopics, principals, topicPlans } from '../../services/adapters/kafka-topics.ts';
import { PARK_BYTES } from '../../services/runtime/retry.ts';
import { adminClient, busWorld, event, kafkaBusSuite } from './kafka-bus-suite.ts';
import { testPlatform, testPrefix } from './support.ts';

const world = busWorld('kafkajs');
const { prefix, busAs } = world;

kafkaBusSuite('kafkajs', world);

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

test('the size of records that a topic takes is set anew, since it concerns only those to come', async () => {
  const { kafka } = await testPlatform();
  const other = testPrefix('sizes');
  const client = await adminClient();
  const topic = `${other}ct.research.dataset-released.v1`;
  const settings = { 'retention.ms': '-1', 'cleanup.policy': 'delete', 'min.insync.replicas': '1', 'max.message.bytes': '1048588' };
  const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }));
  await client.createTopics({ topics: [{ topic, numPartitions: 1, configEntries }], waitForLeaders: true });
  await client.disconnect();
  // It verifies what it has set.
  await applyTopics({ brokers: kafka.brokers, ...kafka.admin, prefix: other, centres: [], partitionsOverride: 1 });
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
