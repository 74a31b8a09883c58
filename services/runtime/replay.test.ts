// A replay writes where it should, tells what the stage tells, and its comparison sees every kind of difference.
import { expect, test } from '@jest/globals';
import { memoryBroker } from '../../test/shared/memory-bus.ts';
import { memoryStore } from '../../test/shared/memory-store.ts';
import { avroCodec } from '../adapters/avro-codec.ts';
import { Fault } from '../kernel/fault.ts';
import type { SubjectId } from '../kernel/ids.ts';
import { emit } from '../kernel/outcome.ts';
import type { EventIn, Stage } from '../kernel/stage.ts';
import { compareEvents, compareObjects } from './replay-compare.ts';
import { eventsIn, recordedLog, replayEvents, replayStore } from './replay.ts';

const IN = 'ct.research.subject-withdrawn.v1';
const codec = avroCodec();
const never = new AbortController().signal;
const record = (subject: string, id = subject) =>
  codec.encode(
    { type: 'ctstream.research.v1.SubjectWithdrawn', value: { subjectId: subject as SubjectId, studies: null } },
    { id, source: 'anonymise', timeMs: 0 },
  );

const stage: Stage<'ctstream.research.v1.SubjectWithdrawn', { order: string[] }> = {
  name: 'assess',
  zone: 'research',
  consumes: [IN],
  produces: ['ct.research.erasure-done.v1'],
  jobTimeoutMs: 1000,
  async handle({ value: { subjectId } }, { order }) {
    order.push(subjectId);
    if (subjectId === 'faulty') throw new Fault('MANIFEST_MISSING', true, 'gone');
    return emit([{ type: 'ctstream.research.v1.ErasureDone', value: { subjectId, stage: 'assess', objects: 1, rows: 0 } }]);
  },
};

test('a recorded log has every record, and of a doubled event the first; a replay handles them and tells the same ids each time', async () => {
  const broker = memoryBroker();
  broker.createTopic(IN, 2);
  const bus = broker.bus();
  await bus.publish([
    record('a'),
    record('b'),
    record('a'),
    record('faulty'),
    { topic: IN, key: 'x', value: new Uint8Array(), headers: {} },
  ]);
  const log = await recordedLog(bus, codec, { told: [], taken: [IN] }, never);
  expect([log.records.length, log.events.length, log.bad]).toEqual([4, 3, 1]);
  const order: string[] = [];
  const events = eventsIn(log, 'ctstream.research.v1.SubjectWithdrawn');
  const run = async () => await replayEvents(stage, events, async () => ({ order }), { codec, signal: never, concurrency: 2 });
  const [first, second] = [await run(), await run()];
  expect(first.handled).toBe(3);
  expect(first.faults.map((f) => f.code)).toEqual(['MANIFEST_MISSING']);
  expect(first.told.map((e) => e.value)).toHaveLength(2);
  expect(compareEvents(first.told, second.told)).toEqual([]);
});

test('what is told while the log is being cut is not in it without its cause', async () => {
  const OUT = 'ct.research.erasure-done.v1';
  const broker = memoryBroker();
  for (const topic of [IN, OUT]) broker.createTopic(topic, 1);
  const bus = broker.bus();
  const goesOn = {
    ...bus,
    ends: async (topics: readonly string[]) => {
      const ends = await bus.ends(topics);
      const value = { subjectId: 'a' as SubjectId, stage: 'assess', objects: 1, rows: 0 };
      const done = codec.encode(
        { type: 'ctstream.research.v1.ErasureDone', value },
        { id: `of ${ends.length}`, source: 'assess', timeMs: 0 },
      );
      await bus.publish([record('a', `e${ends.length}`), done]);
      return ends;
    },
  };
  const { events } = await recordedLog(goesOn, codec, { told: [OUT], taken: [IN] }, never);
  expect(events.map((e) => e.type)).toEqual(['ctstream.research.v1.SubjectWithdrawn']);
});

test('the store of a replay reads inputs from what was, and never writes or removes there', async () => {
  const [source, target] = [memoryStore(), memoryStore()];
  await source.put('b', 'in', Buffer.from('input'));
  await source.put('b', 'made', Buffer.from('old'));
  const store = replayStore({ source, target, isInput: (_bucket, key) => key === 'in' });
  expect(Buffer.from((await store.getBytes('b', 'in', 100)) ?? []).toString()).toBe('input');
  expect(await store.getBytes('b', 'made', 100)).toBeUndefined();
  expect(await store.put('b', 'made', Buffer.from('new'), { ifNoneMatch: true })).toBe('created');
  await store.remove('b', ['in', 'made']);
  expect([source.keys('b'), target.keys('b')]).toEqual([['in', 'made'], []]);
});

test('the comparison tells what is missing, extra and other', async () => {
  const [source, target] = [memoryStore(), memoryStore()];
  for (const [store, key, text] of [
    [source, 'same', '1'],
    [target, 'same', '1'],
    [source, 'other', '1'],
    [target, 'other', '2'],
    [source, 'gone', '1'],
    [source, 'lost attempt', '1'],
    [target, 'extra', '1'],
  ] as const)
    await store.put('b', key, Buffer.from(text));
  const o = { source, target, bucket: 'b', wanted: () => true, needed: (key: string) => key !== 'lost attempt', signal: never };
  const { compared, differences } = await compareObjects(o);
  expect(compared).toBe(3);
  expect(differences.map((d) => `${d.how} ${d.name}`).sort()).toEqual(['extra b/extra', 'missing b/gone', 'other b/other']);
  const event = (id: string, objects: number): EventIn =>
    ({ type: 'ctstream.research.v1.ErasureDone', id, topic: 't', key: 'k', value: { objects } }) as unknown as EventIn;
  const found = compareEvents([event('a', 1), event('b', 1), event('c', 1)], [event('a', 1), event('b', 2), event('d', 1)]);
  expect(found.map((d) => `${d.how} ${d.name}`)).toEqual(['other t b', 'missing t c', 'extra t d']);
});
