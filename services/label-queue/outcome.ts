// What follows from a submission: more tasks, or the end of the study and its event.
import type { Reading } from '../../schemas/events.gen.ts';
import type { ResearchRevision, ResearchStudyId, SubjectId } from '../kernel/ids.ts';
import type { Randomness } from '../ports/clock.ts';
import type { Transaction } from '../ports/database.ts';
import { consensus, type NextStep, rolesOf, type Said, type TaskKind } from './consensus.ts';
import type { SkipCode } from './skip-codes.ts';

export interface StudyRow {
  readonly study_id: ResearchStudyId;
  readonly revision: ResearchRevision;
  readonly subject_id: SubjectId;
  readonly volume_digest: string;
  readonly event_id: string;
  readonly state: 'reading' | 'labelled' | 'rejected';
  /** The newer revision that is read in its place. */
  readonly stale_by: string | null;
}

interface SaidRow {
  readonly kind: TaskKind;
  readonly grade: number | null;
  readonly skip: SkipCode | null;
  readonly pseudonym: string;
  readonly seconds: number;
  readonly simulated: boolean;
}

/** Opens the tasks that do not stand yet and gives their ids, which are random: a reader can't tell a third reading from a first. */
export async function openTasks(
  tx: Transaction,
  random: Randomness,
  study: { readonly studyId: string; readonly revision: string },
  kinds: readonly TaskKind[],
): Promise<string[]> {
  const rows = await tx.query<{ task_id: string }>(
    `INSERT INTO task (task_id, study_id, revision, kind) SELECT task_id, $1, $2, kind FROM unnest($3::text[], $4::text[]) AS new (task_id, kind)
     ON CONFLICT (study_id, revision, kind) DO NOTHING RETURNING task_id`,
    [study.studyId, study.revision, kinds.map(() => `${random.attempt()}${random.attempt()}`), kinds],
  );
  return rows.map((r) => r.task_id);
}

/** Judges all readings of the study (whose row the caller has locked) and makes the next step so. */
export async function takeNextStep(tx: Transaction, random: Randomness, study: StudyRow): Promise<NextStep> {
  const said = await tx.query<SaidRow>(
    `SELECT t.kind, r.grade, r.skip, d.pseudonym, r.seconds, r.simulated
     FROM reading r JOIN task t USING (task_id) JOIN reader d ON d.id = r.reader
     WHERE t.study_id = $1 AND t.revision = $2 ORDER BY r.seq`,
    [study.study_id, study.revision],
  );
  const next = consensus(said satisfies readonly Said[]);
  const ids = { studyId: study.study_id, revision: study.revision };
  // A newer revision is read in its place: what was claimed may still agree, and nobody is asked anew.
  if (study.stale_by !== null && next.step !== 'accept' && next.step !== 'reject') return next;
  if (next.step === 'read') {
    await openTasks(
      tx,
      random,
      ids,
      Array.from({ length: next.slots }, (_, i): TaskKind => `grade-${i + 1}`),
    );
    return next;
  }
  if (next.step === 'adjudicate' || next.step === 'lead')
    await Promise.all([cancelTasks(tx, study), openTasks(tx, random, ids, [next.step])]);
  else await end(tx, study, next, said);
  return next;
}

/** Nobody else's reading counts any more: open and leased tasks end, their readers are told when they submit. */
async function cancelTasks(tx: Transaction, study: StudyRow): Promise<void> {
  await tx.query("UPDATE task SET state = 'cancelled' WHERE study_id = $1 AND revision = $2 AND state IN ('open', 'leased')", [
    study.study_id,
    study.revision,
  ]);
}

async function end(
  tx: Transaction,
  study: StudyRow,
  next: Extract<NextStep, { step: 'accept' | 'reject' }>,
  said: readonly SaidRow[],
): Promise<void> {
  const ids = { studyId: study.study_id, revision: study.revision };
  await Promise.all([
    cancelTasks(tx, study),
    tx.query('UPDATE study SET state = $3 WHERE study_id = $1 AND revision = $2', [
      study.study_id,
      study.revision,
      next.step === 'accept' ? 'labelled' : 'rejected',
    ]),
  ]);
  if (next.step === 'reject') {
    const detail = `${next.reason} after ${said.length} reading${said.length === 1 ? '' : 's'}`;
    await tx.enqueue({
      type: 'ctstream.research.v1.StudyRejected',
      value: { ...ids, stage: 'label-queue', code: next.code, detail, subjectId: null },
      cause: study.event_id,
    });
    return;
  }
  const graded = said.flatMap((s) => (s.grade === null ? [] : [{ ...s, grade: s.grade }]));
  const roles = rolesOf(graded.map((s) => s.kind));
  const readings = graded.map((s, i): Reading => ({
    reader: s.pseudonym,
    grade: s.grade,
    seconds: s.seconds,
    simulated: s.simulated,
    role: roles[i] ?? 'third',
  }));
  await tx.enqueue({
    type: 'ctstream.research.v1.StudyLabelled',
    value: {
      ...ids,
      subjectId: study.subject_id,
      volumeDigest: study.volume_digest,
      grade: next.grade,
      adjudicated: next.adjudicated,
      simulated: said.some((s) => s.simulated),
      readings,
    },
    cause: study.event_id,
  });
}
