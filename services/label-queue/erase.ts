// Erasure of a withdrawn subject: its studies, those that its withdrawal names, their tasks and readings, and what the outbox
// still holds of them. The audit stays: it names tasks only, and which study a task was of stands nowhere any more.
import type { SubjectWithdrawn } from '../../schemas/events.gen.ts';
import { Fault } from '../kernel/fault.ts';
import type { SubjectId } from '../kernel/ids.ts';
import { lockStudies, lockSubject, noteErased, noteWithdrawn, tellErased } from '../kernel/withdrawn-rows.ts';
import type { Database, Transaction } from '../ports/database.ts';
import { audit } from './audit.ts';

export interface ErasePorts {
  readonly database: Database;
  /** How long after the first erasure the second, last one is made; longer than the longest job. */
  readonly eraseAgainAfterMs: number;
}

/**
 * Erases the subject, and again after the longest job; then tells so. `cause` is the id of the withdrawal's event.
 * @throws Fault ERASURE_PENDING until the second erasure may be the last
 */
export async function eraseSubject(
  { database, eraseAgainAfterMs }: ErasePorts,
  withdrawal: SubjectWithdrawn,
  cause: string,
  signal: AbortSignal,
): Promise<void> {
  const { subjectId } = withdrawal;
  const named = withdrawal.studies ?? [];
  const { rows, isLast } = await database.transaction(async (tx) => {
    await lockSubject(tx, subjectId);
    // None can be added to those that the subject has here, under its lock.
    const theirs = await tx.query<{ study_id: string }>('SELECT DISTINCT study_id FROM study WHERE subject_id = $1', [subjectId]);
    await lockStudies(tx, [...named, ...theirs.map((t) => t.study_id)]);
    await tx.query('INSERT INTO withdrawn (subject_id) VALUES ($1) ON CONFLICT DO NOTHING', [subjectId]);
    const gone = await eraseStudies(tx, subjectId, named);
    const found = await noteErased(tx, subjectId, gone.rows, gone.studies);
    const isLast = found.sinceMs >= eraseAgainAfterMs && found.unsent === 0;
    if (isLast) await tellErased(tx, 'label-queue', withdrawal, found.rows, cause);
    if (gone.rows > 0) await audit(tx, 'label-queue', 'erased', { rows: gone.rows });
    return { rows: found.rows, isLast };
  }, signal);
  if (!isLast) throw new Fault('ERASURE_PENDING', true, `${rows} rows erased; again when no job can be running that began before`);
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
  await noteWithdrawn(tx, named, studies);
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
