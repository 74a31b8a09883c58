// Label-queue's consumer: a selected study opens two blinded grade tasks; a withdrawal erases all of its subject.
import { emit } from '../kernel/outcome.ts';
import type { EventIn, Stage } from '../kernel/stage.ts';
import type { Randomness } from '../ports/clock.ts';
import { audit } from './audit.ts';
import { eraseSubject, type ErasePorts, isWithdrawn, lockSubject } from './erase.ts';
import { openTasks } from './outcome.ts';

export interface LabelQueuePorts extends ErasePorts {
  readonly random: Randomness;
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
    else await eraseSubject(ports, event.value.subjectId, event.id, signal);
    return emit([]);
  },
};

async function openStudy(event: Selected, { database, random }: LabelQueuePorts, signal: AbortSignal): Promise<void> {
  await database.transaction(async (tx) => {
    const v = event.value;
    await lockSubject(tx, v.subjectId);
    if (!(await tx.firstSight(event.id)) || (await isWithdrawn(tx, v.subjectId))) return;
    const added = await tx.query(
      `INSERT INTO study (study_id, revision, subject_id, site, volume_key, volume_digest, shape, spacing_mm, event_id)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING study_id`,
      [
        v.studyId,
        v.revision,
        v.subjectId,
        v.site,
        v.volumeKey,
        v.volumeDigest,
        JSON.stringify(v.shape),
        JSON.stringify(v.spacingMm),
        event.id,
      ],
    );
    // A second cohort chose the same revision: it is read once.
    if (added.length === 0) return;
    const tasks = await openTasks(tx, random, v, ['grade-1', 'grade-2']);
    await audit(tx, 'label-queue', 'opened', { tasks: tasks.join(' ') });
  }, signal);
}
