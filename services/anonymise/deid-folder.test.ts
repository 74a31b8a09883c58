import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TAG } from '../dicom/dictionary.ts';
import { element } from '../dicom/values.ts';
import { openSqliteVault } from '../adapters/sqlite-vault.ts';
import { SOP_CLASS } from '../dicom/uid.ts';
import { writeDiff } from './deid-diff-file.ts';
import { deidFolder, FolderError } from './deid-folder.ts';
import { isWithin } from './deid-folders.ts';
import { INSTANCE_LIMIT_MB } from './instance-limit.ts';
import { ctBytes, of, plantedElements } from './test-support.ts';

let folder = '';
const at = (name: string): string => join(folder, name);
const filesOf = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.dcm'))
    .sort();
const contentOf = (dir: string): string[] => filesOf(dir).map((name) => `${name} ${readFileSync(join(dir, name), 'latin1')}`);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ctstream-deid-'));
  mkdirSync(at('in'));
  for (let n = 1; n <= 40; n++) writeFileSync(at(`in/${String(n).padStart(2, '0')}.dcm`), ctBytes({ n, changes: plantedElements() }));
  cpSync(at('in/01.dcm'), at('in/again.dcm'));
  writeFileSync(at('in/note.txt'), 'no image');
  writeFileSync(at('in/other.dcm'), ctBytes({ n: 1, changes: [of('StudyInstanceUID', '1.2.3.4.5.9'), of('BurnedInAnnotation', 'YES')] }));
});
afterEach(() => rmSync(folder, { recursive: true }));

const deid = async (out: string, options: { workers?: number; resume?: boolean } = {}) => {
  const vault = openSqliteVault(at('vault.sqlite'));
  try {
    return await deidFolder(at('in'), at(out), { vault, ...options });
  } finally {
    await vault.close();
  }
};

// Threads start slowly on a busy machine.
const TIMEOUT_MS = 120_000;

describe('deid folder', () => {
  test(
    'writes the same files whatever the number of threads',
    async () => {
      const [one, three] = [await deid('one', { workers: 1 }), await deid('three', { workers: 3 })];
      expect(one.refused).toEqual([
        { file: 'note.txt', code: 'NOT_DICOM' },
        { file: 'other.dcm', code: 'BURNED_IN_TEXT' },
      ]);
      expect([one.written, three.written]).toEqual([41, 41]);
      expect(three.refused).toEqual(one.refused);
      expect(contentOf(at('three'))).toEqual(contentOf(at('one')));
    },
    TIMEOUT_MS,
  );

  test('no file has its name before the vault has settled what it is named by', async () => {
    const vault = openSqliteVault(at('vault.sqlite'), 'whenTold');
    const namedBefore: string[][] = [];
    const settle = async (): Promise<void> => {
      namedBefore.push(filesOf(at('out')));
      await vault.settle();
    };
    const first = await deidFolder(at('in'), at('out'), { vault, settle, workers: 1 });
    await vault.close();
    expect(first.written).toBe(41);
    expect(namedBefore).toEqual([[]]);
    const failing = openSqliteVault(at('vault.sqlite'), 'whenTold');
    const full = (): Promise<void> => Promise.reject(new Error('the disk is full'));
    await expect(deidFolder(at('in'), at('none'), { vault: failing, settle: full, workers: 1 })).rejects.toThrow('full');
    await failing.close();
    expect(readdirSync(at('none'), { recursive: true, encoding: 'utf8' }).filter((name) => /dcm/.test(name))).toEqual([]);
    expect(await deid('again')).toMatchObject({ written: 41 });
    expect(contentOf(at('again'))).toEqual(contentOf(at('out')));
  });

  test(
    'goes on where it was stopped, and only in a folder of its own',
    async () => {
      await deid('whole');
      cpSync(at('whole'), at('half'), { recursive: true });
      const files = filesOf(at('half'));
      for (const name of files.slice(0, 20)) rmSync(join(at('half'), name));
      writeFileSync(join(at('half'), `${files[0]}.partial`), 'cut off');
      await expect(deid('half')).rejects.toThrow(FolderError);
      expect(await deid('half', { resume: true })).toMatchObject({ written: 41 });
      expect(contentOf(at('half'))).toEqual(contentOf(at('whole')));
      writeFileSync(at('half/mine.txt'), '');
      await expect(deid('half', { resume: true })).rejects.toThrow(FolderError);
    },
    TIMEOUT_MS,
  );

  test(
    'goes on with a file of an earlier run only when it holds with what is known now',
    async () => {
      rmSync(at('in'), { recursive: true });
      mkdirSync(at('in'));
      writeFileSync(at('in/one.dcm'), ctBytes({ n: 1, changes: [of('StudyDescription', 'CT Best lung')] }));
      await deid('out');
      const [name = ''] = filesOf(at('out'));
      expect(readFileSync(join(at('out'), name), 'latin1')).toContain('Best');
      writeFileSync(at('in/two.dcm'), ctBytes({ n: 2, changes: [of('ReferringPhysicianName', 'Best^Al')] }));
      expect(await deid('out', { resume: true })).toMatchObject({ written: 2, refused: [] });
      expect(contentOf(at('out')).join('')).not.toContain('Best');
    },
    TIMEOUT_MS,
  );

  test(
    'says by check and place why a study is held, and names files of an earlier run that nothing stands for any more',
    async () => {
      const whole = await deid('out');
      expect(whole.unconfirmed).toEqual([]);
      const before = filesOf(at('out'));
      rmSync(at('in/01.dcm'));
      rmSync(at('in/again.dcm'));
      // Names are compared as they are written by the de-identifier, by the verifier also in Latin letters.
      const named = [of('SpecificCharacterSet', 'ISO_IR 192'), element(TAG.PatientName, 'PN', Buffer.from('Лунг '))];
      const held = [...named, of('StudyInstanceUID', '1.2.3.4.5.8')];
      writeFileSync(at('in/leaks.dcm'), ctBytes({ n: 1, changes: [...held, of('StudyDescription', 'Lung')] }));
      writeFileSync(at('in/other-slice.dcm'), ctBytes({ n: 2, changes: held }));
      const result = await deid('out', { resume: true });
      expect(result.written).toBe(39);
      expect(result.refused).toEqual([
        { file: 'leaks.dcm', code: 'HELD_BY_VERIFIER', findings: [{ check: 'element', where: '(0008,1030)' }] },
        { file: 'note.txt', code: 'NOT_DICOM' },
        { file: 'other-slice.dcm', code: 'HELD_BY_VERIFIER' },
        { file: 'other.dcm', code: 'BURNED_IN_TEXT' },
      ]);
      expect(result.unconfirmed).toHaveLength(2);
      expect(before).toEqual(expect.arrayContaining(result.unconfirmed));
    },
    TIMEOUT_MS,
  );

  test(
    'follows links, once each, and refuses what it may not read',
    async () => {
      rmSync(at('in'), { recursive: true });
      mkdirSync(at('in/sub'), { recursive: true });
      mkdirSync(at('elsewhere'));
      writeFileSync(at('elsewhere/one.dcm'), ctBytes({ n: 1 }));
      symlinkSync(at('elsewhere'), at('in/folder'));
      symlinkSync(at('elsewhere'), at('in/twice'));
      symlinkSync(at('in'), at('in/sub/loop'));
      symlinkSync(at('nowhere'), at('in/broken.dcm'));
      const result = await deid('out');
      expect(result).toMatchObject({ written: 1, refused: [{ file: 'broken.dcm', code: 'FILE_UNREADABLE' }] });
    },
    TIMEOUT_MS,
  );

  test(
    'leaves a file unread that is too large: a CT image as LIMIT_EXCEEDED, another as what it is; the rest of the study is written',
    async () => {
      rmSync(at('in'), { recursive: true });
      mkdirSync(at('in'));
      writeFileSync(at('in/one.dcm'), ctBytes({ n: 1 }));
      const large = {
        'ct.dcm': ctBytes({ n: 2 }),
        'scan.dcm': ctBytes({ n: 3, changes: [of('SOPClassUID', SOP_CLASS.EnhancedCTImageStorage)] }),
        'archive.zip': 'PK',
      };
      for (const [name, start] of Object.entries(large)) {
        writeFileSync(at(`in/${name}`), start);
        // Sparse: takes no room on the disk.
        truncateSync(at(`in/${name}`), INSTANCE_LIMIT_MB * 1024 * 1024 + 1);
      }
      const result = await deid('out', { workers: 1 });
      expect(result.refused).toEqual([
        { file: 'archive.zip', code: 'LIMIT_EXCEEDED' },
        { file: 'ct.dcm', code: 'LIMIT_EXCEEDED' },
        { file: 'scan.dcm', code: 'NOT_PRIMARY_AXIAL_CT' },
      ]);
      expect([result.written, await writeDiff(at('in'), at('out'), at('diff.csv'))]).toMatchObject([1, { files: 1 }]);
    },
    TIMEOUT_MS,
  );

  test('an IN that is none, and an OUT that a link leads into IN, are refused by name', async () => {
    const vault = openSqliteVault(at('vault.sqlite'));
    await expect(deidFolder(at('missing'), at('out'), { vault })).rejects.toThrow(/IN, .*missing, is no folder/);
    await expect(deidFolder(at('in/note.txt'), at('out'), { vault })).rejects.toThrow(FolderError);
    symlinkSync(at('in'), at('link'));
    await expect(deidFolder(at('in'), at('link/out'), { vault })).rejects.toThrow(FolderError);
    expect(await isWithin(at('link/vault.sqlite'), at('in'))).toBe(true);
    expect(await isWithin(at('link-not/vault.sqlite'), at('link'))).toBe(false);
    await vault.close();
  });

  test(
    'writes both files of two studies of a patient that name the same instance',
    async () => {
      rmSync(at('in'), { recursive: true });
      mkdirSync(at('in'));
      writeFileSync(at('in/one.dcm'), ctBytes({ n: 1 }));
      writeFileSync(at('in/two.dcm'), ctBytes({ n: 1, changes: [of('StudyInstanceUID', '1.2.3.4.5.9')] }));
      expect(await deid('out')).toMatchObject({ written: 2, refused: [] });
      expect(filesOf(at('out'))).toHaveLength(2);
    },
    TIMEOUT_MS,
  );

  test(
    'finds text that no thread alone sees enough of',
    async () => {
      const size = 96;
      for (let n = 1; n <= 40; n++) {
        const pixels = Uint16Array.from({ length: size * size }, (_, i) => 20 + (Math.imul(i + 1, 2_654_435_761 + n * 97) >>> 26));
        // Three letters in every second slice.
        if (n % 2 === 0)
          for (let letter = 0; letter < 3; letter++)
            for (let y = 8; y < 18; y++) for (const x of [8, 9]) pixels[y * size + x + letter * 8] = 3000;
        writeFileSync(
          at(`in/${String(n).padStart(2, '0')}.dcm`),
          ctBytes({ n, changes: [of('Rows', size), of('Columns', size), element(0x7fe00010, 'OW', new Uint8Array(pixels.buffer))] }),
        );
      }
      rmSync(at('in/again.dcm'));
      const result = await deid('out', { workers: 4 });
      expect(result.written).toBe(0);
      expect(result.refused.filter(({ code }) => code === 'BURNED_IN_TEXT')).toHaveLength(41);
    },
    TIMEOUT_MS,
  );
});
