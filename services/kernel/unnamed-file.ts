// Scans that have to lie on disk for a while: in a file without a name, so that they are gone with the process, however it
// ends. A named one would outlast a kill, and the patient's withdrawal.
import { randomUUID } from 'node:crypto';
import { open, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';

const READ_BYTES = 1024 * 1024;

/** A new empty file on the file system of `folder`, for this process only. */
export const openUnnamed = async (folder: string): Promise<FileHandle> => {
  const path = join(folder, `ctstream-${randomUUID()}`);
  const file = await open(path, 'wx+', 0o600);
  try {
    await unlink(path);
  } catch (error) {
    await file.close();
    throw error;
  }
  return file;
};

/** All of its bytes; the file stays open. */
export const readUnnamed = (file: FileHandle): AsyncIterable<Uint8Array> =>
  file.createReadStream({ start: 0, autoClose: false, highWaterMark: READ_BYTES }) as AsyncIterable<Uint8Array>;
