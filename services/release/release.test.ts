// The pure parts of release: what belongs into a version does not depend on order, tables are read back as written,
// agreement is the published formula, ids and splits are stable and keyed.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Code } from '../kernel/codes.ts';
import { sha256Hex } from '../kernel/digest.ts';
import type { ResearchRevision, ResearchStudyId, SubjectId } from '../kernel/ids.ts';
import { agreementOf } from './agreement.ts';
import { type Cell, fromCsv, toCsv, toTsv } from './delimited.ts';
import { contentsOf, type Fact } from './facts.ts';
import { ownIds, SPLITS } from './own-ids.ts';
import { coarseSeconds } from './registry.ts';
import { fileSha256, filesUnder, parseSums, sumsText } from './sums.ts';
import { parseTombstones, tombstonesText } from './tombstones.ts';
import { diffReleases, verifyRelease } from './verify.ts';
import { compareVersions } from './versions.ts';

const id = (n: number): { studyId: ResearchStudyId; revision: ResearchRevision } => ({
  studyId: `study-${n >> 1}` as ResearchStudyId,
  revision: `revision-${n & 1}` as ResearchRevision,
});

const factArb: fc.Arbitrary<Fact> = fc
  .tuple(fc.integer({ min: 0, max: 11 }), fc.integer({ min: 0, max: 4 }), fc.constantFrom('test', 'other'))
  .map(([n, kind, cohort]): Fact => {
    const subjectId = `subject-${n >> 2}` as SubjectId;
    if (kind <= 1)
      return {
        type: 'ctstream.research.v1.StudySelected',
        value: { ...id(n), subjectId, cohort, ordinal: 1 + (n & 1) } as Extract<
          Fact,
          { type: 'ctstream.research.v1.StudySelected' }
        >['value'],
      };
    if (kind === 2)
      return {
        type: 'ctstream.research.v1.StudyLabelled',
        value: { ...id(n), subjectId, volumeDigest: 'a', grade: n % 5, adjudicated: false, simulated: false, readings: [] },
      };
    if (kind === 3)
      return { type: 'ctstream.research.v1.StudyExcluded', value: { ...id(n), cohort, round: 1, code: 'COHORT_FULL', detail: '' } };
    return {
      type: 'ctstream.research.v1.StudyRejected',
      value: { ...id(n), stage: 'label-queue', code: 'READER_REJECTED', detail: '', subjectId: null },
    };
  });

describe('what belongs into a version', () => {
  test('does not depend on the order in which facts came, nor on doubles', () => {
    fc.assert(
      fc.property(fc.array(factArb, { maxLength: 40 }), (facts) =>
        expect(contentsOf([...facts.toReversed(), ...facts])).toEqual(contentsOf(facts)),
      ),
    );
  });

  test('is selected, labelled and not rejected; nobody is a member and an exclusion', () => {
    fc.assert(
      fc.property(fc.array(factArb, { maxLength: 40 }), (facts) => {
        const { members, exclusions } = contentsOf(facts);
        const has = (type: Fact['type'], m: (typeof members)[number]): boolean =>
          facts.some((f) => f.type === type && f.value.studyId === m.selected.studyId && f.value.revision === m.selected.revision);
        for (const m of members) {
          expect(has('ctstream.research.v1.StudyLabelled', m)).toBe(true);
          expect(has('ctstream.research.v1.StudyRejected', m)).toBe(false);
        }
        expect(new Set(members.map((m) => m.selected.studyId)).size).toBe(members.length);
        expect(exclusions.filter((e) => members.some((m) => m.selected.studyId === e.studyId))).toEqual([]);
      }),
    );
  });
});

describe('revisions of a study in a version', () => {
  const revision = (ordinal: number, subject = 'subject-1') => ({
    studyId: 'study-1' as ResearchStudyId,
    revision: `revision-${ordinal}` as ResearchRevision,
    subjectId: subject as SubjectId,
    ordinal,
  });
  type Of<T extends Fact['type']> = Extract<Fact, { type: T }>;
  const selected = (ordinal: number, subject?: string): Fact => ({
    type: 'ctstream.research.v1.StudySelected',
    value: { ...revision(ordinal, subject), cohort: 'test' } as Of<'ctstream.research.v1.StudySelected'>['value'],
  });
  const labelled = (ordinal: number, subject?: string): Fact => ({
    type: 'ctstream.research.v1.StudyLabelled',
    value: { ...revision(ordinal, subject), volumeDigest: 'a', grade: 1, adjudicated: false, simulated: false, readings: [] },
  });
  const rejected = (ordinal: number, stage: string, code: Code): Fact => ({
    type: 'ctstream.research.v1.StudyRejected',
    value: { ...revision(ordinal), stage, code, detail: '', subjectId: null },
  });
  const built = (facts: Fact[]): [(string | undefined)[], number] => {
    const { members, waiting } = contentsOf(facts);
    return [members.map((m) => m.selected.revision), waiting];
  };

  test('released, another volume: what was released stands, and a later version takes the newer one once it is read', () => {
    const released = [selected(1), labelled(1)];
    expect(built(released)).toEqual([['revision-1'], 0]);
    // A version is a pure function of the facts below its cut: those of the released one do not change.
    const next = [...released, selected(2)];
    expect(built(next)).toEqual([['revision-1'], 0]);
    expect(built([...next, labelled(2)])).toEqual([['revision-2'], 0]);
    expect(built(released)).toEqual([['revision-1'], 0]);
  });

  test('graded, and the newer revision is refused by assess or its readers: the graded one stands', () => {
    expect(built([selected(1), labelled(1), rejected(2, 'assess', 'MISSING_SLICE')])).toEqual([['revision-1'], 0]);
    expect(built([selected(1), labelled(1), selected(2), rejected(2, 'label-queue', 'READER_REJECTED')])).toEqual([['revision-1'], 0]);
  });

  test('a reader sees an identity in a newer revision: no older one is released either, and a still newer one may be', () => {
    const seen = [selected(1), labelled(1), selected(2), rejected(2, 'label-queue', 'IDENTITY_VISIBLE')];
    expect(built(seen)).toEqual([[], 0]);
    expect(built([...seen, selected(3), labelled(3)])).toEqual([['revision-3'], 0]);
  });

  test('what is told of a revision whose selection has not come may be of the newest: an identity there hides all, a grade there supersedes', () => {
    const read = [selected(1), labelled(1)];
    expect(built([...read, rejected(2, 'label-queue', 'IDENTITY_VISIBLE')])).toEqual([[], 0]);
    expect(built([...read, labelled(2)])).toEqual([[], 1]);
    expect(built([...read, labelled(2), selected(2)])).toEqual([['revision-2'], 0]);
    expect(built([...read, labelled(2, 'b')])).toEqual([[], 1]);
    expect(built([...read, rejected(2, 'assess', 'MISSING_SLICE')])).toEqual([['revision-1'], 0]);
  });

  test('a patient is merged in the PACS: nothing more is released under the former, and the study comes back under the other once it is read', () => {
    const before = [selected(1, 'a'), labelled(1, 'a')];
    expect(built(before)).toEqual([['revision-1'], 0]);
    expect(built([...before, selected(2, 'b')])).toEqual([[], 1]);
    expect(built([...before, selected(2, 'b'), labelled(2, 'b')])).toEqual([['revision-2'], 0]);
    expect(built([...before, selected(2, 'b'), rejected(2, 'label-queue', 'READER_REJECTED')])).toEqual([[], 0]);
    // It was merged by mistake, and set back.
    expect(built([...before, selected(2, 'b'), selected(3, 'a')])).toEqual([['revision-1'], 0]);
  });

  test('selected in two revisions and graded in none: it waits as one study', () => {
    expect(built([selected(1), selected(2)])).toEqual([[], 1]);
  });
});

describe('tables', () => {
  const cell = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('a,b', 'say "x"', 'two\nlines', ''), fc.integer(), fc.boolean());

  test('a CSV reads back as it was written', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(cell, cell, cell), { minLength: 1, maxLength: 10 }), (rows: Cell[][]) => {
        const read = fromCsv(toCsv(['a', 'b', 'c'], rows));
        // A bare carriage return outside quotes can't come from us: it is quoted.
        expect(read.map((r) => [r['a'], r['b'], r['c']])).toEqual(rows.map((r) => r.map(String)));
      }),
    );
  });

  test('a row of another length and an open quote are refused', () => {
    expect(() => fromCsv('a,b\n1\n')).toThrow(/row 2/);
    expect(() => fromCsv('a,b\n"1,2\n')).toThrow(/quote/);
  });

  test('a TSV has one line per row whatever is in it', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(cell, cell), { maxLength: 8 }), (rows: Cell[][]) =>
        expect(
          toTsv(['a', 'b'], rows)
            .split('\n')
            .filter((l) => l !== '')
            .map((l) => l.split('\t').length),
        ).toEqual(Array.from({ length: rows.length + 1 }, () => 2)),
      ),
    );
  });

  test('SHA256SUMS reads back, and a path that leaves the folder is refused', () => {
    const sums = new Map([
      ['images/a b.nii.gz', 'a'.repeat(64)],
      ['registry.csv', 'b'.repeat(64)],
    ]);
    expect(parseSums(sumsText(sums))).toEqual(sums);
    expect(() => parseSums(`${'a'.repeat(64)}  ../x\n`)).toThrow();
    expect(() => parseSums(`${'a'.repeat(64)}  /etc/x\n`)).toThrow();
  });
});

describe('tombstones', () => {
  const hex = fc.integer({ min: 0, max: 0xffffff }).map((n) => `study-${n.toString(16).padStart(12, '0')}`);
  test('read back as written, sorted by study; a row without a study is refused', () => {
    fc.assert(
      fc.property(fc.uniqueArray(hex, { maxLength: 8 }), (studies) => {
        const tombstones = studies.map((study) => ({ study, date: '2026-11-23', reason: 'PATIENT_WITHDRAWN' }));
        expect(parseTombstones(tombstonesText(tombstones))).toEqual(tombstones.toSorted((a, b) => (a.study < b.study ? -1 : 1)));
      }),
    );
    expect(() => parseTombstones('study_id,date,reason\n,2026-11-23,x\n')).toThrow(/names no study/);
  });

  /** A dataset folder of studies a and b, with what tombstones.csv says. */
  async function folder(rows: readonly string[], tombstones: string | undefined): Promise<string> {
    const dir = await mkdtemp(join(tmpdir(), 'ctstream-tombstones-'));
    await mkdir(join(dir, 'splits'));
    await mkdir(join(dir, 'images'));
    const lines: string[] = [];
    for (const study of rows) {
      const gz = gzipSync(study);
      await writeFile(join(dir, `images/${study}.nii.gz`), gz);
      lines.push(`${study},images/${study}.nii.gz,subject of ${study},train,${sha256Hex(gz)}\n`);
    }
    await writeFile(join(dir, 'registry.csv'), `study_id,study_file,subject_id,split,sha256\n${lines.join('')}`);
    for (const split of SPLITS) await writeFile(join(dir, `splits/${split}.txt`), split === 'train' ? `${rows.join('\n')}\n` : '');
    if (tombstones !== undefined) await writeFile(join(dir, 'tombstones.csv'), tombstones);
    const sums = new Map<string, string>();
    for (const file of await filesUnder(dir)) sums.set(file, await fileSha256(join(dir, file)));
    await writeFile(join(dir, 'SHA256SUMS'), sumsText(sums));
    return dir;
  }

  test('verify takes a tombstoned study as absent and finds what is left of it; diff counts it in neither', async () => {
    const stone = 'study_id,date,reason\nstudy-0b,2026-11-23,PATIENT_WITHDRAWN\n';
    const [before, after] = [await folder(['study-0a', 'study-0b'], undefined), await folder(['study-0a'], stone)];
    expect(await verifyRelease(after)).toMatchObject({ ok: true, studies: 1, withdrawn: 1 });
    expect(await diffReleases(before, after)).toMatchObject({ added: [], removed: [], withdrawn: ['study-0b'] });
    expect(await diffReleases(before, await folder(['study-0a'], undefined))).toMatchObject({ removed: ['study-0b'], withdrawn: [] });
    const half = await folder(['study-0a', 'study-0b'], stone);
    const left = (await verifyRelease(half)).problems.filter((p) => p.code === 'TOMBSTONED_PRESENT').map((p) => p.file);
    expect(left.sort()).toEqual(['SHA256SUMS', 'images/study-0b.nii.gz', 'registry.csv', 'splits/train.txt']);
    expect((await verifyRelease(await folder(['study-0a'], 'no table"'))).problems.map((p) => p.code)).toContain('BAD_FILE');
    for (const dir of [before, after, half]) await rm(dir, { recursive: true });
  });
});

describe('agreement', () => {
  test('is one when all agree, and as computed by hand when not', () => {
    expect(
      agreementOf([
        [0, 0],
        [1, 1],
        [4, 4],
      ]),
    ).toMatchObject({ pairs: 3, raw: 1, quadraticWeightedKappa: 1 });
    // Observed 1; expected sum over the margins {0:1, 1:1, 2:2} x {0:1, 1:2, 2:1} / 4 = (2 + 4 + 1 + 1 + 8 + 4) / 4 = 5; 1 - 1/5.
    expect(
      agreementOf([
        [0, 0],
        [1, 1],
        [2, 1],
        [2, 2],
      ]),
    ).toMatchObject({ raw: 0.75, quadraticWeightedKappa: 0.8 });
  });
  test('is not made up without pairs, or when nobody differs from anybody', () => {
    expect(agreementOf([])).toMatchObject({ pairs: 0, raw: null, quadraticWeightedKappa: null });
    expect(
      agreementOf([
        [2, 2],
        [2, 2],
      ]),
    ).toMatchObject({ raw: 1, quadraticWeightedKappa: null });
  });
});

describe('own ids', () => {
  const [one, two] = [ownIds(Buffer.alloc(32, 1)), ownIds(Buffer.alloc(32, 2))];
  test('are functions of secret and id', () => {
    expect(one.study('s')).toBe(ownIds(Buffer.alloc(32, 1)).study('s'));
    expect(one.study('s')).not.toBe(two.study('s'));
    expect(one.study('s').slice(6)).not.toBe(one.subject('s').slice(8));
    expect(() => ownIds(Buffer.alloc(31))).toThrow(/32/);
  });
  test('splits come near 70, 10, 20 percent', () => {
    const counts = SPLITS.map(
      (s) => Array.from({ length: 5000 }, (_, n) => one.split(`subject-${n}`)).filter((x) => x === s).length / 5000,
    );
    for (const [i, share] of [0.7, 0.1, 0.2].entries()) expect(Math.abs((counts[i] ?? 0) - share)).toBeLessThan(0.03);
  });
});

test('reading times are told to 5 seconds', () => {
  expect([0, 2.4, 2.5, 30.25, 33].map(coarseSeconds)).toEqual([0, 0, 5, 30, 35]);
});

test('versions are ordered by number', () => {
  expect(['v1.10.0', 'v1.9.0', 'v2.0.0', 'v1.9.1'].sort(compareVersions)).toEqual(['v1.9.0', 'v1.9.1', 'v1.10.0', 'v2.0.0']);
});
