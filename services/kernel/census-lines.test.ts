// What is kept of the censuses is enough: the account of it is that of all of them, and it does not grow with their number.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { accountWorld, OPS } from '../../test/shared/account-world.ts';
import type { Census } from './account-facts.ts';
import { account, type Account, type AccountInput } from './accounting.ts';
import { censusLines } from './census-lines.ts';
import { centreId, type StudyInstanceUid } from './ids.ts';
import type { EventIn } from './stage.ts';

const HOUR = 3_600_000;
const isCensus = (e: EventIn): e is Census => e.type === 'ctstream.clinical.v1.Census';

/** Of the events up to each of the places: what is noted stays noted. */
function accountsOfLines(input: AccountInput, events: readonly EventIn[], places: readonly number[]): Account[] {
  const lines = censusLines();
  let at = 0;
  return places.map((place) => {
    for (const e of events.slice(at, place)) if (isCensus(e)) lines.note(e);
    at = Math.max(at, place);
    return account({ ...input, events: [...events.slice(0, at).filter((e) => !isCensus(e)), ...lines.events()] });
  });
}

/** The account at every third event and at the end, of the lines kept and of everything. */
function expectSame(input: AccountInput, events: readonly EventIn[]): void {
  const places = [...events.keys()].filter((i) => i % 3 === 0).concat(events.length);
  const whole = places.map((place) => account({ ...input, events: events.slice(0, place) }));
  expect(accountsOfLines(input, events, places)).toEqual(whole);
}

test('in any history the account of the lines kept is the account of all', () => {
  const walk = fc.array(fc.tuple(fc.nat(OPS - 1), fc.nat(4), fc.nat(9)), { maxLength: 120, size: 'max' });
  fc.assert(
    fc.property(walk, (steps) => {
      const world = accountWorld(5, 2);
      for (const step of steps) world.act(...step);
      expectSame(world.input(), world.events);
    }),
    { numRuns: 60 },
  );
});

const C = centreId('c01');
const uid = (n: number): StudyInstanceUid => `1.2.${n}` as StudyInstanceUid;

interface Page {
  readonly partition: number;
  /** Of the clock, which may go back. */
  readonly hour: number;
  readonly page: number;
  readonly lines: readonly (readonly [study: number, count: number, state: number])[];
  /** The census before once more, as an outbox does that was stopped before it could note that it had sent. */
  readonly isCopy: boolean;
  readonly isForged: boolean;
}

const page: fc.Arbitrary<Page> = fc.record({
  partition: fc.nat(1),
  hour: fc.nat(12),
  page: fc.integer({ min: 1, max: 2 }),
  lines: fc.array(fc.tuple(fc.nat(3), fc.integer({ min: 0, max: 2 }), fc.nat(2)), { maxLength: 5 }),
  isCopy: fc.boolean(),
  isForged: fc.nat(9).map((n) => n === 0),
});

function censusesOf(pages: readonly Page[]): Census[] {
  const found: Census[] = [];
  for (const [i, p] of pages.entries()) {
    const before = found.findLast((e) => e.partition === p.partition);
    const offset = BigInt(i);
    if (p.isCopy && before !== undefined) {
      found.push({ ...before, offset });
      continue;
    }
    const studies = p.lines.map(([n, instanceCount, state]) => ({
      studyInstanceUid: uid(n),
      instanceCount,
      state: ['announced', 'pending', 'outOfScope'][state] ?? '',
      code: null,
    }));
    const value = {
      centre: p.isForged ? centreId('c02') : C,
      censusId: `census ${p.hour}`,
      takenAtMs: p.hour * HOUR,
      page: p.page,
      pages: 2,
      total: 4,
      digest: '',
      outboxSequence: i,
      studies,
    };
    const envelope = { id: `e${i}`, source: `centre-gateway/${C}/g`, timeMs: p.hour * HOUR, sequence: BigInt(i + 1) };
    const place = { topic: `ct.clinical.${C}.census.v1`, partition: p.partition, offset, key: C };
    found.push({ type: 'ctstream.clinical.v1.Census', value, ...envelope, ...place });
  }
  return found;
}

const announced = (n: number): EventIn => ({
  type: 'ctstream.clinical.v1.StudyAvailable',
  value: {
    centre: C,
    studyInstanceUid: uid(n),
    revision: 'r',
    sequence: n,
    instanceCount: 1,
  } as EventIn<'ctstream.clinical.v1.StudyAvailable'>['value'],
  id: `a${n}`,
  source: 'x',
  timeMs: 0,
  topic: `ct.clinical.${C}.study-available.v1`,
  partition: 0,
  offset: BigInt(n),
  key: 'k',
});

test('nor does it matter that clocks go back, counts change, pages are missing, sent twice or forged', () => {
  fc.assert(
    fc.property(fc.array(page, { maxLength: 40, size: 'max' }), fc.option(fc.nat(12)), (pages, keptSince) => {
      const moved = new Map(keptSince === null ? [] : [[`ct.clinical.${C}.study-available.v1/0`, keptSince * HOUR]]);
      const input = {
        events: [],
        bad: [],
        parked: [],
        lineage: new Map(),
        researchRevision: () => undefined,
        denied: new Set<never>(),
        committed: () => 0n,
        moved,
      };
      expectSame(input, [announced(0), announced(1), ...censusesOf(pages)]);
    }),
    { numRuns: 300 },
  );
});

test('of a study stay four lines at most, however many censuses list it', () => {
  const lines = censusLines();
  const listed = [0, 1, 2, 3];
  const pages = Array.from({ length: 720 }, (_, hour) => ({
    partition: 0,
    hour,
    page: 1,
    isCopy: false,
    isForged: false,
    lines: listed.map((n) => [n, hour % (n + 1), 0] as const),
  }));
  for (const e of censusesOf(pages)) lines.note(e);
  const kept = [...lines.events()].flatMap((e) => e.value.studies);
  expect(kept.length).toBeLessThanOrEqual(4 * listed.length);
  expect([...lines.keys()]).toHaveLength(listed.length);
});
