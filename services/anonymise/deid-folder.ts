// De-identifies a folder of DICOM files: `ctstream deid IN OUT`. What would leave a centre, seen without
// any of the stages. Refused files are listed with their codes; OUT holds DICOM files only.
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import type { CentreId } from '../kernel/ids.ts';
import type { Code } from '../kernel/codes.ts';
import type { IdentityVault } from '../ports/identity-vault.ts';
import { originalsUnder, removePartials, standingIn } from './deid-folders.ts';
import { deidPool } from './deid-pool.ts';
import type { IdentityRules } from './identity.ts';
import type { Finding } from './verify/verify.ts';

export { FolderError } from './deid-folders.ts';

export interface RefusedFile {
  /** Path under IN. */
  file: string;
  code: Code;
  /** Of HELD_BY_VERIFIER, in the files that it was found in: check and place, never a value. */
  findings?: readonly Finding[];
}

export interface DeidFolderResult {
  /** Files of this run and, with `resume`, of earlier ones. */
  written: number;
  refused: RefusedFile[];
  seconds: number;
  /** Of the files written. */
  bytes: number;
  /** Attributes of the files written that were emptied, since their value was none of their closed list; of this run. */
  emptied: number;
  /** Files in OUT of an earlier run that no file of IN stands for now: what it was made from is gone, or refused since. */
  unconfirmed: string[];
}

export interface DeidFolderOptions {
  vault: IdentityVault;
  /** Makes what the vault answered outlast a crash; asked before files get their names, where the vault does not do so at each answer. */
  settle?: () => Promise<void>;
  /** Whose patients these are: bare ids of two centres are never the same patient. */
  centre?: CentreId;
  rules?: IdentityRules;
  /** Threads; as many as there are cores unless told. The vault is asked from the caller's thread only. */
  workers?: number;
  /** Goes on with an OUT that an earlier run with the same vault began: what is there and has no finding stays as it is. */
  resume?: boolean;
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

/** Fewer files than this for each further thread are done sooner without it. */
const FILES_PER_THREAD = 16;

/**
 * Writes every file of `inDir` that may leave to `outDir` as `<subject>/<series>/<instance>.dcm`. Nothing of
 * a study is written when the verifier finds something in one of its files. Files that can't be read
 * are refused as such. Throws FolderError, Fault.
 */
export const deidFolder = async (inDir: string, outDir: string, options: DeidFolderOptions): Promise<DeidFolderResult> => {
  const startedMs = performance.now();
  const standing = new Set((await standingIn(inDir, outDir, options.resume === true)).map((name) => join(outDir, name)));
  const { files: names, unreadable } = await originalsUnder(inDir);
  const result: DeidFolderResult = { written: 0, refused: [], seconds: 0, bytes: 0, emptied: 0, unconfirmed: [] };
  for (const file of unreadable) result.refused.push({ file, code: 'FILE_UNREADABLE' });
  const threads = Math.min(options.workers ?? availableParallelism(), Math.ceil(names.length / FILES_PER_THREAD));
  const pool = await deidPool({ inDir, outDir, mayStand: options.resume === true }, threads);
  try {
    // What does the work is imported while the threads start.
    const { deidStudies } = await import('./deid-studies.ts');
    await deidStudies(names, pool, options, result, standing);
  } catch (error) {
    // No file of a study that was not verified to its end stays.
    await pool.close();
    await removePartials(outDir);
    throw error;
  } finally {
    await pool.close();
  }
  result.refused.sort((a, b) => (a.file < b.file ? -1 : 1));
  result.unconfirmed = [...standing]
    .filter((path) => existsSync(path))
    .map((path) => relative(outDir, path))
    .sort();
  result.seconds = (performance.now() - startedMs) / 1000;
  return result;
};
