// What select and label-queue both keep of withdrawals in their databases: the tables `withdrawn` and `withdrawn_study`, and the
// locks between whoever adds something of a subject or a study and its erasure.
import type { SubjectWithdrawn } from '../../schemas/events.gen.ts';
import type { SubjectId } from './ids.ts';
import type { NewEvent } from './outcome.ts';

/** What is used of a transaction (ports/database.ts). */
interface Rows {
  query<Row extends object = Record<string, unknown>>(sql: string, params?: readonly unknown[]): Promise<readonly Row[]>;
}

interface Outbox {
  forget(keys: readonly string[]): Promise<{ readonly unsent: number }>;
  enqueue(event: NewEvent & { cause: string; again: boolean }): Promise<void>;
}

/** Ordinal of a study that is withdrawn whole: above every revision's. */
export const WHOLE = 2_147_483_647;

/** For whoever adds something of a subject, and for its erasure: one of them at a time. */
export async function lockSubject(tx: Rows, subjectId: string): Promise<void> {
  await tx.query("SELECT pg_advisory_xact_lock(hashtext('subject'), hashtext($1))", [subjectId]);
}

/**
 * The same of a study: its revisions may be of two subjects (merged in the PACS) and come at once, one of them from a retry
 * topic, and an erasure may name it that knows another subject. Taken after that of the subject.
 */
export async function lockStudy(tx: Rows, studyId: string): Promise<void> {
  await tx.query("SELECT pg_advisory_xact_lock(hashtext('study'), hashtext($1))", [studyId]);
}

/** For an erasure: all in one order, so that two of them never wait for each other. */
export async function lockStudies(tx: Rows, studyIds: readonly string[]): Promise<void> {
  for (const studyId of [...new Set(studyIds)].sort()) await lockStudy(tx, studyId);
}

/** Whether the revision is of a subject that withdrew, or of what was withdrawn of its study. Ask it under both locks. */
export async function isWithdrawn(
  tx: Rows,
  v: { readonly subjectId: string; readonly studyId: string; readonly ordinal: number },
): Promise<boolean> {
  const found = await tx.query(
    `SELECT 1 FROM withdrawn WHERE subject_id = $1
     UNION ALL SELECT 1 FROM withdrawn_study WHERE study_id = $2 AND ordinal >= $3`,
    [v.subjectId, v.studyId, v.ordinal],
  );
  return found.length > 0;
}

/** Notes up to which ordinal studies are withdrawn: those that are named whole, the others as far as their revisions went. */
export async function noteWithdrawn(
  tx: Rows,
  named: readonly string[],
  gone: readonly { readonly study_id: string; readonly ordinal: number }[],
): Promise<void> {
  const reached = [...gone, ...named.map((study) => ({ study_id: study, ordinal: WHOLE }))];
  await tx.query(
    `INSERT INTO withdrawn_study AS w (study_id, ordinal)
     SELECT study_id, max(ordinal) FROM unnest($1::text[], $2::integer[]) AS new (study_id, ordinal) GROUP BY study_id
     ON CONFLICT (study_id) DO UPDATE SET ordinal = greatest(w.ordinal, excluded.ordinal)`,
    [reached.map((s) => s.study_id), reached.map((s) => s.ordinal)],
  );
}

export interface Erased {
  /** Over all erasures of the subject. */
  readonly rows: number;
  /** Since the first erasure. */
  readonly sinceMs: number;
  /** Events of the subject's studies that are not published yet. */
  readonly unsent: number;
}

/** Notes what this erasure removed, and blanks what the outbox keeps of the subject's studies. */
export async function noteErased(
  tx: Rows & Pick<Outbox, 'forget'>,
  subjectId: SubjectId,
  rows: number,
  studies: readonly string[],
): Promise<Erased> {
  const [state] = await tx.query<{ rows: number; studies: string[]; since_ms: string }>(
    `UPDATE withdrawn SET rows = rows + $2, studies = array(SELECT DISTINCT unnest(studies || $3::text[]))
     WHERE subject_id = $1
     RETURNING rows, studies, (extract(epoch FROM clock_timestamp() - withdrawn_at) * 1000)::bigint AS since_ms`,
    [subjectId, rows, studies],
  );
  if (state === undefined) throw new Error('a withdrawal was noted and is not there');
  const { unsent } = await tx.forget(state.studies);
  return { rows: state.rows, sinceMs: Number(state.since_ms), unsent };
}

/** The last erasure is done: says so, once more where a withdrawal is told again whose reports were lost, and keeps the subject's name alone. `cause` is the id of the withdrawal's event. */
export async function tellErased(
  tx: Rows & Pick<Outbox, 'enqueue'>,
  stage: string,
  { subjectId }: SubjectWithdrawn,
  rows: number,
  cause: string,
): Promise<void> {
  await tx.query("UPDATE withdrawn SET studies = '{}' WHERE subject_id = $1", [subjectId]);
  await tx.enqueue({ type: 'ctstream.research.v1.ErasureDone', value: { subjectId, stage, objects: 0, rows }, cause, again: true });
}
