import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { avroCodec } from '../adapters/avro-codec.ts';
import { Fault } from '../kernel/fault.ts';
import { centreId } from '../kernel/ids.ts';
import type { StudyInstanceUid } from '../kernel/ids.ts';
import type { ChangePage, DicomWeb, FoundStudy } from '../ports/dicomweb.ts';
import { announceDue } from './announce.ts';
import type { Census } from '../../schemas/events.gen.ts';
import { takeCensus } from './census.ts';
import type { CentreLink } from './link.ts';
import { reportOf, statusPage } from './report.ts';
import { addCentre, openState } from './state.ts';
import type { State } from './state.ts';
import {
  announceAgain,
  announcedSince,
  applyStatus,
  bringNear,
  dueStudies,
  markTouched,
  setBack,
  studyRow,
  toAnnounceAgain,
} from './studies.ts';
import { watchCentre } from './watch.ts';

const centre = centreId('c1');
const codec = avroCodec();
const signal = new AbortController().signal;
const [BAD, GOOD] = ['1.1', '1.2'] as [StudyInstanceUid, StudyInstanceUid];
const timeout = new Fault('PACS_UNREACHABLE', true, 'no answer in time');
let now = 1_000_000;
let state: State;
let stop: AbortController;
/** What the PACS has, and what it does not answer for. */
let pacs: Set<StudyInstanceUid>;
let fails: (uid: StudyInstanceUid) => boolean;
let asked: StudyInstanceUid[];
/** What a listing of everything is refused with, and how often one was asked for. */
let unlistable: Fault | undefined;
/** The same of a poll, which lists the last days. */
let unpollable: Fault | undefined;
let listings: number;
let counted: string[];

const found = (uid: StudyInstanceUid): FoundStudy => ({
  studyInstanceUid: uid,
  patientId: 'P',
  studyDate: '20200401',
  studyDescription: '',
  modalities: ['CT'],
  instanceCount: 1,
});

const web: DicomWeb = {
  async *studies(filter) {
    if (filter.studyDateFrom === undefined) {
      listings += 1;
      if (unlistable !== undefined) throw unlistable;
    } else if (unpollable !== undefined) throw unpollable;
    for (const uid of pacs) yield found(uid);
  },
  study: async (uid) => {
    asked.push(uid);
    if (fails(uid)) throw timeout;
    return pacs.has(uid) ? [found(uid)] : [];
  },
  series: async (uid) => [{ seriesInstanceUid: `${uid}.1`, instanceCount: 1 }],
  instances: async (uid) => [
    { seriesInstanceUid: `${uid}.1`, sopInstanceUid: `${uid}.1.1`, sopClassUid: '', modality: 'CT', availableTransferSyntaxUids: [] },
  ],
  retrieveSeries: async () => undefined,
};

const link: CentreLink = {
  centre,
  name: 'c1',
  web,
  changes: undefined,
  inScope: () => true,
  quiet: { stableAfterMs: 1000, stableSaidMs: 50 },
  countPauseMs: 1,
  pollMs: 1000,
  lookBackDays: 1,
  censusEveryMs: 10_000_000,
  outboxLimit: 1000,
  clock: {
    nowMs: () => now,
    sleep: async (ms) => {
      now += ms;
      await new Promise(setImmediate);
    },
  },
  random: { attempt: () => 'a', bytes: (n: number) => new Uint8Array(n) } as unknown as CentreLink['random'],
  span: (_name, work) => work(''),
  count: (name) => void counted.push(name),
  log: () => undefined,
};

beforeEach(() => {
  now = 1_000_000;
  pacs = new Set([BAD, GOOD]);
  fails = () => false;
  asked = [];
  unlistable = undefined;
  unpollable = undefined;
  listings = 0;
  counted = [];
  stop = new AbortController();
  state = openState({ file: ':memory:', codec, nowMs: () => now });
  addCentre(state, centre);
});
afterEach(() => state.close());

const pacsCode = () => state.get<{ pacs_code: string | null }>('SELECT pacs_code FROM centre')?.pacs_code;
const eventsOf = (type: string) =>
  state
    .all<{ topic: string; key: string; value: Uint8Array; headers: string }>('SELECT * FROM outbox ORDER BY sequence')
    .map((r) => codec.decode({ ...r, headers: JSON.parse(r.headers) as Record<string, string>, partition: 0, offset: 0n, timestampMs: 0 }))
    .filter((e) => e.type.endsWith(`.${type}`));

/** Runs the watch until `done` holds or so much of its time went by. */
async function watchUntil(done: () => boolean, forMs = 600_000, watched = link): Promise<void> {
  const until = now + forMs;
  const running = watchCentre(state, watched).run(stop.signal);
  while (!done() && now < until) await new Promise(setImmediate);
  stop.abort();
  await running;
}

describe('a study that the PACS does not answer for', () => {
  test('is set back, later each time; the others are announced and the PACS is not called down', async () => {
    fails = (uid) => uid === BAD;
    const codes = new Set<unknown>();
    await watchUntil(() => {
      codes.add(pacsCode());
      return asked.filter((uid) => uid === BAD).length >= 4;
    });
    expect(eventsOf('StudyAvailable').map((e) => e.key)).toEqual([`c1|${GOOD}`]);
    expect([...codes]).toEqual([null]);
    const row = studyRow(state, centre, BAD);
    expect(row?.tries).toBeGreaterThanOrEqual(3);
    // Four looks, at least 1, 2 and 4 quiet times apart.
    expect(now - 1_000_000).toBeGreaterThan(7000);
  });

  test('a PACS that answers nothing is called down, and its studies keep their deadlines', async () => {
    for (const uid of pacs) markTouched(state, centre, uid, 'poll', link.quiet);
    fails = () => true;
    await watchUntil(() => pacsCode() === 'PACS_UNREACHABLE');
    expect(pacsCode()).toBe('PACS_UNREACHABLE');
    expect([...pacs].map((uid) => studyRow(state, centre, uid)?.tries)).toEqual([0, 0]);
  });
});

describe('an error that nobody foresaw', () => {
  const failing = (isHit: (uid: StudyInstanceUid) => boolean, error: Error): CentreLink => ({
    ...link,
    web: {
      ...web,
      instances: async (uid, abort) => {
        if (isHit(uid)) throw error;
        return await web.instances(uid, abort);
      },
    },
  });

  test('in one study sets that study back; the others are announced, and it is told by count and log', async () => {
    const logged: string[] = [];
    const odd = { ...failing((uid) => uid === BAD, new TypeError('x')), log: (level: string) => void logged.push(level) };
    await watchUntil(() => (studyRow(state, centre, BAD)?.tries ?? 0) >= 3, 600_000, odd);
    expect(eventsOf('StudyAvailable').map((e) => e.key)).toEqual([`c1|${GOOD}`]);
    expect([pacsCode(), logged.includes('error')]).toEqual([null, true]);
    expect(counted.filter((name) => name === 'gateway_unexpected_total').length).toBeGreaterThanOrEqual(3);
  });

  test('in the change feed holds up its centre, and goes by itself', async () => {
    let isOdd = true;
    const codes = new Set<unknown>();
    const odd: CentreLink = {
      ...link,
      changes: {
        since: async () => {
          if (isOdd) throw new TypeError('x');
          return { changes: [], last: 1, done: true };
        },
        hashes: async (uid) => new Map([[`${uid}.1.1`, 'f']]),
      },
    };
    await watchUntil(
      () => {
        codes.add(pacsCode());
        isOdd &&= !codes.has('UNEXPECTED');
        return eventsOf('StudyAvailable').length === 2;
      },
      600_000,
      odd,
    );
    expect([codes.has('UNEXPECTED'), eventsOf('StudyAvailable').length]).toEqual([true, 2]);
  });

  test("of the gateway's database ends the watch: all centres need it", async () => {
    const full = Object.assign(new Error('database or disk is full'), { code: 'ERR_SQLITE_ERROR', errcode: 13 });
    await expect(
      watchCentre(
        state,
        failing(() => true, full),
      ).run(stop.signal),
    ).rejects.toBe(full);
  });
});

test('a study or an unnamed one with a number of instances that no event can tell keeps nothing from going on', async () => {
  const absurd = { patientId: 'P', studyDate: '20200401', studyDescription: '', modalities: [], instanceCount: 2 ** 32 - 1 };
  const listing: CentreLink = {
    ...link,
    web: {
      ...web,
      async *studies() {
        for (const studyInstanceUid of [BAD, '' as StudyInstanceUid]) yield { ...absurd, studyInstanceUid };
        yield found(GOOD);
      },
    },
  };
  await watchUntil(() => eventsOf('StudyAvailable').some((e) => e.key === `c1|${GOOD}`), 600_000, listing);
  expect(eventsOf('Census')).toHaveLength(1);
  expect(eventsOf('IntakeRefused').map((e) => (e.value as { files: number }).files)).toEqual([2 ** 31 - 1]);
});

test('a study that is listed without its UID is refused by one census, and not again by the next when it has grown', async () => {
  for (const instanceCount of [3, 4]) {
    const unnamed = { ...found('' as StudyInstanceUid), instanceCount };
    await takeCensus(
      state,
      {
        ...link,
        web: {
          ...web,
          studies: async function* () {
            yield unnamed;
          },
        },
      },
      signal,
    );
  }
  expect([eventsOf('Census').length, eventsOf('IntakeRefused').length]).toEqual([2, 1]);
});

describe('a PACS that does not list everything it has', () => {
  const tooLarge = new Fault('PACS_ERROR', false, 'QIDO-RS studies of centre c1: HTTP 413');
  const announced = () => eventsOf('StudyAvailable').map((e) => e.key);
  const failing = () => reportOf(state, link).censusFailed;

  test('has its studies announced all the same; the census is tried later each time, and that is told', async () => {
    unlistable = tooLarge;
    const codes = new Set<unknown>();
    const day = now + 24 * 3_600_000;
    await watchUntil(() => {
      codes.add(pacsCode());
      return now >= day;
    }, 30 * 3_600_000);
    expect(announced().toSorted()).toEqual([`c1|${BAD}`, `c1|${GOOD}`]);
    expect([...codes]).toEqual([null]);
    expect(failing()).toEqual({ code: 'PACS_ERROR', detail: tooLarge.message, since: expect.any(String) });
    expect(statusPage([reportOf(state, link)])).toContain('HTTP 413');
    // 1, 2, 4 seconds and so on up to an hour: 12 in the first one, then one an hour.
    expect(listings).toBeGreaterThan(30);
    expect(listings).toBeLessThan(40);
    expect(counted.filter((name) => name === 'gateway_census_failed_total')).toHaveLength(listings);
  });

  test('is counted once it does list it, at once when somebody asks; the failure is told to who asked', async () => {
    unlistable = tooLarge;
    const watch = watchCentre(state, link);
    const running = watch.run(stop.signal);
    await expect(watch.census()).rejects.toBe(tooLarge);
    unlistable = undefined;
    await expect(watch.census()).resolves.toMatchObject({ total: 2 });
    stop.abort();
    await running;
    expect(failing()).toBeNull();
  });

  test('is called down when it answers nothing else either', async () => {
    unlistable = tooLarge;
    fails = () => true;
    await watchUntil(() => pacsCode() !== null);
    expect(pacsCode()).toBe('PACS_UNREACHABLE');
    expect(failing()).toBeNull();
  });
});

describe('a census whose listing lacks studies that were announced', () => {
  const many = Array.from({ length: 20 }, (_, n) => `1.3.${n}` as StudyInstanceUid);
  const listing = (uids: readonly StudyInstanceUid[]): CentreLink => ({
    ...link,
    web: {
      ...web,
      async *studies() {
        for (const uid of uids) yield found(uid);
      },
    },
  });
  const listed = () => eventsOf('Census').map((e) => (e.value as Census).studies.length);
  beforeEach(async () => {
    pacs = new Set(many);
    await takeCensus(state, link, signal);
    now += 1000;
    for (const row of dueStudies(state, centre, 100)) await announceDue(state, link, row, signal);
    asked = [];
  });

  test('of a few, has those that are there all the same, and none is announced again', async () => {
    pacs.delete('1.3.1' as StudyInstanceUid);
    await takeCensus(state, listing(many.slice(3)), signal);
    expect(asked.toSorted()).toEqual(many.slice(0, 3));
    await takeCensus(state, link, signal);
    now += 1000;
    for (const row of dueStudies(state, centre, 100)) await announceDue(state, link, row, signal);
    expect([listed(), eventsOf('StudyAvailable').length]).toEqual([[20, 19, 19], 20]);
  });

  test('of more than it asks for, is refused when one of them is there, and taken when none is', async () => {
    const cutOff = listing(many.slice(0, 5));
    await expect(takeCensus(state, cutOff, signal)).rejects.toMatchObject({ code: 'PACS_ERROR' });
    pacs = new Set(many.slice(0, 5));
    asked = [];
    await takeCensus(state, cutOff, signal);
    expect(asked.length).toBe(8);
    await takeCensus(state, cutOff, signal);
    expect([listed(), asked.length]).toEqual([[20, 5, 5], 8]);
  });
});

test('a census asks its database as little of many studies as of a few, whatever is to be noted of them', async () => {
  const rule: CentreLink = { ...link, inScope: ([row]) => row?.studyInstanceUid.endsWith('1') !== true };
  let statements = 0;
  const counting: State = {
    ...state,
    run: (...of) => ((statements += 1), state.run(...of)),
    get: (sql, ...of) => ((statements += 1), state.get(sql, ...of)),
    all: (sql, ...of) => ((statements += 1), state.all(sql, ...of)),
  };
  const of = async (watched: CentreLink): Promise<number> => {
    statements = 0;
    await takeCensus(counting, watched, signal);
    return statements;
  };
  const counts: number[][] = [];
  for (const many of [3, 300]) {
    state.run('DELETE FROM study');
    pacs = new Set(Array.from({ length: many }, (_, n) => `1.${many}.${n}` as StudyInstanceUid));
    const unknown = await of(rule);
    now += 1000;
    for (const row of dueStudies(state, centre, many)) await announceDue(state, link, row, signal);
    const settled = await of(rule);
    announceAgain(state, centre, 0);
    counts.push([unknown, settled, await of({ ...link, inScope: () => false })]);
  }
  expect(counts[1]).toEqual(counts[0]);
});

describe('a PACS without a change feed that does not list its last days', () => {
  const refused = new Fault('PACS_ERROR', false, 'QIDO-RS studies of centre c1: HTTP 400');
  beforeEach(() => {
    unpollable = refused;
  });

  test('has what is due announced and its census taken all the same, and the status page says what failed', async () => {
    markTouched(state, centre, BAD, 'poll', link.quiet);
    await watchUntil(() => eventsOf('StudyAvailable').length >= 2);
    expect(
      eventsOf('StudyAvailable')
        .map((e) => e.key)
        .toSorted(),
    ).toEqual([`c1|${BAD}`, `c1|${GOOD}`]);
    expect(eventsOf('Census')).toHaveLength(1);
    expect(reportOf(state, link).pacs).toMatchObject({ usable: false, code: 'PACS_ERROR', detail: refused.message });
  });

  test('has what it listed before it failed announced', async () => {
    unpollable = undefined;
    const cutOff: CentreLink = {
      ...link,
      web: {
        ...web,
        async *studies(filter) {
          yield* web.studies(filter, signal);
          throw refused;
        },
      },
    };
    await watchUntil(() => eventsOf('StudyAvailable').length >= 2, 60_000, cutOff);
    expect(eventsOf('StudyAvailable')).toHaveLength(2);
    expect([eventsOf('Census').length, reportOf(state, link).pacs.code]).toEqual([0, 'PACS_ERROR']);
  });

  test('is asked for nothing else when it answers nothing else either, and its studies keep their deadlines', async () => {
    markTouched(state, centre, BAD, 'poll', link.quiet);
    now += 1000;
    fails = () => true;
    await watchUntil(() => pacsCode() !== null);
    expect(pacsCode()).toBe('PACS_UNREACHABLE');
    expect([asked.includes(BAD), listings, studyRow(state, centre, BAD)?.tries]).toEqual([false, 0, 0]);
  });
});

describe('a study that the PACS does not show for a moment, and no change feed tells of', () => {
  const announced = () => eventsOf('StudyAvailable').filter((e) => e.key === `c1|${BAD}`).length;
  /** Studies that a question about them finds only from this time on. */
  let shownMs: number;
  const hiding = (): CentreLink => ({
    ...link,
    web: { ...web, study: async (uid) => (uid === BAD && now < shownMs ? [] : web.study(uid, signal)) },
  });

  test('is looked at at its own time, whatever a census did not list', async () => {
    markTouched(state, centre, BAD, 'poll', link.quiet);
    pacs.delete(BAD);
    await takeCensus(state, link, signal);
    pacs.add(BAD);
    now += 1000;
    for (const row of dueStudies(state, centre, 10)) await announceDue(state, link, row, signal);
    expect(announced()).toBe(1);
  });

  test('is found by a poll with the number of instances that it had before', async () => {
    shownMs = now + 3000;
    await watchUntil(() => announced() > 0, 60_000, hiding());
    expect([announced(), eventsOf('Census').length]).toEqual([1, 1]);
  });

  test('and that ingest said vanished, too; its deadline is left alone meanwhile', async () => {
    shownMs = 0;
    const deadlines = new Set<number | null | undefined>();
    await watchUntil(
      () => {
        const row = studyRow(state, centre, BAD);
        if (announced() === 1 && row?.revision != null)
          applyStatus(
            state,
            centre,
            { studyInstanceUid: BAD, revision: row.revision, state: 'rejected', code: 'STUDY_VANISHED' },
            link.quiet,
          );
        else if (announced() === 1) deadlines.add(row?.deadline_ms);
        return announced() > 1;
      },
      60_000,
      { ...hiding(), quiet: { stableAfterMs: 10_000, stableSaidMs: 50 } },
    );
    expect(announced()).toBe(2);
    expect([...deadlines].filter((ms) => ms !== null)).toHaveLength(1);
  });
});

describe('a PACS that has neither counts nor a change feed', () => {
  const HOUR_MS = 3_600_000;
  let lookedMs: number[];
  let lists: number;
  const uncounted = (): CentreLink => ({
    ...link,
    censusEveryMs: HOUR_MS,
    // The studies' date is within.
    lookBackDays: 36_500,
    web: {
      ...web,
      async *studies() {
        yield { ...found(BAD), instanceCount: undefined };
      },
      study: async () => (lookedMs.push(now), [{ ...found(BAD), instanceCount: undefined }]),
      instances: async (uid) =>
        Array.from({ length: lists }, (_, n) => ({
          seriesInstanceUid: `${uid}.1`,
          sopInstanceUid: `${uid}.1.${n}`,
          sopClassUid: '',
          modality: 'CT',
          availableTransferSyntaxUids: [],
        })),
    },
  });
  const counts = () => eventsOf('StudyAvailable').map((e) => (e.value as { instanceCount: number }).instanceCount);
  beforeEach(() => {
    now = Date.parse('2020-04-02');
    [lookedMs, lists] = [[], 3];
  });

  test('has a study looked at when it comes and once a census, which finds what came late', async () => {
    await watchUntil(() => false, HOUR_MS / 2, uncounted());
    expect([counts(), lookedMs.length]).toEqual([[3], 1]);
    stop = new AbortController();
    lists = 4;
    await watchUntil(() => false, HOUR_MS * 1.5, uncounted());
    expect([counts(), lookedMs.length]).toEqual([[3, 4], 3]);
  });

  test('has one that ingest finds changed looked at later each time', async () => {
    await watchUntil(
      () => {
        const revision = studyRow(state, centre, BAD)?.revision;
        if (revision != null)
          applyStatus(state, centre, { studyInstanceUid: BAD, revision, state: 'waiting', code: 'STUDY_CHANGED' }, link.quiet);
        return counts().length >= 6;
      },
      HOUR_MS / 2,
      uncounted(),
    );
    const gaps = lookedMs.slice(1).map((ms, i) => (ms - (lookedMs[i] ?? NaN)) / 1000);
    // 1, 2, 4, 8 and 16 seconds, and the pauses of the watch.
    expect(gaps.map((s, n) => Math.max(0, Math.floor((s - 2 ** n) / 3)))).toEqual([0, 0, 0, 0, 0]);
    expect(gaps.every((s, n) => s >= 2 ** n)).toBe(true);
  });
});

test('an instance that the change feed tells behind the word that its study is stable starts the quiet time anew', async () => {
  state.run('UPDATE centre SET cursor = 0');
  const pages: ChangePage[] = [
    {
      changes: [
        { kind: 'touched', studies: [BAD, GOOD] },
        { kind: 'stable', studies: [BAD, GOOD] },
        { kind: 'touched', studies: [BAD] },
      ],
      last: 3,
      done: true,
    },
  ];
  const fed: CentreLink = {
    ...link,
    quiet: { stableAfterMs: 60_000, stableSaidMs: 50 },
    changes: {
      since: async () => pages.shift() ?? { changes: [], last: 3, done: true },
      hashes: async (uid) => new Map([[`${uid}.1.1`, 'a']]),
    },
  };
  const announcedMs = new Map<string, number>();
  await watchUntil(
    () => {
      for (const { key } of eventsOf('StudyAvailable')) announcedMs.set(key, announcedMs.get(key) ?? now - 1_000_000);
      return announcedMs.size === 2;
    },
    600_000,
    fed,
  );
  expect(announcedMs.get(`c1|${GOOD}`)).toBeLessThan(10_000);
  expect(announcedMs.get(`c1|${BAD}`)).toBeGreaterThanOrEqual(60_000);
});

describe('a correction that leaves UIDs and number as they were', () => {
  const announced = () => eventsOf('StudyAvailable').map((e) => e.key);
  /** What the feed tells, one study a change; and the MD5 of each study's instance. */
  let feed: StudyInstanceUid[];
  let md5: Map<StudyInstanceUid, string>;
  const fed = (): CentreLink => ({
    ...link,
    censusEveryMs: 3_600_000,
    changes: {
      since: async (sequence, limit) => {
        // Beyond its end a feed tells its last number.
        const uids = feed.slice(sequence, sequence + limit);
        const last = uids.length === 0 ? feed.length : sequence + uids.length;
        return { changes: [{ kind: 'touched', studies: uids }], last, done: last === feed.length };
      },
      hashes: async (uid) => new Map([[`${uid}.1.1`, md5.get(uid) ?? '']]),
    },
  });
  const look = async (): Promise<void> => {
    now += 1000;
    for (const row of dueStudies(state, centre, 10)) await announceDue(state, fed(), row, signal);
  };
  beforeEach(async () => {
    [feed, md5] = [
      [BAD, GOOD],
      new Map([
        [BAD, 'a'],
        [GOOD, 'a'],
      ]),
    ];
    await takeCensus(state, fed(), signal);
    await look();
    expect(announced()).toEqual([`c1|${BAD}`, `c1|${GOOD}`]);
  });

  test('and came with a PACS database made anew is announced, and what is as it was is looked at once', async () => {
    state.run('UPDATE centre SET cursor = 5000');
    md5.set(GOOD, 'b');
    asked = [];
    await watchUntil(() => false, 600_000, fed());
    expect(announced().slice(2)).toEqual([`c1|${GOOD}`]);
    expect(asked.toSorted()).toEqual([BAD, GOOD]);
    // The one before, at the start, and since the number went backwards: in one round.
    expect(eventsOf('Census')).toHaveLength(2);
    expect(state.get('SELECT cursor FROM centre')).toEqual({ cursor: 2 });
  });

  test('also when the new database is empty when it is first seen, and is filled later', async () => {
    state.run('UPDATE centre SET cursor = 5000');
    [feed, pacs] = [[], new Set()];
    md5.set(GOOD, 'b');
    await watchUntil(() => false, 60_000, fed());
    expect(state.get('SELECT cursor FROM centre')).toEqual({ cursor: 0 });
    [feed, pacs] = [[BAD, GOOD], new Set([BAD, GOOD])];
    stop = new AbortController();
    await watchUntil(() => false, 60_000, fed());
    expect(announced().slice(2)).toContain(`c1|${GOOD}`);
  });

  test.each<[string, (row: CentreLink) => CentreLink]>([
    ['gone', (l) => ({ ...l, web: { ...web, study: async () => [] } })],
    ['out of scope', (l) => ({ ...l, inScope: () => false })],
  ])('and that was %s when it was looked at is announced once a census lists it', async (_, hiding) => {
    md5.set(GOOD, 'b');
    markTouched(state, centre, GOOD, 'change-feed', link.quiet);
    now += 1000;
    for (const row of dueStudies(state, centre, 10)) await announceDue(state, hiding(fed()), row, signal);
    expect(announced()).toHaveLength(2);
    await takeCensus(state, fed(), signal);
    await look();
    expect(announced().slice(2)).toEqual([`c1|${GOOD}`]);
    // Settled by that: no census has it looked at again.
    await takeCensus(state, fed(), signal);
    expect(studyRow(state, centre, GOOD)).toMatchObject({ state: 'announced', deadline_ms: null });
  });
});

describe('a clock that is set back by a year', () => {
  const YEAR_MS = 365 * 86_400_000;
  const MINUTE_MS = 60_000;
  const announced = () => eventsOf('StudyAvailable').length;
  const late = '1.3' as StudyInstanceUid;

  test('keeps no study waiting, nor what comes then, nor the census', async () => {
    now += YEAR_MS;
    const watched = { ...link, censusEveryMs: MINUTE_MS };
    const running = watchCentre(state, watched).run(stop.signal);
    const until = async (done: () => boolean, ms: number): Promise<void> => {
      while (!done() && now < ms) await new Promise(setImmediate);
    };
    await until(() => eventsOf('Census').length > 0, Infinity);
    // Noticed, and none of them announced yet.
    expect(announced()).toBe(0);
    now -= YEAR_MS;
    pacs.add(late);
    const end = now + 3 * MINUTE_MS;
    await until(() => announced() === 3 && eventsOf('Census').length > 2, end);
    stop.abort();
    await running;
    expect(announced()).toBe(3);
    expect(eventsOf('Census').length).toBeGreaterThan(2);
    expect(now).toBeLessThan(end);
  });

  test('while the gateway is down: what waits in its database does not wait for the old time', async () => {
    now += YEAR_MS;
    for (const uid of pacs) markTouched(state, centre, uid, 'poll', link.quiet);
    // As the poll that found them left it.
    state.run('UPDATE study SET instance_count = 1');
    now -= YEAR_MS;
    await watchUntil(() => announced() === 2, MINUTE_MS);
    expect(announced()).toBe(2);
  });

  test('a deadline that is far off by its own backoff stays', () => {
    markTouched(state, centre, BAD, 'poll', link.quiet);
    for (let tries = 0; tries < 20; tries += 1) {
      const row = studyRow(state, centre, BAD);
      if (row !== undefined) setBack(state, centre, row, link.quiet);
      const set = studyRow(state, centre, BAD)?.deadline_ms;
      bringNear(state, centre, link.quiet);
      expect(studyRow(state, centre, BAD)?.deadline_ms).toBe(set);
    }
  });
});

describe('studies that are to be announced again', () => {
  const announced = () =>
    eventsOf('StudyAvailable').map((e) => e.value as { studyInstanceUid: string; revision: string; sequence: number });
  const look = async (): Promise<void> => {
    for (const row of dueStudies(state, centre, 10)) await announceDue(state, link, row, signal);
  };
  const states = () => eventsOf('Census').map((e) => (e.type === 'ctstream.clinical.v1.Census' ? e.value.studies.map((s) => s.state) : []));
  beforeEach(async () => {
    for (const uid of [GOOD, BAD]) {
      markTouched(state, centre, uid, 'poll', link.quiet);
      now += 1000;
      await look();
    }
  });

  test('are, once, in their order and with higher numbers, and then known as before', async () => {
    expect(announceAgain(state, centre, 0)).toBe(2);
    expect(announceAgain(state, centre, 0)).toBe(2);
    await look();
    await look();
    const [good, bad, ...again] = announced();
    expect(again.map((v) => [v.studyInstanceUid, v.revision])).toEqual([
      [GOOD, good?.revision],
      [BAD, bad?.revision],
    ]);
    const numbers = announced().map((v) => v.sequence);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(new Set(numbers).size).toBe(4);
    const outbox = state.all<{ event_id: string }>('SELECT event_id FROM outbox');
    expect(new Set(outbox.map((r) => r.event_id)).size).toBe(4);
    expect(toAnnounceAgain(state, centre)).toBe(0);
    expect(studyRow(state, centre, GOOD)).toMatchObject({ state: 'announced', deadline_ms: null, revision: good?.revision });
  });

  test('only those that were announced since a time, and none when it is only asked how many', async () => {
    const since = studyRow(state, centre, BAD)?.sequence ?? 0;
    expect([announcedSince(state, centre, since), toAnnounceAgain(state, centre)]).toEqual([1, 0]);
    announceAgain(state, centre, since);
    await look();
    expect(announced().map((v) => v.studyInstanceUid)).toEqual([GOOD, BAD, BAD]);
  });

  test('wait behind what is new, and the census says so meanwhile', async () => {
    announceAgain(state, centre, 0);
    await takeCensus(state, link, signal);
    const fresh = '1.3' as StudyInstanceUid;
    pacs.add(fresh);
    markTouched(state, centre, fresh, 'poll', link.quiet);
    now += 1000;
    await look();
    await takeCensus(state, link, signal);
    expect(announced().map((v) => v.studyInstanceUid)).toEqual([GOOD, BAD, fresh, GOOD, BAD]);
    expect(states()).toEqual([
      ['pending', 'pending'],
      ['announced', 'announced', 'announced'],
    ]);
  });

  test('are not when the PACS has them no longer', async () => {
    announceAgain(state, centre, 0);
    pacs.delete(BAD);
    await look();
    expect(announced().map((v) => v.studyInstanceUid)).toEqual([GOOD, BAD, GOOD]);
    expect([toAnnounceAgain(state, centre), studyRow(state, centre, BAD)?.state]).toEqual([0, 'unlisted']);
  });

  test('are not, and wait no more, when a census finds them out of scope before they are looked at', async () => {
    announceAgain(state, centre, 0);
    await takeCensus(state, { ...link, inScope: ([row]) => row?.studyInstanceUid !== BAD }, signal);
    await look();
    expect(announced().map((v) => v.studyInstanceUid)).toEqual([GOOD, BAD, GOOD]);
    expect([toAnnounceAgain(state, centre), studyRow(state, centre, BAD)?.state]).toEqual([0, 'outOfScope']);
  });

  test('are looked at by the next census when the gateway ended between the look and its note', async () => {
    announceAgain(state, centre, 0);
    state.run('UPDATE study SET deadline_ms = NULL');
    await takeCensus(state, link, signal);
    now += 1000;
    await look();
    expect(announced()).toHaveLength(4);
  });
});

describe('an announced study that a census did not list', () => {
  const announced = () =>
    eventsOf('StudyAvailable')
      .filter((e) => e.key === `c1|${BAD}`)
      .map((e) => e.value as { revision: string; sequence: number });
  const lines = () =>
    eventsOf('Census').map((e) =>
      e.type === 'ctstream.clinical.v1.Census' ? e.value.studies.find((s) => s.studyInstanceUid === BAD)?.state : undefined,
    );
  const look = async (): Promise<void> => {
    now += 1000;
    for (const row of dueStudies(state, centre, 10)) await announceDue(state, link, row, signal);
  };
  const census = () => takeCensus(state, link, signal);
  /** Announced, then deleted, and a census was taken without it. */
  beforeEach(async () => {
    await census();
    await look();
    pacs.delete(BAD);
    await census();
  });

  test('is announced again, once, when a census finds it unchanged; until then the census calls it pending', async () => {
    pacs.add(BAD);
    await census();
    await look();
    await census();
    await look();
    const [first, again, ...more] = announced();
    expect([again?.revision, more]).toEqual([first?.revision, []]);
    expect(again?.sequence).toBeGreaterThan(first?.sequence ?? Infinity);
    expect(lines()).toEqual(['pending', undefined, 'pending', 'announced']);
    expect(eventsOf('StudyAvailable').filter((e) => e.key === `c1|${GOOD}`)).toHaveLength(1);
  });

  test('also when the change feed finds it, however often it was looked for while it was gone, or was out of scope', async () => {
    markTouched(state, centre, BAD, 'change-feed', link.quiet);
    await look();
    announceAgain(state, centre, 0);
    await look();
    pacs.add(BAD);
    markTouched(state, centre, BAD, 'change-feed', link.quiet);
    now += 1000;
    for (const row of dueStudies(state, centre, 10)) await announceDue(state, { ...link, inScope: () => false }, row, signal);
    expect(announced()).toHaveLength(1);
    markTouched(state, centre, BAD, 'change-feed', link.quiet);
    await look();
    expect(announced()).toHaveLength(2);
  });

  test('also when the gateway is killed after the census that finds it', async () => {
    pacs.add(BAD);
    await census();
    const folder = await mkdtemp(join(tmpdir(), 'gateway-test-'));
    const file = join(folder, 'g.sqlite');
    state.run('VACUUM INTO ?', file);
    state.close();
    state = openState({ file, codec, nowMs: () => now });
    await look();
    expect(announced()).toHaveLength(2);
    await rm(folder, { recursive: true });
  });

  test('waits behind what is new', async () => {
    const fresh = '1.3' as StudyInstanceUid;
    pacs.add(BAD);
    await census();
    now += 1;
    markTouched(state, centre, fresh, 'poll', link.quiet);
    now += 1000;
    expect(dueStudies(state, centre, 10).map((r) => r.uid)).toEqual([fresh, BAD]);
  });
});

describe('a study on which the PACS does not agree with itself', () => {
  let counts: number | undefined;
  let lists: number;
  /** Number of the first instance that it lists. */
  let from: number;
  let hashes: number | undefined;
  let lookedMs: number[];
  let logged: unknown[][];
  const disagreeing = (): CentreLink => ({
    ...link,
    web: {
      ...web,
      async *studies() {
        yield { ...found(BAD), instanceCount: counts };
      },
      study: async (uid) => (lookedMs.push(now), [{ ...found(uid), instanceCount: counts }]),
      instances: async (uid) =>
        Array.from({ length: lists }, (_, n) => ({
          seriesInstanceUid: `${uid}.1`,
          sopInstanceUid: `${uid}.1.${from + n}`,
          sopClassUid: '',
          modality: 'CT',
          availableTransferSyntaxUids: [],
        })),
    },
    changes:
      hashes === undefined
        ? undefined
        : {
            since: () => Promise.reject(timeout),
            hashes: async (uid) => new Map(Array.from({ length: hashes ?? 0 }, (_, n) => [`${uid}.1.${n}`, 'a'])),
          },
    log: (level, ...line) => {
      if (level === 'warn') logged.push(line);
    },
  });
  /** The time until each of so many looks, as each of them finds the study due. */
  const looks = async (n: number, before: () => void = () => undefined): Promise<number[]> => {
    lookedMs = [];
    for (let i = 0; i < n; i += 1) {
      before();
      now = studyRow(state, centre, BAD)?.deadline_ms ?? NaN;
      for (const row of dueStudies(state, centre, 10)) await announceDue(state, disagreeing(), row, signal);
    }
    return lookedMs.slice(1).map((ms, i) => Math.floor((ms - (lookedMs[i] ?? NaN)) / 1000));
  };
  const code = () => reportOf(state, link).studies.map((s) => s.code);
  const listedAs = async () => {
    await takeCensus(state, disagreeing(), signal);
    const census = eventsOf('Census').at(-1);
    return census?.type === 'ctstream.clinical.v1.Census' ? census.value.studies.map((s) => [s.state, s.code]) : [];
  };
  beforeEach(() => {
    [counts, lists, from, hashes, logged] = [3, 3, 0, undefined, []];
    pacs = new Set([BAD]);
    markTouched(state, centre, BAD, 'poll', link.quiet);
  });

  test.each<[string, number | undefined, number, number | undefined, string]>([
    ['counts more than it lists', 5, 3, undefined, 'it counts 5 instances and lists 3'],
    ['counts less than it lists', 1, 3, undefined, 'it counts 1 instances and lists 3'],
    ['lists nothing of it', undefined, 0, undefined, 'it counts 0 instances and lists 0'],
    ['lacks an MD5 of it', 3, 3, 2, '1 of 3 instances have no MD5'],
  ])('that %s: is set back later each time, and is told, until it does', async (_, ...[says, has, hashed, why]) => {
    [counts, lists, hashes] = [says, has, hashed];
    expect(await looks(2)).toEqual([1]);
    expect([code(), await listedAs(), logged]).toEqual([['NOT_YET_STABLE'], [['pending', 'NOT_YET_STABLE']], []]);
    expect(await looks(5)).toEqual([1, 2, 4, 8]);
    expect([code(), await listedAs()]).toEqual([['PACS_INCONSISTENT'], [['pending', 'PACS_INCONSISTENT']]]);
    expect(logged).toEqual(
      Array(5).fill([{ centre, code: 'PACS_INCONSISTENT', fault: why }, 'the PACS does not agree with itself on a study']),
    );
    expect(eventsOf('StudyAvailable')).toEqual([]);
    [counts, lists, hashes] = [3, 3, hashed === undefined ? undefined : 3];
    await looks(1);
    expect([code(), await listedAs(), eventsOf('StudyAvailable').length]).toEqual([[null], [['announced', null]], 1]);
    // Nothing of it is left for the next time.
    announceAgain(state, centre, 0);
    expect(code()).toEqual([null]);
  });

  test('is none that still moves, and one no longer once something of it comes', async () => {
    counts = 100;
    expect(await looks(6, () => (lists += 1))).toEqual([1, 1, 1, 1, 1]);
    expect(await looks(6, () => (from += 1))).toEqual([1, 1, 1, 1, 1]);
    expect([code(), logged]).toEqual([['NOT_YET_STABLE'], []]);
    await looks(3);
    expect(code()).toEqual(['PACS_INCONSISTENT']);
    markTouched(state, centre, BAD, 'poll', link.quiet);
    expect(code()).toEqual(['NOT_YET_STABLE']);
    expect(await looks(4)).toEqual([1, 1, 1]);
  });

  test('is told also when an earlier revision of it was stored', async () => {
    await looks(1);
    const revision = studyRow(state, centre, BAD)?.revision ?? '';
    applyStatus(state, centre, { studyInstanceUid: BAD, revision, state: 'stored', code: null }, link.quiet);
    markTouched(state, centre, BAD, 'poll', link.quiet);
    counts = 5;
    expect(reportOf(state, link)).toMatchObject({ acknowledged: 1, waiting: 0 });
    await looks(3);
    expect(reportOf(state, link)).toMatchObject({ acknowledged: 0, waiting: 1, reasons: { PACS_INCONSISTENT: 1 } });
    expect(statusPage([reportOf(state, link)])).toContain('StoreMD5ForAttachments');
    // It was that revision all along.
    counts = 3;
    await looks(1);
    announceAgain(state, centre, 0);
    expect(reportOf(state, link)).toMatchObject({ acknowledged: 1, waiting: 0, reasons: {} });
  });
});

test('a study of which ingest says that it vanished while it is looked at is announced all the same', async () => {
  const look = async (instances: DicomWeb['instances']): Promise<void> => {
    markTouched(state, centre, BAD, 'poll', link.quiet);
    now += 1000;
    for (const row of dueStudies(state, centre, 10)) await announceDue(state, { ...link, web: { ...web, instances } }, row, signal);
  };
  await look(web.instances);
  const revision = studyRow(state, centre, BAD)?.revision ?? '';
  await look((uid) => {
    applyStatus(state, centre, { studyInstanceUid: BAD, revision, state: 'rejected', code: 'STUDY_VANISHED' }, link.quiet);
    return web.instances(uid, signal);
  });
  expect(eventsOf('StudyAvailable')).toHaveLength(2);
  expect(studyRow(state, centre, BAD)).toMatchObject({ revision, state: 'announced', deadline_ms: null });
});

describe('a study that is taken out of the PACS', () => {
  const lineOf = (uid: string) =>
    eventsOf('Census')
      .flatMap((e) => (e.type === 'ctstream.clinical.v1.Census' ? [e.value] : []))
      .map((v) => v.studies.find((s) => s.studyInstanceUid === uid));

  test('after a census called it pending: the next census says so, once', async () => {
    await takeCensus(state, link, signal);
    pacs.delete(BAD);
    await takeCensus(state, link, signal);
    await takeCensus(state, link, signal);
    expect(lineOf(BAD).map((s) => [s?.state, s?.code])).toEqual([
      ['pending', 'NOT_YET_STABLE'],
      ['outOfScope', 'STUDY_VANISHED'],
      [undefined, undefined],
    ]);
    expect(lineOf(GOOD).map((s) => s?.state)).toEqual(['pending', 'pending', 'pending']);
  });

  test('after its deadline found it gone, all the same; and when it is back it is looked at again', async () => {
    await takeCensus(state, link, signal);
    pacs.delete(BAD);
    now += 1000;
    for (const row of dueStudies(state, centre, 10)) await announceDue(state, link, row, signal);
    await takeCensus(state, link, signal);
    pacs.add(BAD);
    await takeCensus(state, link, signal);
    expect(lineOf(BAD).map((s) => s?.state)).toEqual(['pending', 'outOfScope', 'pending']);
  });

  test('after ingest found it changed: announced with nothing in it, so that ingest tells that it vanished', async () => {
    markTouched(state, centre, BAD, 'poll', link.quiet);
    now += 1000;
    const look = async (): Promise<void> => {
      for (const row of dueStudies(state, centre, 10)) await announceDue(state, link, row, signal);
    };
    await look();
    const revision = studyRow(state, centre, BAD)?.revision ?? '';
    applyStatus(state, centre, { studyInstanceUid: BAD, revision, state: 'waiting', code: 'STUDY_CHANGED' }, link.quiet);
    pacs.delete(BAD);
    await takeCensus(state, link, signal);
    now += 1000;
    await look();
    const announced = eventsOf('StudyAvailable').filter((e) => e.key.endsWith(BAD));
    expect(announced.map((e) => (e.value as { instanceCount: number }).instanceCount)).toEqual([1, 0]);
  });
});
