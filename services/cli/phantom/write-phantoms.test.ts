import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { writePhantoms } from './write-phantoms.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'phantom-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('a folder per study and series holds DICOM files only; the truth lies where it is asked for', async () => {
  const out = join(folder, 'out');
  const truthFile = join(folder, 'truth.json');
  const seen: number[] = [];
  const truths = await writePhantoms(out, {
    studies: 2,
    seed: 3,
    rows: 32,
    slices: 5,
    severity: 3,
    truthFile,
    onProgress: ({ study }) => seen.push(study),
  });
  expect(seen).toEqual([1, 2]);
  expect(truths.map((one) => one.severity)).toEqual([3, 3]);
  expect(JSON.parse(await readFile(truthFile, 'utf8'))).toEqual(truths);
  expect((await readdir(out)).sort()).toEqual(['study-0001', 'study-0002']);
  const files = (await readdir(out, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  expect(files).toHaveLength(2 * (1 + 5 + 5 + 1 + 1));
  for (const file of files) {
    expect((await readFile(join(file.parentPath, file.name))).subarray(128, 132).toString()).toBe('DICM');
  }
});
