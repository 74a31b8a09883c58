// Release's consumer: it keeps what the log says of studies. Versions are built from it (build.ts).
import { emit } from '../kernel/outcome.ts';
import type { Stage } from '../kernel/stage.ts';
import type { Database } from '../ports/database.ts';
import type { FactType } from './facts.ts';

export interface ReleasePorts {
  readonly database: Database;
}

export const releaseStage: Stage<FactType, ReleasePorts> = {
  name: 'release',
  zone: 'research',
  consumes: [
    'ct.research.study-selected.v1',
    'ct.research.study-labelled.v1',
    'ct.research.study-excluded.v1',
    'ct.research.study-rejected.v1',
  ],
  produces: ['ct.research.dataset-released.v1'],
  jobTimeoutMs: 30_000,

  async handle(event, { database }, signal) {
    await database.transaction(async (tx) => {
      const place = [event.topic, event.partition, event.offset.toString()];
      await tx.query('INSERT INTO seen (topic, partition, place) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING', place);
      if (!(await tx.firstSight(event.id))) return;
      await tx.query('INSERT INTO fact (topic, partition, place, event_id, type, value) VALUES ($1, $2, $3, $4, $5, $6)', [
        ...place,
        event.id,
        event.type,
        JSON.stringify(event.value),
      ]);
    }, signal);
    return emit([]);
  },
};
