// The codec: framing, headers, and what it refuses.
import { describe, expect, test } from '@jest/globals';
import avro from 'avsc';
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ids from '../../schemas/ids.json' with { type: 'json' };
import type { NewEvent } from '../kernel/outcome.ts';
import type { BusRecord } from '../ports/event-bus.ts';
import { avroCodec, ownSchemas } from './avro-codec.ts';

const codec = avroCodec();
const event: NewEvent = { type: 'ctstream.research.v1.SubjectWithdrawn', value: { subjectId: 'p1' as never, studies: null } };
const envelope = {
  id: 'e1',
  source: 'anonymise',
  timeMs: 1_800_000_000_123,
  traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
  sequence: 7n,
};

function received(change: Partial<BusRecord> = {}, headers: Record<string, string | undefined> = {}): BusRecord {
  const out = codec.encode(event, envelope);
  const all = { ...out.headers, ...headers };
  return {
    ...out,
    partition: 3,
    offset: 11n,
    timestampMs: 0,
    ...change,
    headers: Object.fromEntries(Object.entries(all).filter((e): e is [string, string] => e[1] !== undefined)),
  };
}

test('a record is framed as Confluent tools expect, under CloudEvents headers in binary mode', () => {
  const out = codec.encode(event, envelope);
  expect([...out.value.subarray(0, 5)]).toEqual([0, 0, 0, 0, ids['research/subject-withdrawn.v1.1.avsc']]);
  expect([...out.value.subarray(5)]).toEqual([4, 0x70, 0x31, 0]);
  expect(out).toMatchObject({ topic: 'ct.research.subject-withdrawn.v1', key: 'p1' });
  expect(out.headers).toEqual({
    ce_specversion: '1.0',
    ce_id: 'e1',
    ce_type: 'ctstream.research.v1.SubjectWithdrawn',
    ce_source: 'anonymise',
    ce_time: '2027-01-15T08:00:00.123Z',
    'content-type': 'application/avro',
    traceparent: envelope.traceparent,
    ce_sequence: '7',
  });
});

test('what was encoded is decoded, with its place', () => {
  expect(codec.decode(received())).toMatchObject({
    ...event,
    id: 'e1',
    source: 'anonymise',
    timeMs: envelope.timeMs,
    sequence: 7n,
    topic: 'ct.research.subject-withdrawn.v1',
    partition: 3,
    offset: 11n,
    key: 'p1',
  });
});

test('every schema round-trips whatever fits it', () => {
  const files = Object.keys(ids);
  for (const file of files) {
    const type = avro.Type.forSchema(JSON.parse(readFileSync(join(import.meta.dirname, '../../schemas', file), 'utf8')) as avro.Schema);
    for (let i = 0; i < 20; i++) {
      // Centres come from the topic's name, so they must look like one.
      const value = { ...(type.random() as object), ...(JSON.stringify(type).includes('"centre"') ? { centre: 'c01' } : {}) };
      const out = codec.encode({ type: type.name, value } as NewEvent, envelope);
      const back = codec.decode({ ...out, partition: 0, offset: 0n, timestampMs: 0 });
      expect(type.compare(back.value, value)).toBe(0);
      expect(back.type).toBe(type.name);
    }
  }
});

describe('refusals', () => {
  test.each([
    ['no frame', received({ value: Buffer.from([1, 0, 0, 0, 20, 0]) })],
    ['nothing at all', received({ value: new Uint8Array() })],
    ['bytes that are left over', received({ value: Buffer.concat([received().value, Buffer.from('x')]) })],
    ['a record that is cut', received({ value: received().value.subarray(0, 6) })],
    ['another ce_type', received({}, { ce_type: 'ctstream.research.v1.ErasureDone' })],
    ['no ce_type', received({}, { ce_type: undefined })],
    ['no ce_id', received({}, { ce_id: undefined })],
    ['no time', received({}, { ce_time: 'yesterday' })],
    ['another specversion', received({}, { ce_specversion: '0.3' })],
    ['a sequence that is none', received({}, { ce_sequence: '-1' })],
  ])('%s is BAD_EVENT', (_, record) => {
    expect(() => codec.decode(record)).toThrow(expect.objectContaining({ code: 'BAD_EVENT', retryable: false }));
  });

  test('an id from a newer version is SCHEMA_AHEAD, and waits', () => {
    expect(() => codec.decode(received({ value: Buffer.from([0, 0, 0, 3, 232, 4, 112, 49]) }))).toThrow(
      expect.objectContaining({ code: 'SCHEMA_AHEAD', retryable: true }),
    );
  });

  test('no bytes make it throw anything but a fault that quotes none of them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 30 }), (bytes, id) => {
        const value = Buffer.concat([Buffer.from([0, 0, 0, 0, id]), bytes]);
        for (const type of ['ctstream.research.v1.StudyAssessed', 'ctstream.clinical.v1.Census']) {
          try {
            codec.decode(received({ value }, { ce_type: type }));
          } catch (error) {
            expect(error).toMatchObject({ name: 'Fault' });
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  test('a value of ours that does not fit names the field and not the value', () => {
    const wrong = { type: 'ctstream.research.v1.SubjectWithdrawn', value: { subjectId: 4711 } } as unknown as NewEvent;
    expect(() => codec.encode(wrong, envelope)).toThrow(/SubjectWithdrawn does not fit its schema at subjectId$/);
  });
});

test('ids of a registry replace those of the file', () => {
  const registry = new Map(Object.keys(ids).map((file, i) => [file, 1000 + i]));
  const other = avroCodec({ registryIds: registry });
  const out = other.encode(event, envelope);
  expect(Buffer.from(out.value).readUInt32BE(1)).toBe(registry.get('research/subject-withdrawn.v1.1.avsc'));
  expect(() => codec.decode({ ...out, partition: 0, offset: 0n, timestampMs: 0 })).toThrow(
    expect.objectContaining({ code: 'SCHEMA_AHEAD' }),
  );
});

/** Ids as a registry gives them: `shift` places further on, so that each id is another schema's. */
const shifted = (shift: number): Map<string, number> => {
  const files = Object.keys(ids);
  return new Map(files.map((file, i) => [file, 1 + ((i + shift) % files.length)]));
};

test('a record whose id means another schema since the registry restarted waits under its own code, and is never garbage', () => {
  const before = avroCodec({ registryIds: shifted(0) });
  const after = avroCodec({ registryIds: shifted(1) });
  for (const file of Object.keys(ids)) {
    const type = avro.Type.forSchema(JSON.parse(readFileSync(join(import.meta.dirname, '../../schemas', file), 'utf8')) as avro.Schema);
    const value = { ...(type.random() as object), ...(JSON.stringify(type).includes('"centre"') ? { centre: 'c01' } : {}) };
    const record = { ...before.encode({ type: type.name, value } as NewEvent, envelope), partition: 0, offset: 0n, timestampMs: 0 };
    expect(() => after.decode(record)).toThrow(expect.objectContaining({ code: 'SCHEMA_ID_MISMATCH', retryable: true }));
    expect(before.decode(record).type).toBe(type.name);
  }
});

test('a newer version of a schema is read with the older one, and the older with its defaults', () => {
  const file = 'research/subject-withdrawn.v1.1.avsc';
  const own = ownSchemas();
  const text = own.get(file)?.text ?? '';
  const record = JSON.parse(text) as { fields: object[] };
  const wider = JSON.stringify({ ...record, fields: [...record.fields, { name: 'reason', type: 'string', default: 'asked', doc: 'd' }] });
  const newer = avroCodec({ schemas: new Map([...own, ['research/subject-withdrawn.v1.2.avsc', { text: wider, id: 99 }]]) });
  const place = { partition: 0, offset: 0n, timestampMs: 0 };
  expect(newer.decode({ ...codec.encode(event, envelope), ...place }).value).toEqual({
    subjectId: 'p1',
    studies: null,
    reason: 'asked',
  });
  const written = newer.encode({ ...event, value: { subjectId: 'p1', studies: null, reason: 'moved' } } as unknown as NewEvent, envelope);
  expect(Buffer.from(written.value).readUInt32BE(1)).toBe(99);
  expect(newer.decode({ ...written, ...place }).value).toEqual({ subjectId: 'p1', studies: null, reason: 'moved' });
  expect(() => codec.decode({ ...written, ...place })).toThrow(expect.objectContaining({ code: 'SCHEMA_AHEAD', retryable: true }));
});

test('what the log holds of an event before a field was added is read, with the default', () => {
  const first = 'research/subject-withdrawn.v1.avsc';
  const text = ownSchemas().get(first)?.text ?? '';
  const before = avroCodec({ schemas: new Map([[first, { text, id: ids[first] }]]) });
  const written = before.encode({ ...event, value: { subjectId: 'p1' } } as unknown as NewEvent, envelope);
  expect(codec.decode({ ...written, partition: 0, offset: 0n, timestampMs: 0 }).value).toEqual({ subjectId: 'p1', studies: null });
});
