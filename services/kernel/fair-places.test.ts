import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fairPlaces } from './fair-places.ts';
import type { FairPlaces, Place } from './fair-places.ts';

const signal = new AbortController().signal;
const turn = (): Promise<void> => new Promise(setImmediate);

type Step = { do: 'come'; centre: string } | { do: 'end' | 'leave' | 'back' | 'abort'; which: number };

const centre = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('come' as const), centre }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constantFrom('end' as const, 'leave' as const, 'back' as const, 'abort' as const), which: fc.nat(50) }),
  },
);

interface Work {
  readonly centre: string;
  readonly abort: AbortController;
  place?: Place;
  end?: () => void;
}

/** Who was served while a centre waited: each other one at most once. */
function watchOver(): { served(one: string, waiting: readonly Work[]): void; left(waiting: readonly Work[]): void } {
  const passed = new Map<string, Set<string>>();
  // Who gave up and comes again waits anew.
  const left = (waiting: readonly Work[]): void => {
    for (const c of passed.keys()) if (!waiting.some((w) => w.centre === c)) passed.delete(c);
  };
  return {
    left,
    served: (one, waiting) => {
      left(waiting);
      passed.delete(one);
      for (const c of new Set(waiting.map((w) => w.centre))) {
        if (c === one) continue;
        const by = passed.get(c) ?? new Set();
        if (by.has(one)) throw new Error(`${c} waited and ${one} was served twice`);
        passed.set(c, by.add(one));
      }
    },
  };
}

test('no centre that waits is passed over twice by another one; no place is free while one waits; all are done once', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 120 }), async (count, steps) => {
      const line: FairPlaces = fairPlaces(count);
      const watch = watchOver();
      const waiting: Work[] = [];
      const running: Work[] = [];
      const results: Promise<unknown>[] = [];
      let done = 0;
      let aborted = 0;
      const come = (c: string): void => {
        const one: Work = { centre: c, abort: new AbortController() };
        waiting.push(one);
        const place = line.place(c);
        const work = async (): Promise<void> => {
          await place.join(one.abort.signal);
          // Oldest first within a centre.
          expect(waiting.find((w) => w.centre === c)).toBe(one);
          waiting.splice(waiting.indexOf(one), 1);
          watch.served(c, waiting);
          one.place = place;
          running.push(one);
          await new Promise<void>((end) => (one.end = end));
          place.leave();
          done += 1;
        };
        results.push(
          work().catch((error: unknown) => {
            if (one.abort.signal.reason !== error) throw error;
            aborted += 1;
          }),
        );
      };
      const act = (s: Step): void => {
        if (s.do === 'come') return come(s.centre);
        if (s.do === 'abort') {
          const [one] = waiting.splice(s.which % Math.max(1, waiting.length), 1);
          watch.left(waiting);
          return one?.abort.abort(new Error('gone'));
        }
        const at = s.which % Math.max(1, running.length);
        if (s.do === 'leave') running[at]?.place?.leave();
        if (s.do === 'back') running[at]?.place?.back();
        if (s.do === 'end') running.splice(at, 1)[0]?.end?.();
      };
      for (const s of steps) {
        act(s);
        await turn();
        const held = running.filter((w) => w.place?.held() === true).length;
        expect(line.taken()).toBe(held);
        if (waiting.length > 0) expect(held).toBeGreaterThanOrEqual(count);
      }
      while (running.length > 0) {
        running.shift()?.end?.();
        await turn();
      }
      await Promise.all(results);
      expect(done + aborted).toBe(steps.filter((s) => s.do === 'come').length);
      expect(line.taken()).toBe(0);
    }),
    { numRuns: 300 },
  );
});

test('a thousand studies of one centre do not come before the single one of another', async () => {
  const line = fairPlaces(1);
  const order: string[] = [];
  const come = (c: string): Promise<void> => line.run(c, signal, async () => void order.push(c));
  const all = [...Array.from({ length: 1000 }, () => come('flood')), come('small'), come('other')];
  await Promise.all(all);
  expect(order.indexOf('small')).toBeLessThan(4);
  expect(order.indexOf('other')).toBeLessThan(5);
});

test('work that needs no place any more leaves the line at once, and what needs one stays in it', async () => {
  const line = fairPlaces(1);
  let ends: () => void = () => undefined;
  const first = line.run('c', signal, () => new Promise<void>((end) => (ends = end)));
  let isSlow = false;
  const started: string[] = [];
  const pull = line.place('c');
  const pulling = pull.join(signal, () => isSlow).then(() => void started.push(`pull ${pull.held()}`));
  const look = line.run('c', signal, async () => void started.push('look'));
  isSlow = true;
  line.ask('c');
  await turn();
  expect(started).toEqual(['pull false']);
  expect(line.waiting('c')).toBe(1);
  ends();
  await Promise.all([first, pulling, look]);
  expect(started).toEqual(['pull false', 'look']);
  expect(line.taken()).toBe(0);
});

test('work that came back to its place while it stood in line for one has one', async () => {
  const line = fairPlaces(1);
  let ends: () => void = () => undefined;
  const first = line.run('a', signal, () => new Promise<void>((end) => (ends = end)));
  await turn();
  const twice = line.place('b');
  const joining = twice.join(signal);
  twice.back();
  expect(line.taken()).toBe(2);
  ends();
  await first;
  expect(line.taken()).toBe(1);
  twice.leave();
  await joining;
  expect([twice.held(), line.taken()]).toEqual([true, 1]);
  twice.leave();
  expect(line.taken()).toBe(0);
});
