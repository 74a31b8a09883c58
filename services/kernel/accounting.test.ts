// Every study that a PACS ever listed stands in exactly one state, and what is lost is said to be lost.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { account, type AccountInput, type Parked, type StudyState } from './accounting.ts';
import type { Code } from './codes.ts';
import { centreId, clinicalKey, type ClinicalKey, type ResearchStudyId, type StudyInstanceUid } from './ids.ts';
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
    timeMs: 0,
    topic: topicOf(record),
    partition: 0,
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
  return { events, parked: [], lineage: new Map([1, 2, 3, 4, 5, 6, 7, 8].map((n) => [K(n), S(n)])), committed: () => 0n, ...more };
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
  const parked: Parked = { stage: 'ingest', key: K(1), code: 'PACS_UNREACHABLE' as Code, eventId: available?.id ?? '', dead: false };
  expect(stateOf([available as EventIn], { ...finished, parked: [parked] })).toEqual(['waiting', 'PACS_UNREACHABLE']);
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
  expect(stateOf([census([{ n: 1, state: 'outOfScope' }])])).toEqual(['outOfScope', 'OUT_OF_SCOPE']);
  const changed = event('ctstream.clinical.v1.StudySkipped', clinical(1, { stage: 'ingest', code: 'STUDY_CHANGED' }));
  expect(stateOf([...way(1, 1), changed], finished)).toEqual(['waiting', 'STUDY_CHANGED']);
});

test('a newer revision counts, not the older one that was rejected', () => {
  const old = event('ctstream.clinical.v1.StudyRejected', clinical(1, { stage: 'ingest', code: 'STUDY_VANISHED' }));
  const newer = event('ctstream.clinical.v1.StudyAvailable', clinical(1, { revision: 'r2', sequence: 9 }));
  expect(stateOf([...way(1, 1), old, newer])).toEqual(['waiting', 'IN_QUEUE']);
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
