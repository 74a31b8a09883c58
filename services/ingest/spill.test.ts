import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hold, TooLarge } from './spill.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'spill-test-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function* chunks(sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  for (const [i, size] of sizes.entries()) yield Buffer.alloc(size, i + 1);
}

async function joined(body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of body) all.push(chunk);
  return Buffer.concat(all);
}

const limits = () => ({ memoryBytes: 1000, headBytes: 300, maxBytes: 5000, folder });

test.each([
  ['in memory', [400, 500]],
  ['on disk', [400, 500, 400, 700]],
  ['in one large chunk', [2000]],
  ['empty', []],
])('%s: size, hashes, head and bytes are those of the body', async (_name, sizes) => {
  const expected = await joined(chunks(sizes));
  const held = await hold(chunks(sizes), limits(), { md5: true });
  expect(held.sizeBytes).toBe(expected.length);
  expect(held.sha256).toBe(createHash('sha256').update(expected).digest('hex'));
  expect(held.md5).toBe(createHash('md5').update(expected).digest('hex'));
  for (const bytes of [0, 100, 300]) expect(Buffer.from(held.head(bytes))).toEqual(expected.subarray(0, bytes));
  expect(Buffer.from(held.head(1000))).toEqual(expected.subarray(0, 300));
  expect(await joined(held.read())).toEqual(expected);
  await held.dispose();
  expect(await readdir(folder)).toEqual([]);
});

test('MD5 only where it is asked for', async () => {
  expect((await hold(chunks([400]), limits(), { md5: false })).md5).toBeUndefined();
});

test('a body that is too large, or breaks off, leaves nothing on disk', async () => {
  await expect(hold(chunks([2000, 2000, 2000]), limits(), { md5: true })).rejects.toThrow(TooLarge);
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(2000);
    throw new Error('broke off');
  }
  await expect(hold(broken(), limits(), { md5: true })).rejects.toThrow('broke off');
  expect(await readdir(folder)).toEqual([]);
});
