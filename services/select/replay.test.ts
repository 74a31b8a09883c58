// A replay of recorded rounds tells what was told: with a hole of a cut, a withdrawal between rounds, and revisions.
import { expect, test } from '@jest/globals';
import type { EventRecord, StudyAssessed } from '../../schemas/events.gen.ts';
import type { EventIn } from '../kernel/stage.ts';
import { parseCohort, type CohortFile } from './cohort.ts';
import { replayRounds, type RecordedRounds } from './replay.ts';
import { assessedOf, decisionEvent, roundEvent } from './round.ts';
import { decide, type EarlierDecision } from './decide.ts';

const TOPIC = 'ct.research.study-assessed.v1';
const file: CohortFile = {
  cohort: parseCohort('{format: ctstream-cohort/1, name: c, version: 1, size: 2, perCentreCap: 9, seed: s}'),
  sha256: 'f'.repeat(64),
};

function assessed(offset: number, studyId: string, over: Partial<StudyAssessed> = {}): EventIn<'ctstream.research.v1.StudyAssessed'> {
  const value = {
    studyId,
    subjectId: `subject-${studyId}`,
    site: 'x',
    revision: 'r1',
    ordinal: 1,
    estimatedClass: 1,
    uncertain: false,
    sex: 'F',
  };
  const rest = { ageBand: '050-059', kernel: 'soft', contrast: 'none', ...over };
  const place = { topic: TOPIC, partition: 0, offset: BigInt(offset), key: studyId, source: 'assess', timeMs: 0 };
  return {
    type: 'ctstream.research.v1.StudyAssessed',
    id: `e${offset}`,
    value: { ...value, ...rest },
    ...place,
  } as unknown as EventIn<'ctstream.research.v1.StudyAssessed'>;
}

/** Rounds as select makes them: each with its cut, the candidates that it saw, and which studies had been erased before. */
function record(
  rounds: readonly { end: number; saw: readonly EventIn<'ctstream.research.v1.StudyAssessed'>[]; erasedBefore?: readonly string[] }[],
): Omit<RecordedRounds, 'assessed'> {
  const earlier: EarlierDecision[] = [];
  const log: { -readonly [K in keyof Omit<RecordedRounds, 'assessed'>]: EventIn[] } = { rounds: [], decisions: [], erased: [] };
  let sequence = 0n;
  const add = (list: EventIn[], event: EventRecord): void =>
    void list.push({ ...event, id: String(sequence), sequence: sequence++ } as unknown as EventIn);
  const gone = new Set<string>();
  for (const [i, { end, saw, erasedBefore = [] }] of rounds.entries()) {
    for (const studyId of erasedBefore) {
      gone.add(studyId);
      const value = { studyId, revision: 'r1', stage: 'select', code: 'PATIENT_WITHDRAWN', detail: 'erased' };
      add(log.erased, { type: 'ctstream.research.v1.StudyRejected', value } as unknown as EventRecord);
    }
    const left = earlier.filter((e) => !gone.has(e.studyId));
    const candidates = saw.map((e) => assessedOf(e.id, e.value));
    const decisions = decide({ cohort: file.cohort, candidates, earlier: left, withdrawn: new Set() });
    for (const d of decisions) {
      const { studyId, ordinal, subjectId, site } = d.candidate;
      if (d.outcome !== 'skipped') earlier.push({ studyId, ordinal, subjectId, site, cell: d.cell, outcome: d.outcome });
      add(log.decisions, decisionEvent(d, 'c', i + 1));
    }
    const count = (outcome: string): number => decisions.filter((d) => d.outcome === outcome).length;
    const cut = [{ topic: TOPIC, partition: 0, endOffset: end }];
    const counts = { considered: decisions.length, selected: count('selected'), excluded: count('excluded') };
    add(log.rounds, roundEvent({ cohort: 'c', cohortSha256: file.sha256, round: i + 1, cut, ...counts }));
  }
  return log as unknown as Omit<RecordedRounds, 'assessed'>;
}

const told = (events: readonly { type: string; value: object }[]): string[] =>
  events.map(({ type, value }) => JSON.stringify([type, value])).sort();

const [a, b, c, d] = [assessed(0, 'a'), assessed(1, 'b'), assessed(2, 'c'), assessed(3, 'd')];
const a2 = assessed(4, 'a', { revision: 'r2', ordinal: 2 } as Partial<StudyAssessed>);
const e = assessed(5, 'e');
const all = [a, b, c, d, a2, e];

test('rounds are decided as they were, whatever came late into a hole or withdrew between them', () => {
  // Offset 1 came after the first cut had passed it; c withdrew before the last round, so e finds a place.
  const log = record([
    { end: 3, saw: [a, c] },
    { end: 4, saw: [b, d] },
    { end: 6, saw: [a2, e], erasedBefore: ['c'] },
  ]);
  const again = replayRounds({ ...log, assessed: all }, [file]);
  expect(told(again.told)).toEqual(told([...log.decisions, ...log.rounds]));
  expect(again.undecided).toBe(0);
});

test("a study that another's withdrawal named is erased; its former subject stays as recorded", () => {
  const subjectId = a.value.subjectId;
  const [b1, b2] = [1, 2].map((ordinal) =>
    assessed(5 + ordinal, 'b', { subjectId, ordinal, revision: `r${ordinal}` } as Partial<StudyAssessed>),
  );
  if (b1 === undefined || b2 === undefined) throw new Error('no revisions');
  const log = record([
    { end: 7, saw: [a, b1] },
    { end: 8, saw: [b2], erasedBefore: ['a'] },
  ]);
  const again = replayRounds({ ...log, assessed: [a, b1, b2] }, [file]);
  expect(told(again.told)).toEqual(told([...log.decisions, ...log.rounds]));
  expect(again.undecided).toBe(0);
});

test('an assessment that select never decided is left out and counted', () => {
  const log = record([{ end: 4, saw: [a, b, c] }]);
  const again = replayRounds({ ...log, assessed: all }, [file]);
  expect(told(again.told)).toEqual(told([...log.decisions, ...log.rounds]));
  expect(again.undecided).toBe(1);
});

test('a round that another cohort file made is not decided by this one', () => {
  const log = record([{ end: 1, saw: [a] }]);
  expect(() => replayRounds({ ...log, assessed: all }, [{ ...file, sha256: '0'.repeat(64) }])).toThrow('another cohort file');
});
