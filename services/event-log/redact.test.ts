// The clinical archive holds no UID and no centre id, and a new field can't slip in.
import { expect, test } from '@jest/globals';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { EventIn } from '../kernel/stage.ts';
import { FIELD_RULES, redactClinical, type TokenSource } from './redact.ts';

const given =
  (tokenOf: (uid: string, centre: string) => string): TokenSource['studies'] =>
  async (centre, uids) =>
    new Map(uids.map((uid) => [uid, { token: tokenOf(uid, centre), secret: new Uint8Array(32) }]));

const tokens: TokenSource = {
  studies: given((uid, centre) => `tok-${Buffer.from(`${centre}${uid}`).length}`),
  site: () => 'site-x',
  eventId: () => 'keyed',
};

const census = {
  type: 'ctstream.clinical.v1.Census',
  id: 'ce-1',
  source: 'centre-gateway/c01',
  timeMs: 0,
  topic: 'ct.clinical.c01.census.v1',
  partition: 0,
  offset: 0n,
  key: 'c01',
  value: {
    centre: 'c01',
    censusId: 'x',
    takenAtMs: 1,
    page: 1,
    pages: 1,
    total: 1,
    digest: 'd',
    outboxSequence: 1,
    studies: [{ studyInstanceUid: '1.2.840.99', instanceCount: 3, state: 'announced', code: null }],
  },
} as unknown as EventIn;

test('every field of every clinical schema has a rule', () => {
  const dir = join(import.meta.dirname, '../../schemas/clinical');
  for (const file of readdirSync(dir)) {
    const { fields } = JSON.parse(readFileSync(join(dir, file), 'utf8')) as { fields: { name: string }[] };
    for (const f of fields) expect([file, f.name, Object.hasOwn(FIELD_RULES, f.name)]).toEqual([file, f.name, true]);
  }
});

test('no original UID, centre id or event id is left', async () => {
  const text = JSON.stringify(await redactClinical(census, tokens));
  for (const secret of ['1.2.840.99', 'c01', 'ce-1']) expect(text).not.toContain(secret);
  expect(text).toContain('tok-');
});

test('sizes are rounded to megabytes', async () => {
  const stored = {
    ...census,
    type: 'ctstream.clinical.v1.StudyStored',
    value: { centre: 'c01', studyInstanceUid: '1.2.3', sizeBytes: 65_390_028 },
  } as unknown as EventIn;
  expect((await redactClinical(stored, tokens)).value['sizeBytes']).toBe(65_000_000);
});

test('a field without a rule is an error', async () => {
  const odd = { ...census, value: { ...census.value, patientName: 'A' } } as unknown as EventIn;
  await expect(redactClinical(odd, tokens)).rejects.toThrow('patientName');
});

test('what a centre writes freely is kept only when it is in a list', async () => {
  const available = {
    ...census,
    type: 'ctstream.clinical.v1.StudyAvailable',
    topic: 'ct.clinical.c01.study-available.v1',
    source: 'Ivanov/c01',
    value: { centre: 'c01', studyInstanceUid: '1.2.3', modalities: ['SR', 'Ivanov', 'CT'], noticedBy: 'Ivanov' },
  } as unknown as EventIn;
  const { value, source } = await redactClinical(available, tokens);
  expect([value['modalities'], value['noticedBy'], source]).toEqual([['CT', 'SR', 'other'], 'other', 'site-x/other']);
  const status = { ...available, value: { centre: 'c01', studyInstanceUid: '1.2.3', state: 'stored', code: null, stage: 'x', unit: 'u' } };
  expect((await redactClinical(status as unknown as EventIn, tokens)).value).toMatchObject({
    state: 'stored',
    code: null,
    stage: 'other',
    unit: 'other',
  });
});

test('the topic says whose event it is, not the value', async () => {
  const sites: TokenSource = { ...tokens, site: (centre) => `site-of-${centre}` };
  const lied = { ...census, value: { ...census.value, centre: 'c02' } } as unknown as EventIn;
  const { value, topic } = await redactClinical(lied, sites);
  expect([value['centre'], topic]).toEqual(['site-of-c01', 'ct.clinical.site-of-c01.census.v1']);
});

test('a census tells neither the order of its UIDs nor its number in the outbox', async () => {
  const named: TokenSource = { ...tokens, studies: given((uid) => (uid === '1.1' ? 'z' : 'a')) };
  const two = ['1.1', '1.2'].map((studyInstanceUid) => ({ studyInstanceUid, instanceCount: 3, state: 'announced', code: null }));
  const { value } = await redactClinical({ ...census, value: { ...census.value, studies: two } } as unknown as EventIn, named);
  expect((value['studies'] as { studyInstanceUid: string }[]).map((s) => s.studyInstanceUid)).toEqual(['a', 'z']);
  expect(value['outboxSequence']).toBeNull();
});

test('the vault is asked once for all studies of a page', async () => {
  const asked: (readonly string[])[] = [];
  const watched: TokenSource = { ...tokens, studies: (centre, uids) => (asked.push(uids), tokens.studies(centre, uids)) };
  const uids = Array.from({ length: 500 }, (_, i) => `1.2.${i}`);
  const studies = uids.map((studyInstanceUid) => ({ studyInstanceUid, instanceCount: 3, state: 'announced', code: null }));
  const { value } = await redactClinical({ ...census, value: { ...census.value, studies } } as unknown as EventIn, watched);
  expect(asked).toEqual([uids]);
  expect(value['studies']).toHaveLength(500);
});
