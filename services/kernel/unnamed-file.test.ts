import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openUnnamed, readUnnamed, withRoom } from './unnamed-file.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ctstream-unnamed-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const readAll = async (chunks: AsyncIterable<Uint8Array>): Promise<string> => {
  let text = '';
  for await (const chunk of chunks) text += Buffer.from(chunk).toString('latin1');
  return text;
};

test('what is written has no name while it is there, so that no kill leaves it behind; it is read as often as wanted', async () => {
  const file = await openUnnamed(folder);
  await file.writev([Buffer.from('a scan'), Buffer.from(' of a person')]);
  expect(readdirSync(folder)).toEqual([]);
  expect(await readAll(readUnnamed(file))).toBe('a scan of a person');
  await file.writeFile(', and more');
  expect(await readAll(readUnnamed(file))).toBe('a scan of a person, and more');
  await file.close();
  expect(readdirSync(folder)).toEqual([]);
});

test('a folder that is not there is said', async () => {
  await expect(openUnnamed(join(folder, 'missing'))).rejects.toThrow('ENOENT');
});

test('a disk without room is no fault of the study: its record waits', async () => {
  const full = await open('/dev/full', 'w');
  await expect(withRoom(full.writeFile('a scan'))).rejects.toMatchObject({ code: 'STORE_FULL', retryable: true });
  await full.close();
  const overQuota = Object.assign(new Error('write'), { code: 'EDQUOT' });
  await expect(withRoom(Promise.reject(overQuota))).rejects.toMatchObject({ code: 'STORE_FULL', retryable: true });
  const other = Object.assign(new Error('write'), { code: 'EIO' });
  await expect(withRoom(Promise.reject(other))).rejects.toBe(other);
});
