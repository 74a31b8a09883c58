// What trials of a store leave behind when their process is killed, and who takes it away.
import { expect, test } from '@jest/globals';
import { memoryStore } from '../../test/shared/memory-store.ts';
import { Fault } from '../kernel/fault.ts';
import { isTrial, SWEEP_AFTER_MS } from '../kernel/sweep.ts';
import { checkConformance } from './s3-conformance.ts';

const BUCKET = 'ct-release-candidates';

/** A bucket in which a trial was broken off by a kill, and the names that it left. */
async function killed() {
  let nowMs = 1_000_000;
  const store = memoryStore(() => nowMs);
  const remove = (): Promise<void> => Promise.reject(new Fault('STORE_UNAVAILABLE', true, 'nothing is removed by the dead'));
  await expect(checkConformance({ ...store, remove }, BUCKET)).rejects.toThrow('by the dead');
  return { store, left: store.keys(BUCKET), later: (ms: number) => void (nowMs += ms) };
}

test('every name that a trial of the store leaves is one that the sweepers know', async () => {
  const { left } = await killed();
  expect(left.length).toBeGreaterThan(3);
  expect(left.filter((key) => !isTrial(key))).toEqual([]);
});

test('a trial removes what killed ones left once it is old, by the clock of the store, and nothing else', async () => {
  const { store, left, later } = await killed();
  const others = ['.conformance/README', 'v1.0.0/manifest.json'];
  for (const key of others) await store.put(BUCKET, key, Buffer.from('x'));
  later(SWEEP_AFTER_MS - 1);
  await checkConformance(store, BUCKET);
  expect(store.keys(BUCKET)).toEqual([...left, ...others].sort());
  later(1);
  await checkConformance(store, BUCKET);
  expect(store.keys(BUCKET)).toEqual(others);
});
