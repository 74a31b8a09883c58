// The file of a vault's backup: a header line in clear, then JSON lines under AES-256-GCM, then the tag. The
// header is authenticated with the rest, and nothing of the lines counts before the tag was right.
import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { keyFor } from './vault-crypto.ts';

const FORMAT = 'ctstream-vault-backup/1';
const TAG_BYTES = 16;
const MAX_HEADER_BYTES = 1024;
const READ_BYTES = 1 << 16;
/** A line is one page of a table. */
const MAX_LINE_BYTES = 16 << 20;

/** What is in it: all of the vault, or only what a withdrawal leaves behind. */
export type BackupKind = 'vault' | 'denials';

const headerSchema = z.strictObject({
  format: z.literal(FORMAT),
  kind: z.enum(['vault', 'denials']),
  at: z.iso.datetime(),
  salt: z.string().regex(/^[0-9a-f]{64}$/),
  iv: z.string().regex(/^[0-9a-f]{24}$/),
});
export type BackupHeader = z.output<typeof headerSchema>;

/** A file that is no backup, is cut short or changed, or was made under another key. */
export class BackupDamaged extends Error {
  override readonly name = 'BackupDamaged';
}

const fileKey = (key: Uint8Array, salt: string): Buffer =>
  Buffer.from(hkdfSync('sha256', keyFor(key, 'backup'), Buffer.from(salt, 'hex'), 'ctstream-vault-backup', 32));

export interface Written {
  /** SHA-256 (hex) of the file. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** Writes the lines to `path`, which must not be there; mode 0600, and under its name only when whole and on disk. */
export const writeBackup = async (path: string, key: Uint8Array, kind: BackupKind, lines: AsyncIterable<unknown>): Promise<Written> => {
  const header: BackupHeader = {
    format: FORMAT,
    kind,
    at: new Date().toISOString(),
    salt: randomBytes(32).toString('hex'),
    iv: randomBytes(12).toString('hex'),
  };
  const head = Buffer.from(`${JSON.stringify(header)}\n`);
  const cipher = createCipheriv('aes-256-gcm', fileKey(key, header.salt), Buffer.from(header.iv, 'hex')).setAAD(head);
  // The name is taken first: a backup is never written over another.
  const target = await open(path, 'wx', 0o600);
  const part = `${path}.part`;
  try {
    const handle = await open(part, 'w', 0o600);
    try {
      const written = await writeAll(handle, head, cipher, lines);
      await handle.sync();
      await rename(part, path);
      await syncFolder(dirname(path));
      return written;
    } finally {
      await handle.close();
    }
  } catch (error) {
    await Promise.all([rm(part, { force: true }), rm(path, { force: true })]);
    throw error;
  } finally {
    await target.close();
  }
};

// Without it a power cut may leave the bytes and lose the name.
const syncFolder = async (folder: string): Promise<void> => {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

const writeAll = async (
  handle: FileHandle,
  head: Buffer,
  cipher: ReturnType<typeof createCipheriv> & { getAuthTag(): Buffer },
  lines: AsyncIterable<unknown>,
): Promise<Written> => {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const put = async (bytes: Buffer): Promise<void> => {
    hash.update(bytes);
    sizeBytes += bytes.length;
    await handle.writeFile(bytes);
  };
  await put(head);
  for await (const line of lines) await put(cipher.update(`${JSON.stringify(line)}\n`));
  await put(cipher.final());
  await put(cipher.getAuthTag());
  return { sha256: hash.digest('hex'), sizeBytes };
};

/** The header alone: when it was made and what is in it. Not authenticated yet. @throws BackupDamaged */
export const readBackupHeader = async (path: string): Promise<BackupHeader> => {
  const handle = await open(path, 'r');
  try {
    return (await headOf(handle)).header;
  } finally {
    await handle.close();
  }
};

const headOf = async (handle: FileHandle): Promise<{ header: BackupHeader; head: Buffer; sizeBytes: number }> => {
  const { size } = await handle.stat();
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_HEADER_BYTES), 0, MAX_HEADER_BYTES, 0);
  const end = buffer.subarray(0, bytesRead).indexOf(10) + 1;
  const head = buffer.subarray(0, end);
  const header = end === 0 ? undefined : headerSchema.safeParse(parsed(head));
  if (!header?.success || size < end + TAG_BYTES) throw new BackupDamaged('the file is no backup of a vault, or is cut short');
  return { header: header.data, head: Buffer.from(head), sizeBytes: size };
};

const parsed = (bytes: Buffer): unknown => {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
};

/**
 * The file's lines. Read it to its end inside a transaction: only then the tag was checked, and whatever was
 * done with the lines before must be undone when it throws.
 * @throws BackupDamaged at the latest after the last line
 */
export async function* readBackup(path: string, key: Uint8Array): AsyncGenerator<unknown, void, undefined> {
  const handle = await open(path, 'r');
  try {
    const { header, head, sizeBytes } = await headOf(handle);
    const decipher = createDecipheriv('aes-256-gcm', fileKey(key, header.salt), Buffer.from(header.iv, 'hex'), {
      authTagLength: TAG_BYTES,
    });
    const tag = await handle.read(Buffer.alloc(TAG_BYTES), 0, TAG_BYTES, sizeBytes - TAG_BYTES);
    decipher.setAAD(head).setAuthTag(tag.buffer);
    yield* linesOf(handle, decipher, head.length, sizeBytes - TAG_BYTES);
  } finally {
    await handle.close();
  }
}

const DAMAGED = 'the backup was made under another key, or the file is damaged: nothing was restored from it';

async function* linesOf(
  handle: FileHandle,
  decipher: ReturnType<typeof createDecipheriv>,
  first: number,
  end: number,
): AsyncGenerator<unknown, void, undefined> {
  let rest = '';
  // The stream decoder keeps a character that is split between two reads.
  const decoder = new TextDecoder('utf-8');
  for (let at = first; at < end;) {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(READ_BYTES), 0, Math.min(READ_BYTES, end - at), at);
    if (bytesRead === 0) throw new BackupDamaged(DAMAGED);
    at += bytesRead;
    rest += decoder.decode(decipher.update(buffer.subarray(0, bytesRead)), { stream: true });
    if (rest.length > MAX_LINE_BYTES) throw new BackupDamaged(DAMAGED);
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield parsedLine(line);
  }
  try {
    decipher.final();
  } catch {
    throw new BackupDamaged(DAMAGED);
  }
  if (rest !== '') throw new BackupDamaged(DAMAGED);
}

const parsedLine = (line: string): unknown => {
  const value = parsed(Buffer.from(line));
  if (value === undefined) throw new BackupDamaged(DAMAGED);
  return value;
};
