// dciodvfy, by others, knows what the CT IOD asks for: a result has no error that its source did not have.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { REAL_FILES } from '../shared/real-files.ts';
import { hasChest } from './answer-key-run.ts';
import { makeKey } from './answer-key.ts';
import { cleanEach, ctSources } from './cleaned-files.ts';
import type { CleanedFile } from './cleaned-files.ts';

const hasTool = spawnSync('dciodvfy', ['-version']).error === undefined;
if (!hasTool) console.warn('skipped: dciodvfy is not installed (Debian: apt-get install dicom3tools)');
if (!hasChest()) console.warn('skipped: no real CT files; set CTSTREAM_DATA');
const real = hasTool && hasChest() ? describe : describe.skip;

let work = '';
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'ctstream-dciodvfy-'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** dciodvfy counts bytes where PS3.5 6.2 counts characters: Russian text in UTF-8 has two to each. */
const isInLength = (line: string): boolean => {
  const match = /<(.*)> - Length invalid for this VR = \d+, expected <= (\d+)/.exec(line);
  return match !== null && [...(match[1] ?? '')].length <= Number(match[2]);
};

/** Errors of a file, values taken out, each as often as it is said. */
const errorsOf = (path: string): Promise<string[]> =>
  new Promise((resolve) => {
    execFile('dciodvfy', [path], { maxBuffer: 1 << 26 }, (_failed, stdout, stderr) => {
      const lines = `${stdout}\n${stderr}`.split('\n').filter((line) => line.startsWith('Error') && !isInLength(line));
      resolve(lines.map((line) => line.replaceAll(/<[^>]*>|= .*$/g, '<>').replaceAll(/\[\d+\]/g, '[]')));
    });
  });

const counted = (list: readonly string[]): Map<string, number> => {
  const counts = new Map<string, number>();
  for (const one of list) counts.set(one, (counts.get(one) ?? 0) + 1);
  return counts;
};

/** Errors that the result has and its source does not, or not as often. */
const newErrors = async (source: string, written: string): Promise<string[]> => {
  const [before, after] = await Promise.all([errorsOf(source), errorsOf(written)]);
  const had = counted(before);
  return [...counted(after)].filter(([error, count]) => count > (had.get(error) ?? 0)).map(([error]) => error);
};

const expectNoNewErrors = async (files: readonly CleanedFile[]): Promise<void> => {
  const found: string[] = [];
  for (const { source, written } of files)
    if (written !== undefined) for (const error of await newErrors(source, written)) found.push(`${source}: ${error}`);
  expect(found).toEqual([]);
};

real('dciodvfy', () => {
  test('finds no error in any real CT file that the source did not have', async () => {
    mkdirSync(join(work, 'out'));
    const files = cleanEach(ctSources(), join(work, 'out'));
    expect(files.filter(({ written }) => written !== undefined).length).toBeGreaterThan(180);
    expect(files.filter(({ code }) => code === 'HELD_BY_VERIFIER')).toEqual([]);
    await expectNoNewErrors(files);
  });

  test('nor in files full of planted elements', async () => {
    const folder = join(work, 'planted');
    const keys = makeKey(join(REAL_FILES, 'chest'), folder, 1).filter(({ set }) => set.isDrawn !== true);
    const outDir = join(work, 'out-planted');
    mkdirSync(outDir);
    const files = cleanEach(
      keys.map(({ file }) => join(folder, file)),
      outDir,
    );
    expect(files.map(({ code }) => code)).toEqual(keys.map(() => undefined));
    await expectNoNewErrors(files);
  });
});
