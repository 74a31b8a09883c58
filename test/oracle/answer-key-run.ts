// Makes the answer key's folder, de-identifies it as `ctstream deid` does, and has both read by pydicom.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { openSqliteVault } from '../../services/adapters/sqlite-vault.ts';
import { deidFolder } from '../../services/anonymise/deid-folder.ts';
import type { DeidFolderResult } from '../../services/anonymise/deid-folder.ts';
import { makeKey } from './answer-key.ts';
import type { KeyFile } from './answer-key.ts';
import { readWithPydicom } from './pydicom.ts';
import type { PydicomFile } from './pydicom.ts';

/** The folder of real files: CTSTREAM_DATA, else shared/data beside the checkout. */
export const DATA = resolve(process.env['CTSTREAM_DATA'] ?? join(import.meta.dirname, '../../../shared/data'));
export const hasChest = (): boolean => existsSync(join(DATA, 'chest'));

/** De-identifies `inDir` into `outDir` with a vault of its own. */
export const deidentified = async (inDir: string, outDir: string): Promise<DeidFolderResult> => {
  const vault = openSqliteVault(`${outDir}.vault.sqlite`);
  try {
    return await deidFolder(inDir, outDir, { vault });
  } finally {
    await vault.close();
  }
};

export interface KeyRun {
  keys: readonly KeyFile[];
  sources: readonly PydicomFile[];
  results: readonly PydicomFile[];
  refused: ReadonlySet<string>;
}

/** The whole of it; all slices unless told how many of each series. */
export const runKey = async (slicesPerSeries?: number): Promise<KeyRun> => {
  const work = mkdtempSync(join(tmpdir(), 'ctstream-key-'));
  try {
    const [inDir, outDir] = [join(work, 'in'), join(work, 'out')];
    const keys = makeKey(join(DATA, 'chest'), inDir, slicesPerSeries);
    const { refused } = await deidentified(inDir, outDir);
    const [sources, results] = [await readWithPydicom(inDir), await readWithPydicom(outDir)];
    return { keys, sources, results, refused: new Set(refused.map(({ file }) => file)) };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
};
