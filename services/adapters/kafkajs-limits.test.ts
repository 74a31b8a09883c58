// Waits of the kafkajs adapter that must have an end, with a client that never answers: no broker does that on demand.
import { expect, test } from '@jest/globals';
import type { Admin, ConsumerConfig, Kafka, PartitionAssigner } from 'kafkajs';
import pino from 'pino';
import { until } from '../../test/shared/test-context.ts';
import { makePublisher } from './kafkajs-bus.ts';
import type { KafkaParts } from './kafka-offsets.ts';
import { openReader } from './kafkajs-reader.ts';
import { openSubscription } from './kafkajs-subscription.ts';

const never = new Promise<never>(() => undefined);
const options = { brokers: [], username: 'u', password: 'p', prefix: '', clientId: 't', log: pino({ level: 'silent' }) };
const wanted = [{ topic: 't', partition: 0, first: 0n, end: 1n }];
const record = (key: string): { topic: string; key: string; value: Uint8Array; headers: Record<string, string> } => ({
  topic: 't',
  key,
  value: new Uint8Array(),
  headers: {},
});

/** The log has records `first` to `end`, not included. */
function partsOf(kafka: Kafka, first = 0, end = 1): Pick<KafkaParts, 'kafka' | 'options' | 'about'> {
  const admin: Partial<Admin> = {
    fetchTopicOffsets: async () => [{ partition: 0, offset: `${end}`, low: `${first}`, high: `${end}` }],
  };
  return { kafka, options, about: async (_topics, work) => await work(admin as Admin) };
}

interface FakeConsumer {
  readonly kafka: Kafka;
  runs: number;
  disconnected: number;
  crash(error: Error): void;
  join(): void;
}

/** `run` resolves without a join, as kafkajs' does when the group can't be joined. */
function consumerThatNeverJoins(): FakeConsumer {
  const listeners = new Map<string, (event: unknown) => void>();
  const consumer = {
    events: { CRASH: 'crash', GROUP_JOIN: 'join' },
    on: (name: string, listener: (event: unknown) => void) => listeners.set(name, listener),
    connect: async () => undefined,
    subscribe: async () => undefined,
    run: async () => void fake.runs++,
    stop: async () => undefined,
    pause: () => undefined,
    resume: () => undefined,
    seek: () => undefined,
    disconnect: async () => void fake.disconnected++,
  };
  const fake = {
    kafka: { consumer: () => consumer } as unknown as Kafka,
    runs: 0,
    disconnected: 0,
    join: () => listeners.get('join')?.({}),
    crash: (error: Error) => listeners.get('crash')?.({ payload: { error } }),
  };
  return fake;
}

test('a reader that does not join its group says so after a limit, and leaves', async () => {
  const fake = consumerThatNeverJoins();
  await expect(openReader(partsOf(fake.kafka), wanted, undefined, { joinMs: 20, stallMs: 20 })).rejects.toMatchObject({
    code: 'BUS_UNAVAILABLE',
  });
  await until('it is disconnected', () => fake.disconnected > 0);
});

test('a reader that crashes before it joins ends with the crash', async () => {
  const fake = consumerThatNeverJoins();
  const opening = openReader(partsOf(fake.kafka), wanted);
  fake.crash(new Error('crashed'));
  await expect(opening).rejects.toThrow('crashed');
  await until('it is disconnected', () => fake.disconnected > 0);
});

test('a reader that is not wanted any more ends with its signal', async () => {
  const fake = consumerThatNeverJoins();
  const stop = new AbortController();
  const opening = openReader(partsOf(fake.kafka), wanted, stop.signal);
  stop.abort(new Error('stopped'));
  await expect(opening).rejects.toThrow('stopped');
  await until('it is disconnected', () => fake.disconnected > 0);
});

test.each([
  { code: 'BUS_UNAVAILABLE', first: 0 },
  { code: 'LOG_TRUNCATED', first: 1 },
])('a reader to which no record comes says so after a limit: $code when the log begins at $first', async ({ code, first }) => {
  const fake = consumerThatNeverJoins();
  const opening = openReader(partsOf(fake.kafka, first), wanted, undefined, { joinMs: 1000, stallMs: 20 });
  await until('it runs', () => fake.runs > 0);
  fake.join();
  const reading = Array.fromAsync((await opening).read(wanted));
  await expect(reading).rejects.toMatchObject({ code });
});

test('publishing ends with its signal, also while a request is on its way; what waited behind it is never sent', async () => {
  const sent: string[][] = [];
  let answer: (() => void) | undefined;
  const first = new Promise<void>((resolve) => (answer = resolve));
  const producer = {
    connect: async () => undefined,
    disconnect: async () => undefined,
    sendBatch: async (o: { topicMessages: { messages: { key: string }[] }[] }) => {
      sent.push(o.topicMessages.flatMap((t) => t.messages.map((m) => m.key)));
      await (sent.length === 1 ? first : undefined);
    },
  };
  const publisher = makePublisher({ producer: () => producer } as unknown as Kafka, '', async (topics) => topics);
  const stop = new AbortController();
  const onItsWay = publisher.publish([record('a')], stop.signal);
  await until('it is sent', () => sent.length === 1);
  const behind = publisher.publish([record('b')], stop.signal);
  stop.abort(new Error('stopped'));
  await expect(onItsWay).rejects.toThrow('stopped');
  await expect(behind).rejects.toThrow('stopped');
  answer?.();
  await publisher.publish([record('c')]);
  expect(sent).toEqual([['a'], ['c']]);
  await expect(publisher.publish([record('d')], stop.signal)).rejects.toThrow('stopped');
  await Promise.race([publisher.close(), never]);
});

test('new topics are looked for by one look at a time, and a look that ends after the stop joins nothing', async () => {
  const fake = consumerThatNeverJoins();
  let looks = 0;
  let found: ((topics: string[]) => void) | undefined;
  const parts = {
    kafka: fake.kafka,
    options: { ...options, metadataPollMs: 5 },
    denied: () => undefined,
    find: async () => {
      if (looks++ === 0) return ['a.c01'];
      return await new Promise<string[]>((resolve) => (found = resolve));
    },
  } as unknown as KafkaParts;
  const subscription = await openSubscription(parts, { group: 'g', topics: ['a.<centre>'], window: 1 });
  await until('a second look', () => looks === 2);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(looks).toBe(2);
  const stopping = subscription.stop();
  await until('it left', () => fake.disconnected > 0);
  found?.(['a.c01', 'a.c02']);
  await stopping;
  expect(fake.runs).toBe(1);
});

interface FakeGroup {
  readonly parts: KafkaParts;
  /** Offsets of each commit. */
  readonly commits: string[];
  /** The first step of a join, in which the member says what it has. */
  beginJoin(): void;
  assign(): void;
  /** Hands over two records. @param onCommit awaited before each commit is answered */
  handOver(onCommit?: (count: number) => Promise<void>): Promise<void>;
}

/** A group with one partition of two records, none of them committed. */
function groupOfOne(): FakeGroup {
  const listeners = new Map<string, (event: unknown) => void>();
  const commits: string[] = [];
  let eachBatch: ((payload: unknown) => Promise<void>) | undefined;
  let assigner: PartitionAssigner | undefined;
  const consumer = {
    events: { CRASH: 'crash', GROUP_JOIN: 'join' },
    on: (name: string, listener: (event: unknown) => void) => listeners.set(name, listener),
    connect: async () => undefined,
    subscribe: async () => undefined,
    run: async (o: { eachBatch: (payload: unknown) => Promise<void> }) => void (eachBatch = o.eachBatch),
    pause: () => undefined,
    resume: () => undefined,
    disconnect: async () => undefined,
  };
  const create = (o: ConsumerConfig): typeof consumer => {
    assigner = o.partitionAssigners?.[0];
    return consumer;
  };
  const admin = {
    fetchTopicOffsets: async () => [{ partition: 0, low: '0', high: '2' }],
    fetchOffsets: async () => [{ topic: 't', partitions: [{ partition: 0, offset: '-1' }] }],
  };
  const parts = {
    kafka: { consumer: create },
    options: { ...options, sessionTimeoutMs: 20 },
    denied: () => undefined,
    about: async (_topics: unknown, ask: (a: typeof admin) => Promise<unknown>) => await ask(admin),
    find: async () => [],
  } as unknown as KafkaParts;
  const message = (offset: string): unknown => ({ offset, key: Buffer.from('k'), value: Buffer.from('v'), headers: {}, timestamp: '1' });
  return {
    parts,
    commits,
    beginJoin: () => void assigner?.({} as Parameters<PartitionAssigner>[0]).protocol({ topics: ['t'] }),
    assign: () => listeners.get('join')?.({ payload: { memberAssignment: { t: [0] } } }),
    handOver: async (onCommit = async () => undefined) =>
      await eachBatch?.({
        batch: { topic: 't', partition: 0, fetchedOffset: '0', highWatermark: '2', messages: [message('0'), message('1')] },
        isRunning: () => true,
        isStale: () => false,
        resolveOffset: () => undefined,
        heartbeat: async () => undefined,
        commitOffsetsIfNecessary: async ({ topics }: { topics: { partitions: { offset: string }[] }[] }) => {
          commits.push(topics[0]?.partitions[0]?.offset ?? '');
          await onCommit(commits.length);
        },
      }),
  };
}

test('a commit that is not answered is sent again; when it comes after the newer one, what it took back is committed once more', async () => {
  const { parts, commits, assign, handOver } = groupOfOne();
  let arrives: () => void = () => undefined;
  const arrived = new Promise<void>((resolve) => (arrives = resolve));
  const subscription = await openSubscription(parts, { group: 'g', topics: ['t'], window: 2 });
  assign();
  await handOver(async (count) => await (count === 1 ? arrived : undefined));
  const ack = async (): Promise<void> => (await subscription.take(new AbortController().signal))?.ack();
  await ack();
  await until('it is sent again', () => commits.length === 2);
  await ack();
  await until('the next one is sent', () => commits.length === 3);
  arrives();
  await until('what it took back is sent again', () => commits.length === 4);
  expect(commits).toEqual(['1', '1', '2', '2']);
  await subscription.stop();
});

test('what is done is committed after a join that ended with its connection: a broker that was started again still has the member', async () => {
  const { parts, commits, beginJoin, assign, handOver } = groupOfOne();
  const subscription = await openSubscription(parts, { group: 'g', topics: ['t'], window: 2 });
  beginJoin();
  assign();
  await handOver();
  const lease = await subscription.take(new AbortController().signal);
  // kafkajs gives up on it and goes on as the member that it is: no assignment follows.
  beginJoin();
  lease?.ack();
  await until('the commit', () => commits.length === 1);
  expect(commits).toEqual(['1']);
  await subscription.stop();
});
