// The dataset's tables, as text: a pure function of its contents. MosMedData's columns come first.
import { agreementOf } from './agreement.ts';
import { type Cell, toCsv, toTsv } from './delimited.ts';
import type { Contents, Member } from './facts.ts';
import { type OwnIds, type Split, SPLITS } from './own-ids.ts';

/** A study as the dataset names it. */
export interface Entry {
  readonly member: Member;
  readonly study: string;
  readonly subject: string;
  readonly centre: string;
  readonly split: Split;
  /** `CT-0` to `CT-4`. */
  readonly category: string;
  /** Path in the dataset. */
  readonly file: string;
}

export interface CopiedImage {
  /** SHA-256 (hex) of the .nii.gz file. */
  readonly sha256: string;
}

const REGISTRY_COLUMNS = [
  // as MosMedData has them
  'study_id',
  'category',
  'study_file',
  'mask_file',
  'subject_id',
  'centre',
  'age_band',
  'sex',
  'manufacturer',
  'kernel',
  'kvp',
  'spacing_mm',
  'thickness_mm',
  'slices',
  'shape',
  'estimate',
  'readers',
  'agreement',
  'adjudicated',
  'split',
  'sha256',
  'estimate_percent',
  'estimate_uncertain',
  'simulated_readers',
] as const;

/** The studies under the dataset's own ids, sorted by them. @throws Error when two studies get one id. */
export function entriesOf(contents: Contents, ids: OwnIds): Entry[] {
  const entries = contents.members.map((member): Entry => {
    const { studyId, subjectId, site } = member.selected;
    const study = ids.study(studyId);
    return {
      member,
      study,
      subject: ids.subject(subjectId),
      centre: ids.centre(site),
      split: ids.split(subjectId),
      category: `CT-${member.labelled.grade}`,
      file: `images/${study}.nii.gz`,
    };
  });
  if (new Set(entries.map((e) => e.study)).size !== entries.length)
    throw new Error('two studies have the same id in the dataset: use more digits');
  return entries.sort((a, b) => (a.study < b.study ? -1 : 1));
}

const fixed = (x: number, digits: number): string => x.toFixed(digits);

const SECONDS_STEP = 5;

/** To 5 s: the log has the exact time of each reading, and a row must not be found there by it. */
export const coarseSeconds = (seconds: number): number => Math.round(seconds / SECONDS_STEP) * SECONDS_STEP;

function registryRow(e: Entry, image: CopiedImage): Cell[] {
  const { selected: s, labelled: l } = e.member;
  const agreeing = l.readings.filter((r) => r.grade === l.grade).length;
  return [
    e.study,
    e.category,
    e.file,
    '',
    e.subject,
    e.centre,
    s.ageBand,
    s.sex,
    s.manufacturer,
    s.kernel,
    s.kvp,
    s.spacingMm.map((x) => fixed(x, 4)).join(' '),
    s.sliceThicknessMm,
    s.shape[2] ?? null,
    s.shape.join(' '),
    `CT-${s.estimatedClass}`,
    l.readings.length,
    l.readings.length === 0 ? null : fixed(agreeing / l.readings.length, 2),
    l.adjudicated,
    e.split,
    image.sha256,
    fixed(s.affectedPercent, 2),
    s.uncertain,
    l.simulated,
  ];
}

function participantRows(entries: readonly Entry[]): Cell[][] {
  const bySubject = new Map<string, Entry[]>();
  for (const e of entries) bySubject.set(e.subject, [...(bySubject.get(e.subject) ?? []), e]);
  return [...bySubject.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([subject, own]) => [
      subject,
      own[0]?.member.selected.ageBand ?? null,
      own[0]?.member.selected.sex ?? null,
      own[0]?.centre ?? null,
      own[0]?.split ?? null,
      own.length,
    ]);
}

/** First two independent grades of each study. */
export function firstPairs(entries: readonly Entry[]): [number, number][] {
  return entries.flatMap((e): [number, number][] => {
    const first = e.member.labelled.readings.find((r) => r.role === 'first');
    const second = e.member.labelled.readings.find((r) => r.role === 'second');
    return first === undefined || second === undefined ? [] : [[first.grade, second.grade]];
  });
}

/** Studies per class, CT-0 to CT-4. */
export function classCounts(entries: readonly Entry[]): Record<string, number> {
  return Object.fromEntries([0, 1, 2, 3, 4].map((g) => [`CT-${g}`, entries.filter((e) => e.category === `CT-${g}`).length]));
}

/** Path and text of every table. `images` are by the dataset's study id. */
export function tablesOf(
  entries: readonly Entry[],
  contents: Contents,
  ids: OwnIds,
  images: ReadonlyMap<string, CopiedImage>,
): Map<string, string> {
  const imageOf = (e: Entry): CopiedImage => {
    const image = images.get(e.study);
    if (image === undefined) throw new Error(`${e.file} was not copied`);
    return image;
  };
  const readings = entries.flatMap((e) =>
    e.member.labelled.readings.map((r, i): Cell[] => [
      e.study,
      i + 1,
      ids.reader(r.reader),
      r.role,
      r.grade,
      coarseSeconds(r.seconds),
      r.simulated,
    ]),
  );
  const exclusions = contents.exclusions
    .map((x): Cell[] => [ids.study(x.studyId), x.stage, x.code])
    .sort((a, b) => (a.join() < b.join() ? -1 : 1));
  const agreement = { ...agreementOf(firstPairs(entries)), simulated: entries.some((e) => e.member.labelled.simulated) };
  return new Map([
    [
      'registry.csv',
      toCsv(
        REGISTRY_COLUMNS,
        entries.map((e) => registryRow(e, imageOf(e))),
      ),
    ],
    ['participants.tsv', toTsv(['participant_id', 'age_band', 'sex', 'centre', 'split', 'studies'], participantRows(entries))],
    ['readings.csv', toCsv(['study_id', 'number', 'reader', 'role', 'grade', 'seconds', 'simulated'], readings)],
    ['exclusions.csv', toCsv(['study_id', 'stage', 'code'], exclusions)],
    ['agreement.json', `${JSON.stringify(agreement, null, 1)}\n`],
    ...SPLITS.map((split): [string, string] => [
      `splits/${split}.txt`,
      entries
        .filter((e) => e.split === split)
        .map((e) => `${e.study}\n`)
        .join(''),
    ]),
  ]);
}
