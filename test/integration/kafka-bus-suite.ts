// What every client of the real Kafka must do: the contract of the event bus, and what only a real broker can show.
import { afterAll, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import kafkajs from 'kafkajs';
import pino from 'pino';
import { openBus } from '../../services/adapters/event-bus.ts';
import { kafkaBus } from '../../services/adapters/kafkajs-bus.ts';
import { topicPlans } from '../../services/adapters/kafka-topics.ts';
import { platformaticBus } from '../../services/adapters/platformatic-bus.ts';
import { sha256Hex } from '../../services/kernel/digest.ts';
import type { BusClient, EventBus, Lease, OutgoingRecord, Subscription } from '../../services/ports/event-bus.ts';
import { wholeRecord } from '../../services/runtime/retry.ts';
import { busSuite } from '../contract/bus-suite.ts';
import { until } from '../shared/test-context.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

const log = pino({ level: 'silent' });
const never = new AbortController().signal;

/** What a file of bus tests works with: a prefix of its own, and everything it opens is closed at its end. */
export interface BusWorld {
  readonly prefix: string;
  busAs(username?: string, client?: BusClient): Promise<EventBus>;
  createTopic(name: string, partitions: number, maxMessageBytes?: number): Promise<void>;
}

export const event = (topic: string, key: string): { topic: string; key: string; value: Uint8Array; headers: Record<string, string> } => ({
  topic,
  key,
  value: Buffer.from(key),
  headers: {},
});

export async function adminClient(): Promise<kafkajs.Admin> {
  const { kafka } = await testPlatform();
  const client = new kafkajs.Kafka({
    brokers: kafka.brokers,
    sasl: { mechanism: 'scram-sha-512', ...kafka.admin },
    logLevel: kafkajs.logLevel.NOTHING,
  }).admin();
  await client.connect();
  return client;
}

/** The world of a test file. @param usual the client of a bus for which none is named */
export function busWorld(usual: BusClient): BusWorld {
  // Real parts on a busy machine: a limit, not an expectation.
  const prefix = testPrefix('bus');
  const opened: EventBus[] = [];
  afterAll(async () => {
    await Promise.all(opened.map((b) => b.close()));
    await releasePlatform();
  });
  return {
    prefix,
    busAs: async (username, client = usual) => {
      const { kafka } = await testPlatform();
      const user = username === undefined ? kafka.admin : { username, password: `pw-${username}` };
      const access = { brokers: kafka.brokers, ...user, prefix, clientId: user.username, log };
      const bus = await openBus({ ...access, client, sessionTimeoutMs: 6000, metadataPollMs: 1000 });
      opened.push(bus);
      return bus;
    },
    createTopic: async (name, partitions, maxMessageBytes) => {
      const client = await adminClient();
      const topic = prefix + name;
      const configEntries = maxMessageBytes === undefined ? [] : [{ name: 'max.message.bytes', value: String(maxMessageBytes) }];
      await client.createTopics({ topics: [{ topic, numPartitions: partitions, configEntries }], waitForLeaders: false });
      // kafkajs' own wait throws while the broker does not know the topic yet, and ends when a leader is named, before it leads.
      const isLed = async (): Promise<boolean> => (await client.fetchTopicOffsets(topic).catch(() => [])).length === partitions;
      await until('the new topic is led', isLed);
      await client.disconnect();
    },
  };
}

/** The suite. */
export function kafkaBusSuite(name: BusClient, { prefix, busAs, createTopic }: BusWorld): void {
  const openNow = { kafkajs: kafkaBus, platformatic: platformaticBus }[name];
  busSuite(`${name} on Kafka`, async () => {
    const { kafka } = await testPlatform();
    const opened: EventBus[] = [];
    const make = (): EventBus => {
      const access = { brokers: kafka.brokers, ...kafka.admin, prefix, clientId: 'suite', log };
      const bus = openNow({ ...access, sessionTimeoutMs: 6000, metadataPollMs: 1000 });
      opened.push(bus);
      return bus;
    };
    return { bus: make, createTopic, close: async () => void (await Promise.all(opened.map((b) => b.close()))) };
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

  test('a record of the largest size that topics take goes between small ones, to a group and to a reader', async () => {
    const largest = Math.max(...topicPlans(['c1']).map((plan) => plan.maxMessageBytes ?? 0));
    await createTopic('large.v1', 1, largest);
    const bus = await busAs();
    // Records of such a topic come singly: what kafka counts beside the value is below this.
    const large = { ...event('large.v1', 'large'), value: randomBytes(largest - 1024) };
    for (const record of [event('large.v1', 'before'), large, event('large.v1', 'behind')]) await bus.publish([record]);
    const sums: string[] = [];
    for await (const r of bus.read(await bus.ends(['large.v1']))) sums.push(sha256Hex(r.value));
    expect(sums).toEqual(['before', large.value, 'behind'].map((value) => sha256Hex(value)));
    const s = await bus.subscribe({ group: 'large', topics: ['large.v1'], window: 8 });
    const taken: string[] = [];
    while (taken.length < 3) {
      const lease = await s.take(AbortSignal.timeout(30_000));
      taken.push(lease === undefined ? 'nothing' : sha256Hex(lease.record.value));
      lease?.ack();
    }
    expect(taken.toSorted()).toEqual(sums.toSorted());
    await until('the commit', async () => (await bus.committed('large', ['large.v1']))[0]?.offset === 3n);
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
    await deleteBefore(prefix, 'cut.v1', '4');
    for (let start = 0; start < 2; start++) {
      const reading = async (): Promise<unknown> => {
        const s = await (await busAs()).subscribe({ group: 'cut', topics: ['cut.v1'], window: 8 });
        try {
          return await s.take(AbortSignal.timeout(15_000));
        } finally {
          await s.stop();
        }
      };
      await expect(reading()).rejects.toMatchObject({ code: 'LOG_TRUNCATED', retryable: false });
    }
    // What was lost can still be told: kafkajs' own reset did not come over it.
    expect(await bus.committed('cut', ['cut.v1'])).toEqual([{ topic: 'cut.v1', partition: 0, offset: 1n }]);
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
    await deleteBefore(prefix, 'gone.v1', '3');
    lease?.ack();
    await expect(s.take(AbortSignal.timeout(20_000))).rejects.toMatchObject({ code: 'LOG_TRUNCATED' });
    await s.stop();
  });

  test('LOG_TRUNCATED while reading: records that were deleted between the look at the ends and their reading', async () => {
    await createTopic('unread.v1', 1);
    const bus = await busAs();
    await bus.publish(Array.from({ length: 5 }, (_, i) => event('unread.v1', `k${i}`)));
    const ends = await bus.ends(['unread.v1']);
    expect(await Array.fromAsync(bus.read(ends), (r) => r.key)).toEqual(['k0', 'k1', 'k2', 'k3', 'k4']);
    await deleteBefore(prefix, 'unread.v1', '3');
    await expect(Array.fromAsync(bus.read(ends))).rejects.toMatchObject({ code: 'LOG_TRUNCATED', retryable: false });
  });

  test('BAD_EVENT: a parked reference whose bytes have left the log, whether later records are there or none', async () => {
    await createTopic('parked.v1', 1);
    const bus = await busAs();
    await bus.publish([event('parked.v1', 'large'), event('parked.v1', 'later')]);
    const [first] = await Array.fromAsync(bus.read(await bus.ends(['parked.v1'])));
    if (first === undefined) throw new Error('nothing was published');
    const origin = { record: { ...first, value: new Uint8Array() }, attempts: 1, away: 0, reference: sha256Hex('large') };
    expect((await wholeRecord(bus, origin, never)).value).toEqual(first.value);
    for (const offset of ['1', '2']) {
      await deleteBefore(prefix, 'parked.v1', offset);
      await expect(wholeRecord(bus, origin, never)).rejects.toMatchObject({ code: 'BAD_EVENT', retryable: false });
    }
  });

  // Shown by order: while the one is not answered, the others are. With the clients' own tries they waited for it, 6 to 17 s each.
  for (const was of ['never there', 'there and deleted'])
    test(`a topic that was ${was} holds up nobody, and what waits for it goes in order once it has come`, async () => {
      const [gone, well, fresh] = ['gone', 'well', 'fresh'].map((topic) => `${topic}-${was.replaceAll(' ', '-')}.v1`) as [
        string,
        string,
        string,
      ];
      await createTopic(well, 2);
      const bus = await busAs();
      await bus.publish([event(well, 'first')]);
      if (was === 'there and deleted') {
        await createTopic(gone, 2);
        await bus.publish([event(gone, 'first')]);
        const admin = await adminClient();
        await admin.deleteTopics({ topics: [prefix + gone] });
        await until('the topic is gone', async () => (await bus.topics([gone])).length === 0);
        await admin.disconnect();
      }
      const numbered = (n: number): OutgoingRecord => ({ ...event(gone, 'k'), value: Buffer.from(String(n)) });
      const answered: number[] = [];
      const waiting = [0, 1, 2].map((n) => bus.publish([numbered(n)]).then(() => answered.push(n)));
      for (let i = 0; i < 30; i++) await bus.publish([event(well, `k${i}`)]);
      // A client that asks about every topic that it ever sent to would get no answer about this one either.
      await createTopic(fresh, 1);
      await bus.publish([event(fresh, 'first')]);
      expect(answered).toEqual([]);
      await createTopic(gone, 2);
      await Promise.all([...waiting, bus.publish([numbered(3)])]);
      const values: string[] = [];
      for await (const r of bus.read(await bus.ends([gone]))) values.push(Buffer.from(r.value).toString());
      expect(values).toEqual(['0', '1', '2', '3']);
    });

  test("after a centre's topic was deleted the group goes on with the others and finds new ones, and what is asked is answered", async () => {
    const topicOf = (centre: string): string => `gone.${centre}.left.v1`;
    const topics = (): string[] => ['c1', 'c2', 'c3'].map(topicOf);
    for (const topic of topics()) await createTopic(topic, 2);
    const bus = await busAs();
    await bus.publish(topics().map((topic) => event(topic, 'first')));
    const taken = new Set<string>();
    const join = async (): Promise<() => Promise<void>> => {
      const s = await (await busAs()).subscribe({ group: 'left', topics: ['gone.<centre>.left.v1'], window: 8 });
      const taking = (async () => {
        for (let lease = await s.take(never); lease !== undefined; lease = await s.take(never)) {
          taken.add(`${lease.record.topic} ${lease.record.key}`);
          lease.ack();
        }
      })();
      return async () => (await s.stop(), await taking);
    };
    const stops = [await join(), await join()];
    await until('the first of all', () => taken.size === 3);
    await bus.ends(topics());
    await bus.committed('left', topics());

    const admin = await adminClient();
    await admin.deleteTopics({ topics: [prefix + topicOf('c2')] });
    await until('the topic is gone', async () => (await bus.topics([topicOf('c2')])).length === 0);
    const others = [topicOf('c1'), topicOf('c3')];
    await bus.publish(others.map((topic) => event(topic, 'second')));
    await until('the second of the others', () => others.every((topic) => taken.has(`${topic} second`)));
    await createTopic(topicOf('c4'), 2);
    await bus.publish([event(topicOf('c4'), 'first')]);
    await until('the new one', () => taken.has(`${topicOf('c4')} first`));
    const left = [...others, topicOf('c4')];
    const ends = await bus.ends(left);
    expect(ends).toHaveLength(6);
    const behind = async (): Promise<bigint> => {
      const committed = new Map((await bus.committed('left', left)).map((c) => [`${c.topic}/${c.partition}`, c.offset]));
      return ends.reduce((sum, e) => sum + e.end - (committed.get(`${e.topic}/${e.partition}`) ?? 0n), 0n);
    };
    await until('all commits', async () => (await behind()) === 0n);
    // What was replaced while it joined must not go on, and hold partitions that nobody works on.
    const members = async (): Promise<number> => (await admin.describeGroups([`${prefix}left`])).groups[0]?.members.length ?? 0;
    await until('only those two to be in the group', async () => (await members()) === 2);
    await Promise.all(stops.map((stop) => stop()));
    await until('nobody to be in the group', async () => (await members()) === 0);
    await admin.disconnect();
  });
}

async function deleteBefore(prefix: string, topic: string, offset: string): Promise<void> {
  const client = await adminClient();
  // deleteTopicRecords looks into metadata that it does not load itself.
  await client.fetchTopicOffsets(prefix + topic);
  await client.deleteTopicRecords({ topic: prefix + topic, partitions: [{ partition: 0, offset }] });
  await client.disconnect();
}
