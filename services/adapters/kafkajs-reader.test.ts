// What a reader makes of batches that do not begin where the last one ended, as kafkajs hands them over after a reset or a new join.
import { expect, test } from '@jest/globals';
import type { Admin, EachBatchPayload, Kafka } from 'kafkajs';
import pino from 'pino';
import type { TopicEnd } from '../ports/event-bus.ts';
import { readRecords } from './kafkajs-reader.ts';
import type { KafkaParts } from './kafka-offsets.ts';

/** Batches by the offset that they were asked for with, and the offsets of their records. */
type Batches = readonly (readonly [string, readonly number[]])[];

/** Reads `t/0` from 0 to 5 out of these batches, while the log begins at `first`. */
function reading(first: number, batches: Batches): AsyncIterable<{ readonly offset: bigint }> {
  const listeners = new Map<string, (event: unknown) => void>();
  const payloadOf = ([fetchedOffset, offsets]: Batches[number]): unknown => ({
    batch: {
      topic: 't',
      partition: 0,
      fetchedOffset,
      messages: offsets.map((offset) => ({ offset: String(offset), value: Buffer.from(''), headers: {}, timestamp: '1' })),
      lastOffset: () => String(offsets.at(-1)),
    },
    isStale: () => false,
    resolveOffset: () => undefined,
    heartbeat: async () => undefined,
  });
  let feed = async (): Promise<void> => await Promise.resolve();
  const consumer = {
    events: { CRASH: 'crash', GROUP_JOIN: 'join' },
    on: (name: string, listener: (event: unknown) => void) => listeners.set(name, listener),
    connect: async () => undefined,
    subscribe: async () => undefined,
    run: async ({ eachBatch }: { eachBatch: (payload: EachBatchPayload) => Promise<void> }) => {
      feed = async () => {
        for (const batch of batches) await eachBatch(payloadOf(batch) as EachBatchPayload);
      };
      listeners.get('join')?.({});
    },
    pause: () => undefined,
    resume: () => undefined,
    seek: () => setImmediate(() => void feed()),
    disconnect: async () => undefined,
  };
  const admin: Partial<Admin> = { fetchTopicOffsets: async () => [{ partition: 0, offset: '9', low: String(first), high: '9' }] };
  const parts: KafkaParts = {
    kafka: { consumer: () => consumer } as unknown as Kafka,
    options: { brokers: [], username: 'u', password: 'p', prefix: '', clientId: 't', log: pino({ level: 'silent' }) },
    denied: () => undefined,
    about: async (_topics, work) => await work(admin as Admin),
    find: async () => [],
  };
  const want: TopicEnd = { topic: 't', partition: 0, first: 0n, end: 5n };
  return readRecords(parts, [want]);
}

const offsetsOf = async (records: AsyncIterable<{ readonly offset: bigint }>): Promise<number[]> =>
  await Array.fromAsync(records, (r) => Number(r.offset));

test('a hole that compaction or a marker left is none, and what comes again after a new join is given once', async () => {
  const batches: Batches = [
    ['0', [0, 1]],
    ['0', [0, 1]],
    ['3', [4]],
  ];
  expect(await offsetsOf(reading(0, batches))).toEqual([0, 1, 4]);
});

test('what comes before a hole that the log itself begins behind is given, then it is LOG_TRUNCATED', async () => {
  const given: bigint[] = [];
  const all = async (): Promise<void> => {
    for await (const { offset } of reading(4, [
      ['0', [0, 1]],
      ['4', [4, 5, 6]],
    ]))
      given.push(offset);
  };
  await expect(all()).rejects.toMatchObject({ code: 'LOG_TRUNCATED', retryable: false });
  expect(given).toEqual([0n, 1n]);
});
