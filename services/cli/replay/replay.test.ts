// A replay beside a deployment that goes on compares what the log said when it was cut, and nothing that came since or has expired.
import { expect, test } from '@jest/globals';
import { memoryBroker } from '../../../test/shared/memory-bus.ts';
import { memoryStore } from '../../../test/shared/memory-store.ts';
import type { EventRecord, EventType } from '../../../schemas/events.gen.ts';
import { outgoingId } from '../../kernel/event-ids.ts';
import { topicOf } from '../../kernel/route.ts';
import type { EventIn } from '../../kernel/stage.ts';
import type { BusRecord } from '../../ports/event-bus.ts';
import { comparable } from './anonymise.ts';
import { replayAssess } from './assess.ts';
import { COPIED, refuseDeployment } from './context.ts';

type Values = Record<string, unknown>;

const SOURCES: Readonly<Record<string, string>> = { StudyStored: 'ingest', StudyAssessed: 'assess' };

/** With the fields that a replay reads. */
function event<T extends EventType>(type: T, id: string, value: Values): EventIn<T> {
  const record = { type, value } as unknown as EventRecord;
  const source = SOURCES[type.split('.')[3] ?? ''] ?? 'anonymise';
  return { ...record, id, source, timeMs: 0, topic: topicOf(record), partition: 0, offset: 0n, key: 'k' } as unknown as EventIn<T>;
}

const stored = (n: number): EventIn<'ctstream.clinical.v1.StudyStored'> =>
  event('ctstream.clinical.v1.StudyStored', `stored ${n}`, { centre: 'c01', studyInstanceUid: `1.2.${n}`, revision: 'r' });
const anonymised = (n: number): EventIn<'ctstream.research.v1.StudyAnonymised'> =>
  event('ctstream.research.v1.StudyAnonymised', `anonymised ${n}`, {
    studyId: `S${n}`,
    revision: 'q',
    subjectId: `P${n}`,
    ordinal: 1,
    manifestKey: `S${n}/q/manifest.json`,
  });
const rejected = (n: number): EventIn => {
  const type = 'ctstream.clinical.v1.StudyRejected';
  const value = { centre: 'c01', studyInstanceUid: `1.2.${n}`, revision: 'r', stage: 'anonymise', code: 'NOTHING_KEPT' };
  return event(type, outgoingId('anonymise', `stored ${n}`, type, 0), value);
};
const namesOf = (e: EventIn<'ctstream.clinical.v1.StudyStored'>): string => `S${e.id.split(' ')[1] ?? ''}/q`;
const nobody = (): boolean => false;

test('anonymise: what had no outcome when the log was cut is left out', () => {
  const all = [stored(1), stored(2), stored(3)];
  const events: EventIn[] = [...all, anonymised(1), rejected(2)];
  const { done, forgotten } = comparable({ ends: [], events }, all, namesOf, nobody);
  expect(done.map((e) => e.id)).toEqual(['stored 1', 'stored 2']);
  expect(forgotten.size).toBe(0);
});

test('anonymise: so are outcomes whose stored revision has expired, where the log has forgotten any', () => {
  const outcomes = [anonymised(1), anonymised(2), rejected(3)];
  const events: EventIn[] = [stored(1), ...outcomes];
  const from = (first: bigint) => [{ topic: 'ct.clinical.study-stored.v1', partition: 0, first, end: 9n }];
  expect([...comparable({ ends: from(3n), events }, [stored(1)], namesOf, nobody).forgotten]).toEqual(outcomes.slice(1));
  expect(comparable({ ends: from(0n), events }, [stored(1)], namesOf, nobody).forgotten.size).toBe(0);
});

test('assess: neither a study that is under way nor what was published since is a difference', async () => {
  const events: EventIn[] = [anonymised(1)];
  const broker = memoryBroker();
  const bus = broker.bus();
  for (const { topic, key } of events) {
    broker.createTopic(topic, 1);
    await bus.publish([{ topic, key, value: new Uint8Array(), headers: {} }]);
  }
  const [source, target] = [memoryStore(), memoryStore()];
  await source.put('ct-research', 'S1/q/assessment.json', Buffer.from('published after the cut'));
  const decode = ({ topic }: BusRecord): EventIn => events.find((e) => e.topic === topic) as EventIn;
  const codec = { decode, encode: () => Promise.reject(new Error('nothing is told')) as never };
  const signal = new AbortController().signal;
  const report = await replayAssess({ bus, codec, source, target, signal, progress: () => undefined });
  expect(report).toMatchObject({ handled: 0, differences: [], faults: [], notes: ['1 revisions had no outcome when the log was cut'] });

  // One that the log names is missed.
  const value = { studyId: 'S1', revision: 'q', subjectId: 'P1', manifestKey: 'S1/q/assessment.json', volumeKey: 'S1/q/a/volume.nii.gz' };
  const told = event(
    'ctstream.research.v1.StudyAssessed',
    outgoingId('assess', 'anonymised 1', 'ctstream.research.v1.StudyAssessed', 0),
    value,
  );
  events.push(told);
  broker.createTopic(told.topic, 1);
  await bus.publish([{ topic: told.topic, key: 'k', value: new Uint8Array(), headers: {} }]);
  const again = await replayAssess({ bus, codec, source, target, signal, progress: () => undefined });
  expect(again.faults).toHaveLength(1);
  expect(again.differences.map(({ how, what }) => `${how} ${what}`)).toEqual(expect.arrayContaining(['missing event', 'missing object']));
});

test("a replay fills and removes no deployment's own buckets, and no ct-clinical is ever a copy", async () => {
  const there = (...buckets: string[]) => ({ bucketsOf: async (names: readonly string[]) => names.filter((n) => buckets.includes(n)) });
  await expect(refuseDeployment(there('ct-research', 'ct-event-log'), 'other-')).rejects.toThrow(/other-ct-event-log is there/);
  await expect(refuseDeployment(there('ct-research', 'ct-quarantine'), 'other-')).resolves.toBeUndefined();
  expect(COPIED).toEqual(['ct-research', 'ct-releases', 'ct-quarantine', 'ct-release-candidates']);
});
