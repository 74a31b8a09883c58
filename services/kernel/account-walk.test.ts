// Walks through legal histories: at every step each study is in one row of the transition table, came there by a step
// that the table has, and nothing is lost; the order of the log and copies in it change nothing.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { accountWorld, AGE, OPS, STEP } from '../../test/shared/account-world.ts';
import { ACCOUNT_TABLE, accountRow } from './account-table.ts';
import { account, type Account, type Parked, type StudyAccount } from './accounting.ts';

const walk = fc.array(fc.tuple(fc.nat(OPS - 1), fc.nat(4), fc.nat(9)), { minLength: 1, maxLength: 240, size: 'max' });

function sumOf({ totals: t }: Account): number {
  return t.released + t.waiting + t.excluded + t.rejected + t.withdrawn + t.outOfScope + t.unaccounted;
}

const seen = new Set<string>();

function checkStep(before: StudyAccount | undefined, now: StudyAccount): void {
  const at = `${now.state} ${now.code}`;
  seen.add(at);
  if (accountRow(now.state, now.code) === undefined) throw new Error(`${at} is not in the table`);
  if (before === undefined || before.state === now.state) return;
  const next = accountRow(before.state, before.code)?.next ?? [];
  if (!next.includes(now.state)) throw new Error(`from ${before.state} ${before.code} to ${at} is not in the table`);
}

test('a walk stays in the table, sums up, and loses nothing', () => {
  fc.assert(
    fc.property(walk, (steps) => {
      const world = accountWorld(5, 2);
      let before = new Map<string, StudyAccount>();
      for (const step of steps) {
        world.act(...step);
        const now = account(world.input());
        expect(sumOf(now)).toBe(now.totals.sent);
        expect(now.studies.filter((one) => one.state === 'unaccounted')).toEqual([]);
        for (const s of now.studies) checkStep(before.get(s.key), s);
        // A study that was counted once is counted for good.
        for (const key of before.keys()) expect(now.studies.some((s) => s.key === key)).toBe(true);
        before = new Map(now.studies.map((s) => [s.key, s]));
      }
    }),
    { numRuns: 150, seed: 5 },
  );
});

test('a walk through months stays in the table and loses nothing, and a dead letter keeps its study where it was', () => {
  const months = fc.array(fc.tuple(fc.nat(AGE), fc.nat(4), fc.nat(9)), { minLength: 1, maxLength: 240, size: 'max' });
  // Rejected; its verdict leaves the log; and the centre's rule, which let it through, lets it through no longer.
  const forgotten: [number, number, number][] = [
    [0, 1, 0],
    [1, 1, 0],
    [15, 1, 9],
    [3, 0, 0],
    [13, 0, 2],
    [17, 0, 2],
    [17, 0, 0],
    [17, 0, 2],
    [14, 1, 0],
    [17, 0, 5],
    [0, 0, 0],
  ];
  let outlived = 0;
  fc.assert(
    fc.property(months, (steps) => {
      const world = accountWorld(5, 2);
      let before = new Map<string, StudyAccount>();
      for (const step of steps) {
        const letters = world.input().parked as Parked[];
        world.act(...step);
        const input = world.input();
        const now = account(input);
        expect(sumOf(now)).toBe(now.totals.sent);
        expect(now.studies.filter((one) => one.state === 'unaccounted')).toEqual([]);
        for (const s of now.studies) checkStep(before.get(s.key), s);
        const still = new Map(now.studies.map((s) => [s.key, s]));
        const open = new Set((input.parked as Parked[]).filter((p) => p.dead).map((p) => p.key));
        const isForgetting = step[0] === AGE && letters.length === [...input.parked].length;
        for (const [key, was] of isForgetting ? before : []) {
          if (!was.dead || !open.has(key)) continue;
          expect(still.get(key)).toEqual(was);
          outlived += 1;
        }
        before = still;
      }
    }),
    { numRuns: 100, seed: 5, examples: [[forgotten]] },
  );
  expect(outlived).toBeGreaterThan(20);
});

test('the walks reach the rows that they can reach', () => {
  const missed = ACCOUNT_TABLE.filter((row) => row.state !== 'unaccounted' && !row.codes.some((code) => seen.has(`${row.state} ${code}`)));
  expect(missed.map((row) => row.codes[0])).toEqual([]);
});

test('the order of the log and copies in it, read twice or written twice, change nothing', () => {
  fc.assert(
    fc.property(walk, fc.infiniteStream(fc.nat(99)), (steps, luck) => {
      const world = accountWorld(5, 2);
      for (const step of steps) world.act(...step);
      const input = world.input();
      const random = (): number => luck.next().value as number;
      const copies = world.events.flatMap((e) => (random() < 30 ? [{ ...e, offset: e.offset + BigInt(random() % Number(STEP)) }] : []));
      const mixed = [...world.events, ...copies]
        .map((e) => [random(), e] as const)
        .sort(([a], [b]) => a - b)
        .map(([, e]) => e);
      const parked = [...input.parked].reverse();
      expect(account({ ...input, events: mixed, parked }).studies).toEqual(account(input).studies);
    }),
    { numRuns: 100 },
  );
});

test('one outcome that is missing is a loss, unless a later one says where the study stands', () => {
  const world = accountWorld(1);
  for (const [op, luck] of [
    [0, 5],
    [1, 5],
    [3, 5],
    [5, 5],
  ] as const)
    world.act(op, 0, luck);
  const input = world.input();
  const without = (type: string): Account => account({ ...input, events: world.events.filter((e) => !e.type.endsWith(type)) });
  expect(account(input).totals.unaccounted).toBe(0);
  expect(without('StudyAnonymised').totals.unaccounted).toBe(1);
  expect(without('StudyStored').totals.unaccounted).toBe(1);
});
