// A job that ends its process must not hold up the others for ever, and must not take them with it.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { mkdtemp, readdir, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryBroker, type MemoryBroker } from '../../test/shared/memory-bus.ts';
import { testContext, until } from '../../test/shared/test-context.ts';
import { avroCodec } from '../adapters/avro-codec.ts';
import { topicPlans } from '../adapters/kafka-topics.ts';
import { emit, type NewEvent, type Outcome } from '../kernel/outcome.ts';
import { deadTopic } from '../kernel/route.ts';
import type { EventIn, Job, Stage } from '../kernel/stage.ts';
import { begunIn } from './begun.ts';
import { replayRecord } from './retry.ts';
import { runStage } from './stage-loop.ts';

type Available = EventIn<'ctstream.clinical.v1.StudyAvailable'>;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'begun-test-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const at = (offset: number, partition = 0) => ({ topic: 'ct.clinical.c01.study-available.v1', partition, offset: BigInt(offset) });

const notesIn = (where: string, failed: (error: unknown) => void = () => undefined) => begunIn(where, Date.now(), failed);

describe('the notes', () => {
  test('for any order of begins and ends, by any number of processes: a job has as many begins as came since its last end', () => {
    const step = fc.record({ offset: fc.nat(3), partition: fc.nat(1), what: fc.constantFrom('begin', 'begin', 'end', 'restart') });
    let run = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const own = join(folder, String((run += 1)));
        let notes = notesIn(own);
        const expected = new Map<string, number>();
        for (const { offset, partition, what } of steps) {
          const key = `${partition}/${offset}`;
          if (what === 'restart') notes = notesIn(own);
          else if (what === 'end') {
            notes.end(at(offset, partition));
            expected.delete(key);
          } else {
            expect(notes.begin(at(offset, partition))).toBe(expected.get(key) ?? 0);
            expected.set(key, (expected.get(key) ?? 0) + 1);
          }
        }
      }),
      { numRuns: 50 },
    );
  });

  test('of yesterday are forgotten: their records went to another machine', async () => {
    notesIn(folder).begin(at(1));
    const [name = ''] = await readdir(folder);
    await utimes(join(folder, name), new Date(), new Date(Date.now() - 2 * 86_400_000));
    expect(notesIn(folder).begin(at(1))).toBe(0);
  });

  test('name nothing of the record', async () => {
    notesIn(folder).begin(at(1));
    expect((await readdir(folder)).join()).toMatch(/^[0-9a-f]{32}$/);
  });

  test('that can not be written any more count as none, and that is told once', async () => {
    const told: unknown[] = [];
    const notes = notesIn(join(folder, 'gone'), (error) => void told.push(error));
    await rm(join(folder, 'gone'), { recursive: true });
    expect([notes.begin(at(1)), notes.begin(at(1)), notes.begin(at(2))]).toEqual([0, 0, 0]);
    notes.end(at(1));
    expect(told).toEqual([expect.objectContaining({ code: 'ENOENT' })]);
  });

  test('in a place that is no folder are refused at the start, with the setting to change', async () => {
    expect(() => notesIn('/dev/null/jobs')).toThrow(expect.objectContaining({ problems: [expect.stringContaining('JOBS_FOLDER')] }));
  });
});

const codec = avroCodec();
const UIDS = ['1', '2', '3', '4', '5', '6', '7', '8'];

async function world(): Promise<MemoryBroker> {
  const broker = memoryBroker();
  for (const plan of topicPlans(['c01'], 1)) broker.createTopic(plan.name, plan.partitions);
  const records = UIDS.map((uid) => {
    const value = { centre: 'c01', studyInstanceUid: uid, revision: 'r1', sequence: 1, instanceCount: 1, seriesCount: 1 };
    const event = { type: 'ctstream.clinical.v1.StudyAvailable', value: { ...value, modalities: ['CT'], noticedBy: 'poll' } } as never;
    return codec.encode(event, { id: uid, source: 'gateway-c01', timeMs: 1, traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` });
  });
  await broker.bus().publish(records);
  return broker;
}

const stored = ({ value: { centre, studyInstanceUid, revision } }: Available): NewEvent =>
  ({
    type: 'ctstream.clinical.v1.StudyStatus',
    value: { centre, studyInstanceUid, revision, state: 'stored', code: null, instanceCount: 1 },
  }) as NewEvent;

/** An event of another stage breaks the contract, which ends the process on the spot: as near to a kill as one process can come. */
const KILL: Outcome = emit([{ type: 'ctstream.research.v1.SubjectWithdrawn', value: { subjectId: 'p' as never, studies: null } }]);

type Handle = (event: Available, job?: Job) => Promise<Outcome>;

const stageOf = (handle: Handle, o: { beginsItself?: true } = {}): Stage<'ctstream.clinical.v1.StudyAvailable', undefined> => ({
  name: 'ingest',
  zone: 'clinical',
  consumes: ['ct.clinical.<centre>.study-available.v1'],
  produces: ['ct.clinical.<centre>.study-status.v1'],
  jobTimeoutMs: 60_000,
  handle: (event, _ports, _signal, job) => handle(event, job),
  ...o,
});

/** The stage as an orchestrator keeps it: started again whenever it ends, until all are settled. How often it was started. */
async function kept(broker: MemoryBroker, handle: Handle, o: { beginsItself?: true } = {}) {
  const stage = stageOf(handle, o);
  const settled = (): Set<string | undefined> =>
    new Set(
      ['ct.clinical.c01.study-status.v1', deadTopic('clinical', 'ingest')].flatMap((topic) => broker.records(topic)).map((r) => r.key),
    );
  for (let starts = 1; ; starts += 1) {
    if (starts > 30) throw new Error('it is started again and again');
    const ctx = testContext({ name: 'ingest' });
    const watch = setInterval(() => settled().size === UIDS.length && ctx.stop(), 10);
    const how = await runStage(stage, undefined, {
      bus: broker.bus(),
      codec,
      ctx,
      concurrency: 3,
      window: 16,
      drainMs: 200,
      retryDelaysMs: [40, 80, 160],
      jobsFolder: folder,
    }).then(
      () => 'stopped',
      () => 'ended',
    );
    clearInterval(watch);
    if (how === 'stopped') return starts;
  }
}

describe('a job that ends its process', () => {
  const letters = (broker: MemoryBroker) => broker.records(deadTopic('clinical', 'ingest'));

  test.each([
    ['as the loop begins it', undefined],
    ['as its handler begins it', true],
  ] as const)('comes to the dead letters after some tries, and everyone else is done: %s', async (_name, beginsItself) => {
    const broker = await world();
    const starts = await kept(
      broker,
      async (event, job) => {
        if (beginsItself === true) job?.begin();
        return event.value.studyInstanceUid === '3' ? KILL : emit([stored(event)]);
      },
      beginsItself === undefined ? {} : { beginsItself },
    );
    expect(letters(broker).map((l) => [l.key, l.headers['ct-code']])).toEqual([['c01|3', 'PROCESS_DIED']]);
    // Twice in its topic, once after each wait; and the last start, which ends well.
    expect(starts).toBe(6);
    expect(await readdir(join(folder, 'ingest'))).toEqual([]);
  });

  test('is done when it is replayed after the cause is gone', async () => {
    const broker = await world();
    let isMended = false;
    const handle = async (event: Available): Promise<Outcome> =>
      event.value.studyInstanceUid === '3' && !isMended ? KILL : emit([stored(event)]);
    await kept(broker, handle);
    isMended = true;
    const [letter] = letters(broker);
    if (letter === undefined) throw new Error('no letter');
    await broker.bus().publish([replayRecord('clinical', letter, Date.now())]);
    const ctx = testContext({ name: 'ingest' });
    const watch = setInterval(() => broker.records('ct.clinical.c01.study-status.v1').some((r) => r.key === 'c01|3') && ctx.stop(), 10);
    await runStage(stageOf(handle), undefined, { bus: broker.bus(), codec, ctx, concurrency: 3, window: 16, jobsFolder: folder });
    clearInterval(watch);
    expect(broker.records('ct.clinical.c01.study-status.v1').map((r) => r.key)).toContain('c01|3');
  });
});

test('a folder of notes that is cleaned away fails no job, and the log says so once', async () => {
  const broker = await world();
  const ctx = testContext({ name: 'ingest' });
  const allStored = (): boolean => broker.records('ct.clinical.c01.study-status.v1').length === UIDS.length;
  const handle = async (event: Available): Promise<Outcome> => {
    await rm(join(folder, 'ingest'), { recursive: true, force: true });
    return emit([stored(event)]);
  };
  const running = runStage(stageOf(handle), undefined, { bus: broker.bus(), codec, ctx, concurrency: 1, window: 16, jobsFolder: folder });
  await until('all are stored', allStored).finally(() => ctx.stop());
  await running;
  expect(ctx.lines().filter((l) => l.includes('JOBS_FOLDER'))).toHaveLength(1);
});
