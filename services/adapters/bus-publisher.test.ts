// Who is answered what, and in which order records are sent, with a broker that lacks topics, refuses and fails on demand.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { until } from '../../test/shared/test-context.ts';
import type { OutgoingRecord } from '../ports/event-bus.ts';
import { publisher, type Publisher } from './bus-publisher.ts';

const TIMES = { tryingMs: 2000, pauseMs: 1, lookMs: 1 };

const record = (topic: string, text: string, key = 'k'): OutgoingRecord => ({ topic, key, value: Buffer.from(text), headers: {} });

interface FakeBroker {
  readonly publisher: Publisher;
  readonly topics: Set<string>;
  readonly denied: Set<string>;
  /** Topics of which it takes no records now; it takes those of others in the same request, as Kafka does. */
  readonly refusing: Set<string>;
  /** What the log has, by topic. */
  readonly log: Map<string, string[]>;
  /** How many of the next requests fail for a reason that passes by itself. */
  failing: number;
  requests: number;
  /** Set when two requests were under way at once. */
  overlapped: boolean;
}

function fakeBroker(topics: readonly string[], times = TIMES): FakeBroker {
  let underWay = 0;
  const send = async (records: readonly OutgoingRecord[]): Promise<void> => {
    broker.requests++;
    broker.overlapped ||= underWay > 0;
    underWay++;
    await new Promise((resolve) => setImmediate(resolve));
    underWay--;
    if (broker.failing > 0) {
      broker.failing--;
      throw Object.assign(new Error('moved'), { type: 'NOT_LEADER_FOR_PARTITION' });
    }
    if (records.some((r) => broker.denied.has(r.topic))) throw Object.assign(new Error('no'), { type: 'TOPIC_AUTHORIZATION_FAILED' });
    if (records.some((r) => !broker.topics.has(r.topic)))
      throw Object.assign(new Error('what topic'), { type: 'UNKNOWN_TOPIC_OR_PARTITION' });
    const refused = records.some((r) => broker.refusing.has(r.topic));
    for (const r of records) {
      if (broker.refusing.has(r.topic)) continue;
      broker.log.set(r.topic, [...(broker.log.get(r.topic) ?? []), Buffer.from(r.value).toString()]);
    }
    if (refused) throw Object.assign(new Error('too few'), { type: 'NOT_ENOUGH_REPLICAS' });
  };
  const existing = async (asked: readonly string[]): Promise<readonly string[]> => {
    await new Promise((resolve) => setImmediate(resolve));
    return asked.filter((t) => broker.topics.has(t));
  };
  const broker: FakeBroker = {
    publisher: publisher({ send, existing, close: async () => undefined }, times),
    topics: new Set(topics),
    denied: new Set(),
    refusing: new Set(),
    log: new Map(),
    failing: 0,
    requests: 0,
    overlapped: false,
  };
  return broker;
}

const logOf = (broker: FakeBroker, topic: string): string[] => broker.log.get(topic) ?? [];

test('a topic that is not there holds up nobody else, and what waits for it goes in order once it has come', async () => {
  const broker = fakeBroker(['well']);
  const { publish } = broker.publisher;
  let answered = 0;
  const missing = ['a', 'b', 'c'].map((text) => publish([record('gone', text)]).then(() => answered++));
  for (let i = 0; i < 50; i++) await publish([record('well', String(i))]);
  expect(answered).toBe(0);
  const later = publish([record('gone', 'd')]);
  broker.topics.add('gone');
  await Promise.all([...missing, later]);
  expect(logOf(broker, 'gone')).toEqual(['a', 'b', 'c', 'd']);
  expect(logOf(broker, 'well')).toEqual(Array.from({ length: 50 }, (_, i) => String(i)));
});

test('nothing is sent for a topic that is known to be missing', async () => {
  const broker = fakeBroker(['well'], { ...TIMES, tryingMs: 50 });
  const { publish } = broker.publisher;
  await expect(publish([record('gone', 'a')])).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE', retryable: true });
  expect(broker.requests).toBe(1);
  await expect(publish([record('gone', 'b')])).rejects.toThrow('gone is not there');
  expect(broker.requests).toBe(1);
  broker.topics.add('gone');
  await publish([record('gone', 'c')]);
  expect(logOf(broker, 'gone')).toEqual(['c']);
});

test('records that are handed over with those of a missing topic wait with them: nothing is sent twice meanwhile', async () => {
  const broker = fakeBroker(['stored'], { ...TIMES, tryingMs: 50 });
  const { publish } = broker.publisher;
  for (let i = 0; i < 3; i++) await expect(publish([record('stored', 'x'), record('status', 'y')])).rejects.toThrow('status is not there');
  expect(logOf(broker, 'stored')).toEqual([]);
  broker.topics.add('status');
  await publish([record('stored', 'x'), record('status', 'y')]);
  expect([logOf(broker, 'stored'), logOf(broker, 'status')]).toEqual([['x'], ['y']]);
});

test('what was refused together with others and is sent alone steps aside with all others of its topic', async () => {
  const broker = fakeBroker([]);
  broker.denied.add('denied');
  const { publish } = broker.publisher;
  const first = publish([record('gone', 'a')]);
  const denied = expect(publish([record('denied', 'x')])).rejects.toMatchObject({ code: 'DENIED_BY_BROKER' });
  const second = publish([record('gone', 'b')]);
  // The topic comes once the first one, sent alone, has stepped aside.
  while (broker.requests < 2) await new Promise((resolve) => setImmediate(resolve));
  for (let i = 0; i < 2; i++) await new Promise((resolve) => setImmediate(resolve));
  broker.topics.add('gone');
  await Promise.all([first, denied, second]);
  expect(logOf(broker, 'gone')).toEqual(['a', 'b']);
});

test('of two missing topics either may come first', async () => {
  const broker = fakeBroker([]);
  const { publish } = broker.publisher;
  const both = publish([record('one', 'x'), record('two', 'x')]);
  const two = publish([record('two', 'y')]);
  broker.topics.add('two');
  await two;
  broker.topics.add('one');
  await both;
  expect([logOf(broker, 'one'), logOf(broker, 'two')]).toEqual([['x'], ['y', 'x']]);
});

test('what passes by itself is tried again; what does not pass within the time fails each caller with a reason that names its topic', async () => {
  const broker = fakeBroker(['one', 'two'], { ...TIMES, tryingMs: 20 });
  const { publish } = broker.publisher;
  broker.failing = 3;
  await publish([record('one', 'x')]);
  expect(broker.requests).toBe(4);
  broker.failing = Number.POSITIVE_INFINITY;
  const answers = await Promise.allSettled([publish([record('one', 'y')]), publish([record('two', 'y')])]);
  expect(answers.map((a) => (a.status === 'rejected' ? (a.reason as Error).message : ''))).toEqual([
    'BUS_UNAVAILABLE: publishing to one: NOT_LEADER_FOR_PARTITION',
    'BUS_UNAVAILABLE: publishing to two: NOT_LEADER_FOR_PARTITION',
  ]);
});

test('a topic of which the broker takes no records holds up nobody else, and what waits for it goes in order once it does', async () => {
  const broker = fakeBroker(['well', 'stuck'], { ...TIMES, lookMs: 10 });
  const { publish } = broker.publisher;
  broker.refusing.add('stuck');
  let answered = 0;
  const stuck = ['a', 'b', 'c'].map((text) => publish([record('stuck', text)]).then(() => answered++));
  // Of one caller with both the other topic's record is in the log, and only the refused one is tried again.
  const both = publish([record('well', 'both'), record('stuck', 'd')]);
  const before = broker.requests;
  for (let i = 0; i < 50; i++) await publish([record('well', String(i))]);
  expect(answered).toBe(0);
  expect(broker.requests - before).toBeLessThan(100);
  broker.refusing.delete('stuck');
  await Promise.all([...stuck, both]);
  expect(logOf(broker, 'stuck')).toEqual(['a', 'b', 'c', 'd']);
  expect(logOf(broker, 'well').filter((text) => text === 'both').length).toBeLessThanOrEqual(2);
  expect([...new Set(logOf(broker, 'well'))]).toEqual(['both', ...Array.from({ length: 50 }, (_, i) => String(i))]);
});

test('a refusal of one topic alone is not asked about again: its callers step aside at once', async () => {
  const broker = fakeBroker(['stuck'], { ...TIMES, tryingMs: 50, lookMs: 1000 });
  broker.refusing.add('stuck');
  await expect(
    Promise.all([broker.publisher.publish([record('stuck', 'a')]), broker.publisher.publish([record('stuck', 'b')])]),
  ).rejects.toThrow('NOT_ENOUGH_REPLICAS');
  // The one that was refused, and the first try of the line.
  expect(broker.requests).toBe(2);
});

test('what the broker does not take in the time fails its caller with the reason, and the next one is tried', async () => {
  const broker = fakeBroker(['stuck'], { ...TIMES, tryingMs: 50 });
  const { publish } = broker.publisher;
  broker.refusing.add('stuck');
  await expect(publish([record('stuck', 'a')])).rejects.toMatchObject({
    code: 'BUS_UNAVAILABLE',
    message: 'BUS_UNAVAILABLE: publishing to stuck: NOT_ENOUGH_REPLICAS',
  });
  broker.refusing.delete('stuck');
  await publish([record('stuck', 'b')]);
  expect(logOf(broker, 'stuck').at(-1)).toBe('b');
});

test('of two topics that are refused one goes again: its others go at once, and what it took is not sent for ever', async () => {
  const broker = fakeBroker(['city', 'x']);
  const { publish } = broker.publisher;
  for (const topic of ['city', 'x']) broker.refusing.add(topic);
  const both = publish([record('city', 'a'), record('x', 'a')]);
  const behind = publish([record('city', 'b')]);
  await until('it is tried', () => broker.requests > 5);
  broker.refusing.delete('city');
  await behind;
  for (let i = 0; i < 20; i++) await publish([record('city', String(i))]);
  const city = logOf(broker, 'city');
  expect([...new Set(city)]).toEqual(['a', 'b', ...Array.from({ length: 20 }, (_, i) => String(i))]);
  // The first request that names x again is refused as a whole, though the broker took what it has of the city.
  expect(city.length).toBeLessThanOrEqual(23);
  broker.refusing.delete('x');
  await both;
  expect(logOf(broker, 'x')).toEqual(['a']);
});

test('of two refused topics each is tried again, though the record that one was to be tried with steps aside for the other', async () => {
  const broker = fakeBroker(['x', 'y']);
  const { publish } = broker.publisher;
  for (const topic of ['x', 'y']) broker.refusing.add(topic);
  // The first of these is on its way to try x when the second one's topic is refused in the same request.
  const waiting = [publish([record('x', 'both'), record('y', 'both')]), publish([record('y', 'a')])];
  await until('they are tried', () => broker.requests > 5);
  broker.refusing.delete('x');
  await publish([record('x', 'b')]);
  expect(logOf(broker, 'x')).toEqual(['both', 'b']);
  broker.refusing.delete('y');
  await Promise.all(waiting);
});

test('a topic is tried again after the record that it was to be tried with has waited for another one that came first in it', async () => {
  const broker = fakeBroker(['x', 'y']);
  const { publish } = broker.publisher;
  for (const topic of ['x', 'y']) broker.refusing.add(topic);
  const stop = new AbortController();
  const left = expect(publish([record('x', 'left')], stop.signal)).rejects.toThrow('stopped');
  await until('x is refused', () => broker.requests > 2);
  stop.abort(new Error('stopped'));
  await left;
  // The second one tries x, behind a request that shows that y is refused.
  const waiting = [publish([record('y', 'a')]), publish([record('y', 'both'), record('x', 'both')])];
  await until('y is tried', () => broker.requests > 8);
  broker.refusing.delete('x');
  await publish([record('x', 'b')]);
  broker.refusing.delete('y');
  await Promise.all(waiting);
  expect(new Set(logOf(broker, 'x').filter((text) => text !== 'left'))).toEqual(new Set(['b', 'both']));
  expect([...new Set(logOf(broker, 'y'))]).toEqual(['a', 'both']);
});

test('whoever leaves while its record is tried lets the next one be tried', async () => {
  const broker = fakeBroker(['stuck']);
  const { publish } = broker.publisher;
  broker.refusing.add('stuck');
  for (let i = 0; i < 20; i++) {
    const stop = new AbortController();
    const left = expect(publish([record('stuck', 'left')], stop.signal)).rejects.toThrow('stopped');
    for (let n = 0; n < i; n++) await new Promise((resolve) => setImmediate(resolve));
    stop.abort(new Error('stopped'));
    await left;
  }
  const stays = publish([record('stuck', 'stays')]);
  broker.refusing.delete('stuck');
  await stays;
  expect(logOf(broker, 'stuck').at(-1)).toBe('stays');
});

test('whoever leaves while it waits for a topic is not sent when the topic comes', async () => {
  const broker = fakeBroker([]);
  const { publish } = broker.publisher;
  const stop = new AbortController();
  const left = publish([record('gone', 'a')], stop.signal);
  const stays = publish([record('gone', 'b')]);
  await until('the topic is known to be missing', () => broker.requests > 0);
  stop.abort(new Error('stopped'));
  await expect(left).rejects.toThrow('stopped');
  broker.topics.add('gone');
  await stays;
  expect(logOf(broker, 'gone')).toEqual(['b']);
});

test('closing answers those who wait for a topic', async () => {
  const broker = fakeBroker([]);
  const waiting = broker.publisher.publish([record('gone', 'a')]);
  const answer = expect(waiting).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE' });
  await until('the topic is known to be missing', () => broker.requests > 0);
  await broker.publisher.close();
  await answer;
});

test('property: topics come and go, are refused and taken, requests fail: each caller is answered for its own topics, and records of a topic keep their order', async () => {
  const TOPICS = ['a', 'b', 'c', 'd'];
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('publish' as const),
        topic: fc.constantFrom(...TOPICS, 'denied'),
        others: fc.subarray(TOPICS, { maxLength: 2 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constantFrom('come' as const, 'go' as const, 'refuse' as const, 'take' as const),
        topic: fc.constantFrom(...TOPICS),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('fail' as const), topic: fc.constant('') }) },
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('wait' as const), topic: fc.constant('') }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.subarray(TOPICS), fc.array(step, { minLength: 1, maxLength: 40 }), async (there, steps) => {
      const broker = fakeBroker(there);
      broker.denied.add('denied');
      const asked: { topics: readonly string[]; text: string; answer: Promise<string> }[] = [];
      for (const [i, step] of steps.entries()) {
        const { kind, topic } = step;
        if (kind === 'come') broker.topics.add(topic);
        else if (kind === 'go') broker.topics.delete(topic);
        else if (kind === 'refuse') broker.refusing.add(topic);
        else if (kind === 'take') broker.refusing.delete(topic);
        else if (kind === 'fail') broker.failing++;
        // A request and a question last one of these: what happens meanwhile is what this is about.
        else if (kind === 'wait') await new Promise((resolve) => setImmediate(resolve));
        else {
          const topics = [...new Set([topic, ...(step.kind === 'publish' ? step.others : [])])];
          const answer = broker.publisher.publish(topics.map((t) => record(t, String(i)))).then(
            () => 'ok',
            (error: unknown) => (error as { code: string }).code,
          );
          asked.push({ topics, text: String(i), answer });
        }
      }
      broker.refusing.clear();
      for (const topic of TOPICS) broker.topics.add(topic);
      const answers = await Promise.all(asked.map((a) => a.answer));
      expect(answers).toEqual(asked.map((a) => (a.topics.includes('denied') ? 'DENIED_BY_BROKER' : 'ok')));
      for (const topic of TOPICS) {
        const own = asked.filter((a) => a.topics.includes(topic) && !a.topics.includes('denied'));
        // Only records that were handed over together with those of another topic may come later than others of their own.
        const alone = own.filter((a) => a.topics.length === 1).map((a) => a.text);
        // A refused request has put the records of the other topics into the log: those are there twice, under one id.
        const logged = [...new Set(logOf(broker, topic))];
        expect(logged.filter((text) => alone.includes(text))).toEqual(alone);
        expect(logged).toEqual(expect.arrayContaining(own.map((a) => a.text)));
      }
      expect(broker.overlapped).toBe(false);
      await broker.publisher.close();
    }),
    { numRuns: 1000 },
  );
});
