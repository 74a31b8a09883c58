// Decides every recorded round again, from the log and the cohort files alone: the recorded cut says what was there.
import { Fault } from '../kernel/fault.ts';
import type { NewEvent } from '../kernel/outcome.ts';
import type { EventIn } from '../kernel/stage.ts';
import type { CohortFile } from './cohort.ts';
import { decide, type EarlierDecision } from './decide.ts';
import { type Assessed, assessedOf, decisionEvent, roundEvent } from './round.ts';

type RoundClosed = EventIn<'ctstream.research.v1.SelectionRoundClosed'>;
type Told = EventIn<'ctstream.research.v1.StudySelected' | 'ctstream.research.v1.StudyExcluded' | 'ctstream.research.v1.StudySkipped'>;

/** What the log has; of an event id that stands twice the first. */
export interface RecordedRounds {
  readonly assessed: readonly EventIn<'ctstream.research.v1.StudyAssessed'>[];
  readonly rounds: readonly RoundClosed[];
  /** What select told of studies. */
  readonly decisions: readonly Told[];
  /** Select's own word that a study's subject was erased: its outbox numbers say between which rounds. */
  readonly erased: readonly EventIn<'ctstream.research.v1.StudyRejected'>[];
}

export interface ReplayedRounds {
  readonly told: readonly (NewEvent & { readonly cause: string })[];
  /** Assessed studies below a cut that select never decided: holes of the cut, or withdrawn before they came. */
  readonly undecided: number;
}

interface Place {
  readonly assessed: Assessed;
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
}

const revisionKey = (v: { readonly studyId: string; readonly revision: string }): string => `${v.studyId}|${v.revision}`;

/** @throws Fault BAD_CONFIG when no cohort file has the digest that a round names */
export function replayRounds(log: RecordedRounds, cohorts: readonly CohortFile[]): ReplayedRounds {
  const candidates = new Map<string, Place>();
  for (const { id, value, topic, partition, offset } of log.assessed) {
    const key = revisionKey(value);
    if (!candidates.has(key)) candidates.set(key, { assessed: assessedOf(id, value), topic, partition, offset });
  }
  const told: ReplayedRounds['told'][number][] = [];
  const seen = new Set<string>();
  for (const rounds of Map.groupBy(log.rounds, (r) => r.value.cohort).values()) {
    const earlier: (EarlierDecision & { readonly key: string })[] = [];
    const done = new Set<string>();
    const roundOf = recordedRounds(log.decisions, rounds[0]?.value.cohort ?? '');
    for (const round of rounds.toSorted((a, b) => a.value.round - b.value.round)) {
      const { cohort: name, round: number } = round.value;
      const below = [...candidates].filter(([key, place]) => !done.has(key) && isBelow(place, round));
      for (const [key] of below) seen.add(key);
      // What came into a hole of the cut was decided in a later round, or not yet.
      const came = below.filter(([key]) => (roundOf.get(key) ?? Number.POSITIVE_INFINITY) <= number);
      const gone = erasedBefore(log.erased, round);
      const decisions = decide({
        cohort: fileOf(round, cohorts).cohort,
        candidates: came.filter(([key]) => !gone.has(key)).map(([, place]) => place.assessed),
        earlier: earlier.filter(({ key }) => !gone.has(key)),
        withdrawn: new Set(),
      });
      for (const d of decisions) {
        const { studyId, ordinal, subjectId, site } = d.candidate;
        const key = revisionKey(d.candidate);
        done.add(key);
        if (d.outcome !== 'skipped') earlier.push({ key, studyId, ordinal, subjectId, site, cell: d.cell, outcome: d.outcome });
        told.push(decisionEvent(d, name, number));
      }
      const count = (outcome: string): number => decisions.filter((d) => d.outcome === outcome).length;
      const counts = { considered: decisions.length, selected: count('selected'), excluded: count('excluded') };
      told.push(roundEvent({ ...round.value, ...counts }));
    }
    for (const key of done) seen.delete(key);
  }
  return { told, undecided: seen.size };
}

function fileOf(round: RoundClosed, cohorts: readonly CohortFile[]): CohortFile {
  const { cohort, cohortSha256, round: number } = round.value;
  const file = cohorts.find((c) => c.sha256 === cohortSha256);
  if (file === undefined)
    throw new Fault('BAD_CONFIG', false, `round ${number} of ${cohort} was made with another cohort file (SHA-256 ${cohortSha256})`);
  return file;
}

const isBelow = (place: Place, round: RoundClosed): boolean =>
  round.value.cut.some((c) => c.topic === place.topic && c.partition === place.partition && place.offset < BigInt(c.endOffset));

/** The round in which each revision was decided; 0 for a skip, which names no round and hinders nobody. */
function recordedRounds(decisions: readonly Told[], cohort: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const { value } of decisions) {
    if (!('cohort' in value)) found.set(revisionKey(value), found.get(revisionKey(value)) ?? 0);
    else if (value.cohort === cohort) found.set(revisionKey(value), value.round);
  }
  return found;
}

/**
 * Revisions that were erased before the round closed: rounds and erasures take one lock and number their events in one order.
 * Not their subjects: another's withdrawal may have named the study.
 */
function erasedBefore(erased: RecordedRounds['erased'], round: RoundClosed): Set<string> {
  return new Set(erased.filter((e) => (e.sequence ?? 0n) < (round.sequence ?? 0n)).map((e) => revisionKey(e.value)));
}
