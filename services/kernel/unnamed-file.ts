// Scans that have to lie on disk for a while: in a file without a name, so that they are gone with the process, however it
// ends. A named one would outlast a kill, and the patient's withdrawal.
import { randomUUID } from 'node:crypto';
import { open, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault } from './fault.ts';

const READ_BYTES = 1024 * 1024;

/** A new empty file on the file system of `folder`, for this process only. @throws Fault STORE_FULL when there is no room */
export const openUnnamed = async (folder: string): Promise<FileHandle> => {
  const path = join(folder, `ctstream-${randomUUID()}`);
  const file = await withRoom(open(path, 'wx+', 0o600));
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

/** What is written to such a file. @throws Fault STORE_FULL when there is no room; what else the work throws */
export const withRoom = async <T>(work: Promise<T>): Promise<T> => {
  try {
    return await work;
  } catch (error) {
    throw roomFault(error);
  }
};

/** A full disk is no fault of a study: its record waits as long as it takes, as it does for a full store. */
const roomFault = (error: unknown): unknown => {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  return new Fault('STORE_FULL', true, `the folder for scans on disk has no room (${code})`, { cause: error });
};
