// A pass over a bucket: what it removes, what it counts, and what it leaves when something can't be read.
import { expect, test } from '@jest/globals';
import { memoryStore, type MemoryStore } from '../../test/shared/memory-store.ts';
import { testContext, until } from '../../test/shared/test-context.ts';
import { Fault } from '../kernel/fault.ts';
import { canonicalJson, momentNow, publishManifest } from '../kernel/manifest.ts';
import { LONGEST_ATTEMPT_MS, TELL_AGAIN_MS } from '../kernel/sweep.ts';
import type { ObjectInfo, ObjectStore } from '../ports/object-store.ts';
import { systemRandom } from './system.ts';
import { runSweeper, storeClock, sweep } from './sweeper.ts';

const signal = new AbortController().signal;
const BUCKET = 'ct-clinical';
const REVISION = `c1/1.2.3/${'a'.repeat(32)}/`;
const OTHER = `c1/1.2.4/${'b'.repeat(32)}/`;
const attempt = (n: number): string => n.toString(16).padStart(16, '0');
const tar = (revision: string, n: number): string => `${revision}${attempt(n)}/1.2.tar`;

function lab() {
  let nowMs = 1_000_000;
  const store = memoryStore(() => nowMs);
  const clock = { nowMs: () => nowMs, sleep: async () => undefined };
  const put = (key: string, value: unknown = 'x'): Promise<unknown> => store.put(BUCKET, key, canonicalJson(value));
  const of = { store, bucket: BUCKET, layout: 'clinical' as const, clock, random: systemRandom, minAgeMs: 1000 };
  return { store, put, of, clock, later: (ms: number) => void (nowMs += ms), keys: () => store.keys(BUCKET) };
}

test('what no manifest names goes once it is old; the named attempt, claims and young attempts stay', async () => {
  const { put, of, later, keys } = lab();
  await put(tar(REVISION, 1));
  await put(tar(REVISION, 2));
  await put(`${REVISION}manifest.json`, { attempt: attempt(2) });
  await put('_claims/1.2.3.json');
  await put(`.conformance/${attempt(9)}/multipart`);
  later(999);
  expect(await sweep(of, signal)).toMatchObject({ orphans: 0, objects: 5 });
  later(1);
  await put(tar(REVISION, 3));
  expect(await sweep(of, signal)).toMatchObject({ orphans: 2, objects: 4 });
  expect(keys()).toEqual(['_claims/1.2.3.json', tar(REVISION, 2), tar(REVISION, 3), `${REVISION}manifest.json`].sort());
});

test('a store whose clock jumps ahead makes nothing old', async () => {
  const { put, of, clock, later } = lab();
  await put(tar(REVISION, 1));
  const before = clock.nowMs();
  later(1_000_000);
  expect(await sweep({ ...of, clock: { ...clock, nowMs: () => before + 999 } }, signal)).toMatchObject({ orphans: 0 });
  expect(await sweep(of, signal)).toMatchObject({ orphans: 1 });
});

/** A store of which a test says whether it has room; it lists, gives and removes in any case. */
const withRoom = (store: ObjectStore, hasRoom: () => boolean): ObjectStore => ({
  ...store,
  put: async (...args) => {
    if (!hasRoom()) throw new Fault('STORE_FULL', true, 'writing in ct-clinical: XMinioStorageFull');
    return await store.put(...args);
  },
});

test('a full store is swept all the same, by the last time that it gave and what has passed since', async () => {
  const { put, of, store, later, keys } = lab();
  let hasRoom = true;
  let steadyMs = 5;
  const o = { ...of, store: withRoom(store, () => hasRoom) };
  const storeNow = storeClock(o, () => steadyMs);
  await put(tar(REVISION, 1));
  later(500);
  expect(await sweep(o, signal, { storeNow })).toMatchObject({ orphans: 0 });
  hasRoom = false;
  // The process's own clock jumps ahead: the steady one decides.
  later(1_000_000);
  steadyMs += 499;
  expect(await sweep(o, signal, { storeNow })).toMatchObject({ orphans: 0 });
  steadyMs += 1;
  expect(await sweep(o, signal, { storeNow })).toMatchObject({ orphans: 1, objects: 0 });
  expect(keys()).toEqual([]);
});

test('a process that starts on a full store goes by the newest object and the time since, which is never too late', async () => {
  const { put, of, store, later, keys } = lab();
  let steadyMs = 5;
  const o = { ...of, store: withRoom(store, () => false) };
  const storeNow = storeClock(o, () => steadyMs);
  await put(tar(REVISION, 1));
  later(1000);
  await put(tar(OTHER, 1));
  later(1_000_000);
  expect(await sweep(o, signal, { storeNow })).toMatchObject({ orphans: 1 });
  expect(keys()).toEqual([tar(OTHER, 1)]);
  steadyMs += 999;
  expect(await sweep(o, signal, { storeNow })).toMatchObject({ orphans: 0 });
  steadyMs += 1;
  expect(await sweep(o, signal, { storeNow })).toMatchObject({ orphans: 1 });
});

test('a manifest that can not be read keeps its study, and the others are swept', async () => {
  const { put, of, later, keys } = lab();
  for (const n of [1, 2]) await put(tar(REVISION, n));
  await put(`${REVISION}manifest.json`, { no: 'attempt' });
  await put(tar(OTHER, 1));
  later(5000);
  expect(await sweep(of, signal)).toMatchObject({ orphans: 1, unreadable: 1, objects: 3 });
  expect(keys()).not.toContain(tar(OTHER, 1));
});

test('a manifest that the store does not give keeps its study, whatever the error, and the others are swept', async () => {
  const { put, of, store, later, keys } = lab();
  for (const n of [1, 2]) await put(tar(REVISION, n));
  await put(`${REVISION}manifest.json`, { attempt: attempt(1) });
  await put(tar(OTHER, 1));
  later(5000);
  const getBytes: typeof store.getBytes = async (bucket, key, ...rest) => {
    if (key.startsWith(REVISION)) throw new Error('an object in ct-clinical is larger than 64 MiB');
    return await store.getBytes(bucket, key, ...rest);
  };
  expect(await sweep({ ...of, store: { ...store, getBytes } }, signal)).toMatchObject({ orphans: 1, refused: 1, objects: 3 });
  expect(keys()).not.toContain(tar(OTHER, 1));
});

test('an object that can not be removed keeps its study only, and is tried again in the next pass', async () => {
  const { put, of, store, later, keys } = lab();
  await put(tar(REVISION, 1));
  await put(tar(OTHER, 1));
  later(5000);
  let isLocked = true;
  const remove = async (bucket: string, names: readonly string[], s?: AbortSignal): Promise<void> => {
    if (isLocked && names.includes(tar(REVISION, 1))) throw new Fault('STORE_UNAUTHORISED', true, 'removing in ct-clinical: AccessDenied');
    await store.remove(bucket, names, s);
  };
  expect(await sweep({ ...of, store: { ...store, remove } }, signal)).toMatchObject({ orphans: 1, refused: 1, objects: 1 });
  expect(keys()).toEqual([tar(REVISION, 1)]);
  isLocked = false;
  expect(await sweep({ ...of, store: { ...store, remove } }, signal)).toMatchObject({ orphans: 1, refused: 0, objects: 0 });
});

test('a study is freed N days after its outcome and not before; one without an outcome stays and is told of', async () => {
  const { put, of, later, keys } = lab();
  for (const revision of [REVISION, OTHER]) {
    await put(tar(revision, 1));
    await put(`${revision}manifest.json`, { attempt: attempt(1) });
  }
  later(50_000);
  await put(`${REVISION}done.json`);
  later(9999);
  expect(await sweep({ ...of, keepMs: 10_000 }, signal)).toMatchObject({ freed: 0, unfinished: 1, objects: 5 });
  later(1);
  expect(await sweep({ ...of, keepMs: 10_000 }, signal)).toMatchObject({ freed: 1, unfinished: 1, orphans: 0, objects: 2 });
  expect(keys()).toEqual([tar(OTHER, 1), `${OTHER}manifest.json`].sort());
});

test.each([
  ['gone', (store: MemoryStore, mark: string) => store.remove(BUCKET, [mark])],
  ['young again', (store: MemoryStore, mark: string) => store.put(BUCKET, mark, Buffer.from('x'))],
])('a study whose mark is %s after the listing came to it is not freed', async (_, comesAgain) => {
  const { put, of, store, later, keys } = lab();
  for (const revision of [REVISION, REVISION.replaceAll('a', 'c')]) {
    await put(tar(revision, 1));
    await put(`${revision}manifest.json`, { attempt: attempt(1) });
    await put(`${revision}done.json`);
  }
  later(10_000);
  async function* list(...args: Parameters<typeof store.list>): AsyncGenerator<ObjectInfo> {
    yield* await Array.fromAsync(store.list(...args));
    await comesAgain(store, `${REVISION}done.json`);
  }
  const before = keys();
  expect(await sweep({ ...of, store: { ...store, list }, keepMs: 10_000 }, signal)).toMatchObject({ freed: 0, refused: 0 });
  expect(before.filter((key) => !keys().includes(key) && !key.endsWith('/done.json'))).toEqual([]);
});

test('an attempt that is older than any may be publishes nothing, be it by one clock only', async () => {
  const { store } = lab();
  const now = momentNow();
  for (const began of [
    { ...now, steadyMs: now.steadyMs - LONGEST_ATTEMPT_MS - 1 },
    // The machine slept: the steady clock did too.
    { ...now, wallMs: now.wallMs - LONGEST_ATTEMPT_MS - 1 },
  ]) {
    const late = publishManifest(store, BUCKET, `${REVISION}manifest.json`, {}, signal, began);
    await expect(late).rejects.toMatchObject({ code: 'JOB_TIMEOUT', retryable: true });
  }
  expect(store.keys(BUCKET)).toEqual([]);
});

test('the loop goes on a minute after a pass that failed at most, and ends with the process', async () => {
  const { of, store } = lab();
  const ctx = testContext();
  let listings = 0;
  const flaky = {
    ...store,
    list: (...args: Parameters<typeof store.list>) => {
      listings += 1;
      if (listings === 1) throw new Error('away');
      return store.list(...args);
    },
  };
  const waits: number[] = [];
  const clock = { ...of.clock, sleep: async (ms: number) => void waits.push(ms) };
  await runSweeper({ ...of, store: flaky, clock }, { signal: ctx.signal, log: ctx.log, everyMs: 600_000, swept: () => ctx.stop() });
  expect(waits).toEqual([60_000, 600_000]);
  await until('the log', () => ctx.lines().some((l) => l.includes('sweeping failed')));
  expect(listings).toBe(2);
});

/** Three stored studies without an outcome, old enough to be told of again, and a sweeper that tells of them. */
async function due(tell: (key: string) => Promise<void>) {
  const { put, of, later } = lab();
  const keys = ['1.2.3', '1.2.4', '1.2.5'].map((study) => `c1/${study}/${'a'.repeat(32)}/manifest.json`);
  for (const key of keys) await put(key, { attempt: attempt(1) });
  later(TELL_AGAIN_MS + 120_000);
  const ctx = testContext();
  const told: string[] = [];
  const measured: number[] = [];
  const tellAgain = async (key: string): Promise<void> => {
    await tell(key);
    told.push(key);
  };
  let passes = 0;
  const sleep = async (): Promise<void> => {
    later(600_000);
    passes += 1;
    if (passes === 3) ctx.stop();
  };
  await runSweeper(
    { ...of, clock: { nowMs: of.clock.nowMs, sleep }, tellAgain },
    { signal: ctx.signal, log: ctx.log, everyMs: 1, swept: ({ bytes }) => void measured.push(bytes) },
  );
  return { keys, told, measured, warnings: ctx.lines().filter((l) => l.includes('"warn"')) };
}

test.each([
  ['the store refuses it', new Fault('STORE_UNAUTHORISED', true, 'reading in ct-clinical: AccessDenied'), 'STORE_UNAUTHORISED'],
  ['it has not the shape of a manifest', new TypeError('Ivanov is not iterable'), 'UNEXPECTED'],
])('a study that can not be told of again holds up no other, and is tried again in each pass: %s', async (_, error, code) => {
  let tries = 0;
  const { keys, told, measured, warnings } = await due(async (key) => {
    if (!key.includes('1.2.4')) return;
    tries += 1;
    if (tries < 3) throw error;
  });
  expect(told).toEqual([keys[0], keys[2], keys[1]]);
  expect([tries, measured.length]).toEqual([3, 3]);
  // Once a pass, with the code and without a value.
  expect(warnings.map((l) => (JSON.parse(l) as { first: { code: string }; studies: number }).first.code)).toEqual([code, code]);
  expect(warnings.join()).not.toMatch(/Ivanov|1\.2\.4/);
});

test('a bus that is away ends the pass, and all are told of in the next one', async () => {
  let tries = 0;
  const { keys, told, measured } = await due(async () => {
    tries += 1;
    if (tries === 1) throw new Fault('BUS_UNAVAILABLE', true, 'publishing');
  });
  expect([told, measured.length]).toEqual([keys, 2]);
});
