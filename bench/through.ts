// Studies announced and followed until the stages are done with them.
import { avroCodec } from '../services/adapters/avro-codec.ts';
import type { EventType } from '../schemas/events.gen.ts';
import type { ObjectStore } from '../services/ports/object-store.ts';
import type { FedStudy } from './ingest-studies.ts';
import type { BenchPlatform } from './platform.ts';
import { watchTopics } from './watch-topics.ts';

/** Removes everything in a bucket but what a stage that starts tries the server with. */
export const clear = async (store: ObjectStore, bucket: string): Promise<void> => {
  const keys: string[] = [];
  for await (const { key } of store.list(bucket, '')) if (!key.startsWith('.conformance/')) keys.push(key);
  if (keys.length > 0) await store.remove(bucket, keys);
};

export const secondsOf = async (work: () => Promise<unknown>): Promise<number> => {
  const startedMs = performance.now();
  await work();
  return (performance.now() - startedMs) / 1000;
};

const ENDED_OTHERWISE = ['ct.clinical.study-rejected.v1', 'ct.clinical.study-skipped.v1', 'ct.research.study-rejected.v1'];

/**
 * Seconds from the announcement of all studies until each has an event of the type. What the buckets held before is removed.
 * Throws when a study ends otherwise.
 */
export const secondsUntil = async (
  { store, bus }: Pick<BenchPlatform, 'store' | 'bus'>,
  studies: readonly FedStudy[],
  { sequence, type, topic }: { sequence: number; type: EventType; topic: string },
): Promise<number> => {
  for (const bucket of ['ct-clinical', 'ct-research']) await clear(store, bucket);
  const codec = avroCodec();
  const done = new Set<string>();
  const watch = await watchTopics(bus, [topic, ...ENDED_OTHERWISE]);
  const records = studies.map((study, i) =>
    codec.encode(study.announcement(sequence), { id: `bench-${sequence}-${i}`, source: 'bench', timeMs: Date.now() }),
  );
  const seconds = await secondsOf(async () => {
    await bus.publish(records);
    for await (const record of watch.records()) {
      const event = codec.decode(record);
      if (event.type !== type) throw new Error(`a study ended as ${event.type}${'code' in event.value ? ` (${event.value.code})` : ''}`);
      done.add(record.key);
      if (done.size === studies.length) break;
    }
  });
  await watch.stop();
  return seconds;
};
