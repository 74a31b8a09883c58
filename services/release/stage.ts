// Release's consumer: it keeps what the log says of studies, and erases. Versions are built from it (build.ts).
import { emit } from '../kernel/outcome.ts';
import type { EventIn, Stage } from '../kernel/stage.ts';
import type { EventBus } from '../ports/event-bus.ts';
import type { VersionCut } from './documents.ts';
import { eraseFromVersions } from './erase-version.ts';
import { type ErasePorts, eraseSubject, forgetStudy, forgetTold, isWithdrawn, namesWithdrawn } from './erase.ts';
import type { FactType } from './facts.ts';
import { lockFacts } from './versions.ts';

const FACT_TOPICS = [
  'ct.research.study-selected.v1',
  'ct.research.study-labelled.v1',
  'ct.research.study-excluded.v1',
  'ct.research.study-rejected.v1',
];

export const releaseStage: Stage<FactType | 'ctstream.research.v1.SubjectWithdrawn', ErasePorts> = {
  name: 'release',
  zone: 'research',
  consumes: [...FACT_TOPICS, 'ct.research.subject-withdrawn.v1'],
  produces: ['ct.research.dataset-released.v1', 'ct.research.erasure-done.v1'],
  jobTimeoutMs: 10 * 60_000,

  async handle(event, ports, signal) {
    if (event.type === 'ctstream.research.v1.SubjectWithdrawn') await eraseSubject(ports, event.value, event.id, signal);
    else await keepFact(event, ports, signal);
    return emit([]);
  },
};

/** Keeps the fact. That a study is withdrawn is no fact to keep, and ends those that are known of it. */
async function keepFact(event: EventIn<FactType>, ports: ErasePorts, signal: AbortSignal): Promise<void> {
  const ends = event.type === 'ctstream.research.v1.StudyRejected' && event.value.code === 'PATIENT_WITHDRAWN';
  const isOfWithdrawn = await ports.database.transaction(async (tx) => {
    const place = [event.topic, event.partition, event.offset.toString()];
    // Also for a record that came before, or is not kept: the cut counts offsets.
    await tx.query('INSERT INTO seen (topic, partition, place) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING', place);
    await lockFacts(tx, ends ? 'erase' : 'add');
    const names = ends || (await namesWithdrawn(tx, event.value));
    if (!(await tx.firstSight(event.id))) return names;
    if (ends) await forgetTold(tx, event.value);
    else if (names) await forgetStudy(tx, event.value);
    if (names || (await isWithdrawn(tx, event.value))) return names;
    await tx.query('INSERT INTO fact (topic, partition, place, event_id, type, value) VALUES ($1, $2, $3, $4, $5, $6)', [
      ...place,
      event.id,
      event.type,
      JSON.stringify(event.value),
    ]);
    return false;
  }, signal);
  // Also on a second delivery: the first may have ended between the two.
  if (isOfWithdrawn) await eraseFromVersions(ports, signal);
}

/** How far this consumer is through the facts of the log: it has handled what lies below, or handed it on to wait or to the dead. */
export async function takenUntil(bus: Pick<EventBus, 'committed'>): Promise<VersionCut[]> {
  const places = await bus.committed(releaseStage.name, FACT_TOPICS);
  return places.map(({ topic, partition, offset }) => ({ topic, partition, endOffset: Number(offset) }));
}
