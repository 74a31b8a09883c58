// The clinical archive holds no UID and no centre id, and a new field can't slip in.
import { expect, test } from '@jest/globals';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { EventIn } from '../kernel/stage.ts';
import { FIELD_RULES, redactClinical, type TokenSource } from './redact.ts';

const tokens: TokenSource = {
  study: async (centre, uid) => ({ token: `tok-${Buffer.from(`${centre}${uid}`).length}`, secret: new Uint8Array(32) }),
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
