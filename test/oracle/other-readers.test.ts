// Whatever others read DICOM with reads what we write, without an error or a warning that the source did not cause.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { data, log } from 'dcmjs';
import { hasChest } from './answer-key-run.ts';
import { cleanEach, ctSources } from './cleaned-files.ts';
import type { CleanedFile } from './cleaned-files.ts';
import { hasPydicom, readWithPydicom } from './pydicom.ts';

const hasDcmdump = spawnSync('dcmdump', ['--version']).error === undefined;
if (!hasChest()) console.warn('skipped: no real CT files; set CTSTREAM_DATA');
if (!hasPydicom()) console.warn('skipped where needed: pydicom is not installed');
if (!hasDcmdump) console.warn('skipped where needed: dcmdump is not installed (Debian: apt-get install dcmtk)');
const real = hasChest() ? describe : describe.skip;

type Written = CleanedFile & { written: string };

real('other readers', () => {
  let work = '';
  let files: Written[] = [];
  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), 'ctstream-readers-'));
    for (const folder of ['in', 'out']) mkdirSync(join(work, folder));
    files = cleanEach(ctSources(), join(work, 'out')).filter((file): file is Written => file.written !== undefined);
    // The originals under the names of their results.
    for (const { source, written } of files) symlinkSync(source, join(work, 'in', basename(written)));
  });
  afterAll(() => rmSync(work, { recursive: true, force: true }));

  (hasPydicom() ? test : test.skip)(
    'pydicom',
    async () => {
      const [sources, results] = [await readWithPydicom(join(work, 'in')), await readWithPydicom(join(work, 'out'))];
      expect(results).toHaveLength(files.length);
      const before = new Map(sources.map((one) => [basename(one.file), one]));
      for (const one of results) {
        const was = before.get(basename(one.file));
        expect([one.file, one.error]).toEqual([one.file, null]);
        expect(one.warnings.filter((warning) => was?.warnings.includes(warning) !== true)).toEqual([]);
      }
    },
    300_000,
  );

  (hasDcmdump ? test : test.skip)(
    'dcmdump',
    () => {
      const said = (path: string): string[] => {
        const { status, stderr } = spawnSync('dcmdump', [path], { encoding: 'utf8', maxBuffer: 1 << 28 });
        return [...(status === 0 ? [] : [`exit ${status}`]), ...stderr.split('\n').filter((line) => /^[EWF]:/.test(line))];
      };
      expect(() => execFileSync('dcmdump', ['-q', join(work, 'no such file')], { stdio: 'ignore' })).toThrow();
      for (const { source, written } of files) {
        const after = said(written);
        const before = new Set(after.length === 0 ? [] : said(source).map((line) => line.replaceAll(source, '')));
        expect(after.filter((line) => !before.has(line.replaceAll(written, '')))).toEqual([]);
      }
    },
    300_000,
  );

  test('dcmjs', () => {
    // It says what it guesses of each element.
    log.getLogger('validation.dcmjs').setLevel('silent');
    const read = (path: string): number => {
      const bytes = readFileSync(path);
      const copy = new ArrayBuffer(bytes.length);
      new Uint8Array(copy).set(bytes);
      return Object.keys(data.DicomMessage.readFile(copy).dict).length;
    };
    const fails = (path: string): boolean => {
      try {
        return read(path) < 20;
      } catch {
        return true;
      }
    };
    for (const { source, written } of files) expect([written, fails(written) && !fails(source)]).toEqual([written, false]);
    expect(fails(join(work, 'in'))).toBe(true);
  });
});
