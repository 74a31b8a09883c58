// What ctstream relies on of an S3 server, tried when a stage starts: a server that lacks one of these loses or mixes up
// studies without a word. It takes about ten small requests and one upload of 5 MiB in two parts.
import { randomBytes } from 'node:crypto';
import { Fault } from '../kernel/fault.ts';
import { isTrial, SWEEP_AFTER_MS } from '../kernel/sweep.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { PART_BYTES } from './s3-upload.ts';

/** What failed, as words that end "the object store ..."; undefined when it did what it should. */
type Check = (store: ObjectStore, bucket: string, key: string) => Promise<string | undefined>;

async function conditionalPut(store: ObjectStore, bucket: string, key: string): Promise<string | undefined> {
  const put = (text: string): Promise<'created' | 'exists'> =>
    store.put(bucket, key, Buffer.from(text), { ifNoneMatch: true, contentType: 'text/plain' });
  const answers = [await put('first'), await put('second')];
  const bytes = await store.getBytes(bucket, key, 64);
  if (answers.join() === 'created,exists' && bytes !== undefined && Buffer.from(bytes).toString() === 'first') return undefined;
  // Two attempts of one revision would overwrite each other's manifest.
  return 'does not honour If-None-Match on PUT (a second PUT must be refused with 412)';
}

async function read(chunks: AsyncIterable<Uint8Array> | undefined): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks ?? []) parts.push(chunk);
  return Buffer.concat(parts);
}

async function rangeOf(store: ObjectStore, bucket: string, key: string, bytes: Buffer, start: number, length: number): Promise<boolean> {
  return (await read(await store.get(bucket, key, { range: [start, length] }))).equals(bytes.subarray(start, start + length));
}

/** One slice is one range of a series' object. */
async function rangeGet(store: ObjectStore, bucket: string, key: string): Promise<string | undefined> {
  const bytes = randomBytes(4096);
  await store.put(bucket, key, bytes);
  for (const [start, length] of [
    [0, 1],
    [1000, 24],
    [4000, 96],
  ] as const)
    if (!(await rangeOf(store, bucket, key, bytes, start, length))) return 'does not give exactly the bytes of a range (GET with Range)';
  return undefined;
}

/** What S3 servers answer to a call that they do not know; a server that is away is another matter. */
const REFUSED = /: (?:NotImplemented|MethodNotAllowed|InvalidRequest|InvalidArgument|MalformedXML|BadRequest|UnknownError)$/;

/** A series has no known size before its last slice came. */
async function multipart(store: ObjectStore, bucket: string, key: string): Promise<string | undefined> {
  const bytes = Buffer.concat([Buffer.alloc(PART_BYTES, randomBytes(64)), randomBytes(512)]);
  async function* source(): AsyncGenerator<Uint8Array> {
    yield bytes;
  }
  const refusal = 'does not take an upload in parts (multipart), or gives back other bytes';
  try {
    await store.put(bucket, key, source());
  } catch (error) {
    if (error instanceof Fault && REFUSED.test(error.message)) return refusal;
    throw error;
  }
  const isWhole = (await read(await store.get(bucket, key))).equals(bytes);
  return isWhole && (await rangeOf(store, bucket, key, bytes, PART_BYTES - 100, 200)) ? undefined : refusal;
}

/** The sweeper, withdrawals and the archive's resumption go by the listing. */
async function listing(store: ObjectStore, bucket: string, key: string): Promise<string | undefined> {
  const names: string[] = [];
  await store.put(bucket, key, Buffer.from('listed'));
  for await (const item of store.list(bucket, key)) names.push(`${item.key} ${item.sizeBytes}`);
  return names.join() === `${key} 6` ? undefined : 'does not list an object right after its PUT (ListObjectsV2 with a prefix)';
}

/** What is withdrawn must be gone. */
async function removal(store: ObjectStore, bucket: string, key: string): Promise<string | undefined> {
  await store.put(bucket, key, Buffer.from('removed'));
  await store.remove(bucket, [key]);
  return (await store.getBytes(bucket, key, 64)) === undefined ? undefined : 'still gives an object after its removal (DeleteObjects)';
}

const CHECKS: Readonly<Record<string, Check>> = { conditionalPut, rangeGet, multipart, listing, removal };

const TRIALS = '.conformance/';

/** What trials left whose process was killed: not every bucket has a sweeper. Right after our own trial, so that the newest name tells the store's time. */
async function leftByOthers(store: ObjectStore, bucket: string): Promise<string[]> {
  const trials = await Array.fromAsync(store.list(bucket, TRIALS));
  const nowMs = Math.max(...trials.map((t) => t.lastModifiedMs));
  return trials.filter((t) => isTrial(t.key) && nowMs - t.lastModifiedMs >= SWEEP_AFTER_MS).map((t) => t.key);
}

/**
 * Tries everything and names all that failed. Removes what old trials left. Needs the right to read, list, write and remove in the bucket.
 * @throws Fault BAD_CONFIG when the server lacks something; STORE_... when it can't be asked.
 */
export async function checkConformance(store: ObjectStore, bucket: string): Promise<void> {
  const run = `${TRIALS}${randomBytes(8).toString('hex')}`;
  const names = Object.keys(CHECKS).map((name) => `${run}/${name}`);
  const failed: string[] = [];
  try {
    for (const [name, check] of Object.entries(CHECKS)) {
      const what = await check(store, bucket, `${run}/${name}`);
      if (what !== undefined) failed.push(what);
    }
    names.push(...(await leftByOthers(store, bucket)));
  } catch (error) {
    // What was seen to be lacking stays so, whatever came after.
    if (failed.length === 0) throw error;
  } finally {
    // A server that can't remove was named; what can't be asked has thrown.
    await store.remove(bucket, names).catch(() => undefined);
  }
  if (failed.length === 0) return;
  const known = 'use another server: MinIO is tried with every test run, AWS S3 documents all of it';
  throw new Fault('BAD_CONFIG', false, `the object store ${failed.join('; it ')}; ${known}`);
}
