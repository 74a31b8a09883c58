// Erasure of a withdrawn subject: its candidates and decisions, those of the studies that its withdrawal names, and what the
// outbox still holds of them.
import type { SubjectWithdrawn } from '../../schemas/events.gen.ts';
import { Fault } from '../kernel/fault.ts';
import type { ResearchRevision, ResearchStudyId } from '../kernel/ids.ts';
import { type Erased, lockStudies, lockSubject, noteErased, noteWithdrawn, tellErased } from '../kernel/withdrawn-rows.ts';
import type { Database, Transaction } from '../ports/database.ts';
import { lockRounds } from './round.ts';

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
  const { rows, isLast } = await database.transaction(async (tx) => {
    const found = await erase(tx, withdrawal, cause);
    const isLast = found.sinceMs >= eraseAgainAfterMs && found.unsent === 0;
    if (isLast) await tellErased(tx, 'select', withdrawal, found.rows, cause);
    return { rows: found.rows, isLast };
  }, signal);
  if (!isLast) throw new Fault('ERASURE_PENDING', true, `${rows} rows erased; again when no job can be running that began before`);
}

async function erase(tx: Transaction, { subjectId, studies }: SubjectWithdrawn, cause: string): Promise<Erased> {
  const named = studies ?? [];
  // A round sees all of a subject or nothing.
  await lockRounds(tx);
  await lockSubject(tx, subjectId);
  // None can be added to those that the subject has here, under its lock.
  const theirs = await tx.query<{ study_id: string }>('SELECT DISTINCT study_id FROM candidate WHERE subject_id = $1', [subjectId]);
  await lockStudies(tx, [...named, ...theirs.map((t) => t.study_id)]);
  await tx.query('INSERT INTO withdrawn (subject_id) VALUES ($1) ON CONFLICT DO NOTHING', [subjectId]);
  // Of a study that is named, or whose newest revision is theirs, all: after a merge in the PACS the older ones have their images.
  const gone = await tx.query<{ study_id: ResearchStudyId; revision: ResearchRevision; ordinal: number }>(
    `DELETE FROM candidate c WHERE study_id = ANY ($2::text[]) OR study_id IN (SELECT study_id FROM candidate WHERE subject_id = $1)
       AND (subject_id = $1 OR $1 = (SELECT n.subject_id FROM candidate n WHERE n.study_id = c.study_id
                                     ORDER BY n.ordinal DESC, n.revision DESC LIMIT 1))
     RETURNING study_id, revision, ordinal`,
    [subjectId, named],
  );
  await noteWithdrawn(tx, named, gone);
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
  return await noteErased(tx, subjectId, gone.length + decisions.length, [...gone.map((g) => g.study_id), ...named]);
}
