// The rules that hold schemas/ together: every version reads every other, every field is explained, generated files
// are current, every event has one topic.
import { describe, expect, test } from '@jest/globals';
import avro from 'avsc';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compareVersions, lintSchema, type AvroRecord } from './compatibility.ts';
import { generate, schemaFiles } from './generate.ts';
import ids from './ids.json' with { type: 'json' };
import topicsFile from './topics.json' with { type: 'json' };

const read = (file: string): AvroRecord => JSON.parse(readFileSync(join(import.meta.dirname, file), 'utf8')) as AvroRecord;
const fullName = (r: AvroRecord): string => `${r.namespace}.${r.name}`;
const files = schemaFiles();
const idOf = (file: string): number => (ids as Record<string, number>)[file] ?? 0;
const zones = ['clinical', 'research'];

test('generated files are current', () => {
  for (const [file, text] of Object.entries(generate()))
    expect([file, readFileSync(join(import.meta.dirname, file), 'utf8') === text]).toEqual([file, true]);
});

test('ids are unique, start at 1 and belong to files that are there', () => {
  expect(Object.keys(ids).sort()).toEqual([...files].sort());
  expect(new Set(Object.values(ids)).size).toBe(files.length);
  expect(Math.min(...Object.values(ids))).toBe(1);
});

test.each(files)('%s: name and version agree with the file, every field has a doc', (file) => {
  const record = read(file);
  const [, zone, kebab, major] = /^(clinical|research)\/([a-z-]+)\.v(\d+)(?:\.[1-9]\d*)?\.avsc$/.exec(file) ?? [];
  expect(zones).toContain(zone);
  expect(fullName(record)).toBe(
    `ctstream.${zone}.v${major}.${(kebab ?? '').replace(/(^|-)([a-z])/g, (_, __, c: string) => c.toUpperCase())}`,
  );
  expect(lintSchema(record)).toEqual([]);
});

test('every version of an event reads every other', () => {
  const byEvent = Map.groupBy(files, (f) => f.replace(/(\.v\d+)\..*$/, '$1'));
  expect(Math.max(...[...byEvent.values()].map((versions) => versions.length))).toBeGreaterThan(1);
  for (const versions of byEvent.values()) {
    // The ids tell which is the newer: the codec writes that one.
    const records = versions.toSorted((a, b) => idOf(a) - idOf(b)).map(read);
    for (const [i, newer] of records.entries())
      for (const older of records.slice(0, i)) {
        expect(compareVersions(older, newer)).toEqual([]);
        expect(newer.fields.slice(0, older.fields.length)).toEqual(older.fields);
      }
  }
});

describe('the check can fail', () => {
  const v1 = read('research/study-excluded.v1.avsc');
  const changed = (change: (r: AvroRecord) => void): AvroRecord => {
    const copy = structuredClone(v1);
    change(copy);
    return copy;
  };
  const field = (name: string, type: unknown, more: object = {}): AvroRecord['fields'][number] =>
    ({ name, type, doc: 'New.', ...more }) as AvroRecord['fields'][number];

  test('a new field with a default passes both ways', () => {
    expect(
      compareVersions(
        v1,
        changed((r) => void r.fields.push(field('why', ['null', 'string'], { default: null }))),
      ),
    ).toEqual([]);
  });

  test.each<[string, (r: AvroRecord) => void, RegExp]>([
    ['a new field without a default', (r) => void r.fields.push(field('why', 'string')), /why/],
    ['a field that went', (r) => void r.fields.pop(), /can't read|went/],
    ['a changed type', (r) => void Object.assign(r.fields.find((f) => f.name === 'round') ?? {}, { type: 'string' }), /can't read/],
    [
      "a widened type, which the old version can't read",
      (r) => void Object.assign(r.fields.find((f) => f.name === 'round') ?? {}, { type: 'double' }),
      /can't read/,
    ],
    [
      'a rename under an alias, which a resolver lets pass',
      (r) => void Object.assign(r.fields.find((f) => f.name === 'detail') ?? {}, { name: 'limit', aliases: ['detail'], default: '' }),
      /detail went|alias/,
    ],
    [
      'a logical type that came',
      (r) => void Object.assign(r.fields.find((f) => f.name === 'round') ?? {}, { type: { type: 'int', logicalType: 'date' } }),
      /logical type/,
    ],
    [
      'a changed brand: an id of another kind',
      (r) => void Object.assign(r.fields.find((f) => f.name === 'studyId') ?? {}, { brand: 'StudyInstanceUid' }),
      /brand/,
    ],
  ])('%s', (_, change, says) => {
    expect(compareVersions(v1, changed(change)).join('\n')).toMatch(says);
  });

  test('a field without doc is found, also in a nested record', () => {
    expect(lintSchema(changed((r) => void delete (r.fields[0] as { doc?: string }).doc))).toEqual(['studyId has no doc']);
    const nested = read('research/study-labelled.v1.avsc');
    const inner = JSON.parse(JSON.stringify(nested).replace('"doc":"0 to 4."', '"doc":""')) as AvroRecord;
    expect(lintSchema(inner)).toEqual(['readings.grade has no doc']);
  });
});

test('every event has exactly one topic, in its own zone, and every topic an event', () => {
  const events = [...new Set(files.map((f) => fullName(read(f))))].sort();
  expect(topicsFile.topics.map((t) => t.type).sort()).toEqual(events);
  expect(new Set(topicsFile.topics.map((t) => t.name)).size).toBe(topicsFile.topics.length);
  for (const t of topicsFile.topics) expect([t.name, t.name.split('.')[1]]).toEqual([t.name, t.type.split('.')[1]]);
});

test('topics hold what the design says of zones: clinical 30 days, research for ever, no reader or writer across but anonymise, account and withdraw', () => {
  const clinicalOnly = new Set(['ingest', 'archiver-clinical', 'withdraw']);
  const researchOnly = new Set(['assess', 'select', 'label-queue', 'release', 'archiver-research']);
  for (const t of topicsFile.topics) {
    const clinical = t.name.startsWith('ct.clinical.');
    expect([t.name, t.retentionMs]).toEqual([t.name, clinical ? 30 * 24 * 3_600_000 : -1]);
    const strangers = [...t.writers, ...t.readers].filter((p) =>
      clinical ? researchOnly.has(p) : clinicalOnly.has(p) || p.startsWith('gateway-'),
    );
    expect([t.name, strangers]).toEqual([t.name, []]);
  }
});

test('a replay is remembered at least as long as its dead letter', () => {
  // A segment is deleted whole, at most seven days (segment.ms) after its first record would be.
  expect(topicsFile.retry.retentionMs).toBeGreaterThanOrEqual(topicsFile.dead.retentionMs + 7 * 24 * 3_600_000);
});

test('a value of 2^53 or more can not be written as a long without a loss, so it is refused', () => {
  const type = avro.Type.forSchema('long');
  expect(() => type.toBuffer(2 ** 60)).toThrow();
});
