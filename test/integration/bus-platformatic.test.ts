// The contract of the event bus on the real broker with @platformatic/kafka, and a group that both clients share.
import { expect, test } from '@jest/globals';
import { applyTopics, principals } from '../../services/adapters/kafka-topics.ts';
import { platformaticBus } from '../../services/adapters/platformatic-bus.ts';
import type { Lease } from '../../services/ports/event-bus.ts';
import { until } from '../shared/test-context.ts';
import { busWorld, event, kafkaBusSuite } from './kafka-bus-suite.ts';
import { testPlatform } from './support.ts';
import pino from 'pino';

const world = busWorld('platformatic');
const { prefix, busAs, createTopic } = world;
const never = new AbortController().signal;

kafkaBusSuite('platformatic', world);

test('both clients deal a key to the same partition', async () => {
  await createTopic('deal.v1', 7);
  const keys = Array.from({ length: 100 }, (_, i) => `c01|2.25.${i * 7919}|Ä`);
  const places: Map<string, number>[] = [];
  for (const client of ['kafkajs', 'platformatic'] as const) {
    const bus = await busAs(undefined, client);
    const before = await bus.ends(['deal.v1']);
    await bus.publish(keys.map((k) => event('deal.v1', k)));
    const ends = await bus.ends(['deal.v1']);
    const found = new Map<string, number>();
    for await (const r of bus.read(ends.map((e, i) => ({ ...e, first: before[i]?.end ?? 0n })))) found.set(r.key, r.partition);
    places.push(found);
  }
  expect(places[0]?.size).toBe(100);
  expect(places[1]).toEqual(places[0]);
});

test('members of both clients share a group: each has half, and one takes over from the other', async () => {
  await createTopic('mixed.v1', 4);
  const bus = await busAs();
  await bus.publish(Array.from({ length: 40 }, (_, i) => event('mixed.v1', `k${i}`)));
  const held = new Map<string, Lease>();
  const join = async (client: 'kafkajs' | 'platformatic') => {
    const s = await (await busAs(undefined, client)).subscribe({ group: 'mixed', topics: ['mixed.v1'], window: 64 });
    const mine = new Set<number>();
    const holding = (async () => {
      for (let lease = await s.take(never); lease !== undefined; lease = await s.take(never)) {
        held.set(lease.record.key, lease);
        mine.add(lease.record.partition);
      }
    })();
    return { mine, stop: async () => (await s.stop(), await holding) };
  };
  const isHeld = (): boolean => [...held.values()].filter((l) => !l.signal.aborted).length === 40;
  const one = await join('kafkajs');
  await until('all are held by the one', isHeld);
  const before = [...held.values()];
  const two = await join('platformatic');
  await until('some went to the other', () => before.some((l) => l.signal.aborted));
  await until('all are held by the two', isHeld);
  expect(two.mine.size).toBe(2);
  await one.stop();
  await until('all are held by the second', isHeld);
  expect(two.mine.size).toBe(4);
  for (const lease of held.values()) lease.ack();
  await two.stop();
  const committed = await bus.committed('mixed', ['mixed.v1']);
  const ends = await bus.ends(['mixed.v1']);
  expect(new Map(committed.map((c) => [c.partition, c.offset]))).toEqual(new Map(ends.map((e) => [e.partition, e.end])));
});

test('what the broker refuses is DENIED_BY_BROKER, a wrong password BUS_UNAUTHORISED, and neither is tried again', async () => {
  const { kafka } = await testPlatform();
  const centres = ['c1', 'c10'];
  await kafka.addUsers(principals(centres).map((username) => ({ username, password: `pw-${username}` })));
  await applyTopics({ brokers: kafka.brokers, ...kafka.admin, prefix, centres, partitionsOverride: 2 });

  const gateway = await busAs('gateway-c1');
  const refused = { code: 'DENIED_BY_BROKER', retryable: false };
  const other = 'ct.clinical.c10.study-available.v1';
  const own = 'ct.clinical.c1.study-available.v1';
  await expect(gateway.publish([event(other, 'x')])).rejects.toMatchObject(refused);
  // One refused topic does not fail its neighbour.
  await Promise.all([gateway.publish([event(own, 'c1|1')]), expect(gateway.publish([event(other, 'x')])).rejects.toMatchObject(refused)]);
  await expect(gateway.ends(['ct.clinical.study-stored.v1'])).rejects.toMatchObject(refused);
  const reading = async (group: string, topic: string): Promise<unknown> =>
    (await gateway.subscribe({ group, topics: [topic], window: 1 })).take(AbortSignal.timeout(15_000));
  await expect(reading('gateway-c1', 'ct.clinical.c10.study-status.v1')).rejects.toMatchObject(refused);
  await expect(reading('gateway-c1', own)).rejects.toMatchObject(refused);
  await expect(reading('gateway-c10', 'ct.clinical.c1.study-status.v1')).rejects.toMatchObject(refused);
  const access = { brokers: kafka.brokers, username: 'gateway-c1', prefix, clientId: 'x', log: pino({ level: 'silent' }) };
  const wrong = platformaticBus({ ...access, password: 'wrong' });
  await expect(wrong.publish([event(own, 'x')])).rejects.toMatchObject({ code: 'BUS_UNAUTHORISED', retryable: false });
  await expect(wrong.subscribe({ group: 'gateway-c1', topics: [own], window: 1 })).rejects.toMatchObject({ code: 'BUS_UNAUTHORISED' });
  await wrong.close();
});
