// A folder is verified without its vault: what deid wrote has no finding, and each planted fault is found, by check and tag.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSqliteVault } from '../adapters/sqlite-vault.ts';
import { TAG } from '../dicom/dictionary.ts';
import type { Element } from '../dicom/model.ts';
import { readDicom } from '../dicom/read.ts';
import { element, text } from '../dicom/values.ts';
import { withElements, writeDicom } from '../dicom/write.ts';
import { parseDate, formatDate } from './dates.ts';
import { deidFolder } from './deid-folder.ts';
import { writeDiff } from './deid-diff-file.ts';
import { ctBytes, of, pixels, PLANTED, plantedElements } from './test-support.ts';
import { verifyFolders } from './verify-folder.ts';

let folder = '';
const at = (name: string): string => join(folder, name);
const filesIn = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.dcm'))
    .sort();
const OTHER = [
  of('PatientID', 'B-1'),
  of('PatientName', 'Vorobyova^Anna'),
  of('StudyInstanceUID', '1.2.3.7'),
  of('SeriesInstanceUID', '1.2.3.7.1'),
  element(
    TAG.PixelData,
    'OW',
    pixels().map((byte, i) => (i % 2 === 0 ? byte ^ 1 : byte)),
  ),
];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ctstream-verify-'));
  mkdirSync(at('in'));
  for (let n = 1; n <= 4; n++) writeFileSync(at(`in/a${n}.dcm`), ctBytes({ n, changes: plantedElements() }));
  for (let n = 1; n <= 2; n++)
    writeFileSync(at(`in/b${n}.dcm`), ctBytes({ n: 20 + n, changes: [...OTHER, of('SOPInstanceUID', `1.2.3.7.1.${n}`)] }));
  writeFileSync(at('in/screen.dcm'), ctBytes({ n: 9, changes: [...plantedElements(), of('SOPClassUID', '1.2.840.10008.5.1.4.1.1.7')] }));
  const vault = openSqliteVault(at('vault.sqlite'));
  await deidFolder(at('in'), at('out'), { vault, workers: 1 });
  await vault.close();
});
afterAll(() => rmSync(folder, { recursive: true }));

/** OUT with the first file that `isIt` names written again with other elements. */
const spoiled = async (changes: (file: ReturnType<typeof readDicom>) => readonly Element[]) => {
  rmSync(at('spoiled'), { recursive: true, force: true });
  cpSync(at('out'), at('spoiled'), { recursive: true });
  const name = filesIn(at('spoiled'))[0] ?? '';
  const file = readDicom(readFileSync(join(at('spoiled'), name)));
  writeFileSync(join(at('spoiled'), name), writeDicom({ ...file, dataset: withElements(file.dataset, changes(file)) }));
  return { name, result: await verifyFolders(at('in'), at('spoiled')) };
};

describe('verify', () => {
  test('what deid wrote has no finding, and what it left behind is counted', async () => {
    const { seconds, ...result } = await verifyFolders(at('in'), at('out'));
    expect(seconds).toBeGreaterThan(0);
    expect(result).toEqual({ checked: 6, findings: [], unmatched: [], left: 1 });
  });

  test('one file against its original', async () => {
    const one = join(at('out'), filesIn(at('out'))[0] ?? '');
    const originals = filesIn(at('in')).map((name) => join(at('in'), name));
    const results = await Promise.all(originals.map((original) => verifyFolders(original, one)));
    expect(results.filter(({ checked }) => checked === 1).length).toBeGreaterThan(0);
    expect(results.filter(({ unmatched }) => unmatched.length === 1).length).toBeGreaterThan(0);
  });

  test.each<[string, string, string, (file: ReturnType<typeof readDicom>) => readonly Element[]]>([
    ['a name in a kept text', 'element', '(0008,103E)', () => [of('SeriesDescription', 'Lung Zvyagintsev')]],
    ['another pseudonym', 'pseudonym', '(0010,0020)', () => [of('PatientID', 'SAAAAAAAAAAAAAAAA')]],
    ['an original UID', 'uid', '(0020,0052)', () => [of('FrameOfReferenceUID', '1.2.643.5.1.13.2.1.7001.9')]],
    ['a new UID of its own', 'mapping', '(0020,000E)', () => [of('SeriesInstanceUID', '2.25.77')]],
    ['an element that may not be there', 'allow-list', '(0010,1040)', () => [of('PatientAddress', 'Tver 5')]],
    [
      'dates that moved by other weeks',
      'shift',
      '(0008,0020)',
      ({ dataset }) =>
        (['StudyDate', 'SeriesDate', 'AcquisitionDate'] as const).map((keyword) =>
          of(keyword, formatDate((parseDate(text(dataset, TAG[keyword]) ?? '') ?? 0) + 14)),
        ),
    ],
    [
      'an interval that changed',
      'shift',
      '(0008,0020)',
      ({ dataset }) => [of('AcquisitionDate', formatDate((parseDate(text(dataset, TAG.StudyDate) ?? '') ?? 0) + 3))],
    ],
  ])('%s is found', async (_what, check, where, changes) => {
    const { result } = await spoiled(changes);
    expect(result.findings.map((finding) => `${finding.check} ${finding.where}`)).toContain(`${check} ${where}`);
  });

  test('a picture that no original has is without an original', async () => {
    const { name, result } = await spoiled(() => [element(TAG.PixelData, 'OW', new Uint8Array(512))]);
    expect(result).toMatchObject({ checked: 5, unmatched: [name], left: 2 });
  });
});

describe('deid --diff', () => {
  const rowsOf = (file: string): Record<string, string>[] =>
    readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, string>);

  test('says of each element what was done and by which rule, and no value', async () => {
    const summary = await writeDiff(at('in'), at('out'), at('diff.jsonl'));
    const rows = rowsOf(at('diff.jsonl')).filter(({ file }) => file === 'a1.dcm');
    const of1 = (tag: string): string =>
      rows
        .filter((row) => row['tag'] === tag)
        .map((row) => `${row['action']}: ${row['rule']}`)
        .join();
    expect(summary.files).toBe(6);
    expect(of1('(0010,0010)')).toBe('replaced: Table E.1-1 Z');
    expect(of1('(0010,1040)')).toBe('removed: Table E.1-1 X');
    expect(of1('(0008,0020)')).toBe('shifted: Table E.1-1 Z, 113107 Modified Dates');
    expect(of1('(0020,000D)')).toBe('mapped: Table E.1-1 U');
    expect(of1('(0008,1030)')).toBe('cleaned: Table E.1-1 X, 113105 Clean Descriptors');
    expect(of1('(0028,0010)')).toBe('kept: beyond the table: allow-list of CT attributes, value checked');
    expect(of1('(0029,1001)')).toBe('removed: Table E.1-1 private X');
    expect(of1('(0018,FFF0)')).toBe('removed: beyond the table: not in the allow-list of CT attributes');
    expect(of1('(0012,0062)')).toBe('added: PS3.15 E.1.1: said of every result');
    expect(of1('(0008,1140)[0](0008,1155)')).toBe('mapped: Table E.1-1 U');
    const all = readFileSync(at('diff.jsonl'), 'utf8');
    for (const word of [...PLANTED, 'Vorobyova']) expect(all.includes(word)).toBe(false);
    expect(Object.values(summary.actions).reduce((sum, n) => sum + n, 0)).toBe(rowsOf(at('diff.jsonl')).length);
  });

  test('has values only when they are asked for, and a cell is no formula', async () => {
    await writeDiff(at('in'), at('out'), at('diff.csv'), true);
    const lines = readFileSync(at('diff.csv'), 'utf8').split('\r\n');
    expect(lines[0]).toBe('file,written,tag,keyword,action,rule,before,after');
    expect(lines.find((line) => line.startsWith('a1.dcm') && line.includes('(0010,0010)'))).toContain('Zvyagintsev^Aristarkh');
    expect(lines.filter((line) => /,[=+@-]/.test(line))).toEqual([]);
  });
});
