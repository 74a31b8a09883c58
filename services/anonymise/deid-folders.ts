// The two folders of `ctstream deid`: what may be in them, and that neither holds the other.
import { rmSync } from 'node:fs';
import { mkdir, readdir, realpath } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';

/** IN and OUT overlap, or OUT holds something already. */
export class FolderError extends Error {
  override name = 'FolderError';
}

export const refuseOverlap = async (inDir: string, outDir: string, mayHoldFiles: boolean): Promise<void> => {
  await mkdir(outDir, { recursive: true });
  const [from, to] = [await realpath(inDir), await realpath(outDir)];
  const isWithin = (inner: string, outer: string): boolean => inner === outer || inner.startsWith(outer + sep);
  if (isWithin(to, from) || isWithin(from, to)) throw new FolderError('IN and OUT must lie beside each other, not within');
  const standing = await filesUnder(to);
  if (!mayHoldFiles && (await readdir(to)).length > 0) throw new FolderError('OUT must be empty');
  if (!standing.every((name) => OWN_FILE.test(name))) throw new FolderError('OUT holds files that de-identifying did not write');
  await removePartials(to);
};

export const removePartials = async (dir: string): Promise<void> => {
  for (const name of await filesUnder(dir)) if (name.endsWith('.partial')) rmSync(join(dir, name));
};

/** What this command writes: <subject>/<series>/<instance>.dcm, and its passing form. */
const OWN_FILE = /^S[A-Z2-7]{16}[\\/]2\.25\.\d+[\\/]2\.25\.\d+(?:-\d+)?\.dcm(?:\.partial)?$/;

export const filesUnder = async (dir: string): Promise<string[]> => {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)))
    .sort();
};
