import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { avroCodec } from '../adapters/avro-codec.ts';
import { Fault } from '../kernel/fault.ts';
import { centreId } from '../kernel/ids.ts';
import type { StudyInstanceUid } from '../kernel/ids.ts';
import type { DicomWeb, FoundStudy } from '../ports/dicomweb.ts';
import { announceDue } from './announce.ts';
import { takeCensus } from './census.ts';
import type { CentreLink } from './link.ts';
import { addCentre, openState } from './state.ts';
import type { State } from './state.ts';
import { applyStatus, dueStudies, markTouched, studyRow } from './studies.ts';
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

const found = (uid: StudyInstanceUid): FoundStudy => ({
  studyInstanceUid: uid,
  patientId: 'P',
  studyDate: '20200401',
  studyDescription: '',
  modalities: ['CT'],
  instanceCount: 1,
});

const web: DicomWeb = {
  async *studies() {
    for (const uid of pacs) yield found(uid);
  },
  study: async (uid) => {
    asked.push(uid);
    if (fails(uid)) throw timeout;
    return pacs.has(uid) ? [found(uid)] : [];
  },
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
  count: () => undefined,
  log: () => undefined,
};

beforeEach(() => {
  now = 1_000_000;
  pacs = new Set([BAD, GOOD]);
  fails = () => false;
  asked = [];
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
async function watchUntil(done: () => boolean, forMs = 600_000): Promise<void> {
  const until = now + forMs;
  const running = watchCentre(state, link).run(stop.signal);
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
