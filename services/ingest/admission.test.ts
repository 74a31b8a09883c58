// Admission: it does not flutter, what waits goes on when there is room, and a store that refused is believed when it takes.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { manualClock } from '../../test/shared/manual-clock.ts';
import { memoryStore } from '../../test/shared/memory-store.ts';
import { Fault } from '../kernel/fault.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { admission, pausedNext, type AdmissionOptions } from './admission.ts';

const signal = new AbortController().signal;
const MiB = 1024 * 1024;

function lab(o: Partial<AdmissionOptions> = {}) {
  const clock = manualClock();
  const said: string[] = [];
  const store = memoryStore();
  const it = admission(
    { store, bucket: 'b', clock, spillFolder: '/', spillFreeBytes: 100, freeBytes: async () => 1000, ...o },
    (pauses) => void said.push(pauses.join()),
  );
  return { clock, said, store, it };
}

/** A store that takes no object of more than `room` bytes. */
const smallStore = (store: ObjectStore, room: () => number): ObjectStore => ({
  ...store,
  put: async (bucket, key, body, options) => {
    if (body instanceof Uint8Array && body.byteLength > room()) throw new Fault('STORE_FULL', true, 'full');
    return store.put(bucket, key, body, options);
  },
});

test('between the two marks it stays as it is: to change twice, the use must cross from one mark to the other', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 120 }), { maxLength: 60 }),
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 0, max: 40 }),
      (uses, low, gap) => {
        const mark = { high: low + gap + 1, low };
        let paused = false;
        let sinceChange: number[] = [];
        for (const used of uses) {
          const next = pausedNext(paused, used, mark);
          sinceChange.push(used);
          if (next !== paused) {
            expect(next ? used >= mark.high : used <= mark.low).toBe(true);
            sinceChange = [];
          }
          paused = next;
          if (used >= mark.high) expect(paused).toBe(true);
          if (used <= mark.low) expect(paused).toBe(false);
          // Without a change since, nothing reached the mark that would have made one.
          expect(sinceChange.every((u) => (paused ? u > mark.low : u < mark.high))).toBe(true);
        }
      },
    ),
  );
});

test('at nine tenths of the budget nothing is taken, at eight tenths it goes on; what goes in between listings counts', async () => {
  const { it, said } = lab({ budgetBytes: 100 });
  it.measured(80);
  said.length = 0;
  await it.open(0, signal);
  async function* nine(): AsyncGenerator<Uint8Array> {
    yield new Uint8Array(9);
  }
  await it.watched.put('b', 'one', nine());
  expect(it.isOpen()).toBe(true);
  await it.watched.put('b', 'two', nine());
  expect(it.pauses()).toEqual(['budget']);
  let taken = false;
  const waits = it.open(Number.MAX_SAFE_INTEGER - 86_400_000, signal).then(() => void (taken = true));
  it.measured(81);
  await new Promise((resolve) => setImmediate(resolve));
  expect(taken).toBe(false);
  it.measured(80);
  await waits;
  expect(said).toEqual(['budget', '']);
});

test('with a budget nothing is taken before the bucket was measured, and then only when there is room', async () => {
  for (const [bytes, pauses] of [
    [89, []],
    [90, ['budget']],
  ] as const) {
    const { it } = lab({ budgetBytes: 100 });
    await it.look(signal);
    expect(it.pauses()).toEqual(['unmeasured']);
    let taken = false;
    const waits = it.open(Number.MAX_SAFE_INTEGER - 86_400_000, AbortSignal.timeout(50)).then(
      () => void (taken = true),
      () => undefined,
    );
    await new Promise((resolve) => setImmediate(resolve));
    expect(taken).toBe(false);
    it.measured(bytes);
    await new Promise((resolve) => setImmediate(resolve));
    expect([it.pauses(), taken]).toEqual([pauses, bytes < 90]);
    if (bytes < 90) await waits;
  }
  expect(lab().it.isOpen()).toBe(true);
});

test('without a budget no number of bytes stops it', () => {
  const { it } = lab();
  it.measured(1e15);
  expect(it.isOpen()).toBe(true);
});

test('a spill folder without room stops it, and a quarter more than the least makes it go on', async () => {
  let free = 101;
  const { it } = lab({ freeBytes: async () => free });
  for (const [bytes, open] of [
    [101, true],
    [100, false],
    [124, false],
    [125, true],
  ] as const) {
    free = bytes;
    await it.look(signal);
    expect([bytes, it.isOpen()]).toEqual([bytes, open]);
  }
});

test('a store that refuses for lack of room stops it, until it takes as much as a part of an upload', async () => {
  let room = 0;
  const memory = memoryStore();
  const { it } = lab({ store: smallStore(memory, () => room) });
  await expect(it.watched.put('b', 'k', new Uint8Array(1))).rejects.toMatchObject({ code: 'STORE_FULL' });
  expect(it.pauses()).toEqual(['store']);
  room = MiB;
  await it.look(signal);
  expect(it.isOpen()).toBe(false);
  room = 64 * MiB;
  await it.look(signal);
  expect(it.isOpen()).toBe(true);
  expect(memory.keys('b')).toEqual([]);
});

test('a body that ends for lack of room elsewhere does not stop it: the store has not said that it is full', async () => {
  const { it } = lab({ store: memoryStore() });
  const body = async function* (): AsyncGenerator<Uint8Array> {
    yield new Uint8Array(1);
    throw new Fault('STORE_FULL', true, 'the folder for large instances has no room');
  };
  await expect(it.watched.put('b', 'k', body())).rejects.toMatchObject({ code: 'STORE_FULL' });
  expect(it.isOpen()).toBe(true);
});

test('probes that can not be removed again are one object at most, and the store is believed', async () => {
  let room = 0;
  const memory = memoryStore();
  const store: ObjectStore = {
    ...smallStore(memory, () => room),
    remove: async () => Promise.reject(new Fault('STORE_UNAVAILABLE', true, 'away')),
  };
  const { it } = lab({ store });
  for (let i = 0; i < 3; i++) {
    room = 0;
    await expect(it.watched.put('b', 'k', new Uint8Array(1))).rejects.toMatchObject({ code: 'STORE_FULL' });
    room = 64 * MiB;
    await it.look(signal);
    expect(it.isOpen()).toBe(true);
  }
  expect(memory.keys('b')).toHaveLength(1);
});

test('a wait of hours ends as STORE_FULL, which waits for ever; an abort ends it at once', async () => {
  const { it, clock } = lab({ budgetBytes: 1 });
  it.measured(1);
  const since = clock.nowMs();
  const waits = it.open(since, signal);
  const refused = expect(waits).rejects.toMatchObject({ code: 'STORE_FULL', retryable: true });
  await clock.advance(6 * 3_600_000);
  await refused;
  const stop = new AbortController();
  const stopped = it.open(clock.nowMs(), stop.signal);
  stop.abort(new Error('stopped'));
  await expect(stopped).rejects.toThrow('stopped');
});
