// `ctstream deid --diff FILE`: what changed in each file that was written, one line per element, as JSON lines or
// CSV; and the sums of it. IN and OUT are read again when the work is done, paired as `ctstream verify` does.
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join, relative } from 'node:path';
import { readDicom } from '../dicom/read.ts';
import { diffOf } from './deid-diff.ts';
import type { Change, DiffAction } from './deid-diff.ts';
import { filesUnder, originalsUnder } from './deid-folders.ts';
import { isTooLargeFile } from './instance-limit.ts';
import { compileProfile } from './profile/profile.ts';
import { pairsOf, seenFile } from './verify-pairs.ts';

export interface DiffSummary {
  files: number;
  /** Elements by what was done with them. */
  actions: Partial<Record<DiffAction, number>>;
  /** Elements that did not stay as they were, by rule. */
  rules: Record<string, number>;
}

const COLUMNS = ['file', 'written', 'tag', 'keyword', 'action', 'rule'] as const;
const VALUE_COLUMNS = ['before', 'after'] as const;

/** RFC 4180. A leading sign would be a formula to a spreadsheet. */
const csvCell = (value: string): string => {
  const safe = /^[=+\-@\t]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

/** Writes `diffFile`, CSV when its name ends so, readable by its owner only. Throws what the file system throws. */
export const writeDiff = async (inDir: string, outDir: string, diffFile: string, withValues = false): Promise<DiffSummary> => {
  const isCsv = diffFile.toLowerCase().endsWith('.csv');
  const columns = withValues ? [...COLUMNS, ...VALUE_COLUMNS] : COLUMNS;
  const [originals, written] = [(await originalsUnder(inDir)).files, await filesUnder(outDir)];
  const { pairs } = pairsOf(
    originals
      .map((name) => join(inDir, name))
      .filter((path) => !isTooLargeFile(path))
      .map(seenFile),
    written.map((name) => seenFile(join(outDir, name))),
  );
  pairs.sort((a, b) => (a.original.path < b.original.path ? -1 : 1));
  const profile = compileProfile();
  const summary: DiffSummary = { files: pairs.length, actions: {}, rules: {} };
  const file = openSync(diffFile, 'w', 0o600);
  try {
    if (isCsv) writeSync(file, `${columns.join(',')}\r\n`);
    for (const pair of pairs) {
      const names = { file: relative(inDir, pair.original.path), written: relative(outDir, pair.written.path) };
      const changes = diffOf(readDicom(readFileSync(pair.original.path)), readDicom(readFileSync(pair.written.path)), profile, withValues);
      const lines = changes.map((change) => {
        const row: Record<string, string> = { ...names, ...change };
        return isCsv ? `${columns.map((name) => csvCell(row[name] ?? '')).join(',')}\r\n` : `${JSON.stringify(row)}\n`;
      });
      writeSync(file, lines.join(''));
      add(summary, changes);
    }
  } finally {
    closeSync(file);
  }
  return summary;
};

const add = ({ actions, rules }: DiffSummary, changes: readonly Change[]): void => {
  for (const { action, rule } of changes) {
    actions[action] = (actions[action] ?? 0) + 1;
    if (action !== 'kept') rules[rule] = (rules[rule] ?? 0) + 1;
  }
};
