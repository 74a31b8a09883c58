// Erasure of a withdrawn subject: its candidates and decisions, those of the studies that its withdrawal names, and what the
// outbox still holds of them.
import type { StudyAssessed, SubjectWithdrawn } from '../../schemas/events.gen.ts';
import { Fault } from '../kernel/fault.ts';
import type { ResearchRevision, ResearchStudyId, SubjectId } from '../kernel/ids.ts';
import type { Database, Transaction } from '../ports/database.ts';
import { lockRounds } from './round.ts';

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
export async function isWithdrawn(tx: Transaction, v: Pick<StudyAssessed, 'subjectId' | 'studyId' | 'ordinal'>): Promise<boolean> {
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
  withdrawal: SubjectWithdrawn,
  cause: string,
  signal: AbortSignal,
): Promise<void> {
  const { rows, isLast } = await database.transaction(async (tx) => {
    const found = await erase(tx, withdrawal, cause);
    const isLast = found.sinceMs >= eraseAgainAfterMs && found.unsent === 0;
    if (isLast) await finish(tx, withdrawal.subjectId, found.rows, cause);
    return { rows: found.rows, isLast };
  }, signal);
  if (!isLast) throw new Fault('ERASURE_PENDING', true, `${rows} rows erased; again when no job can be running that began before`);
}

interface Erased {
  readonly rows: number;
  /** Since the first erasure. */
  readonly sinceMs: number;
  /** Events of the subject's studies that are not published yet. */
  readonly unsent: number;
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

async function erase(tx: Transaction, { subjectId, studies }: SubjectWithdrawn, cause: string): Promise<Erased> {
  // A round sees all of a subject or nothing.
  await lockRounds(tx);
  await lockSubject(tx, subjectId);
  await lockStudies(tx, subjectId, studies ?? []);
  await tx.query('INSERT INTO withdrawn (subject_id) VALUES ($1) ON CONFLICT DO NOTHING', [subjectId]);
  // Of a study that is named, or whose newest revision is theirs, all: after a merge in the PACS the older ones have their images.
  const gone = await tx.query<{ study_id: ResearchStudyId; revision: ResearchRevision; ordinal: number }>(
    `DELETE FROM candidate c WHERE study_id = ANY ($2::text[]) OR study_id IN (SELECT study_id FROM candidate WHERE subject_id = $1)
       AND (subject_id = $1 OR $1 = (SELECT n.subject_id FROM candidate n WHERE n.study_id = c.study_id
                                     ORDER BY n.ordinal DESC, n.revision DESC LIMIT 1))
     RETURNING study_id, revision, ordinal`,
    [subjectId, studies ?? []],
  );
  await noteWithdrawn(tx, [
    ...gone.map((g) => ({ studyId: g.study_id, ordinal: g.ordinal })),
    ...(studies ?? []).map((studyId) => ({ studyId, ordinal: WHOLE })),
  ]);
  const decisions = await tx.query(
    `DELETE FROM decision WHERE subject_id = $1
       OR (study_id, revision) IN (SELECT * FROM unnest($2::text[], $3::text[])) RETURNING 1`,
    [subjectId, gone.map((g) => g.study_id), gone.map((g) => g.revision)],
  );
  // Release learns by this which exclusions are theirs: an exclusion names no subject.
  await tx.enqueue(
    gone.map(({ study_id: studyId, revision }) => ({
      type: 'ctstream.research.v1.StudyRejected',
      value: {
        studyId,
        revision,
        stage: 'select',
        code: 'PATIENT_WITHDRAWN',
        detail: 'erased',
        // Named studies are told whole already; else release must take this for the whole study.
        subjectId: studies === null ? null : subjectId,
      },
      cause: `${cause}|${studyId}|${revision}`,
    })),
  );
  const [state] = await tx.query<{ rows: number; studies: string[]; since_ms: string }>(
    `UPDATE withdrawn SET rows = rows + $2, studies = array(SELECT DISTINCT unnest(studies || $3::text[]))
     WHERE subject_id = $1
     RETURNING rows, studies, (extract(epoch FROM clock_timestamp() - withdrawn_at) * 1000)::bigint AS since_ms`,
    [subjectId, gone.length + decisions.length, [...gone.map((g) => g.study_id), ...(studies ?? [])]],
  );
  if (state === undefined) throw new Error('a withdrawal was noted and is not there');
  const { unsent } = await tx.forget(state.studies);
  return { rows: state.rows, sinceMs: Number(state.since_ms), unsent };
}

/** Those that are named, and those that the subject has here: none can be added to them under the subject's lock. */
async function lockStudies(tx: Transaction, subjectId: SubjectId, named: readonly string[]): Promise<void> {
  const theirs = await tx.query<{ study_id: string }>('SELECT DISTINCT study_id FROM candidate WHERE subject_id = $1', [subjectId]);
  for (const studyId of [...new Set([...named, ...theirs.map((t) => t.study_id)])].sort()) await lockStudy(tx, studyId);
}

async function finish(tx: Transaction, subjectId: SubjectId, rows: number, cause: string): Promise<void> {
  await tx.query("UPDATE withdrawn SET studies = '{}' WHERE subject_id = $1", [subjectId]);
  await tx.enqueue({
    type: 'ctstream.research.v1.ErasureDone',
    value: { subjectId, stage: 'select', objects: 0, rows },
    cause,
  });
}
