// Makes the answer key's folder, de-identifies it as `ctstream deid` does, and has both read by pydicom.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSqliteVault } from '../../services/adapters/sqlite-vault.ts';
import { deidFolder } from '../../services/anonymise/deid-folder.ts';
import type { DeidFolderResult } from '../../services/anonymise/deid-folder.ts';
import { REAL_FILES } from '../shared/real-files.ts';
import { makeKey } from './answer-key.ts';
import type { KeyFile } from './answer-key.ts';
import { readWithPydicom } from './pydicom.ts';
import type { PydicomFile } from './pydicom.ts';

export const hasChest = (): boolean => existsSync(join(REAL_FILES, 'chest'));

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
    const keys = makeKey(join(REAL_FILES, 'chest'), inDir, slicesPerSeries);
    const { refused } = await deidentified(inDir, outDir);
    const [sources, results] = [await readWithPydicom(inDir), await readWithPydicom(outDir)];
    return { keys, sources, results, refused: new Set(refused.map(({ file }) => file)) };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
};
