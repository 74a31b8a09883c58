// The dataset's words: datasheet, change log and release.json. Pure; no clock, no event id, no trace id.
import { canonicalJson } from '../kernel/manifest.ts';
import type { Agreement } from './agreement.ts';
import { classCounts, type Entry } from './registry.ts';
import type { Contents } from './facts.ts';
import { SPLITS } from './own-ids.ts';
import type { Tombstone } from './tombstones.ts';

export interface VersionCut {
  readonly topic: string;
  readonly partition: number;
  /** First offset that was not considered. */
  readonly endOffset: number;
}

/** Offsets below the cut that were left out because they had not come: [topic, partition, first, last]. */
export type VersionHole = readonly [string, number, number, number];

/** What an earlier version held, by the dataset's own ids. */
export interface PreviousVersion {
  readonly version: string;
  readonly members: readonly { readonly study: string; readonly category: string }[];
}

export interface DocumentFacts {
  readonly version: string;
  readonly codeVersion: string;
  readonly cut: readonly VersionCut[];
  readonly holes: readonly VersionHole[];
  readonly previous: PreviousVersion | undefined;
  readonly entries: readonly Entry[];
  readonly contents: Contents;
  readonly agreement: Agreement;
  /** What was published in this version and withdrawn since. */
  readonly tombstones: readonly Tombstone[];
}

function isSimulated(entries: readonly Entry[]): boolean {
  return entries.some((e) => e.member.labelled.simulated);
}

/** release.json: version, the cut of the log, the version of the code, counts. */
export function releaseJson(f: DocumentFacts): string {
  const counts = classCounts(f.entries);
  return Buffer.from(
    canonicalJson({
      format: 'ctstream-release/1',
      version: f.version,
      codeVersion: f.codeVersion,
      cut: f.cut,
      holes: f.holes,
      previous: f.previous?.version ?? null,
      cohorts: [...new Set(f.entries.map((e) => e.member.selected.cohort))].sort(),
      studies: f.entries.length,
      subjects: new Set(f.entries.map((e) => e.subject)).size,
      classes: counts,
      missingClasses: Object.keys(counts).filter((c) => counts[c] === 0),
      splits: Object.fromEntries(SPLITS.map((s) => [s, f.entries.filter((e) => e.split === s).length])),
      simulatedReaders: isSimulated(f.entries),
      ...(f.tombstones.length === 0 ? {} : { withdrawn: f.tombstones.length }),
    }),
  ).toString('utf8');
}

export function changeLog(f: DocumentFacts): string {
  const lines = [`# Changes`, '', `## ${f.version}`, ''];
  if (f.previous === undefined) return [...lines, `First version: ${f.entries.length} studies.`, ''].join('\n');
  const before = new Map(f.previous.members.map((m) => [m.study, m.category]));
  const now = new Map(f.entries.map((e) => [e.study, e.category]));
  const added = [...now.keys()].filter((s) => !before.has(s));
  const gone = [...before.keys()].filter((s) => !now.has(s)).sort();
  const relabelled = [...now].filter(([s, c]) => before.has(s) && before.get(s) !== c);
  lines.push(`Against ${f.previous.version}: ${added.length} added, ${relabelled.length} relabelled, ${gone.length} no longer in it.`, '');
  for (const [study, category] of relabelled) lines.push(`- relabelled: ${study}, ${before.get(study)} to ${category}`);
  for (const study of gone) lines.push(`- no longer in it: ${study}`);
  return `${lines.join('\n').trimEnd()}\n`;
}

function table(counts: Readonly<Record<string, number>>): string[] {
  return ['| what | studies |', '|---|---|', ...Object.entries(counts).map(([k, n]) => `| ${k} | ${n} |`)];
}

function countBy(entries: readonly Entry[], of: (e: Entry) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const key of entries.map(of).sort()) counts[key] = (counts[key] ?? 0) + 1;
  return counts;
}

export function datasheet(f: DocumentFacts): string {
  const classes = classCounts(f.entries);
  const missing = Object.keys(classes).filter((c) => classes[c] === 0);
  const simulated = f.entries.filter((e) => e.member.labelled.simulated).length;
  const a = f.agreement;
  return [
    `# Datasheet of ${f.version}`,
    '',
    ...(simulated > 0
      ? [
          `**${simulated} of ${f.entries.length} studies were graded by simulated readers: programs, not radiologists. Do not train or test on these grades.**`,
          '',
        ]
      : []),
    '## What it is',
    '',
    `${f.entries.length} anonymised chest CT studies of ${new Set(f.entries.map((e) => e.subject)).size} subjects from ${new Set(f.entries.map((e) => e.centre)).size} centres, each graded CT-0 to CT-4 for the share of lung parenchyma that is affected: CT-0 none, CT-1 under 25 %, CT-2 25 to 50 %, CT-3 50 to 75 %, CT-4 above 75 %.`,
    '',
    ...table(classes),
    '',
    missing.length > 0 ? `Gap: no study of ${missing.join(', ')}.` : 'Every class is present.',
    '',
    '## Files',
    '',
    '- `images/*.nii.gz`: int16 Hounsfield units, -1024 to 3071, NIfTI-1, RAS+.',
    "- `registry.csv`: one row per study; its first four columns are MosMedData's. `mask_file` is empty: there are no masks in this version. `sha256` is of the .nii.gz file. `estimate` is a rule's, shown for comparison; it is never a label.",
    '- `participants.tsv`, `readings.csv` (every grade given; seconds to the nearest 5), `exclusions.csv` (studies that came and are not here, with a code), `splits/`, `agreement.json`.',
    '- `release.json`: the cut of the event log and the version of the code that this was built from.',
    '- `SHA256SUMS`: check with `sha256sum -c SHA256SUMS`.',
    '',
    '## How it was graded',
    '',
    'Two blinded readings per study. Equal: accepted. One of them CT-0 and the other not, or two classes apart: an adjudicator. Adjacent: a blinded third reader, then an adjudicator if need be.',
    '',
    a.pairs === 0
      ? 'No study has two independent readings.'
      : `First two readings of ${a.pairs} studies: ${((a.raw ?? 0) * 100).toFixed(1)} % equal, quadratic-weighted kappa ${a.quadraticWeightedKappa === null ? 'undefined' : a.quadraticWeightedKappa.toFixed(3)}.`,
    '',
    '## Splits',
    '',
    'By a keyed hash of the subject: no subject is in two splits, and a later version moves none.',
    '',
    ...table(countBy(f.entries, (e) => e.split)),
    '',
    '## Who is in it',
    '',
    ...table(countBy(f.entries, (e) => `${e.member.selected.sex}, ${e.member.selected.ageBand}`)),
    '',
    ...table(countBy(f.entries, (e) => e.centre)),
    '',
    '## What is not in it',
    '',
    `${f.contents.exclusions.length} exclusions by code are in \`exclusions.csv\`; ${f.contents.waiting} selected studies still waited for readings at the cut. Names, dates, times, ids of patients, studies and centres never left the clinical zone; ids here are the dataset's own.`,
    '',
    ...(f.tombstones.length === 0
      ? []
      : [
          `${f.tombstones.length} studies were in this version and are withdrawn: \`tombstones.csv\` has their ids. Their files and rows are gone; delete them from every copy.`,
          '',
        ]),
  ].join('\n');
}
