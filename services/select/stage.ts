// Select's consumer: it only appends. Rounds decide (round.ts).
import { emit } from '../kernel/outcome.ts';
import type { Stage } from '../kernel/stage.ts';
import type { Database } from '../ports/database.ts';

export interface SelectPorts {
  readonly database: Database;
}

export const selectStage: Stage<'ctstream.research.v1.StudyAssessed', SelectPorts> = {
  name: 'select',
  zone: 'research',
  consumes: ['ct.research.study-assessed.v1'],
  produces: [
    'ct.research.study-selected.v1',
    'ct.research.study-excluded.v1',
    'ct.research.selection-round-closed.v1',
    'ct.research.study-skipped.v1',
  ],
  jobTimeoutMs: 30_000,

  async handle(event, { database }, signal) {
    await database.transaction(async (tx) => {
      const place = [event.topic, event.partition, event.offset.toString()];
      // Also for a record that came before: the cut counts offsets, not events.
      await tx.query('INSERT INTO seen (topic, partition, place) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING', place);
      if (!(await tx.firstSight(event.id))) return;
      const v = event.value;
      await tx.query(
        `INSERT INTO candidate (topic, partition, place, event_id, study_id, revision, subject_id, site, ordinal, value)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
        [...place, event.id, v.studyId, v.revision, v.subjectId, v.site, v.ordinal, JSON.stringify(v)],
      );
    }, signal);
    return emit([]);
  },
};
