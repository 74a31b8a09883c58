// Checks a dataset folder from what lies on the disk alone, and compares two of them.
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { fromCsv } from './delimited.ts';
import { SPLITS } from './own-ids.ts';
import { fileSha256, filesUnder, parseSums, SUMS_FILE } from './sums.ts';
import { parseTombstones, TOMBSTONES_FILE } from './tombstones.ts';

export interface ReleaseProblem {
  readonly file: string;
  readonly code:
    | 'MISSING_FILE'
    | 'UNLISTED_FILE'
    | 'WRONG_SUM'
    | 'BAD_FILE'
    | 'WRONG_VOLUME'
    | 'SUBJECT_IN_TWO_SPLITS'
    | 'SPLIT_MISMATCH'
    | 'TOMBSTONED_PRESENT';
  readonly detail: string;
}

export interface Verification {
  readonly ok: boolean;
  readonly files: number;
  readonly studies: number;
  /** Studies that were published and are withdrawn: absent, and named in tombstones.csv. */
  readonly withdrawn: number;
  readonly problems: readonly ReleaseProblem[];
}

/** Reads a .gz file to its end. @throws Error when it does not unpack. */
async function unpack(path: string): Promise<void> {
  await pipeline(
    createReadStream(path),
    createGunzip(),
    new Writable({
      write: (_chunk, _encoding, done) => {
        done();
      },
    }),
  );
}

/**
 * Re-reads every file of a dataset folder: sums, nothing unlisted, every volume unpacks and is the file that
 * registry.csv names by its sum, splits are those of the registry and share no subject, and nothing is left of what
 * tombstones.csv names. Problems are answered, not thrown.
 */
export async function verifyRelease(dir: string): Promise<Verification> {
  const problems: ReleaseProblem[] = [];
  const files = await checkSums(dir, problems);
  let studies = 0;
  try {
    const registry = fromCsv(await readFile(join(dir, 'registry.csv'), 'utf8'));
    studies = registry.length;
    await checkVolumes(dir, registry, files, problems);
    await checkSplits(dir, registry, problems);
  } catch (error) {
    problems.push({ file: 'registry.csv', code: 'BAD_FILE', detail: error instanceof Error ? error.message : 'unreadable' });
  }
  const withdrawn = await checkTombstones(dir, [...files.keys()], problems);
  return { ok: problems.length === 0, files: files.size, studies, withdrawn, problems };
}

/** The own ids that tombstones.csv names; none without the file. @throws Error when it is no such table */
async function tombstonedIn(dir: string): Promise<Set<string>> {
  const text = await readFile(join(dir, TOMBSTONES_FILE), 'utf8').catch(() => '');
  return new Set(parseTombstones(text).map((t) => t.study));
}

/** Neither a file nor a row of a withdrawn study may be left. Answers how many there are. */
async function checkTombstones(dir: string, files: readonly string[], problems: ReleaseProblem[]): Promise<number> {
  const gone = await tombstonedIn(dir).catch((error: unknown) => {
    problems.push({ file: TOMBSTONES_FILE, code: 'BAD_FILE', detail: error instanceof Error ? error.message : 'unreadable' });
    return new Set<string>();
  });
  if (gone.size === 0) return 0;
  for (const file of files) {
    if (file === TOMBSTONES_FILE) continue;
    // Volumes hold no ids; their names do.
    const text = file.endsWith('.gz') ? file : `${file}\n${await readFile(join(dir, file), 'utf8')}`;
    for (const id of new Set(text.match(/study-[0-9a-f]+/g)))
      if (gone.has(id)) problems.push({ file, code: 'TOMBSTONED_PRESENT', detail: `${id} is withdrawn` });
  }
  return gone.size;
}

/** The files that are there, with the sums (hex) of those that SHA256SUMS lists: others may be anything, and are not opened. */
async function checkSums(dir: string, problems: ReleaseProblem[]): Promise<Map<string, string>> {
  let sums: Map<string, string>;
  try {
    sums = parseSums(await readFile(join(dir, SUMS_FILE), 'utf8'));
  } catch (error) {
    problems.push({ file: SUMS_FILE, code: 'BAD_FILE', detail: error instanceof Error ? error.message : 'unreadable' });
    sums = new Map();
  }
  const files = new Map<string, string>();
  for (const file of await filesUnder(dir).catch(() => [])) files.set(file, sums.has(file) ? await fileSha256(join(dir, file)) : '');
  for (const [file, sha256] of sums) {
    if (!files.has(file)) problems.push({ file, code: 'MISSING_FILE', detail: `${SUMS_FILE} lists it` });
    else if (files.get(file) !== sha256)
      problems.push({ file, code: 'WRONG_SUM', detail: `its bytes are not those that ${SUMS_FILE} lists` });
  }
  for (const file of files.keys())
    if (file !== SUMS_FILE && !sums.has(file)) problems.push({ file, code: 'UNLISTED_FILE', detail: `${SUMS_FILE} does not list it` });
  return files;
}

async function checkVolumes(
  dir: string,
  registry: readonly Record<string, string>[],
  files: ReadonlyMap<string, string>,
  problems: ReleaseProblem[],
): Promise<void> {
  const named = new Set<string>();
  for (const row of registry) {
    const file = row['study_file'] ?? '';
    named.add(file);
    if (!files.has(file)) {
      problems.push({ file, code: 'MISSING_FILE', detail: 'registry.csv names it' });
      continue;
    }
    const isWhole = await unpack(join(dir, file)).then(
      () => true,
      () => false,
    );
    if (!isWhole) problems.push({ file, code: 'BAD_FILE', detail: 'does not unpack' });
    else if (files.get(file) !== row['sha256'])
      problems.push({ file, code: 'WRONG_VOLUME', detail: 'its bytes are not those that registry.csv lists' });
  }
  for (const file of files.keys())
    if (file.startsWith('images/') && !named.has(file))
      problems.push({ file, code: 'UNLISTED_FILE', detail: 'registry.csv does not name it' });
}

async function checkSplits(dir: string, registry: readonly Record<string, string>[], problems: ReleaseProblem[]): Promise<void> {
  const subjects = new Map<string, string>();
  for (const row of registry) {
    const subject = row['subject_id'] ?? '';
    const split = row['split'] ?? '';
    if ((subjects.get(subject) ?? split) !== split) problems.push({ file: 'registry.csv', code: 'SUBJECT_IN_TWO_SPLITS', detail: subject });
    subjects.set(subject, split);
  }
  for (const split of SPLITS) {
    const file = `splits/${split}.txt`;
    const listed = (await readFile(join(dir, file), 'utf8').catch(() => '')).split('\n').filter((l) => l !== '');
    const expected = registry.filter((r) => r['split'] === split).map((r) => r['study_id'] ?? '');
    if (listed.toSorted().join() !== expected.toSorted().join())
      problems.push({ file, code: 'SPLIT_MISMATCH', detail: 'its studies are not those of registry.csv' });
  }
}

export interface ReleaseDiff {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly relabelled: readonly { readonly study: string; readonly from: string; readonly to: string }[];
  /** In both, with another image file. */
  readonly changed: readonly string[];
  /** Withdrawn in either: in none of the lists above. */
  readonly withdrawn: readonly string[];
}

/** What the second dataset folder has that the first has not, by study id. @throws Error when a registry can't be read. */
export async function diffReleases(dirA: string, dirB: string): Promise<ReleaseDiff> {
  const read = async (dir: string): Promise<Map<string, Record<string, string>>> =>
    new Map(fromCsv(await readFile(join(dir, 'registry.csv'), 'utf8')).map((r) => [r['study_id'] ?? '', r]));
  const [a, b] = await Promise.all([read(dirA), read(dirB)]);
  const withdrawn = [...new Set([...(await tombstonedIn(dirA)), ...(await tombstonedIn(dirB))])].sort();
  for (const study of withdrawn) for (const rows of [a, b]) rows.delete(study);
  const both = [...b.keys()].filter((s) => a.has(s)).sort();
  const grade = (rows: Map<string, Record<string, string>>, study: string): string => rows.get(study)?.['category'] ?? '';
  return {
    added: [...b.keys()].filter((s) => !a.has(s)).sort(),
    removed: [...a.keys()].filter((s) => !b.has(s)).sort(),
    relabelled: both.filter((s) => grade(a, s) !== grade(b, s)).map((study) => ({ study, from: grade(a, study), to: grade(b, study) })),
    changed: both.filter((s) => a.get(s)?.['sha256'] !== b.get(s)?.['sha256']),
    withdrawn,
  };
}
