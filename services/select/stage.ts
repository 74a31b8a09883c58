// Select's consumer: it only appends, and erases. Rounds decide (round.ts).
import { emit } from '../kernel/outcome.ts';
import type { EventIn, Stage } from '../kernel/stage.ts';
import { isWithdrawn, lockStudy, lockSubject } from '../kernel/withdrawn-rows.ts';
import type { Database } from '../ports/database.ts';
import { eraseSubject, type ErasePorts } from './erase.ts';

type Assessed = EventIn<'ctstream.research.v1.StudyAssessed'>;

export const selectStage: Stage<Assessed['type'] | 'ctstream.research.v1.SubjectWithdrawn', ErasePorts> = {
  name: 'select',
  zone: 'research',
  consumes: ['ct.research.study-assessed.v1', 'ct.research.subject-withdrawn.v1'],
  produces: [
    'ct.research.study-selected.v1',
    'ct.research.study-excluded.v1',
    'ct.research.selection-round-closed.v1',
    'ct.research.study-skipped.v1',
    'ct.research.study-rejected.v1',
    'ct.research.erasure-done.v1',
  ],
  jobTimeoutMs: 30_000,

  async handle(event, ports, signal) {
    if (event.type === 'ctstream.research.v1.StudyAssessed') await append(event, ports.database, signal);
    else await eraseSubject(ports, event.value, event.id, signal);
    return emit([]);
  },
};

async function append(event: Assessed, database: Database, signal: AbortSignal): Promise<void> {
  await database.transaction(async (tx) => {
    const place = [event.topic, event.partition, event.offset.toString()];
    const v = event.value;
    const [, , , isNew, isGone] = await Promise.all([
      // Also for a record that came before, or is not kept: the cut counts offsets, not events.
      tx.query('INSERT INTO seen (topic, partition, place) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING', place),
      lockSubject(tx, v.subjectId),
      lockStudy(tx, v.studyId),
      tx.firstSight(event.id),
      isWithdrawn(tx, v),
    ]);
    if (!isNew || isGone) return;
    await tx.query(
      `INSERT INTO candidate (topic, partition, place, event_id, study_id, revision, subject_id, site, ordinal, value)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
      [...place, event.id, v.studyId, v.revision, v.subjectId, v.site, v.ordinal, JSON.stringify(v)],
    );
  }, signal);
}
