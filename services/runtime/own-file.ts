// Files that hold something secret: they are taken only when nobody but their owner may read them.
import { readFileSync, statSync } from 'node:fs';
import { ConfigError } from './env.ts';

/** Text of a file that only its owner may read. @param what names it in the problem @throws ConfigError */
export function readOwnFile(what: string, path: string): string {
  try {
    // 0o077: anyone but the owner.
    if ((statSync(path).mode & 0o077) !== 0) throw new ConfigError([`${what}: others may read ${path}: chmod 600`]);
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError([`${what}: ${path} can't be read (${(error as NodeJS.ErrnoException).code ?? 'error'})`]);
  }
}

/** The JSON of such a file. @throws ConfigError; no value stands in it */
export function readOwnJson(what: string, path: string): unknown {
  const text = readOwnFile(what, path);
  try {
    return JSON.parse(text);
  } catch {
    throw new ConfigError([`${what}: ${path} is no JSON`]);
  }
}
