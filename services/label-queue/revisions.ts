// A newer revision of a study that is in the queue already: whose volume is read, and what becomes of what was read.
import type { StudySelected } from '../../schemas/events.gen.ts';
import { Fault } from '../kernel/fault.ts';
import type { ResearchRevision } from '../kernel/ids.ts';
import { MANIFEST_LIMIT_BYTES } from '../kernel/manifest.ts';
import type { Transaction } from '../ports/database.ts';
import type { ObjectStore } from '../ports/object-store.ts';

const RESEARCH = 'ct-research';

export type VolumeStore = Pick<ObjectStore, 'getBytes'>;

/** A revision in the queue. */
interface Standing {
  readonly revision: ResearchRevision;
  readonly ordinal: number;
  readonly subject_id: string;
  readonly state: 'reading' | 'labelled' | 'rejected';
}

/** What the queue does with a selected revision. */
export type Place =
  | { readonly kind: 'new' | 'known'; readonly before?: undefined }
  /** `before` is the revision that readers have or had. */
  | { readonly kind: 'late' | 'same' | 'moves' | 'stale'; readonly before: ResearchRevision };

/**
 * Looks at the newest revision that stands, with its row and tasks locked until the transaction ends. Volumes are compared
 * by the hashes that assess keeps in ct-research: the digests of events are keyed by revision and never equal. The same
 * volume of another subject (a patient was merged in the PACS) is not the same: what is read must go when its subject does.
 * @throws Fault MANIFEST_MISSING when an assessment is not there
 */
export async function placeOf(tx: Transaction, store: VolumeStore, v: StudySelected, signal: AbortSignal): Promise<Place> {
  const [standing, gone] = await Promise.all([
    tx.query<Standing>(
      'SELECT revision, ordinal, subject_id, state FROM study WHERE study_id = $1 ORDER BY ordinal DESC, revision DESC FOR UPDATE',
      [v.studyId],
    ),
    tx.query<{ revision: string; ordinal: number }>('SELECT revision, ordinal FROM lineage WHERE study_id = $1', [v.studyId]),
  ]);
  // A second cohort chose the same revision: it is read once.
  if ([...standing, ...gone].some((r) => r.revision === v.revision)) return { kind: 'known' };
  const newest = standing[0];
  if (newest === undefined) return { kind: 'new' };
  const before = newest.revision;
  if ([...standing, ...gone].some((r) => r.ordinal > v.ordinal)) return { kind: 'late', before };
  if (newest.subject_id === v.subjectId) {
    const was = await volumeSha256(store, v.studyId, before, signal);
    if (was === (await volumeSha256(store, v.studyId, v.revision, signal))) return { kind: 'same', before };
  }
  return { kind: newest.state === 'reading' && !(await isClaimed(tx, v.studyId, before)) ? 'moves' : 'stale', before };
}

async function volumeSha256(store: VolumeStore, studyId: string, revision: string, signal: AbortSignal): Promise<string> {
  const key = `${studyId}/${revision}/assessment.json`;
  const bytes = await store.getBytes(RESEARCH, key, MANIFEST_LIMIT_BYTES, signal);
  if (bytes === undefined) throw new Fault('MANIFEST_MISSING', true, `${key} is not in ${RESEARCH}`);
  const { volumeSha256: hash } = JSON.parse(Buffer.from(bytes).toString('utf8')) as { readonly volumeSha256?: unknown };
  if (typeof hash !== 'string') throw new Fault('OBJECT_CORRUPT', true, `${key} does not say which volume it is of`);
  return hash;
}

/** Whether somebody holds a task or has answered one. The lease of one who went away does not count. */
async function isClaimed(tx: Transaction, studyId: string, revision: string): Promise<boolean> {
  const tasks = await tx.query<{ claimed: boolean }>(
    `SELECT state = 'done' OR (state = 'leased' AND lease_until > clock_timestamp()) AS claimed
     FROM task WHERE study_id = $1 AND revision = $2 FOR UPDATE`,
    [studyId, revision],
  );
  return tasks.some((t) => t.claimed);
}

/** Gives the tasks of `before` to the revision, whose row stands. Who still holds one of them is fenced off. */
export async function moveTasks(tx: Transaction, v: StudySelected, before: ResearchRevision): Promise<void> {
  await tx.query(
    `UPDATE task SET revision = $3, fence = fence + 1, leased_to = NULL, lease_until = NULL, state = 'open'
     WHERE study_id = $1 AND revision = $2`,
    [v.studyId, before, v.revision],
  );
  const [old] = await tx.query<{ ordinal: number }>('DELETE FROM study WHERE study_id = $1 AND revision = $2 RETURNING ordinal', [
    v.studyId,
    before,
  ]);
  await noteLineage(tx, { studyId: v.studyId, revision: before, ordinal: old?.ordinal ?? 0 }, 'moved', v.revision);
}

/** Task and readings of `before` stay; what nobody has claimed of it is not read any more. */
export async function markStale(tx: Transaction, v: StudySelected, before: ResearchRevision): Promise<void> {
  await tx.query('UPDATE study SET stale_by = $3 WHERE study_id = $1 AND revision = $2', [v.studyId, before, v.revision]);
  await tx.query(
    `UPDATE task SET state = 'cancelled', lease_until = NULL
     WHERE study_id = $1 AND revision = $2 AND (state = 'open' OR (state = 'leased' AND lease_until <= clock_timestamp()))`,
    [v.studyId, before],
  );
}

export async function noteLineage(
  tx: Transaction,
  v: Pick<StudySelected, 'studyId' | 'revision' | 'ordinal'>,
  became: 'same' | 'moved' | 'late',
  other: string,
): Promise<void> {
  await tx.query('INSERT INTO lineage (study_id, revision, ordinal, became, other) VALUES ($1, $2, $3, $4, $5)', [
    v.studyId,
    v.revision,
    v.ordinal,
    became,
    other,
  ]);
}
