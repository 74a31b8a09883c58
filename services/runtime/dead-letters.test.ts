// Dead letters on the bus in memory, under the real loop: what became of each, and a replay that doubles nothing.
import { afterEach, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { memoryBroker, type MemoryBroker } from '../../test/shared/memory-bus.ts';
import { testContext, until, type TestContext } from '../../test/shared/test-context.ts';
import { avroCodec } from '../adapters/avro-codec.ts';
import { topicPlans } from '../adapters/kafka-topics.ts';
import { Fault } from '../kernel/fault.ts';
import type { ClinicalRevision, StudyInstanceUid, CentreId } from '../kernel/ids.ts';
import { emit, reject, type Outcome } from '../kernel/outcome.ts';
import { deadTopic, retryTopic } from '../kernel/route.ts';
import type { EventIn, Stage } from '../kernel/stage.ts';
import type { BusRecord, EventBus, TopicEnd } from '../ports/event-bus.ts';
import { eventOfLetter, readDeadLetters, refusalOf, replayLetters, studyNameOf, wholeLetter, type DeadLetter } from './dead-letters.ts';
import { runStage } from './stage-loop.ts';

const codec = avroCodec();
const AVAILABLE = 'ct.clinical.c01.study-available.v1';
const STATUS = 'ct.clinical.c01.study-status.v1';
const DEAD = deadTopic('clinical', 'ingest');
const RETRY = retryTopic('clinical', 'ingest', '30s');
const TRACE = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
const signal = AbortSignal.timeout(300_000);

type Available = EventIn<'ctstream.clinical.v1.StudyAvailable'>;

const studyOf = (n: number): { centre: CentreId; studyInstanceUid: StudyInstanceUid; revision: ClinicalRevision } => ({
  centre: 'c01' as CentreId,
  studyInstanceUid: `1.2.840.${n}` as StudyInstanceUid,
  revision: `r${n}` as ClinicalRevision,
});

function world(): MemoryBroker {
  const broker = memoryBroker();
  for (const plan of topicPlans(['c01'], 2)) broker.createTopic(plan.name, plan.partitions);
  return broker;
}

async function announce(broker: MemoryBroker, numbers: readonly number[], id = (n: number): string => `cause-${n}`): Promise<void> {
  const records = numbers.map((n) =>
    codec.encode(
      {
        type: 'ctstream.clinical.v1.StudyAvailable',
        value: { ...studyOf(n), sequence: n, instanceCount: 1, seriesCount: 1, modalities: ['CT'], noticedBy: 'poll' },
      },
      { id: id(n), source: 'centre-gateway/c01/x', timeMs: 1_800_000_000_000, traceparent: TRACE },
    ),
  );
  await broker.bus().publish(records);
}

type Handle = (event: Available) => Promise<Outcome>;
const dies: Handle = async () => {
  throw new Fault('OBJECT_CORRUPT', false, 'hash');
};
const goes: Handle = async ({ value: { centre, studyInstanceUid, revision } }) =>
  emit([
    {
      type: 'ctstream.clinical.v1.StudyStatus',
      value: { centre, studyInstanceUid, revision, state: 'stored', code: null, instanceCount: 1 },
    },
  ]);

let running: { ctx: TestContext; done: Promise<void> }[] = [];

function run(broker: MemoryBroker, handle: Handle): { stop(): Promise<void> } {
  const ctx = testContext({ name: 'ingest' });
  const stage: Stage<'ctstream.clinical.v1.StudyAvailable', undefined> = {
    name: 'ingest',
    zone: 'clinical',
    consumes: ['ct.clinical.<centre>.study-available.v1'],
    produces: ['ct.clinical.<centre>.study-status.v1'],
    jobTimeoutMs: 60_000,
    handle: (event) => handle(event),
  };
  const done = runStage(stage, undefined, { bus: broker.bus(), codec, ctx, concurrency: 4, window: 16, drainMs: 200 });
  done.catch(() => undefined);
  const started = { ctx, done };
  running.push(started);
  return {
    stop: async () => {
      ctx.stop();
      await done;
    },
  };
}

afterEach(async () => {
  for (const { ctx, done } of running) {
    ctx.stop();
    await done.catch(() => undefined);
  }
  running = [];
});

const letters = (broker: MemoryBroker): Promise<DeadLetter[]> => readDeadLetters({ reads: broker.bus(), codec }, ['ingest'], signal);
const statesOf = async (broker: MemoryBroker): Promise<string[]> => (await letters(broker)).map((l) => l.state);
const replay = (broker: MemoryBroker, some: readonly DeadLetter[]): Promise<void> =>
  replayLetters(
    some,
    (records) => broker.bus().publish(records),
    Date.now(),
    () => undefined,
    signal,
  );
const idle = async (broker: MemoryBroker): Promise<boolean> => {
  const topics = [AVAILABLE, RETRY];
  const ends = (await broker.bus().ends(topics)).filter((e) => e.end > 0n);
  const done = [...(await broker.bus().committed('ingest', topics)), ...(await broker.bus().committed('ingest.retry', topics))];
  return ends.every((e) => done.some((c) => c.topic === e.topic && c.partition === e.partition && c.offset === e.end));
};

/** One record that died, of study 1. */
async function oneDead(): Promise<MemoryBroker> {
  const broker = world();
  await announce(broker, [1]);
  const first = run(broker, dies);
  await until('the letter', () => broker.records(DEAD).length === 1);
  await first.stop();
  return broker;
}

test('a letter is open, then waits, then is settled; every other replay of it is refused', async () => {
  const broker = await oneDead();
  const [letter] = await letters(broker);
  if (letter === undefined) throw new Error('no letter');
  expect(letter).toMatchObject({ state: 'open', code: 'OBJECT_CORRUPT', attempts: 1, centre: 'c01', eventId: 'cause-1' });
  expect(letter.id).toMatch(/^ingest\/[01]\/0$/);
  expect(await refusalOf(letter, broker.bus(), signal)).toBeUndefined();
  await replay(broker, [letter]);
  const [waiting] = await letters(broker);
  expect(waiting?.state).toBe('waiting');
  expect(waiting && (await refusalOf(waiting, broker.bus(), signal))).toBe('ALREADY_WAITING');
  run(broker, goes);
  await until('the replay', () => idle(broker));
  const [settled] = await letters(broker);
  expect(settled?.state).toBe('settled');
  expect(settled && (await refusalOf(settled, broker.bus(), signal))).toBe('ALREADY_SETTLED');
});

test('a replay that leads to no event, as of a stage that only writes its database, settles its letter', async () => {
  const broker = await oneDead();
  await replay(broker, await letters(broker));
  run(broker, async () => emit([]));
  await until('the replay', () => idle(broker));
  expect(await statesOf(broker)).toEqual(['settled']);
});

test('a replay keeps bytes, key, event id, trace and first place, so its outcome has the id of a first try', async () => {
  const broker = await oneDead();
  await replay(broker, await letters(broker));
  const [first] = broker.records(AVAILABLE);
  const [again] = broker.records(RETRY);
  if (first === undefined || again === undefined) throw new Error('no record');
  expect([again.key, Buffer.from(again.value)]).toEqual([first.key, Buffer.from(first.value)]);
  expect(again.headers).toMatchObject({ ...first.headers, 'ct-origin-topic': AVAILABLE, 'ct-origin-offset': '0', 'ct-attempt': '0' });
  run(broker, goes);
  await until('the outcome', () => broker.records(STATUS).length === 1);
  const straight = world();
  await announce(straight, [1]);
  run(straight, goes);
  await until('the outcome', () => straight.records(STATUS).length === 1);
  expect(broker.records(STATUS)[0]?.headers['ce_id']).toBe(straight.records(STATUS)[0]?.headers['ce_id']);
});

test('a record that dies again is one open letter, whatever the clocks say', async () => {
  const broker = await oneDead();
  await replay(broker, await letters(broker));
  run(broker, dies);
  await until('the second letter', () => broker.records(DEAD).length === 2);
  await until('its commit', () => idle(broker));
  expect((await letters(broker)).map((l) => [l.record.offset, l.state])).toEqual([
    [0n, 'replaced'],
    [1n, 'open'],
  ]);
  const bus = broker.bus();
  const backwards = async function* (ends: Parameters<typeof bus.read>[0]): AsyncGenerator<BusRecord> {
    for await (const r of bus.read(ends)) yield { ...r, timestampMs: 1_000_000 - Number(r.offset) - (r.topic === DEAD ? 500 : 0) };
  };
  const reads = { ...bus, read: backwards };
  expect((await readDeadLetters({ reads, codec }, ['ingest'], signal)).map((l) => l.state).sort()).toEqual(['open', 'replaced']);
});

test('a second copy of the event that went through settles the letter of the first; that of another study with the same id does not', async () => {
  const broker = await oneDead();
  const second = run(broker, async () => reject('NO_PIXELS', ''));
  await announce(broker, [2], () => 'cause-1');
  await until('the other study', () => idle(broker));
  expect(await statesOf(broker)).toEqual(['open']);
  await announce(broker, [1]);
  await until('the copy', () => idle(broker));
  expect(await statesOf(broker)).toEqual(['settled']);
  await second.stop();
});

test('what can not be read is a letter still, with its reason; a hold is for a person; a reference without bytes is refused', async () => {
  const broker = world();
  const ours = {
    'ct-origin-topic': AVAILABLE,
    'ct-origin-partition': '0',
    'ct-origin-offset': '7',
    'ct-attempt': '1',
    'ct-stage': 'ingest',
  };
  const put = (key: string, headers: Record<string, string>): Promise<void> =>
    broker.bus().publish([{ topic: DEAD, key, value: Buffer.from('no event'), headers: { ...ours, ...headers } }]);
  await put('c01|1.2', { 'ct-code': 'BAD_EVENT' });
  await put('c01|1.2', { 'ct-code': 'HELD_BURNED_IN_TEXT', 'ct-origin-offset': '8' });
  await put('c01|1.2', { 'ct-code': 'JOB_TIMEOUT', 'ct-origin-offset': '9', 'ct-sha256': 'f'.repeat(64) });
  await put('c01|1.2', { 'ct-code': 'BAD_EVENT', 'ct-origin-topic': 'ct.clinical.c01.census.v1' });
  const found = (await letters(broker)).sort((a, b) => Number(a.record.offset - b.record.offset));
  // As a real one, which can't read what the log does not have.
  const plain = broker.bus();
  const bus: EventBus = {
    ...plain,
    read: async function* (ranges, s) {
      const ends = await plain.ends(ranges.map((r) => r.topic));
      const has = (r: TopicEnd): boolean => ends.some((e) => e.topic === r.topic && e.partition === r.partition && r.end <= e.end);
      if (!ranges.every(has)) throw new Fault('BUS_UNAVAILABLE', true, 'no record comes');
      yield* plain.read(ranges, s);
    },
  };
  expect(await Promise.all(found.map((l) => refusalOf(l, bus, signal)))).toEqual([
    undefined,
    'HELD_FOR_A_PERSON',
    'BYTES_GONE',
    'NO_ORIGIN',
  ]);
  const shown = await Promise.all(found.map((l) => eventOfLetter(l, { reads: bus, codec }, signal)));
  expect(shown.map((s) => 'unreadable' in s)).toEqual([true, true, true, true]);
  // What is saved of a letter is what was first read; of a reference without bytes there is nothing to save.
  expect(Buffer.from((await wholeLetter(found[0] as DeadLetter, bus, signal)).value).toString()).toBe('no event');
  await expect(wholeLetter(found[2] as DeadLetter, bus, signal)).rejects.toMatchObject({ code: 'BAD_EVENT' });
  expect(found.map(studyNameOf)).toEqual(Array<string>(4).fill(studyNameOf(found[0] as DeadLetter)));
  expect(studyNameOf(found[0] as DeadLetter)).toMatch(/^c01\/[0-9a-f]{12}$/);
});

test('any letters, replayed any number of times by any number of people, have the effects and ids of one replay each', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 6 }),
      fc.array(fc.array(fc.nat(5), { maxLength: 6 }), { minLength: 1, maxLength: 4 }),
      async (numbers, rounds) => {
        const broker = world();
        await announce(broker, numbers);
        const first = run(broker, dies);
        await until('the letters', () => broker.records(DEAD).length === numbers.length);
        await first.stop();
        const effects = new Map<string, number>();
        const stage = run(broker, async (event) => {
          // As a manifest: whoever comes later finds it.
          effects.set(event.value.studyInstanceUid, 1);
          return await goes(event);
        });
        const all = (await letters(broker)).sort((a, b) => (a.id < b.id ? -1 : 1));
        const chosen = new Set<DeadLetter>();
        for (const round of rounds) {
          const some = round.flatMap((i) => all[i] ?? []);
          for (const letter of some) chosen.add(letter);
          // Two people with the same list: neither sees the other's replay.
          await Promise.all([replay(broker, some), replay(broker, some)]);
        }
        await until('the replays', () => idle(broker));
        await stage.stop();
        const uids = [...chosen].map((l) => l.record.key.slice(4)).sort();
        expect([...effects.keys()].sort()).toEqual(uids);
        const ids = new Set(broker.records(STATUS).map((r) => r.headers['ce_id']));
        expect(ids.size).toBe(chosen.size);
        const settled = (await letters(broker)).filter((l) => l.state === 'settled').map((l) => l.id);
        expect(settled.sort()).toEqual([...chosen].map((l) => l.id).sort());
      },
    ),
    { numRuns: 12 },
  );
}, 60_000);
