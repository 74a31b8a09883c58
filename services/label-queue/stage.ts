// Label-queue's consumer: a selected study opens two blinded grade tasks, a newer revision of it moves them or opens its
// own (revisions.ts); a withdrawal erases all of its subject.
import type { Code } from '../kernel/codes.ts';
import type { ResearchRevision } from '../kernel/ids.ts';
import { emit } from '../kernel/outcome.ts';
import type { EventIn, Stage } from '../kernel/stage.ts';
import { isWithdrawn, lockStudy, lockSubject } from '../kernel/withdrawn-rows.ts';
import type { Randomness } from '../ports/clock.ts';
import type { Transaction } from '../ports/database.ts';
import { audit } from './audit.ts';
import { eraseSubject, type ErasePorts } from './erase.ts';
import { openTasks } from './outcome.ts';
import { markStale, moveTasks, noteLineage, placeOf, type VolumeStore } from './revisions.ts';

export interface LabelQueuePorts extends ErasePorts {
  readonly random: Randomness;
  /** Says whether two revisions have one volume. */
  readonly store: VolumeStore;
}

type Selected = EventIn<'ctstream.research.v1.StudySelected'>;

export const labelQueueStage: Stage<Selected['type'] | 'ctstream.research.v1.SubjectWithdrawn', LabelQueuePorts> = {
  name: 'label-queue',
  zone: 'research',
  consumes: ['ct.research.study-selected.v1', 'ct.research.subject-withdrawn.v1'],
  produces: [
    'ct.research.study-labelled.v1',
    'ct.research.study-rejected.v1',
    'ct.research.study-skipped.v1',
    'ct.research.erasure-done.v1',
  ],
  jobTimeoutMs: 30_000,

  async handle(event, ports, signal) {
    if (event.type === 'ctstream.research.v1.StudySelected') await openStudy(event, ports, signal);
    else await eraseSubject(ports, event.value, event.id, signal);
    return emit([]);
  },
};

async function openStudy(event: Selected, { database, random, store }: LabelQueuePorts, signal: AbortSignal): Promise<void> {
  await database.transaction(async (tx) => {
    const v = event.value;
    const [, , isNew, isGone] = await Promise.all([
      lockSubject(tx, v.subjectId),
      lockStudy(tx, v.studyId),
      tx.firstSight(event.id),
      isWithdrawn(tx, v),
    ]);
    if (!isNew || isGone) return;
    const place = await placeOf(tx, store, v, signal);
    switch (place.kind) {
      case 'known':
        return;
      case 'late':
      case 'same':
        await noteLineage(tx, v, place.kind, place.before);
        await (place.kind === 'late'
          ? tell(tx, event, v.revision, 'SUPERSEDED', 'a newer revision is in the queue')
          : tell(tx, event, v.revision, 'SAME_VOLUME', 'its volume is that of the revision that readers have'));
        return;
      case 'moves':
        await insertStudy(tx, event);
        await moveTasks(tx, v, place.before);
        await tell(tx, event, place.before, 'SUPERSEDED', 'nobody had claimed it; its tasks went to a newer revision');
        return;
      case 'new':
      case 'stale': {
        const [, tasks] = await Promise.all([insertStudy(tx, event), openTasks(tx, random, v, ['grade-1', 'grade-2'])]);
        if (place.before !== undefined) {
          await markStale(tx, v, place.before);
          const why = 'a newer revision has another volume or is of another subject, and is read anew';
          await tell(tx, event, place.before, 'READING_STALE', why);
        }
        // Behind the outbox, as in a submission: the two take turns at its counter and at the audit in one order.
        await audit(tx, 'label-queue', 'opened', { tasks: tasks.join(' ') });
      }
    }
  }, signal);
}

async function insertStudy(tx: Transaction, { id, value: v }: Selected): Promise<void> {
  await tx.query(
    `INSERT INTO study (study_id, revision, ordinal, subject_id, site, volume_key, volume_digest, shape, spacing_mm, event_id)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    [
      v.studyId,
      v.revision,
      v.ordinal,
      v.subjectId,
      v.site,
      v.volumeKey,
      v.volumeDigest,
      JSON.stringify(v.shape),
      JSON.stringify(v.spacingMm),
      id,
    ],
  );
}

/** Tells what became of a revision. */
async function tell(tx: Transaction, { id, value }: Selected, revision: ResearchRevision, code: Code, detail: string): Promise<void> {
  await tx.enqueue({
    type: 'ctstream.research.v1.StudySkipped',
    value: { studyId: value.studyId, revision, stage: labelQueueStage.name, code, detail },
    cause: id,
  });
}
