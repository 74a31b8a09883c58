// The vault's key, as a file holds it: 64 hex digits.
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { ConfigError, secretOf } from '../runtime/env.ts';

const KEY = /^[0-9a-f]{64}$/i;

/** The 32 bytes of a key file's text. @throws ConfigError */
export const keyOfText = (what: string, path: string, text: string): Uint8Array => {
  if (!KEY.test(text.trim())) throw new ConfigError([`${what}: ${path} does not hold 64 hex digits`]);
  return Buffer.from(text.trim(), 'hex');
};

/** The 32 bytes of a key file. @throws ConfigError */
export const readKeyFile = (path: string): Uint8Array => keyOfText('vault key', path, secretOf('vault key', undefined, path));

/** The key of the file, which is made when it is not there: on disk before anything depends on it. */
export const readOrMakeKeyFile = async (path: string): Promise<Uint8Array> => {
  if (existsSync(path)) return readKeyFile(path);
  const key = randomBytes(32);
  const handle = await open(path, 'wx', 0o600);
  try {
    await handle.writeFile(`${key.toString('hex')}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return key;
};
