// The two folders of `ctstream deid`: what may be in them, and that neither holds the other.
import { rmSync } from 'node:fs';
import { mkdir, readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';

const PARTIAL = '.partial';

/** IN is none, IN and OUT overlap, or OUT holds something already. */
export class FolderError extends Error {
  override name = 'FolderError';
}

/** Makes OUT where it is missing. Gives the files of an earlier run that stand in it; what it left half done is removed. */
export const standingIn = async (inDir: string, outDir: string, mayHoldFiles: boolean): Promise<string[]> => {
  if ((await stat(inDir).catch(() => undefined))?.isDirectory() !== true)
    throw new FolderError(`IN, ${inDir}, is no folder that can be read`);
  await mkdir(outDir, { recursive: true }).catch((error: Error) => {
    throw new FolderError(`OUT, ${outDir}, can't be made: ${error.message}`);
  });
  if ((await isWithin(outDir, inDir)) || (await isWithin(inDir, outDir)))
    throw new FolderError('IN and OUT must lie beside each other, not within');
  const standing = await filesUnder(outDir);
  if (!mayHoldFiles && (await readdir(outDir)).length > 0) throw new FolderError('OUT must be empty');
  if (!standing.every((name) => OWN_FILE.test(name))) throw new FolderError('OUT holds files that de-identifying did not write');
  await removePartials(outDir);
  return standing.filter((name) => !name.endsWith(PARTIAL));
};

/** Whether a path is `outer` or lies in it, links followed; neither has to exist. */
export const isWithin = async (path: string, outer: string): Promise<boolean> => {
  const [from, to] = [await realPlace(path), await realPlace(outer)];
  return from === to || from.startsWith(to.endsWith(sep) ? to : to + sep);
};

/** Where a path would lie: the real place of what exists of it, and the rest. */
const realPlace = async (path: string): Promise<string> => {
  const real = await realpath(path).catch(() => undefined);
  if (real !== undefined || dirname(path) === path) return real ?? path;
  return join(await realPlace(dirname(path)), basename(path));
};

export const removePartials = async (dir: string): Promise<void> => {
  for (const name of await filesUnder(dir)) if (name.endsWith(PARTIAL)) rmSync(join(dir, name));
};

/** What this command writes: <subject>/<series>/<instance>.dcm, and its passing form. */
const OWN_FILE = /^S[A-Z2-7]{16}[\\/]2\.25\.\d+[\\/]2\.25\.\d+(?:-\d+)?\.dcm(?:\.partial)?$/;

/** Whatever is no folder, under `dir`; links are named and not followed. */
export const filesUnder = async (dir: string): Promise<string[]> => {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)))
    .sort();
};

/** What can't be opened is named apart: a broken link, a folder without the right to read it. */
interface Originals {
  files: string[];
  unreadable: string[];
}

/** Files under `dir` as people see them, links followed; each folder once, so that a link to one above ends. */
export const originalsUnder = async (dir: string): Promise<Originals> => {
  const found: Originals = { files: [], unreadable: [] };
  const seen = new Set<string>();
  const enter = async (folder: string): Promise<void> => {
    const real = await realpath(join(dir, folder));
    if (seen.has(real)) return;
    seen.add(real);
    for (const name of (await readdir(join(dir, folder))).sort()) {
      const path = join(folder, name);
      try {
        const what = await stat(join(dir, path));
        if (what.isDirectory()) await enter(path);
        else if (what.isFile()) found.files.push(path);
      } catch {
        found.unreadable.push(path);
      }
    }
  };
  await enter('');
  return { files: found.files.sort(), unreadable: found.unreadable };
};
