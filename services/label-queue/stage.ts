// Label-queue's consumer: a selected study opens two blinded grade tasks.
import { emit } from '../kernel/outcome.ts';
import type { Stage } from '../kernel/stage.ts';
import type { Randomness } from '../ports/clock.ts';
import type { Database } from '../ports/database.ts';
import { audit } from './audit.ts';
import { openTasks } from './outcome.ts';

export interface LabelQueuePorts {
  readonly database: Database;
  readonly random: Randomness;
}

export const labelQueueStage: Stage<'ctstream.research.v1.StudySelected', LabelQueuePorts> = {
  name: 'label-queue',
  zone: 'research',
  consumes: ['ct.research.study-selected.v1'],
  produces: ['ct.research.study-labelled.v1', 'ct.research.study-rejected.v1', 'ct.research.study-skipped.v1'],
  jobTimeoutMs: 30_000,

  async handle(event, { database, random }, signal) {
    await database.transaction(async (tx) => {
      if (!(await tx.firstSight(event.id))) return;
      const v = event.value;
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
      await openTasks(tx, random, v, ['grade-1', 'grade-2']);
      await audit(tx, 'label-queue', 'opened', { study: v.studyId, revision: v.revision, volumeDigest: v.volumeDigest });
    }, signal);
    return emit([]);
  },
};
