// Every study that a PACS ever listed stands in exactly one state, and what is lost is said to be lost.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { account, type AccountInput, type Parked, type StudyState } from './accounting.ts';
import type { Code } from './codes.ts';
import { returnedRevision } from './digest.ts';
import { outgoingId } from './event-ids.ts';
import { centreId, clinicalKey, type ClinicalKey, type ResearchRevision, type ResearchStudyId, type StudyInstanceUid } from './ids.ts';
import { topicOf } from './route.ts';
import type { EventIn } from './stage.ts';
import type { EventRecord } from '../../schemas/events.gen.ts';

const C = centreId('c01');
const U = (n: number): StudyInstanceUid => `1.2.${n}` as StudyInstanceUid;
const K = (n: number): ClinicalKey => clinicalKey(C, U(n));
const S = (n: number): ResearchStudyId => `S${n}` as ResearchStudyId;

interface Extra {
  id?: string;
  offset?: bigint;
  source?: string;
  sequence?: bigint;
  topic?: string;
  partition?: number;
  timeMs?: number;
}
let counter = 0;

/** An event as the codec would give it; only the fields that the fold reads are filled. */
function event(type: EventRecord['type'], value: Record<string, unknown>, extra: Extra = {}): EventIn {
  counter += 1;
  const record = { type, value } as unknown as EventRecord;
  return {
    ...record,
    id: extra.id ?? `e${counter}`,
    source: extra.source ?? 'x',
    timeMs: extra.timeMs ?? 0,
    topic: extra.topic ?? topicOf(record),
    partition: extra.partition ?? 0,
    offset: extra.offset ?? 0n,
    key: 'k',
    ...(extra.sequence === undefined ? {} : { sequence: extra.sequence }),
  } as EventIn;
}

const clinical = (n: number, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  centre: C,
  studyInstanceUid: U(n),
  revision: 'r1',
  sequence: n,
  ...more,
});
const research = (n: number, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  studyId: S(n),
  subjectId: `P${n}`,
  revision: 'q1',
  ordinal: 1,
  ...more,
});
const census = (studies: { n: number; state: string }[], extra: Extra = {}, sequence = 0): EventIn =>
  event(
    'ctstream.clinical.v1.Census',
    {
      centre: C,
      takenAtMs: 1,
      outboxSequence: sequence,
      studies: studies.map((s) => ({ studyInstanceUid: U(s.n), state: s.state, code: null })),
    },
    extra,
  );

/** A whole census of one page, as a gateway of today tells it. */
const censusAt = (takenAtMs: number, studies: readonly object[]): EventIn =>
  event('ctstream.clinical.v1.Census', {
    centre: C,
    censusId: `n${takenAtMs}`,
    takenAtMs,
    page: 1,
    pages: 1,
    outboxSequence: 0,
    studies,
  });

/** The events of study n up to a step of its way. */
function way(n: number, steps: number): EventIn[] {
  const all = [
    event('ctstream.clinical.v1.StudyAvailable', clinical(n)),
    event('ctstream.clinical.v1.StudyStored', clinical(n)),
    event('ctstream.research.v1.StudyAnonymised', research(n)),
    event('ctstream.research.v1.StudyAssessed', research(n)),
    event('ctstream.research.v1.StudySelected', research(n)),
    event('ctstream.research.v1.StudyLabelled', research(n)),
    event('ctstream.research.v1.DatasetReleased', { version: 'v1', studies: [S(n)] }),
  ];
  return all.slice(0, steps);
}

function input(events: EventIn[], more: Partial<AccountInput> = {}): AccountInput {
  const lineage = new Map([1, 2, 3, 4, 5, 6, 7, 8].map((n) => [K(n), S(n)]));
  const researchRevision: AccountInput['researchRevision'] = (_key, revision) => revision.replace('r', 'q') as ResearchRevision;
  return { events, bad: [], parked: [], lineage, researchRevision, denied: new Set(), committed: () => 0n, moved: new Map(), ...more };
}

function stateOf(events: EventIn[], more: Partial<AccountInput> = {}): [StudyState, string] {
  const { studies } = account(input(events, more));
  const [only] = studies;
  if (only === undefined || studies.length !== 1) throw new Error(`${studies.length} studies`);
  return [only.state, only.code];
}

const finished = { committed: (): bigint => 10n };

test.each([
  [0, 'waiting', 'NOT_YET_STABLE'],
  [1, 'waiting', 'IN_QUEUE'],
  [2, 'waiting', 'IN_QUEUE'],
  [3, 'waiting', 'IN_QUEUE'],
  [4, 'waiting', 'AWAITING_ROUND'],
  [5, 'waiting', 'IN_QUEUE'],
  [6, 'waiting', 'AWAITING_RELEASE'],
  [7, 'released', 'RELEASED'],
])('after step %i of its way a study is %s (%s)', (steps, state, code) => {
  expect(stateOf([census([{ n: 1, state: 'pending' }]), ...way(1, steps)])).toEqual([state, code]);
});

test.each([1, 2, 3])('a stage that is past the event of step %i and left no outcome has lost the study', (steps) => {
  expect(stateOf(way(1, steps), finished)[0]).toBe('unaccounted');
});

test('past the commit of label-queue a study waits for readers', () => {
  expect(stateOf(way(1, 5), finished)).toEqual(['waiting', 'AWAITING_READING']);
});

describe('a newer revision that select or label-queue lost, or that lies in their dead letters', () => {
  const [first, last] = [way(1, 4), way(1, 7)];
  const decision = (name: 'StudySelected' | 'StudyExcluded') =>
    event(`ctstream.research.v1.${name}`, research(1, name === 'StudyExcluded' ? { code: 'COHORT_FULL' } : {}));
  const newer = ['StudyAnonymised', 'StudyAssessed'].map((name) =>
    event(`ctstream.research.v1.${name}` as EventRecord['type'], research(1, { revision: 'q2', ordinal: 2 }), { offset: 1n }),
  );
  const assessed = newer[1] as EventIn;
  const round = (timeMs = 0) =>
    event(
      'ctstream.research.v1.SelectionRoundClosed',
      { cohort: 'a', cut: [{ topic: assessed.topic, partition: 0, endOffset: 2 }] },
      { timeMs },
    );
  const before: readonly (readonly [string, EventIn[]])[] = [
    ['excluded', [...first, decision('StudyExcluded')]],
    ['selected', [...first, decision('StudySelected')]],
    ['labelled', way(1, 6)],
    ['released', last],
  ];

  test.each(before)('is not hidden by what became of an earlier one: %s', (_what, events) => {
    expect(stateOf([...events, ...newer, round()], finished)).toEqual(['unaccounted', 'AWAITING_ROUND']);
    const dead = park(assessed.id, { stage: 'select', topic: 'ct.research.select.dead', dead: true, code: 'JOB_TIMEOUT' });
    const [one] = account(input([...events, ...newer, round()], { ...finished, parked: [dead] })).studies;
    // A release stands; what its later revision meets is noted.
    expect(one?.state === 'released' ? one.note : [one?.state, one?.code, one?.dead]).toEqual(
      one?.state === 'released' ? 'JOB_TIMEOUT' : ['waiting', 'JOB_TIMEOUT', true],
    );
  });

  test('stands at label-queue, where it was selected', () => {
    const selected = event('ctstream.research.v1.StudySelected', research(1, { revision: 'q2', ordinal: 2 }), { offset: 1n });
    const dead = park(selected.id, {
      stage: 'label-queue',
      topic: 'ct.research.label-queue.dead',
      dead: true,
      code: 'VOLUME_MISSING' as Code,
    });
    const events = [...way(1, 6), ...newer, selected, round()];
    expect(only(events, { ...finished, parked: [dead] })).toMatchObject({ state: 'waiting', code: 'VOLUME_MISSING', dead: true });
    expect(stateOf(events, finished)).toEqual(['waiting', 'AWAITING_RELEASE']);
  });

  test('stands at label-queue also when another cohort left it out, whichever topic has the higher offset', () => {
    const at = (name: 'StudySelected' | 'StudyExcluded', offset: bigint): EventIn =>
      event(`ctstream.research.v1.${name}`, research(1, { revision: 'q2', ordinal: 2, code: 'COHORT_FULL' }), { offset });
    const selected = at('StudySelected', 1n);
    const dead = park(selected.id, {
      stage: 'label-queue',
      topic: 'ct.research.label-queue.dead',
      dead: true,
      code: 'VOLUME_MISSING' as Code,
    });
    for (const offset of [0n, 900n])
      expect(only([...first, ...newer, selected, at('StudyExcluded', offset), round()], { ...finished, parked: [dead] })).toMatchObject({
        state: 'waiting',
        code: 'VOLUME_MISSING',
        dead: true,
      });
  });

  test('that came to select late, by a replay, waits for the next round; what a later round did not decide is lost', () => {
    const retried = park(assessed.id, {
      stage: 'select',
      offset: 1n,
      topic: 'ct.research.select.retry.30s',
      dead: false,
      code: 'UNEXPECTED',
      timeMs: 5,
    });
    const events = [...first, ...newer];
    expect(stateOf([...events, round(4)], { ...finished, parked: [retried] })).toEqual(['waiting', 'AWAITING_ROUND']);
    expect(stateOf([...events, round(4), round(5 + 3 * HOUR)], { ...finished, parked: [retried] })).toEqual([
      'unaccounted',
      'AWAITING_ROUND',
    ]);
  });
});

test('a census that says announced where no event is means a lost announcement', () => {
  expect(stateOf([census([{ n: 1, state: 'announced' }])])).toEqual(['unaccounted', 'NOT_ANNOUNCED']);
});

test('a round that was cut after the study and did not decide it has lost it', () => {
  const closed = event('ctstream.research.v1.SelectionRoundClosed', {
    cohort: 'a',
    cut: [{ topic: 'ct.research.study-assessed.v1', partition: 0, endOffset: 1 }],
  });
  expect(stateOf([...way(1, 4), closed], finished)[0]).toBe('unaccounted');
});

test('a parked record is waiting with its code', () => {
  const [available] = way(1, 1);
  expect(stateOf([available as EventIn], { ...finished, parked: [park(available?.id)] })).toEqual(['waiting', 'PACS_UNREACHABLE']);
});

/** A record in ingest's first retry topic, not yet consumed. */
function park(eventId = '', more: Partial<Parked> = {}): Parked {
  return {
    stage: 'ingest',
    key: K(1),
    code: 'PACS_UNREACHABLE',
    eventId,
    dead: false,
    topic: 'ct.clinical.ingest.retry.30s',
    partition: 0,
    offset: 10n,
    timeMs: 1,
    ...more,
  };
}

test('a retry that was consumed and led to nothing is a loss; the newest record counts', () => {
  const [available] = way(1, 1) as [EventIn];
  const { id } = available;
  const consumed = park(id, { offset: 9n });
  const with_ = (...parked: Parked[]): [StudyState, string] => stateOf([available], { ...finished, parked });
  expect(with_(consumed)).toEqual(['unaccounted', 'PACS_UNREACHABLE']);
  const later = park(id, { topic: 'ct.clinical.ingest.retry.5m', code: 'PACS_ERROR', timeMs: 2 });
  expect(with_(later, consumed)).toEqual(['waiting', 'PACS_ERROR']);
  const dead = park(id, { topic: 'ct.clinical.ingest.dead', dead: true, offset: 0n, timeMs: 3, code: 'JOB_TIMEOUT' });
  expect(with_(consumed, dead)).toEqual(['waiting', 'JOB_TIMEOUT']);
  // Replayed: it lies in the dead letters still, and its newest record was consumed without an outcome.
  expect(with_(dead, park(id, { offset: 9n, timeMs: 4 }))).toEqual(['unaccounted', 'PACS_UNREACHABLE']);
  const stored = event('ctstream.clinical.v1.StudyStored', clinical(1), { offset: 11n });
  expect(stateOf([available, stored], { ...finished, parked: [dead] })).toEqual(['waiting', 'IN_QUEUE']);
});

test('verdicts: rejected, excluded, withdrawn, out of scope, changed', () => {
  const rejected = event('ctstream.clinical.v1.StudyRejected', clinical(1, { stage: 'ingest', code: 'STUDY_VANISHED' }));
  expect(stateOf([...way(1, 1), rejected], finished)).toEqual(['rejected', 'STUDY_VANISHED']);
  const tilted = event('ctstream.research.v1.StudyRejected', research(1, { stage: 'assess', code: 'GANTRY_TILT' }));
  expect(stateOf([...way(1, 3), tilted], finished)).toEqual(['rejected', 'GANTRY_TILT']);
  const excluded = event('ctstream.research.v1.StudyExcluded', research(1, { code: 'COHORT_FULL' }));
  expect(stateOf([...way(1, 4), excluded], finished)).toEqual(['excluded', 'COHORT_FULL']);
  const gone = event('ctstream.research.v1.SubjectWithdrawn', { subjectId: 'P1' });
  expect(stateOf([...way(1, 7), gone], finished)).toEqual(['withdrawn', 'PATIENT_WITHDRAWN']);
  const named = event('ctstream.research.v1.SubjectWithdrawn', { subjectId: 'P2', studies: [research(1)['studyId']] });
  expect(stateOf([...way(1, 7), named], finished)).toEqual(['withdrawn', 'PATIENT_WITHDRAWN']);
  expect(stateOf([census([{ n: 1, state: 'outOfScope' }])])).toEqual(['outOfScope', 'OUT_OF_SCOPE']);
  const [available] = way(1, 1) as [EventIn];
  expect(stateOf([available, skipOf(available, 'STUDY_CHANGED')], finished)).toEqual(['waiting', 'STUDY_CHANGED']);
});

/** Ingest's skip of an announcement, with the id that the runtime gives it. */
function skipOf(available: EventIn, code: Code): EventIn {
  const type = 'ctstream.clinical.v1.StudySkipped';
  return event(type, clinical(1, { stage: 'ingest', code }), { id: outgoingId('ingest', available.id, type, 0) });
}

test('a skip is about one announcement: the same revision announced again and lost is a loss', () => {
  const [first] = way(1, 1) as [EventIn];
  const again = event('ctstream.clinical.v1.StudyAvailable', clinical(1, { sequence: 2 }), { offset: 1n });
  const skipped = skipOf(first, 'STUDY_CHANGED');
  expect(stateOf([first, skipped, again], finished)[0]).toBe('unaccounted');
  expect(stateOf([first, skipped, again])).toEqual(['waiting', 'IN_QUEUE']);
  expect(stateOf([first, skipped, again, skipOf(again, 'SUPERSEDED')], finished)).toEqual(['waiting', 'SUPERSEDED']);
  const rejected = event('ctstream.clinical.v1.StudyRejected', clinical(1, { stage: 'ingest', code: 'STUDY_VANISHED' }));
  expect(stateOf([first, skipped, again, rejected], finished)).toEqual(['rejected', 'STUDY_VANISHED']);
});

test('a study that changed out of scope waits for no announcement; what went on of it, or comes again, does', () => {
  const [first] = way(1, 1) as [EventIn];
  const changed = skipOf(first, 'STUDY_CHANGED');
  const listed = (takenAtMs: number, state: string, code: string | null): EventIn =>
    censusAt(takenAtMs, [{ studyInstanceUid: U(1), instanceCount: 3, state, code }]);
  const out = listed(2, 'outOfScope', 'OUT_OF_SCOPE');
  expect(stateOf([first, changed, out], finished)).toEqual(['outOfScope', 'OUT_OF_SCOPE']);
  expect(stateOf([first, changed, out, listed(3, 'pending', null)], finished)).toEqual(['waiting', 'STUDY_CHANGED']);
  // A gateway that lost its database saw it come and go.
  expect(stateOf([first, changed, listed(2, 'outOfScope', 'STUDY_VANISHED')], finished)).toEqual(['rejected', 'STUDY_VANISHED']);
  // Ingest has not looked yet, or the census is older than the announcement.
  expect(stateOf([first, out])).toEqual(['waiting', 'IN_QUEUE']);
  const again = event('ctstream.clinical.v1.StudyAvailable', clinical(1, { revision: 'r2', sequence: 9 }), { offset: 1n, timeMs: 9 });
  expect(stateOf([first, changed, out, again])).toEqual(['waiting', 'IN_QUEUE']);
  const type = 'ctstream.clinical.v1.StudySkipped';
  const verdict = clinical(1, { revision: 'r2', stage: 'ingest', code: 'STUDY_CHANGED' });
  const changedAgain = event(type, verdict, { id: outgoingId('ingest', again.id, type, 0) });
  expect(stateOf([first, changed, out, again, changedAgain], finished)).toEqual(['waiting', 'STUDY_CHANGED']);
  const stored = event('ctstream.clinical.v1.StudyStored', clinical(1));
  const later = [again, changedAgain, listed(10, 'outOfScope', null)];
  expect(stateOf([first, changed, ...later], finished)).toEqual(['outOfScope', 'OUT_OF_SCOPE']);
  expect(only([first, stored, ...later])).toMatchObject({ state: 'waiting', code: 'IN_QUEUE', note: 'OUT_OF_SCOPE' });
});

const AVAILABLE = 'ct.clinical.c01.study-available.v1/0';
const expired = { ...finished, moved: new Map([[AVAILABLE, 1000]]) };

test('after retention the account says what is still known, and nothing that expired is lost', () => {
  const listed = census([{ n: 1, state: 'announced' }]);
  expect(stateOf([listed], expired)).toEqual(['waiting', 'EXPIRED']);
  expect(stateOf([listed, ...way(1, 7).slice(2)], expired)).toEqual(['released', 'RELEASED']);
  const rejected = event('ctstream.clinical.v1.StudyRejected', clinical(1, { stage: 'ingest', code: 'STUDY_VANISHED' }));
  expect(stateOf([listed, rejected], expired)).toEqual(['rejected', 'STUDY_VANISHED']);
  const status = event('ctstream.clinical.v1.StudyStatus', clinical(1, { state: 'rejected', code: 'NO_PIXELS' }));
  expect(stateOf([listed, status], expired)).toEqual(['rejected', 'NO_PIXELS']);
  const stored = { ...finished, moved: new Map([['ct.clinical.study-stored.v1/3', 1000]]) };
  expect(stateOf(way(1, 1), stored)).toEqual(['waiting', 'EXPIRED']);
});

describe('a parked record outlives its event: 90 days and 30', () => {
  const listed = census([{ n: 1, state: 'announced' }]);
  const letter = (stage: string, code: Code, more: Partial<Parked> = {}): Parked =>
    park('an event that has expired', { stage, code, dead: true, topic: `ct.clinical.${stage}.dead`, offset: 1n, timeMs: 100, ...more });
  const unlinked = { ...expired, lineage: new Map() };
  const with_ = (events: EventIn[], parked: Parked[], more: Partial<AccountInput> = unlinked): unknown => only(events, { ...more, parked });

  test.each([
    ['anonymise', 'HELD_BY_VERIFIER', 'stored'],
    ['ingest', 'CONFLICTING_COPY', 'available'],
    ['ingest', 'JOB_TIMEOUT', 'available'],
  ] as const)('a dead letter of %s keeps its study %s', (stage, code, reached) => {
    const waiting = { key: K(1), centre: C, state: 'waiting', code, reached, dead: true };
    expect(with_([listed], [letter(stage, code)])).toEqual(waiting);
    // Also when the PACS has the study no more: a person still has to act.
    expect(with_([], [letter(stage, code)])).toEqual(waiting);
  });

  test('so does a record that still waits for another try, and one that was replayed or consumed does not', () => {
    const waits = park('an event that has expired', { code: 'PACS_UNREACHABLE' });
    expect(with_([listed], [waits])).toMatchObject({ state: 'waiting', code: 'PACS_UNREACHABLE', dead: false });
    expect(with_([listed], [{ ...waits, offset: 9n }])).toMatchObject({ code: 'EXPIRED' });
    const replay = park('an event that has expired', { offset: 9n, replays: 'ingest/0/1' });
    expect(with_([listed], [letter('ingest', 'JOB_TIMEOUT'), replay])).toMatchObject({ code: 'EXPIRED' });
  });

  test('what came after it counts, and a rejection takes nothing from it', () => {
    const status = (timeMs: number, more: Record<string, unknown>): EventIn =>
      event('ctstream.clinical.v1.StudyStatus', clinical(1, { code: null, ...more }), { timeMs });
    const dead = letter('ingest', 'JOB_TIMEOUT');
    const copy = { state: 'rejected', code: 'DUPLICATE_OF' };
    expect(with_([listed, status(99, copy)], [dead])).toMatchObject({ code: 'JOB_TIMEOUT', dead: true });
    expect(with_([listed, status(101, copy)], [dead])).toMatchObject({ state: 'excluded', code: 'DUPLICATE_OF' });
    expect(with_([listed, status(101, { state: 'stored' })], [dead])).toMatchObject({ code: 'JOB_TIMEOUT', dead: true });
    const rejected = { code: 'JOB_TIMEOUT', dead: true, note: 'NO_PIXELS' };
    expect(with_([listed, status(101, { state: 'rejected', code: 'NO_PIXELS' })], [dead])).toMatchObject(rejected);
    const later = second();
    expect(with_([later, vanished(later)], [dead])).toMatchObject({ code: 'JOB_TIMEOUT', dead: true, note: 'STUDY_VANISHED' });
    expect(with_([later, vanished(later)], [])).toMatchObject({ state: 'rejected', code: 'STUDY_VANISHED' });
  });

  test('where an earlier revision went on, it counts as while its event was there', () => {
    const [older, newer] = [letter('ingest', 'CONFLICTING_COPY', { timeMs: -1 }), letter('ingest', 'CONFLICTING_COPY', { timeMs: 1 })];
    const at = (steps: number, parked: Parked): unknown => with_([listed, ...way(1, steps).slice(2)], [parked], expired);
    expect(at(4, older)).toMatchObject({ code: 'AWAITING_ROUND' });
    expect(at(4, newer)).toMatchObject({ code: 'CONFLICTING_COPY', dead: true });
    expect(at(7, newer)).toMatchObject({ state: 'released', note: 'CONFLICTING_COPY' });
    expect(at(4, letter('anonymise', 'HELD_BY_VERIFIER', { timeMs: -1 }))).toMatchObject({ code: 'AWAITING_ROUND' });
    expect(at(4, letter('anonymise', 'HELD_BY_VERIFIER'))).toMatchObject({ code: 'HELD_BY_VERIFIER', dead: true });
  });

  test('a record that is no good event hides no lost announcement, and a withdrawal stands', () => {
    const lost = { ...finished, lineage: new Map() };
    expect(with_([listed], [letter('ingest', 'BAD_EVENT')], lost)).toMatchObject({ state: 'unaccounted', code: 'NOT_ANNOUNCED' });
    const denied = { ...unlinked, denied: new Set([K(1)]) };
    expect(with_([listed], [letter('anonymise', 'HELD_BY_VERIFIER')], denied)).toMatchObject({ state: 'withdrawn' });
  });
});

test('a study that came after the log began is lost when its announcement is not there', () => {
  const before = event('ctstream.clinical.v1.Census', { centre: C, takenAtMs: 1000, outboxSequence: 0, studies: [] });
  const after = event('ctstream.clinical.v1.Census', {
    centre: C,
    takenAtMs: 2000,
    outboxSequence: 0,
    studies: [{ studyInstanceUid: U(1), state: 'announced', code: null }],
  });
  expect(stateOf([before, after], expired)).toEqual(['unaccounted', 'NOT_ANNOUNCED']);
});

test('a withdrawn study stays so, by the word of anonymise or of the vault, whatever revision comes; its subject hides no lost study', () => {
  const told = event('ctstream.clinical.v1.StudyRejected', clinical(1, { stage: 'anonymise', code: 'PATIENT_WITHDRAWN' }));
  const gone = event('ctstream.research.v1.SubjectWithdrawn', { subjectId: 'P1' });
  const unlinked = { ...finished, lineage: new Map() };
  expect(stateOf([...way(1, 7), gone, told], unlinked)).toEqual(['withdrawn', 'PATIENT_WITHDRAWN']);
  expect(stateOf(way(1, 7), { ...unlinked, denied: new Set([K(1)]) })).toEqual(['withdrawn', 'PATIENT_WITHDRAWN']);
  const newer = event('ctstream.clinical.v1.StudyAvailable', clinical(1, { sequence: 99, revision: 'r9' }));
  expect(stateOf([...way(1, 7), told, newer], unlinked)).toEqual(['withdrawn', 'PATIENT_WITHDRAWN']);
  expect(stateOf([census([{ n: 1, state: 'announced' }])], { ...unlinked, denied: new Set([K(1)]) })).toEqual([
    'withdrawn',
    'PATIENT_WITHDRAWN',
  ]);
  const { totals } = account(input([...way(1, 7), gone, told, ...way(2, 2)], unlinked));
  expect([totals.withdrawn, totals.unaccounted]).toEqual([1, 1]);
});

test('a centre speaks for itself only: a value that names another is bad and changes nothing', () => {
  const forged = [
    event('ctstream.clinical.v1.StudyAvailable', clinical(1, { sequence: 99, revision: 'r9' }), {
      topic: 'ct.clinical.c02.study-available.v1',
    }),
    event('ctstream.research.v1.DatasetReleased', { version: 'v9', studies: [S(1)] }, { topic: 'ct.clinical.c02.census.v1' }),
  ];
  const [honest, lied] = [account(input(way(1, 4))), account(input([...forged, ...way(1, 4)]))];
  expect(lied.studies).toEqual(honest.studies);
  expect(lied.bad).toEqual([
    { topic: 'ct.clinical.c02.census.v1', code: 'BAD_EVENT', records: 1 },
    { topic: 'ct.clinical.c02.study-available.v1', code: 'CENTRE_MISMATCH', records: 1 },
  ]);
});

test('records that can not be read are counted by topic and code, and are not missing', () => {
  const topic = 'ct.clinical.c01.study-available.v1';
  const source = 'centre-gateway/c01';
  const drawn = { source, sequence: 2n, topic, partition: 0, timeMs: 0, seen: true };
  const bad = [
    { topic, code: 'BAD_EVENT' as Code, drawn },
    { topic, code: 'BAD_EVENT' as Code },
  ];
  const result = account(
    input(
      [1n, 3n].map((sequence) => event('ctstream.clinical.v1.StudyAvailable', clinical(1), { source, sequence })),
      { bad },
    ),
  );
  expect([result.bad, result.missing]).toEqual([[{ topic, code: 'BAD_EVENT', records: 2 }], []]);
});

test("an event that the reader can not read yet makes no study unaccounted; another centre's, or a broken one, hides nothing", () => {
  const announced = census([{ n: 1, state: 'announced' }]);
  const topic = `ct.clinical.${C}.study-available.v1`;
  const key = K(1);
  const lost = ['unaccounted', 'NOT_ANNOUNCED'];
  expect(stateOf([announced])).toEqual(lost);
  expect(stateOf([announced], { bad: [{ topic, code: 'SCHEMA_AHEAD', key }] })).toEqual(['waiting', 'SCHEMA_AHEAD']);
  expect(stateOf([announced], { bad: [{ topic: topic.replace(C, 'other'), code: 'SCHEMA_AHEAD', key }] })).toEqual(lost);
  expect(stateOf([announced], { bad: [{ topic, code: 'BAD_EVENT' }] })).toEqual(lost);
  // Lost after it had crossed the boundary: the record there is keyed by the research id.
  const across = way(1, 3);
  const unread = { ...finished, bad: [{ topic: 'ct.research.study-assessed.v1', code: 'SCHEMA_ID_MISMATCH' as const, key: S(1) }] };
  expect(stateOf(across, finished)[0]).toBe('unaccounted');
  expect(stateOf(across, unread)).toEqual(['waiting', 'SCHEMA_ID_MISMATCH']);
});

test('a study that is announced again stands where it stood, also when the log has lost what was announced before', () => {
  const again = event('ctstream.clinical.v1.StudyAvailable', clinical(1, { sequence: 9 }), { offset: 5n });
  for (const before of [way(1, 7), way(1, 7).slice(1)]) expect(stateOf([...before, again], finished)[0]).toBe('released');
  // Corrected and set back: stored a second time under a revision that only its number tells.
  const stored = event('ctstream.clinical.v1.StudyStored', clinical(1, { sequence: 3, revision: returnedRevision('r1', 3) }), {
    offset: 20n,
  });
  expect(stateOf([again, stored], finished)).toEqual(['waiting', 'IN_QUEUE']);
  expect(stateOf([again, { ...stored, value: { ...stored.value, revision: 'r2' } } as EventIn], finished)[0]).toBe('unaccounted');
});

test('a refusal that is told twice is one', () => {
  const twice = [1, 2].map(() =>
    event('ctstream.clinical.v1.IntakeRefused', { centre: C, intakeId: 'a', unit: 'study', code: 'MISSING_UID', files: 20 }),
  );
  expect(account(input(twice)).totals.sent).toBe(1);
});

test('a newer revision counts, not the older one that was rejected', () => {
  const old = event('ctstream.clinical.v1.StudyRejected', clinical(1, { stage: 'ingest', code: 'STUDY_VANISHED' }));
  const newer = event('ctstream.clinical.v1.StudyAvailable', clinical(1, { revision: 'r2', sequence: 9 }));
  expect(stateOf([...way(1, 1), old, newer])).toEqual(['waiting', 'IN_QUEUE']);
});

const HOUR = 3_600_000;
/** A later announcement of study 1, and ingest's rejection of it. */
const second = (more: Record<string, unknown> = {}, timeMs = 0): EventIn =>
  event('ctstream.clinical.v1.StudyAvailable', clinical(1, { revision: 'r2', sequence: 9, ...more }), { offset: 1n, timeMs });
const vanished = (e: EventIn): EventIn => {
  const type = 'ctstream.clinical.v1.StudyRejected';
  return event(type, clinical(1, { revision: 'r2', stage: 'ingest', code: 'STUDY_VANISHED' }), { id: outgoingId('ingest', e.id, type, 0) });
};
const only = (events: EventIn[], more: Partial<AccountInput> = {}): unknown => account(input(events, more)).studies[0];

test('a later revision that vanishes takes nothing from an earlier one that went on, and is noted', () => {
  const later = second();
  const gone = [later, vanished(later)];
  expect(only([...way(1, 7), ...gone], finished)).toMatchObject({ state: 'released', code: 'RELEASED', note: 'STUDY_VANISHED' });
  expect(only([...way(1, 6), ...gone], finished)).toMatchObject({ state: 'waiting', code: 'AWAITING_RELEASE', note: 'STUDY_VANISHED' });
  const [first] = way(1, 1) as [EventIn];
  const dead = park(first.id, { dead: true, topic: 'ct.clinical.ingest.dead', code: 'JOB_TIMEOUT' });
  expect(only([first, ...gone], { ...finished, parked: [dead] })).toMatchObject({ state: 'waiting', code: 'JOB_TIMEOUT', dead: true });
  expect(stateOf([first, skipOf(first, 'STUDY_CHANGED'), ...gone], finished)).toEqual(['rejected', 'STUDY_VANISHED']);
  expect(stateOf([first, ...gone], finished)).toEqual(['unaccounted', 'IN_QUEUE']);
});

test('a release stands while a later revision is under way, and hides no loss of it', () => {
  expect(only([...way(1, 7), second()], { committed: () => 1n })).toMatchObject({ state: 'released', note: 'IN_QUEUE' });
  expect(stateOf([...way(1, 7), second()], finished)).toEqual(['unaccounted', 'IN_QUEUE']);
});

describe('a newer revision that is stored and has not crossed the boundary', () => {
  const newer = [second(), event('ctstream.clinical.v1.StudyStored', clinical(1, { revision: 'r2', sequence: 9 }), { offset: 1n })];
  const stored = newer[1] as EventIn;
  const held = park(stored.id, { stage: 'anonymise', topic: 'ct.clinical.anonymise.dead', dead: true, code: 'HELD_BURNED_IN_TEXT' });

  test.each([3, 4, 6, 7])('is lost, waits or is held whatever became of the one before: after step %i', (steps) => {
    const events = [...way(1, steps), ...newer];
    const at = (more: Partial<AccountInput>): unknown => only(events, more);
    expect(at(finished)).toMatchObject({ state: 'unaccounted', code: 'IN_QUEUE', reached: 'stored' });
    const waits = { committed: (group: string) => (group === 'anonymise' ? 1n : 10n) };
    const isReleased = steps === 7;
    const with_ = (code: string, dead: boolean): unknown =>
      isReleased ? { state: 'released', note: code, dead: false } : { state: 'waiting', code, dead };
    expect(at(waits)).toMatchObject(with_('IN_QUEUE', false) as object);
    expect(at({ ...finished, parked: [held] })).toMatchObject(with_('HELD_BURNED_IN_TEXT', true) as object);
    // Once it has, it counts like every other.
    const crossed = event('ctstream.research.v1.StudyAnonymised', research(1, { revision: 'q2', ordinal: 2 }), { offset: 99n });
    expect(only([...events, crossed], { ...finished, parked: [held] })).toMatchObject(with_('IN_QUEUE', false) as object);
  });

  test('and was skipped for a still newer one leaves the study where it is', () => {
    const skipped = event('ctstream.clinical.v1.StudySkipped', clinical(1, { revision: 'r2', stage: 'anonymise', code: 'SUPERSEDED' }), {
      id: outgoingId('anonymise', stored.id, 'ctstream.clinical.v1.StudySkipped', 0),
    });
    expect(stateOf([...way(1, 6), ...newer, skipped], finished)).toEqual(['waiting', 'AWAITING_RELEASE']);
  });
});

test.each([
  [6, 5, 'AWAITING_RELEASE', 'labelled'],
  [6, 4, 'AWAITING_RELEASE', 'labelled'],
  [5, 4, 'AWAITING_READING', 'selected'],
])('what release could not take in is in no version: after step %i, event %i parked', (steps, at, code, reached) => {
  const events = way(1, steps);
  const dead = park(events[at]?.id, { stage: 'release', topic: 'ct.research.release.dead', dead: true, code: 'UNEXPECTED', key: S(1) });
  expect(only(events, { ...finished, parked: [dead] })).toMatchObject({ state: 'waiting', code: 'UNEXPECTED', dead: true, reached });
  expect(stateOf(events, finished)).toEqual(['waiting', code]);
  const replay = park(events[at]?.id, { stage: 'release', topic: 'ct.research.release.retry.30s', offset: 9n, replays: 'release/0/10' });
  expect(stateOf(events, { ...finished, parked: [dead, replay] })).toEqual(['waiting', code]);
});

test('after a merge, what is gone with the subject of an earlier revision is no loss and no withdrawal of the study', () => {
  const merged = event('ctstream.research.v1.StudyAnonymised', research(1, { subjectId: 'P2', revision: 'q2', ordinal: 2 }), {
    offset: 1n,
  });
  const tilted = event('ctstream.research.v1.StudyRejected', research(1, { revision: 'q2', stage: 'assess', code: 'GANTRY_TILT' }));
  const gone = event('ctstream.research.v1.SubjectWithdrawn', { subjectId: 'P1' });
  const cut = [{ topic: 'ct.research.study-assessed.v1', partition: 0, endOffset: 1 }];
  const round = event('ctstream.research.v1.SelectionRoundClosed', { cohort: 'a', cut });
  const events = [...way(1, 4).slice(2), merged, tilted];
  // It never was a candidate, or it was erased from among them.
  expect(stateOf([...way(1, 2), ...events, gone, round], finished)).toEqual(['rejected', 'GANTRY_TILT']);
  const erased = event('ctstream.research.v1.StudyRejected', research(1, { stage: 'select', code: 'PATIENT_WITHDRAWN' }));
  expect(stateOf([...way(1, 2), ...events, gone, erased], finished)).toEqual(['rejected', 'GANTRY_TILT']);
});

test('what readers rejected stays rejected, though an earlier revision was assessed', () => {
  const steps = [...way(1, 4), ...[2, 4].map((at) => way(1, 5)[at] as EventIn)];
  const newer = ['StudyAnonymised', 'StudyAssessed'].map((name) =>
    event(`ctstream.research.v1.${name}` as EventRecord['type'], research(1, { revision: 'q2', ordinal: 2 }), { offset: 1n }),
  );
  const by = (stage: string): EventIn =>
    event('ctstream.research.v1.StudyRejected', research(1, { revision: 'q2', stage, code: 'READER_REJECTED' }));
  expect(stateOf([...steps, ...newer, by('label-queue')], finished)).toEqual(['rejected', 'READER_REJECTED']);
});

test('a study that came and went before it was announced is rejected; listed again it waits', () => {
  const pending = { studyInstanceUid: U(1), instanceCount: 3, state: 'pending', code: null };
  expect(stateOf([censusAt(1, [pending]), censusAt(2, [])])).toEqual(['rejected', 'STUDY_VANISHED']);
  expect(stateOf([censusAt(1, [pending]), censusAt(2, [{ ...pending, state: 'outOfScope', code: 'STUDY_VANISHED' }])])[0]).toBe('rejected');
  expect(stateOf([censusAt(1, [pending]), censusAt(2, []), censusAt(3, [pending])])).toEqual(['waiting', 'NOT_YET_STABLE']);
  const later = second();
  expect(stateOf([later, vanished(later), censusAt(5, [pending])], finished)).toEqual(['waiting', 'NOT_YET_STABLE']);
  expect(stateOf([later, vanished(later), censusAt(5, [pending]), censusAt(6, [])], finished)).toEqual(['rejected', 'STUDY_VANISHED']);
});

test('a census that lists other instances than were announced is visible once the gateway had time to look', () => {
  const listed = (takenAtMs: number, instanceCount: number): EventIn =>
    censusAt(takenAtMs, [{ studyInstanceUid: U(1), instanceCount, state: 'announced', code: null }]);
  const announced = second({ instanceCount: 100 });
  const with_ = (...censuses: EventIn[]): [StudyState, string] => stateOf([announced, ...censuses]);
  expect(with_(listed(HOUR, 101), listed(2 * HOUR, 101))).toEqual(['waiting', 'IN_QUEUE']);
  expect(with_(listed(HOUR, 101), listed(4 * HOUR, 101))).toEqual(['waiting', 'NOT_ANNOUNCED']);
  expect(with_(listed(HOUR, 101), listed(4 * HOUR, 102))).toEqual(['waiting', 'IN_QUEUE']);
  expect(with_(listed(HOUR, 101), listed(4 * HOUR, 100))).toEqual(['waiting', 'IN_QUEUE']);
  // Nobody can announce what the PACS has no more.
  expect(with_(listed(HOUR, 101), listed(4 * HOUR, 101), censusAt(5 * HOUR, []))).toEqual(['waiting', 'IN_QUEUE']);
  const released = [...way(1, 7), announced, listed(HOUR, 101), listed(4 * HOUR, 101)];
  expect(only(released)).toMatchObject({ state: 'released', note: 'NOT_ANNOUNCED' });
});

test('after a lost gateway database the log decides what is newest, not a clock that went back', () => {
  const first = event('ctstream.clinical.v1.StudyAvailable', clinical(1, { sequence: 500 }));
  const newer = second({ sequence: 400 });
  const stored = event('ctstream.clinical.v1.StudyStored', clinical(1, { sequence: 500 }));
  const type = 'ctstream.clinical.v1.StudySkipped';
  const skipped = event(type, clinical(1, { revision: 'r2', stage: 'ingest', code: 'SUPERSEDED' }), {
    id: outgoingId('ingest', newer.id, type, 0),
  });
  expect(stateOf([first, stored, newer, skipped], finished)).toEqual(['waiting', 'SEQUENCE_WENT_BACK']);
  expect(stateOf([first, stored, newer], finished)).toEqual(['unaccounted', 'IN_QUEUE']);
});

test('an old announcement that the log holds a second time, later, is not the newest', () => {
  const [first] = way(1, 1) as [EventIn];
  const later = second();
  const events = [{ ...first, offset: 5n }, later, vanished(later), first, skipOf(first, 'STUDY_CHANGED')];
  expect(stateOf(events, finished)).toEqual(['rejected', 'STUDY_VANISHED']);
});

test('a revision that came back after another waits for its own storing, not for the first one', () => {
  const again = second({ revision: 'r1', sequence: 12 });
  const of = (revision: string, sequence: number, offset: bigint): EventIn =>
    event('ctstream.clinical.v1.StudyStored', clinical(1, { revision, sequence }), { offset });
  const before = [way(1, 1)[0] as EventIn, second(), again, of('r1', 1, 0n), of('r2', 9, 1n)];
  expect(stateOf(before, { lineage: new Map(), committed: (group) => (group === 'ingest' ? 1n : 10n) })).toEqual(['waiting', 'IN_QUEUE']);
  expect(stateOf([...before, of('back', 12, 20n)], { ...finished, lineage: new Map() })).toEqual(['waiting', 'IN_QUEUE']);
});

test('a study that was set back before its correction was stored stands where its first revision does', () => {
  const again = event('ctstream.clinical.v1.StudyAvailable', clinical(1, { sequence: 12 }), { offset: 2n });
  const events = [...way(1, 7), second(), skipOf(second(), 'SUPERSEDED'), again];
  expect(stateOf(events, finished)[0]).toBe('released');
});

test('a copy of another centre is excluded, also when only the word to the centre is left; a conflicting one waits for an operator', () => {
  const [available] = way(1, 1) as [EventIn];
  expect(stateOf([available, skipOf(available, 'DUPLICATE_OF')], finished)).toEqual(['excluded', 'DUPLICATE_OF']);
  const told = event('ctstream.clinical.v1.StudyStatus', clinical(1, { state: 'rejected', code: 'DUPLICATE_OF' }));
  expect(stateOf([census([{ n: 1, state: 'announced' }]), told], expired)).toEqual(['excluded', 'DUPLICATE_OF']);
  const dead = park(available.id, { dead: true, topic: 'ct.clinical.ingest.dead', code: 'CONFLICTING_COPY' });
  expect(stateOf([available], { ...finished, parked: [dead] })).toEqual(['waiting', 'CONFLICTING_COPY']);
});

test('a dead letter that was replayed counts no more, whatever the clocks of operator and stage were', () => {
  const [available] = way(1, 1) as [EventIn];
  const dead = park(available.id, { dead: true, topic: 'ct.clinical.ingest.dead', offset: 3n, timeMs: 900 });
  const replay = park(available.id, { offset: 9n, timeMs: 1, replays: 'ingest/0/3' });
  expect(only([available], { ...finished, parked: [dead] })).toMatchObject({ state: 'waiting', dead: true });
  expect(only([available], { ...finished, parked: [dead, replay] })).toMatchObject({ state: 'unaccounted', dead: false });
});

test('a study refused at intake counts as sent and rejected; a refused file only as a reason', () => {
  const study = event('ctstream.clinical.v1.IntakeRefused', { centre: C, intakeId: 'a', unit: 'study', code: 'MISSING_UID', files: 20 });
  const file = event('ctstream.clinical.v1.IntakeRefused', { centre: C, intakeId: 'b', unit: 'file', code: 'NOT_DICOM', files: 2 });
  const result = account(input([study, file]));
  expect([result.totals.sent, result.totals.rejected, result.reasons]).toEqual([1, 1, { MISSING_UID: 1, NOT_DICOM: 2 }]);
});

test('a deleted outbox row is seen as a gap, also at the end', () => {
  const source = 'centre-gateway/c01';
  const some = [1n, 3n].map((sequence, i) => event('ctstream.clinical.v1.StudyAvailable', clinical(i + 1), { source, sequence }));
  expect(account(input(some)).missing).toEqual([`${source}#2`]);
  expect(account(input([...some, census([], { source, sequence: 4n }, 5)])).missing).toEqual([`${source}#2`, `${source}#5`]);
});

test('gaps are ranges: a census that claims 2^53 costs nothing', () => {
  const source = 'centre-gateway/c01';
  expect(account(input([census([], { source, sequence: 1n }, Number.MAX_SAFE_INTEGER)])).missing).toEqual([`${source}#2-9007199254740991`]);
});

test('the first rows of an outbox may not be missing, where the log is whole', () => {
  const late = event('ctstream.research.v1.StudyExcluded', research(1, { code: 'COHORT_FULL' }), { source: 'select', sequence: 3n });
  expect(account(input([late])).missing).toEqual(['select#1-2']);
});

test('a gateway can not make numbers of another source missing', () => {
  const own = event('ctstream.research.v1.StudyExcluded', research(1, { code: 'COHORT_FULL' }), { source: 'select', sequence: 1n });
  const forged = census([], { source: 'select', sequence: 5n });
  expect(account(input([own, forged])).missing).toEqual(['c01/select#1-4']);
  expect(account(input([own])).missing).toEqual([]);
});

test('numbers that may have expired are not missing, later ones are', () => {
  const source = 'centre-gateway/c01';
  const at = (sequence: bigint, partition: number, timeMs: number): EventIn =>
    event('ctstream.clinical.v1.StudyAvailable', clinical(1), { source, sequence, partition, timeMs });
  const events = [at(2n, 1, 0), at(50n, 0, 1000), at(60n, 1, 2000), at(62n, 1, 3000)];
  // Partition 0 has lost what was below 50; intake-refused/0 is empty now, and all since 2000 would be in it.
  expect(account(input(events, { moved: new Map([[AVAILABLE, 0]]) })).missing).toEqual([`${source}#51-59`, `${source}#61`]);
  const moved = new Map([
    [AVAILABLE, 0],
    ['ct.clinical.c01.intake-refused.v1/0', 2000],
  ]);
  expect(account(input(events, { moved })).missing).toEqual([`${source}#61`]);
});

test('for any subset of events, in any order and doubled, the states sum to what was sent', () => {
  const pool = [1, 2, 3, 4, 5, 6, 7]
    .flatMap((n) => way(n, n))
    .concat([
      census([
        { n: 1, state: 'announced' },
        { n: 8, state: 'outOfScope' },
      ]),
      event('ctstream.clinical.v1.StudyRejected', clinical(2, { stage: 'anonymise', code: 'NOTHING_KEPT' })),
      event('ctstream.clinical.v1.IntakeRefused', { centre: C, intakeId: 'z', unit: 'study', code: 'MISSING_UID', files: 1 }),
    ]);
  fc.assert(
    fc.property(fc.shuffledSubarray(pool), fc.shuffledSubarray(pool), fc.bigInt(0n, 2n), (a, b, committed) => {
      const { totals, studies } = account(input([...a, ...b], { committed: () => committed }));
      const sum =
        totals.released + totals.waiting + totals.excluded + totals.rejected + totals.withdrawn + totals.outOfScope + totals.unaccounted;
      expect(sum).toBe(totals.sent);
      expect(new Set(studies.map((s) => s.key)).size).toBe(studies.length);
      const sorted = [...a, ...b].sort((x, y) => (x.id < y.id ? -1 : 1));
      expect(account(input(sorted, { committed: () => committed })).totals).toEqual(totals);
    }),
  );
});
