// SHA256SUMS: written over a folder, read, and checked again from the disk.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';

export const SUMS_FILE = 'SHA256SUMS';

/** Paths of all files under a folder, relative, with '/', sorted. Links and other things that are no file count too. */
export async function filesUnder(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((e) => !e.isDirectory())
    .map((e) => relative(dir, join(e.parentPath, e.name)).split(sep).join('/'))
    .sort();
}

export async function fileSha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** The text of SHA256SUMS, as `sha256sum -c` reads it, sorted by path. */
export function sumsText(sums: ReadonlyMap<string, string>): string {
  return [...sums.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, sha256]) => `${sha256}  ${path}\n`)
    .join('');
}

/** @throws Error for a line that is none, or a path that leaves the folder. */
export function parseSums(text: string): Map<string, string> {
  const sums = new Map<string, string>();
  for (const [i, line] of text.split('\n').entries()) {
    if (line === '') continue;
    const match = /^([0-9a-f]{64}) [ *](.+)$/.exec(line);
    const path = match?.[2] ?? '';
    if (match === null || path.startsWith('/') || path.split('/').includes('..'))
      throw new Error(`${SUMS_FILE} line ${i + 1} is not '<sha256>  <path>'`);
    sums.set(path, match[1] ?? '');
  }
  return sums;
}
