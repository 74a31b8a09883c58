// Choosing and showing dead letters: nothing on a screen names a study unless it was asked for.
import { expect, test } from '@jest/globals';
import type { EventIn } from '../kernel/stage.ts';
import type { DeadLetter } from '../runtime/dead-letters.ts';
import { choose, isNarrowed, letterLine, parseAge, shownEvent } from './dead-view.ts';

const UID = '1.2.840.99999.1';
const record = {
  topic: 'ct.clinical.anonymise.dead',
  partition: 3,
  offset: 17n,
  key: `c01|${UID}`,
  value: Buffer.from('bytes'),
  headers: { ce_time: '2027-01-15T08:00:00.123Z', traceparent: 'x\u001b[31m' },
  timestampMs: 1000,
};
const letter: DeadLetter = {
  id: 'anonymise/3/17',
  stage: 'anonymise',
  zone: 'clinical',
  state: 'open',
  code: 'JOB_TIMEOUT',
  attempts: 4,
  atMs: 1000,
  eventId: 'e1',
  eventType: 'ctstream.clinical.v1.StudyStored',
  centre: 'c01',
  origin: { record: { ...record, topic: 'ct.clinical.study-stored.v1', partition: 1, offset: 5n }, attempts: 4, away: 0 },
  record,
};

test('ages are read with their unit, and nothing else', () => {
  expect(['90s', '30m', '1h', '7d'].map(parseAge)).toEqual([90_000, 1_800_000, 3_600_000, 604_800_000]);
  for (const text of ['1', 'h', '1w', '-1h', '1.5h']) expect(() => parseAge(text)).toThrow(/an age/);
});

test.each([
  [{ stage: 'anonymise' }, 1],
  [{ stage: 'ingest' }, 0],
  [{ code: 'JOB_TIMEOUT', centre: 'c01' }, 1],
  [{ centre: 'c02' }, 0],
  [{ olderThan: 3_600_000 }, 1],
  [{ newerThan: 3_600_000 }, 0],
  [{ topic: 'ct.clinical.study-stored.v1', partition: 1, offset: 5 }, 1],
  [{ offset: 6 }, 0],
])('filter %j finds %i', (filter, n) => {
  const [old, now] = [letter, 1000 + 7_200_000];
  expect(choose([old, { ...old, state: 'settled' }], filter, now, false)).toHaveLength(n);
  expect(choose([old, { ...old, state: 'settled' }], filter, now, true)).toHaveLength(2 * n);
  expect(isNarrowed(filter)).toBe(true);
});

test('no filter narrows nothing', () => {
  expect(isNarrowed({})).toBe(false);
});

test('a line and an event name the study by a digest, and by its UID only when asked; a header can not drive the terminal', () => {
  const event = {
    type: 'ctstream.clinical.v1.StudyStored',
    source: 'ingest',
    value: { centre: 'c01', studyInstanceUid: UID, manifestKey: `c01/${UID}/r/manifest.json`, instanceCount: 3 },
  } as unknown as EventIn;
  const shown = JSON.stringify([letterLine(letter, false), shownEvent(letter, { event }, false)]);
  expect(shown).not.toContain(UID);
  expect(shown).toContain('"instanceCount":3');
  expect(letterLine(letter, false)['study']).toMatch(/^c01\/[0-9a-f]{12}$/);
  expect(letterLine(letter, false)['traceparent']).toBe('x?[31m');
  expect(JSON.stringify([letterLine(letter, true), shownEvent(letter, { event }, true)]).split(UID)).toHaveLength(4);
});
