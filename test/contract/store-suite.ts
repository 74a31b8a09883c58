// What every object store must do: run on the one in memory and on a real S3 server.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { canonicalJson, momentNow, publishManifest } from '../../services/kernel/manifest.ts';
import { sha256Hex } from '../../services/kernel/digest.ts';
import type { ObjectInfo, ObjectStore } from '../../services/ports/object-store.ts';

export interface StoreWorld {
  readonly store: ObjectStore;
  /** An existing bucket. */
  readonly bucket: string;
  close(): Promise<void>;
}

const never = new AbortController().signal;

async function collect(chunks: AsyncIterable<Uint8Array> | undefined): Promise<Buffer> {
  if (chunks === undefined) throw new Error('no such object');
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}

async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function listed(infos: AsyncIterable<ObjectInfo>): Promise<string[]> {
  const keys: string[] = [];
  for await (const info of infos) keys.push(info.key);
  return keys;
}

/** The suite. `make` gives a store with a bucket of its own. */
export function storeSuite(name: string, make: () => Promise<StoreWorld>): void {
  // Real parts on a busy machine: a limit, not an expectation.
  describe(`object store: ${name}`, () => {
    let world: StoreWorld;
    beforeAll(async () => {
      world = await make();
    });
    afterAll(async () => {
      await world.close();
    });

    test('bytes come back, whole and by range; what is not there is undefined', async () => {
      const { store, bucket } = world;
      const bytes = randomBytes(300_000);
      expect(await store.put(bucket, 'a/b c/ü.bin', bytes)).toBe('created');
      expect(sha256Hex(await collect(await store.get(bucket, 'a/b c/ü.bin')))).toBe(sha256Hex(bytes));
      for (const [from, length] of [
        [0, 1],
        [0, 0],
        [299_999, 1],
        [65_535, 70_000],
      ] as const) {
        expect(await collect(await store.get(bucket, 'a/b c/ü.bin', { range: [from, length] }))).toEqual(
          bytes.subarray(from, from + length),
        );
      }
      expect(await store.get(bucket, 'a/none')).toBeUndefined();
      expect(await store.getBytes(bucket, 'a/none', 10)).toBeUndefined();
      expect(await store.head(bucket, 'a/none')).toBeUndefined();
      expect(await store.head(bucket, 'a/b c/ü.bin')).toMatchObject({ key: 'a/b c/ü.bin', sizeBytes: 300_000 });
      await expect(store.getBytes(bucket, 'a/b c/ü.bin', 299_999)).rejects.toThrow(/larger/);
    });

    test.each([0, 1, 5_000_000, 15 * 1024 * 1024, 40_000_001])('a stream of unknown size comes back: %i bytes', async (size) => {
      const { store, bucket } = world;
      const bytes = Buffer.alloc(size, 'ct');
      if (size > 0) bytes.writeUInt8(7, size - 1);
      expect(await store.put(bucket, `stream/${size}`, inChunks(bytes, 777_777))).toBe('created');
      expect((await store.head(bucket, `stream/${size}`))?.sizeBytes).toBe(size);
      expect(sha256Hex(await collect(await store.get(bucket, `stream/${size}`)))).toBe(sha256Hex(bytes));
    });

    test('a stream that breaks, or is shorter than it said, leaves no object', async () => {
      const { store, bucket } = world;
      async function* breaks(): AsyncGenerator<Uint8Array> {
        yield Buffer.alloc(20_000_000);
        throw new Error('the source broke');
      }
      await expect(store.put(bucket, 'broken/1', breaks())).rejects.toBeDefined();
      await expect(store.put(bucket, 'broken/2', inChunks(Buffer.alloc(100), 10), { sizeBytes: 101 })).rejects.toBeDefined();
      expect(await listed(store.list(bucket, 'broken/'))).toEqual([]);
    });

    test('of many that create one name, one wins and the others are told', async () => {
      const { store, bucket } = world;
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, i) => store.put(bucket, 'once', Buffer.from(`writer ${i}`), { ifNoneMatch: true })),
      );
      expect(answers.filter((a) => a === 'created')).toHaveLength(1);
      expect(answers.filter((a) => a === 'exists')).toHaveLength(7);
      const winner = answers.indexOf('created');
      expect(Buffer.from((await store.getBytes(bucket, 'once', 100)) ?? []).toString()).toBe(`writer ${winner}`);
    });

    test('a large buffer is created conditionally too', async () => {
      const { store, bucket } = world;
      const bytes = Buffer.alloc(20_000_000, 1);
      expect(await store.put(bucket, 'large-once', bytes, { ifNoneMatch: true })).toBe('created');
      expect(await store.put(bucket, 'large-once', Buffer.alloc(20_000_000, 2), { ifNoneMatch: true })).toBe('exists');
      expect(sha256Hex((await store.getBytes(bucket, 'large-once', 20_000_000)) ?? '')).toBe(sha256Hex(bytes));
    });

    test("a revision is published once: who loses tells the winner's event", async () => {
      const { store, bucket } = world;
      const [one, two] = await Promise.all(
        ['a', 'b'].map((attempt) => publishManifest(store, bucket, 'rev/manifest.json', { attempt }, never, momentNow())),
      );
      expect(one?.sha256).toBe(two?.sha256);
      expect([one?.ours, two?.ours].filter((ours) => ours === true)).toHaveLength(1);
      expect(one?.sha256).toBe(sha256Hex(canonicalJson(one?.manifest)));
    });

    test('listing gives all names under a prefix in byte order, folders are named once, and removing takes them', async () => {
      const { store, bucket } = world;
      const keys = Array.from({ length: 1203 }, (_, i) => `many/${String(i).padStart(5, '0')}`);
      for (let i = 0; i < keys.length; i += 50)
        await Promise.all(keys.slice(i, i + 50).map((key) => store.put(bucket, key, Buffer.from('x'))));
      await store.put(bucket, 'manyother', Buffer.from('x'));
      expect(await listed(store.list(bucket, 'many/'))).toEqual(keys);
      expect((await store.folders(bucket)).filter((name) => name.startsWith('many'))).toEqual(['many']);
      await store.remove(bucket, [...keys, 'many/never-was']);
      expect(await listed(store.list(bucket, 'many'))).toEqual(['manyother']);
      expect(await store.folders(bucket)).not.toContain('many');
    });

    test('an aborted call ends with the reason', async () => {
      const { store, bucket } = world;
      const abort = new AbortController();
      async function* slow(): AsyncGenerator<Uint8Array> {
        yield Buffer.alloc(17_000_000);
        abort.abort(new Error('enough'));
        yield Buffer.alloc(17_000_000);
      }
      await expect(store.put(bucket, 'aborted', slow(), { signal: abort.signal })).rejects.toThrow('enough');
      await expect(store.put(bucket, 'aborted', Buffer.from('x'), { signal: abort.signal })).rejects.toThrow('enough');
      await expect(store.get(bucket, 'once', { signal: abort.signal })).rejects.toThrow('enough');
      expect(await store.head(bucket, 'aborted')).toBeUndefined();
    });
  });
}
