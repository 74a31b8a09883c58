// What a fetch gives: records from the asked offset on, and where to go on, also behind markers.
import { expect, test } from '@jest/globals';
import { IS_CONTROL, type KafkaRecord, type RecordsBatch } from '@platformatic/kafka';
import { fetched } from './platformatic-fetch.ts';

const record = (offsetDelta: number, headers: KafkaRecord['headers'] = []): KafkaRecord => ({
  length: 0,
  attributes: 0,
  timestampDelta: BigInt(offsetDelta),
  offsetDelta,
  key: Buffer.from(`k${offsetDelta}`),
  value: Buffer.from([offsetDelta]),
  headers,
});

const batch = (firstOffset: bigint, records: KafkaRecord[], more: Partial<RecordsBatch> = {}): RecordsBatch => ({
  firstOffset,
  length: 0,
  partitionLeaderEpoch: 0,
  magic: 2,
  crc: 0,
  attributes: 0,
  lastOffsetDelta: records.length - 1,
  firstTimestamp: 1000n,
  maxTimestamp: 1000n,
  producerId: -1n,
  producerEpoch: -1,
  firstSequence: -1,
  records,
  ...more,
});

const at = (next: bigint): { name: { topic: string; partition: number }; next: bigint } => ({ name: { topic: 't', partition: 3 }, next });

test('a batch that begins before the asked offset gives nothing of before it', () => {
  const { records, next } = fetched(at(11n), [batch(10n, [record(0), record(1), record(2)])]);
  expect(records.map((r) => [r.topic, r.partition, r.offset, r.key, r.timestampMs])).toEqual([
    ['t', 3, 11n, 'k1', 1001],
    ['t', 3, 12n, 'k2', 1002],
  ]);
  expect(next).toBe(13n);
});

test("where the broker's time counts, every record of a batch has it", () => {
  const { records } = fetched(at(10n), [batch(10n, [record(0), record(1)], { attributes: 0b1000, maxTimestamp: 5000n })]);
  expect(records.map((r) => r.timestampMs)).toEqual([5000, 5000]);
});

test('markers give no record but are gone past, and so is the end of a compacted batch', () => {
  const marker = batch(5n, [record(0)], { attributes: IS_CONTROL });
  expect(fetched(at(5n), [marker])).toMatchObject({ records: [], next: 6n });
  expect(fetched(at(5n), [batch(5n, [record(0)], { lastOffsetDelta: 4 })]).next).toBe(10n);
});

test('without a batch, or with an older one, the offset stays', () => {
  expect(fetched(at(7n), []).next).toBe(7n);
  expect(fetched(at(7n), [batch(2n, [record(0)])])).toMatchObject({ records: [], next: 7n });
});

test('of a header that stands twice the first counts; keys and values may be missing', () => {
  const h = (name: string, value: string): [Buffer, Buffer] => [Buffer.from(name), Buffer.from(value)];
  const one = { ...record(0, [h('ce_id', 'Ä'), h('ce_id', 'b')]), key: null, value: null };
  expect(fetched(at(0n), [batch(0n, [one])]).records[0]).toMatchObject({ key: '', value: new Uint8Array(), headers: { ce_id: 'Ä' } });
});

test('what a producer took back is left out, up to its marker; others, and what it sent afterwards, are not', () => {
  const by = (producerId: bigint, attributes = 0b1_0000): Partial<RecordsBatch> => ({ producerId, attributes });
  const marker = by(7n, 0b1_0000 | IS_CONTROL);
  const batches = [
    batch(0n, [record(0)], by(7n)),
    batch(1n, [record(0)], by(7n)),
    batch(2n, [record(0)], by(8n)),
    batch(3n, [record(0)], marker),
    batch(4n, [record(0)], by(7n)),
    batch(5n, [record(0)], marker),
  ];
  const { records, next } = fetched(at(0n), batches, [{ producerId: 7n, firstOffset: 1n }]);
  expect(records.map((r) => r.offset)).toEqual([0n, 2n, 4n]);
  expect(next).toBe(6n);
});

test('a record does not hold the answer that it came in', () => {
  const answer = Buffer.alloc(1 << 20);
  const [one] = fetched(at(0n), [batch(0n, [{ ...record(0), value: answer.subarray(5, 8) }])]).records;
  expect(one?.value.buffer.byteLength).toBe(3);
});
