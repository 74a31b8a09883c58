// What no client must unpack. A producer may pack its batches: both clients unpack without a limit, so that a megabyte of zeros
// ends the process, and over a packing that kafkajs does not know it ends reading for good, for all partitions. Kafka has no
// setting against that: a broker that is to unpack (compression.type) has no limit either, and dies of it. So the answers of
// Fetch are looked through first: a batch that is no good becomes, in its place, one record without key, bytes and headers,
// which is a bad event like any other.
import { gunzipSync, zstdDecompressSync } from 'node:zlib';

export const FETCH = 1;
/** The only version with this layout, and the one that kafkajs and Kafka 2.4 to 4 agree on; the other client is told to use it. */
export const FETCH_VERSION = 11;

/** Where what stands in a batch, from its first byte (kafka.apache.org/documentation, "Record Batch"). */
const AT = { length: 8, magic: 16, attributes: 21, lastOffsetDelta: 23, count: 57, records: 61 } as const;
/** First offset and length are not counted by the length. */
const UNCOUNTED = 12;
const PACKING = 0b111;

/** Times its own size that a batch may be unpacked, and some bytes for a small one. Of text one gets five to ten, of zeros a thousand. */
const MOST_TIMES = 32;
const SPARE_BYTES = 4096;
/** Least packed bytes of a record on average: each becomes an object of some hundred bytes, whatever is in it. */
const LEAST_RECORD_BYTES = 7;

type Unpack = (bytes: Uint8Array, options: { maxOutputLength: number }) => Uint8Array;
/** Those that both clients can unpack: gzip, and zstd with what kafka-client.ts adds for kafkajs. */
const UNPACK: Readonly<Record<number, Unpack>> = { 1: gunzipSync, 4: zstdDecompressSync };

function isGood(packing: number, count: number, packed: Uint8Array): boolean {
  const unpack = UNPACK[packing];
  if (unpack === undefined || count * LEAST_RECORD_BYTES > packed.length) return false;
  try {
    unpack(packed, { maxOutputLength: MOST_TIMES * packed.length + SPARE_BYTES });
    return true;
  } catch {
    return false;
  }
}

/** A number as Kafka writes it in a record: zigzag, seven bits a byte. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = ((value << 1) ^ (value >> 31)) >>> 0;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return [...bytes, rest];
}

/** One record at the batch's last offset, so that reading goes on behind it. */
function makeBlank(batch: Buffer): void {
  const record = [0, 0, ...varint(batch.readInt32BE(AT.lastOffsetDelta)), ...varint(-1), ...varint(-1), 0];
  const bytes = Buffer.from([...varint(record.length), ...record]);
  // What a broker took as packed records is longer than one empty one.
  if (bytes.length > batch.length - AT.records) return;
  batch.writeInt16BE(batch.readInt16BE(AT.attributes) & ~PACKING, AT.attributes);
  batch.writeInt32BE(1, AT.count);
  bytes.copy(batch, AT.records);
}

/** Looks through the batches of one partition, in place. The last may be cut off. */
function blankBad(batches: Buffer): void {
  for (let at = 0; batches.length - at > AT.records;) {
    const size = UNCOUNTED + batches.readInt32BE(at + AT.length);
    const batch = batches.subarray(at, at + size);
    if (batch.length < size || size <= AT.records || batch.readInt8(AT.magic) !== 2) return;
    const packing = batch.readInt16BE(AT.attributes) & PACKING;
    if (packing !== 0 && !isGood(packing, batch.readInt32BE(AT.count), batch.subarray(AT.records))) makeBlank(batch);
    at += size;
  }
}

/** Looks through an answer of Fetch behind its correlation id, in place. @throws RangeError when it is none */
export function blankBadBatches(answer: Buffer): void {
  let at = 4 + 2 + 4;
  const int32 = (): number => answer.readInt32BE((at += 4) - 4);
  for (let topics = int32(); topics > 0; topics--) {
    const name = answer.readInt16BE(at);
    at += 2 + name;
    for (let partitions = int32(); partitions > 0; partitions--) {
      at += 4 + 2 + 8 + 8 + 8;
      const aborted = Math.max(0, int32());
      at += 16 * aborted + 4;
      const size = Math.max(0, int32());
      blankBad(answer.subarray(at, at + size));
      at += size;
    }
  }
}

/** Of one connection: hears its requests, and looks through those of its responses that answer a Fetch. */
export function fetchWatch(): { asked(request: Uint8Array | string): void; answered(responses: Buffer): void } {
  const open = new Set<number>();
  return {
    asked: (request) => {
      if (typeof request === 'string' || request.length < 12) return;
      const view = new DataView(request.buffer, request.byteOffset, request.byteLength);
      if (view.getInt16(4) === FETCH && view.getInt16(6) === FETCH_VERSION) open.add(view.getInt32(8));
    },
    answered: (responses) => {
      for (let at = 0; responses.length - at >= 8;) {
        const size = 4 + Math.max(0, responses.readInt32BE(at));
        if (open.delete(responses.readInt32BE(at + 4))) blankBadBatches(responses.subarray(at + 8, at + size));
        at += size;
      }
    },
  };
}
