import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { manualClock } from '../../test/shared/manual-clock.ts';
import type { Clock } from '../ports/clock.ts';
import { quota } from './quota.ts';

const signal = new AbortController().signal;
const turn = (): Promise<void> => new Promise(setImmediate);

/** A clock that jumps to the next sleeper's time, until nobody sleeps. */
function jumpingClock(): Clock & { runOut(): Promise<void> } {
  let now = 0;
  const sleeping: { atMs: number; wake: () => void }[] = [];
  return {
    nowMs: () => now,
    sleep: (ms) => new Promise((wake) => void sleeping.push({ atMs: now + ms, wake })),
    runOut: async () => {
      for (await turn(); sleeping.length > 0; await turn()) {
        sleeping.sort((a, b) => a.atMs - b.atMs);
        const next = sleeping.shift();
        now = Math.max(now, next?.atMs ?? 0);
        next?.wake();
      }
    },
  };
}

interface Ask {
  readonly atMs: number;
  readonly n: number;
}

async function granted(limits: { perSecond: number; burst: number }, asks: readonly Ask[]): Promise<(Ask & { cameMs: number })[]> {
  const clock = jumpingClock();
  const given: (Ask & { cameMs: number })[] = [];
  const q = quota(limits, clock);
  const all = asks.map(async ({ atMs, n }) => {
    await clock.sleep(atMs);
    const cameMs = clock.nowMs();
    await q.take(n, signal);
    given.push({ atMs: clock.nowMs(), n, cameMs });
  });
  await clock.runOut();
  await Promise.all(all);
  return given;
}

const scenario = fc.record({ perSecond: fc.integer({ min: 1, max: 500 }), burst: fc.integer({ min: 1, max: 50 }) }).chain((limits) =>
  fc.record({
    limits: fc.constant(limits),
    asks: fc.array(fc.record({ atMs: fc.integer({ min: 0, max: 5000 }), n: fc.integer({ min: 1, max: limits.burst }) }), { maxLength: 30 }),
  }),
);

test('in no window is more given than the burst and what the window brings', async () => {
  await fc.assert(
    fc.asyncProperty(scenario, async ({ limits, asks }) => {
      const given = await granted(limits, asks);
      for (let from = 0; from < given.length; from += 1) {
        let sum = 0;
        for (const one of given.slice(from)) {
          sum += one.n;
          const seconds = (one.atMs - (given[from]?.atMs ?? 0)) / 1000;
          expect(sum).toBeLessThanOrEqual(limits.burst + limits.perSecond * seconds + 1e-3);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test('everyone is served, in the order of coming, and as soon as what came before them is paid for', async () => {
  await fc.assert(
    fc.asyncProperty(scenario, async ({ limits, asks }) => {
      const given = await granted(limits, asks);
      expect(given.length).toBe(asks.length);
      given.forEach((one, i) => {
        expect(one.cameMs).toBeGreaterThanOrEqual(given[i - 1]?.cameMs ?? 0);
        let sum = 0;
        let latestMs = 0;
        for (const before of given.slice(0, i + 1).reverse()) {
          sum += before.n;
          latestMs = Math.max(latestMs, before.cameMs + (sum / limits.perSecond) * 1000);
        }
        // A millisecond for each that had to wait: sleeps are whole ones.
        expect(one.atMs).toBeLessThanOrEqual(latestMs + i + 1);
      });
    }),
    { numRuns: 60 },
  );
});

test('who leaves the line has spent nothing, wherever they stood', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.boolean(), { minLength: 1, maxLength: 8 }), async (leaves) => {
      const clock = manualClock();
      const q = quota({ perSecond: 1, burst: 1 }, clock);
      await q.take(1, signal);
      let served = 0;
      const line = leaves.map((isLeaving) => {
        const abort = new AbortController();
        const done = q.take(1, abort.signal).then(
          () => void (served += 1),
          () => undefined,
        );
        return { isLeaving, abort, done };
      });
      await turn();
      for (const one of line) if (one.isLeaving) one.abort.abort(new Error('the partition was lost'));
      await turn();
      const staying = leaves.filter((isLeaving) => !isLeaving).length;
      for (let second = 1; second <= staying; second += 1) {
        await clock.advance(1000);
        await turn();
        expect(served).toBe(second);
      }
      await Promise.all(line.map((one) => one.done));
    }),
    { numRuns: 30 },
  );
});

test('one that asks for more than a burst gets it from a full bucket, and the next ones wait for the debt', async () => {
  const clock = jumpingClock();
  const q = quota({ perSecond: 10, burst: 5 }, clock);
  const at: number[] = [];
  const both = [q.take(20, signal), q.take(1, signal)].map((p) => p.then(() => void at.push(clock.nowMs())));
  await clock.runOut();
  await Promise.all(both);
  expect(at).toEqual([0, 1600]);
});

test('a clock that is set back gives nothing', async () => {
  let now = 10_000;
  const slept: number[] = [];
  const clock = { nowMs: () => now, sleep: async (ms: number) => void (slept.push(ms), (now += ms)) };
  const q = quota({ perSecond: 1, burst: 1 }, clock);
  await q.take(1, signal);
  now = 0;
  await q.take(1, signal);
  expect(slept).toEqual([1000]);
});
