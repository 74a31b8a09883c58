// Erasure of a withdrawn subject: its studies, those that its withdrawal names, their tasks and readings, and what the outbox
// still holds of them. The audit stays: it names tasks only, and which study a task was of stands nowhere any more.
import type { StudySelected, SubjectWithdrawn } from '../../schemas/events.gen.ts';
import { Fault } from '../kernel/fault.ts';
import type { SubjectId } from '../kernel/ids.ts';
import type { Database, Transaction } from '../ports/database.ts';
import { audit } from './audit.ts';

export interface ErasePorts {
  readonly database: Database;
  /** How long after the first erasure the second, last one is made; longer than the longest job. */
  readonly eraseAgainAfterMs: number;
}

/** For whoever adds something of a subject, and for its erasure: one of them at a time. */
export async function lockSubject(tx: Transaction, subjectId: string): Promise<void> {
  await tx.query("SELECT pg_advisory_xact_lock(hashtext('subject'), hashtext($1))", [subjectId]);
}

/** The same of a study: an erasure may name it that knows another subject. Taken after that of the subject. */
export async function lockStudy(tx: Transaction, studyId: string): Promise<void> {
  await tx.query("SELECT pg_advisory_xact_lock(hashtext('study'), hashtext($1))", [studyId]);
}

/** Whether the revision is of a subject that withdrew, or of what was withdrawn of its study. Ask it under both locks. */
export async function isWithdrawn(tx: Transaction, v: Pick<StudySelected, 'subjectId' | 'studyId' | 'ordinal'>): Promise<boolean> {
  const found = await tx.query(
    `SELECT 1 FROM withdrawn WHERE subject_id = $1
     UNION ALL SELECT 1 FROM withdrawn_study WHERE study_id = $2 AND ordinal >= $3`,
    [v.subjectId, v.studyId, v.ordinal],
  );
  return found.length > 0;
}

/**
 * Erases the subject, and again after the longest job; then tells so. `cause` is the id of the withdrawal's event.
 * @throws Fault ERASURE_PENDING until the second erasure may be the last
 */
export async function eraseSubject(
  { database, eraseAgainAfterMs }: ErasePorts,
  { subjectId, studies }: SubjectWithdrawn,
  cause: string,
  signal: AbortSignal,
): Promise<void> {
  const { rows, isLast } = await database.transaction(async (tx) => {
    await lockSubject(tx, subjectId);
    await lockStudies(tx, subjectId, studies ?? []);
    await tx.query('INSERT INTO withdrawn (subject_id) VALUES ($1) ON CONFLICT DO NOTHING', [subjectId]);
    const gone = await eraseStudies(tx, subjectId, studies ?? []);
    const [state] = await tx.query<{ rows: number; studies: string[]; since_ms: string }>(
      `UPDATE withdrawn SET rows = rows + $2, studies = array(SELECT DISTINCT unnest(studies || $3::text[]))
       WHERE subject_id = $1
       RETURNING rows, studies, (extract(epoch FROM clock_timestamp() - withdrawn_at) * 1000)::bigint AS since_ms`,
      [subjectId, gone.rows, gone.studies],
    );
    if (state === undefined) throw new Error('a withdrawal was noted and is not there');
    const { unsent } = await tx.forget(state.studies);
    const isLast = Number(state.since_ms) >= eraseAgainAfterMs && unsent === 0;
    if (isLast) await finish(tx, subjectId, state.rows, cause);
    if (gone.rows > 0) await audit(tx, 'label-queue', 'erased', { rows: gone.rows });
    return { rows: state.rows, isLast };
  }, signal);
  if (!isLast) throw new Fault('ERASURE_PENDING', true, `${rows} rows erased; again when no job can be running that began before`);
}

/** Those that are named, and those that the subject has here: none can be added to them under the subject's lock. */
async function lockStudies(tx: Transaction, subjectId: SubjectId, named: readonly string[]): Promise<void> {
  const theirs = await tx.query<{ study_id: string }>('SELECT DISTINCT study_id FROM study WHERE subject_id = $1', [subjectId]);
  for (const studyId of [...new Set([...named, ...theirs.map((t) => t.study_id)])].sort()) await lockStudy(tx, studyId);
}

/** Above every ordinal: the whole study. */
const WHOLE = 2_147_483_647;

interface Reached {
  readonly studyId: string;
  readonly ordinal: number;
}

/** Notes up to which ordinal studies are withdrawn. */
async function noteWithdrawn(tx: Transaction, studies: readonly Reached[]): Promise<void> {
  await tx.query(
    `INSERT INTO withdrawn_study AS w (study_id, ordinal)
     SELECT study_id, max(ordinal) FROM unnest($1::text[], $2::integer[]) AS new (study_id, ordinal) GROUP BY study_id
     ON CONFLICT (study_id) DO UPDATE SET ordinal = greatest(w.ordinal, excluded.ordinal)`,
    [studies.map((s) => s.studyId), studies.map((s) => s.ordinal)],
  );
}

/**
 * The subject's revisions; of a study that is named, or whose newest one is theirs, all: after a merge in the PACS the older
 * ones have its images.
 */
async function eraseStudies(tx: Transaction, subjectId: SubjectId, named: readonly string[]): Promise<{ rows: number; studies: string[] }> {
  // Locks the studies as a submission does: one that is under way ends first, and what it said goes with the rest.
  const studies = await tx.query<{ study_id: string; revision: string; ordinal: number }>(
    `SELECT study_id, revision, ordinal FROM study s
     WHERE study_id = ANY ($2::text[]) OR study_id IN (SELECT study_id FROM study WHERE subject_id = $1)
       AND (subject_id = $1 OR $1 = (SELECT n.subject_id FROM study n WHERE n.study_id = s.study_id
                                     ORDER BY n.ordinal DESC, n.revision DESC LIMIT 1))
     ORDER BY study_id, revision FOR UPDATE`,
    [subjectId, named],
  );
  await noteWithdrawn(tx, [
    ...studies.map((s) => ({ studyId: s.study_id, ordinal: s.ordinal })),
    ...named.map((studyId) => ({ studyId, ordinal: WHOLE })),
  ]);
  let rows = studies.length;
  await tx.query("SELECT set_config('ctstream.erasure', 'on', true)");
  for (const { study_id: study, revision } of studies) {
    const of = [study, revision];
    const readings = await tx.query(
      'DELETE FROM reading r USING task t WHERE t.task_id = r.task_id AND t.study_id = $1 AND t.revision = $2 RETURNING 1',
      of,
    );
    const tasks = await tx.query(
      `WITH gone AS (DELETE FROM task WHERE study_id = $1 AND revision = $2 RETURNING task_id)
       INSERT INTO erased_task (task_id) SELECT task_id FROM gone RETURNING 1`,
      of,
    );
    await tx.query('DELETE FROM study WHERE study_id = $1 AND revision = $2', of);
    // What else is known of the study goes with its last revision: another subject's goes on.
    const lineage = await tx.query(
      `DELETE FROM lineage WHERE study_id = $1 AND (other = $2 OR NOT EXISTS (SELECT FROM study WHERE study_id = $1)) RETURNING 1`,
      of,
    );
    rows += readings.length + tasks.length + lineage.length;
  }
  await tx.query("SELECT set_config('ctstream.erasure', 'off', true)");
  return { rows, studies: [...new Set([...named, ...studies.map((s) => s.study_id)])] };
}

async function finish(tx: Transaction, subjectId: SubjectId, rows: number, cause: string): Promise<void> {
  await tx.query("UPDATE withdrawn SET studies = '{}' WHERE subject_id = $1", [subjectId]);
  await tx.enqueue({
    type: 'ctstream.research.v1.ErasureDone',
    value: { subjectId, stage: 'label-queue', objects: 0, rows },
    cause,
  });
}
