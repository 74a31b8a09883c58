// Hand-made answers of Fetch, decoded by kafkajs' own decoder after they were looked through.
import { expect, test } from '@jest/globals';
import { createRequire } from 'node:module';
import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import './kafka-client.ts';
import { fetchWatch } from './packed-batches.ts';

interface Message {
  readonly offset: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}
interface Decoded {
  readonly responses: readonly { readonly partitions: readonly { readonly messages: readonly Message[] }[] }[];
}
const { decode } = createRequire(import.meta.url)('kafkajs/src/protocol/requests/fetch/v11/response.js') as {
  decode(answer: Buffer): Promise<Decoded>;
};

const int16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};
const int64 = (value: number): Buffer => Buffer.concat([int32(0), int32(value)]);
const varint = (value: number): Buffer => {
  const bytes: number[] = [];
  let rest = value * 2;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return Buffer.from([...bytes, rest]);
};

const recordOf = (delta: number, value: Buffer): Buffer => {
  const body = Buffer.concat([
    Buffer.from([0, 0]),
    varint(delta),
    varint(1),
    Buffer.from('k'),
    varint(value.length),
    value,
    Buffer.from([0]),
  ]);
  return Buffer.concat([varint(body.length), body]);
};

const batchOf = (first: number, values: readonly Buffer[], packing = 0, pack = (bytes: Buffer): Uint8Array => bytes): Buffer => {
  const records = pack(Buffer.concat(values.map((value, i) => recordOf(i, value))));
  const times = [int64(1), int64(1), int64(-1), int16(-1), int32(-1)];
  const head = [int32(0), Buffer.from([2]), int32(0), int16(packing), int32(values.length - 1), ...times, int32(values.length)];
  const counted = Buffer.concat([...head, records]);
  return Buffer.concat([int64(first), int32(counted.length), counted]);
};

/** A whole response: two topics, aborted transactions, an empty partition, and the batches with the start of one more. */
const responseTo = (correlationId: number, batches: readonly Buffer[]): Buffer => {
  const partition = (records: Buffer): Buffer =>
    Buffer.concat([
      int32(0),
      int16(0),
      int64(9),
      int64(9),
      int64(0),
      int32(1),
      int64(1),
      int64(2),
      int32(-1),
      int32(records.length),
      records,
    ]);
  const topic = (name: string, parts: readonly Buffer[]): Buffer =>
    Buffer.concat([int16(name.length), Buffer.from(name), int32(parts.length), ...parts]);
  const set = Buffer.concat([...batches, batchOf(99, [Buffer.alloc(50)], 1, gzipSync).subarray(0, 70)]);
  const topics = [topic('empty', [partition(Buffer.alloc(0))]), topic('full', [partition(Buffer.alloc(0)), partition(set)])];
  const body = Buffer.concat([int32(correlationId), int32(0), int16(0), int32(0), int32(topics.length), ...topics]);
  return Buffer.concat([int32(body.length), body]);
};

const requestOf = (apiKey: number, version: number, correlationId: number): Buffer =>
  Buffer.concat([int32(8), int16(apiKey), int16(version), int32(correlationId)]);

const messagesOf = async (response: Buffer): Promise<[string, string | undefined][]> => {
  const { responses } = await decode(response.subarray(8));
  return responses
    .flatMap(({ partitions }) => partitions.flatMap(({ messages }) => messages))
    .map(({ offset, key, value }) => [offset, key === null ? undefined : value?.toString('latin1').slice(0, 3)]);
};

const values = [Buffer.from('one'), Buffer.from('two')];
const snappyLike = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([bytes.length, 0]), bytes]);

test.each<[string, Buffer, [string, string | undefined][]]>([
  [
    'not packed',
    batchOf(5, values),
    [
      ['5', 'one'],
      ['6', 'two'],
    ],
  ],
  [
    'gzip',
    batchOf(5, values, 1, gzipSync),
    [
      ['5', 'one'],
      ['6', 'two'],
    ],
  ],
  [
    'zstd',
    batchOf(5, values, 4, zstdCompressSync),
    [
      ['5', 'one'],
      ['6', 'two'],
    ],
  ],
  ['a packing that kafkajs does not know', batchOf(5, values, 2, snappyLike), [['6', undefined]]],
  ['one that there is not', batchOf(5, values, 7, snappyLike), [['6', undefined]]],
  ['no gzip', batchOf(5, values, 1, deflateSync), [['6', undefined]]],
  ['a megabyte of zeros', batchOf(5, [Buffer.alloc(1 << 20)], 1, gzipSync), [['5', undefined]]],
  ['the same as zstd', batchOf(5, [Buffer.alloc(1 << 20)], 4, zstdCompressSync), [['5', undefined]]],
  [
    'very many empty records',
    batchOf(
      5,
      Array.from({ length: 300_000 }, () => Buffer.alloc(0)),
      1,
      gzipSync,
    ),
    [['300004', undefined]],
  ],
])('%s', async (_what, batch, expected) => {
  const watch = fetchWatch();
  watch.asked(requestOf(1, 11, 7));
  const after = batchOf(400_000, [Buffer.from('end')]);
  const response = responseTo(7, [batch, after]);
  watch.answered(response);
  expect(await messagesOf(response)).toEqual([...expected, ['400000', 'end']]);
});

test('only what answers a Fetch is looked into', () => {
  const watch = fetchWatch();
  for (const request of [requestOf(0, 11, 7), requestOf(1, 10, 7), Buffer.from('n,,n=user,r=abc'), 'text']) watch.asked(request);
  watch.asked(requestOf(1, 11, 8));
  const bad = batchOf(5, values, 2, snappyLike);
  const both = Buffer.concat([responseTo(7, [bad]), responseTo(8, [bad])]);
  const before = Buffer.from(both);
  watch.answered(both);
  const half = both.length / 2;
  expect(both.subarray(0, half).equals(before.subarray(0, half))).toBe(true);
  expect(both.subarray(half).equals(before.subarray(half))).toBe(false);
});
