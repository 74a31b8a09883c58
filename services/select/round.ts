// Closing a round: the cut, the decision, and the events, in one transaction under an advisory lock.
import type { SelectionRoundClosed, StudyAssessed, StudySelected } from '../../schemas/events.gen.ts';
import { digestOfParts } from '../kernel/digest.ts';
import type { NewEvent } from '../kernel/outcome.ts';
import type { Database, Queryable, Transaction } from '../ports/database.ts';
import type { CohortFile } from './cohort.ts';
import { advanceCut, type Hole } from './cut.ts';
import { type Candidate, type Decision, type EarlierDecision, decide } from './decide.ts';

/** One process at a time closes a round, or erases a subject; the lock ends with the transaction. */
const ROUND_LOCK = 0x53454c45;

export interface RoundResult extends SelectionRoundClosed {
  readonly holes: readonly Hole[];
}

export async function lockRounds(tx: Transaction): Promise<void> {
  await tx.query('SELECT pg_advisory_xact_lock($1)', [ROUND_LOCK]);
}

/** An assessed study as the decision sees it, with what its events are made of. */
export interface Assessed extends Candidate {
  readonly eventId: string;
  readonly value: StudyAssessed;
}

const NOT_DECIDED = 'NOT EXISTS (SELECT FROM decision d WHERE d.cohort = $1 AND d.study_id = c.study_id AND d.revision = c.revision)';

/** What no round of the cohort has decided. */
const UNDECIDED = `FROM candidate c WHERE ${NOT_DECIDED}`;

/** Of that what the cut covers: a round decides nothing else. */
const COVERED = `FROM candidate c JOIN progress p USING (topic, partition) WHERE c.place < p.next AND ${NOT_DECIDED}`;

/**
 * Closes the next round of the cohort; undefined when there is nothing to decide (empty rounds are not closed).
 * `holeWaitMs`: how long an offset that did not come holds up its partition.
 * `isDue` is asked of what the cut covers, and may put the round off. What lies behind a hole has no say: it cannot be
 * decided, and would have every look close a round of the few studies that came since the last.
 */
export async function closeRound(
  database: Database,
  file: CohortFile,
  holeWaitMs: number,
  isDue?: (covered: Waiting) => boolean,
  signal?: AbortSignal,
): Promise<RoundResult | undefined> {
  return await database.transaction(async (tx) => {
    await lockRounds(tx);
    const { cut, holes } = await advanceCut(tx, holeWaitMs);
    // A cut that passes over a hole is not put off: this round is the only one that can name the hole.
    if (isDue !== undefined && holes.length === 0 && !isDue(await coveredWaiting(tx, file.cohort.name))) return undefined;
    const candidates = await covered(tx, file.cohort.name);
    if (candidates.length === 0) return undefined;
    const [earlier, withdrawn, last] = await Promise.all([
      earlierDecisions(tx, file.cohort.name),
      withdrawnSubjects(tx),
      lastRound(tx, file.cohort.name),
    ]);
    const decisions = decide({ cohort: file.cohort, candidates, earlier, withdrawn });
    if (decisions.length === 0) return undefined;
    const of = (outcome: string): number => decisions.filter((d) => d.outcome === outcome).length;
    const closed: SelectionRoundClosed = {
      cohort: file.cohort.name,
      cohortSha256: file.sha256,
      round: last + 1,
      cut,
      considered: decisions.length,
      selected: of('selected'),
      excluded: of('excluded'),
    };
    await writeRound(tx, closed, holes, decisions);
    return { ...closed, holes };
  }, signal);
}

async function covered(tx: Transaction, cohort: string): Promise<Assessed[]> {
  const rows = await tx.query<{ event_id: string; value: StudyAssessed }>(
    `SELECT c.event_id, c.value ${COVERED} ORDER BY c.study_id, c.revision`,
    [cohort],
  );
  return rows.map(({ event_id, value }) => assessedOf(event_id, value));
}

export function assessedOf(eventId: string, v: StudyAssessed): Assessed {
  return {
    eventId,
    value: v,
    studyId: v.studyId,
    subjectId: v.subjectId,
    site: v.site,
    revision: v.revision,
    ordinal: v.ordinal,
    estimatedClass: v.estimatedClass,
    uncertain: v.uncertain,
    sex: v.sex,
    ageBand: v.ageBand,
    kernel: v.kernel,
    contrast: v.contrast,
  };
}

/** Number of the cohort's last round, 0 before the first. */
async function lastRound(tx: Transaction, cohort: string): Promise<number> {
  const [row] = await tx.query<{ number: number }>('SELECT coalesce(max(number), 0) AS number FROM round WHERE cohort = $1', [cohort]);
  return row?.number ?? 0;
}

async function withdrawnSubjects(tx: Transaction): Promise<Set<string>> {
  return new Set((await tx.query<{ subject_id: string }>('SELECT subject_id FROM withdrawn')).map((r) => r.subject_id));
}

async function earlierDecisions(tx: Transaction, cohort: string): Promise<EarlierDecision[]> {
  const rows = await tx.query<{ study_id: string; ordinal: number; subject_id: string; site: string; cell: string; outcome: string }>(
    `SELECT d.study_id, c.ordinal, d.subject_id, d.site, d.cell, d.outcome
     FROM decision d JOIN candidate c USING (study_id, revision) WHERE d.cohort = $1 AND d.outcome <> 'skipped'`,
    [cohort],
  );
  return rows.map((r) => ({
    studyId: r.study_id,
    ordinal: r.ordinal,
    subjectId: r.subject_id,
    site: r.site,
    cell: r.cell,
    outcome: r.outcome as EarlierDecision['outcome'],
  }));
}

async function writeRound(
  tx: Transaction,
  closed: SelectionRoundClosed,
  holes: readonly Hole[],
  decisions: readonly Decision<Assessed>[],
): Promise<void> {
  const { cohort, round } = closed;
  await Promise.all([
    tx.query(
      'INSERT INTO round (cohort, number, cohort_sha256, cut, holes, considered, selected, excluded) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)',
      [
        cohort,
        round,
        closed.cohortSha256,
        JSON.stringify(closed.cut),
        JSON.stringify(holes),
        closed.considered,
        closed.selected,
        closed.excluded,
      ],
    ),
    ...decisions.map(async (d) => await writeDecision(tx, d, cohort, round)),
  ]);
  await tx.enqueue([...decisions.map((d) => decisionEvent(d, cohort, round)), roundEvent(closed)]);
}

async function writeDecision(tx: Transaction, d: Decision<Assessed>, cohort: string, round: number): Promise<void> {
  const c = d.candidate;
  await tx.query(
    'INSERT INTO decision (cohort, study_id, revision, number, outcome, code, subject_id, site, cell) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)',
    [cohort, c.studyId, c.revision, round, d.outcome, 'code' in d ? d.code : null, c.subjectId, c.site, d.cell],
  );
}

type Caused = NewEvent & { readonly cause: string };

/** What is told of a round. A replay tells the same, with the same id. */
export function roundEvent(closed: SelectionRoundClosed): Caused {
  const cause = digestOfParts(['round', closed.cohort, String(closed.round)]);
  return { type: 'ctstream.research.v1.SelectionRoundClosed', value: closed, cause };
}

/** What is told of a decision: a pure function of the assessment, the cohort's name and the round. */
export function decisionEvent(d: Decision<Assessed>, cohort: string, round: number): Caused {
  const v = d.candidate.value;
  // The cohort is part of the cause: another cohort may decide the same assessment again.
  const cause = digestOfParts(['decision', cohort, d.candidate.eventId]);
  if (!('code' in d)) return { type: 'ctstream.research.v1.StudySelected', value: selectedValue(v, cohort, round, d.cell), cause };
  if (d.outcome === 'excluded')
    return {
      type: 'ctstream.research.v1.StudyExcluded',
      value: { studyId: v.studyId, revision: v.revision, cohort, round, code: d.code, detail: d.detail },
      cause,
    };
  return {
    type: 'ctstream.research.v1.StudySkipped',
    value: { studyId: v.studyId, revision: v.revision, stage: 'select', code: d.code, detail: d.detail },
    cause,
  };
}

function selectedValue(v: StudyAssessed, cohort: string, round: number, cell: string): StudySelected {
  const { studyId, subjectId, site, revision, ordinal, volumeKey, volumeDigest, shape, spacingMm, sliceThicknessMm, kernel, kvp } = v;
  const { lungVolumeMl, affectedPercent, estimatedClass, distanceToCut, uncertain, ageBand, sex, manufacturer } = v;
  return {
    studyId,
    subjectId,
    site,
    revision,
    ordinal,
    cohort,
    round,
    cell,
    volumeKey,
    volumeDigest,
    shape,
    spacingMm,
    sliceThicknessMm,
    kernel,
    kvp,
    lungVolumeMl,
    affectedPercent,
    estimatedClass,
    distanceToCut,
    uncertain,
    ageBand,
    sex,
    manufacturer,
  };
}

export interface Waiting {
  readonly studies: number;
  /** Milliseconds that the oldest undecided study has waited, 0 when none does. */
  readonly oldestMs: number;
}

/** Appended studies that no round of the cohort has decided, also those behind a hole of the cut. */
export async function waiting(database: Queryable, cohort: string): Promise<Waiting> {
  return await waitingOf(database, UNDECIDED, cohort);
}

/**
 * What the cut covers, as the rules of rounds count its time: none of it waits longer than since the last round. Holes that close one
 * after another uncover old studies each time, and would have as many rounds of a few.
 */
async function coveredWaiting(tx: Transaction, cohort: string): Promise<Waiting> {
  return await waitingOf(tx, COVERED, cohort, 'greatest(min(c.seen_at), (SELECT max(r.closed_at) FROM round r WHERE r.cohort = $1))');
}

async function waitingOf(database: Queryable, candidates: string, cohort: string, since = 'min(c.seen_at)'): Promise<Waiting> {
  const [row] = await database.query<{ studies: string; oldest_ms: string }>(
    `SELECT count(*) AS studies, coalesce(extract(epoch FROM clock_timestamp() - ${since}) * 1000, 0)::bigint AS oldest_ms
     ${candidates}`,
    [cohort],
  );
  return { studies: Number(row?.studies ?? 0), oldestMs: Number(row?.oldest_ms ?? 0) };
}
