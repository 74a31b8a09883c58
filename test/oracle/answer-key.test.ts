// Real series with identities planted in more than a hundred places each, scored by pydicom: everything passes, and a
// result in which anything is wrong does not.
import { beforeAll, describe, expect, test } from '@jest/globals';
import { hasChest, runKey } from './answer-key-run.ts';
import type { KeyRun } from './answer-key-run.ts';
import { ACTIONS, BLIND, score } from './answer-key-score.ts';
import type { Score } from './answer-key-score.ts';
import { PEOPLE } from './answer-key-people.ts';
import { hasPydicom } from './pydicom.ts';
import type { PydicomFile, PydicomRow } from './pydicom.ts';

const missing = [...(hasChest() ? [] : ['no real CT series; set CTSTREAM_DATA']), ...(hasPydicom() ? [] : ['pydicom is not installed'])];
if (missing.length > 0) console.warn(`skipped: ${missing.join('; ')}`);
const real = missing.length > 0 ? describe.skip : describe;

/** Slices of each series; the generated page has all of them. */
const SLICES = 4;

real('the answer key', () => {
  let run: KeyRun;
  let whole: Score;
  beforeAll(async () => {
    run = await runKey(SLICES);
    whole = score(run.keys, run.sources, run.results, run.refused);
  });

  test.each([...ACTIONS, ...BLIND])('%s: 100%%', (check) => {
    expect(whole.made.get(check)).toBeGreaterThan(0);
    expect(whole.failures.filter((failure) => failure.check === check)).toEqual([]);
  });

  test('plants identities in at least 60 places of every study', () => {
    for (const { rows } of run.keys) expect(rows.filter(({ action }) => action === 'text removed').length).toBeGreaterThanOrEqual(60);
  });

  const surname = PEOPLE[0]?.surname ?? '';
  const changed = (change: (file: PydicomFile, at: number) => PydicomFile): Set<string> =>
    new Set(score(run.keys, run.sources, run.results.map(change), run.refused).failures.map(({ check }) => check));
  const row = (path: string, value: string, vr = 'LO', creator: string | null = null): PydicomRow => ({
    path,
    value,
    vr,
    creator,
    keyword: '',
  });
  const with_ =
    (path: string, value: (was: string) => string) =>
    (file: PydicomFile): PydicomFile => ({
      ...file,
      rows: file.rows.map((one) => (one.path === path ? { ...one, value: value(one.value) } : one)),
    });
  const and =
    (...rows: PydicomRow[]) =>
    (file: PydicomFile): PydicomFile => ({ ...file, rows: [...file.rows, ...rows] });

  test.each<[string, (file: PydicomFile, at: number) => PydicomFile]>([
    ['tag retained', (file) => ({ ...file, rows: file.rows.filter(({ path }) => path !== '(0018,0060)') })],
    ['text not null', with_('(0012,0010)', () => '')],
    ['text retained', with_('(0008,1030)', () => 'CT')],
    ['text removed', with_('(0008,1030)', (was) => `${was} ${surname}`)],
    ['text removed', and(row('(0031,1002)[0](0010,0010)', surname, 'PN'))],
    ['date shifted', with_('(0040,0244)', () => '20090412')],
    [
      'uid changed',
      (file) => ({
        ...file,
        rows: file.rows.map((one) => (one.path === '(0020,0200)' ? { ...one, value: '1.2.643.100.1.99771100.1' } : one)),
      }),
    ],
    ['uid consistent', (file, at) => with_('(0020,000D)', (was) => `${was}${at}`)(file)],
    ['patid consistent', (file, at) => with_('(0010,0020)', (was) => `${was}${at}`)(file)],
    ['pixels retained', (file) => ({ ...file, pixels: '' })],
    ['intervals between dates and times', with_('(0008,0020)', (was) => String(Number(was) + 1))],
    ['intervals between dates and times', (file, at) => with_('(0008,0032)', (was) => (at === 0 ? '115959' : was))(file)],
    ['distinct UIDs stay distinct', with_('(0008,0018)', () => '2.25.7')],
    ['references resolve', with_('(0008,1140)[0](0008,1155)', () => '2.25.7')],
    ['preamble is zero', (file) => ({ ...file, preamble: true })],
    ['file meta is rebuilt', (file) => ({ ...file, meta: [...file.meta, row('(0002,0016)', 'SRC-AE77', 'AE')] })],
    ['no private element outside the known safe', and(row('(0031,1001)', 'x', 'LO', 'HOSPITAL RIS'))],
    ['no identity in any byte of the header', (file) => ({ ...file, outside: `${file.outside}${surname}` })],
    ['age over 89 is 090Y', with_('(0010,1010)', (was) => (was === '090Y' ? '091Y' : was))],
  ])('%s fails when it is broken', (check, change) => {
    expect(changed(change)).toContain(check);
  });

  test('a file that is missing fails what had to stay, and text in pixels that comes out fails', () => {
    const less = score(run.keys, run.sources, run.results.slice(1), run.refused);
    expect(less.failures.map(({ check }) => check)).toEqual(expect.arrayContaining(['tag retained', 'text retained', 'pixels retained']));
    const shown = score(run.keys, run.sources, run.results, new Set());
    expect(shown.failures.map(({ check }) => check)).toContain('pixels hidden');
  });
});
