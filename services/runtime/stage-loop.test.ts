// The loop on the bus in memory: what becomes of a record, whatever its handler does.
import { afterEach, describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { memoryBroker, type MemoryBroker } from '../../test/shared/memory-bus.ts';
import { manualClock } from '../../test/shared/manual-clock.ts';
import { testContext, until, type TestContext } from '../../test/shared/test-context.ts';
import { avroCodec } from '../adapters/avro-codec.ts';
import { topicPlans } from '../adapters/kafka-topics.ts';
import { eventId } from '../kernel/digest.ts';
import { outgoingId } from '../kernel/event-ids.ts';
import { Fault } from '../kernel/fault.ts';
import { emit, reject, skip, type NewEvent, type Outcome } from '../kernel/outcome.ts';
import { deadTopic, retryTopic } from '../kernel/route.ts';
import type { EventIn, Job, Stage } from '../kernel/stage.ts';
import type { BusRecord, EventBus } from '../ports/event-bus.ts';
import type { Clock } from '../ports/clock.ts';
import { PARK_BYTES, replayRecord } from './retry.ts';
import { runStage, type StageDeps } from './stage-loop.ts';

const codec = avroCodec();
const AVAILABLE = 'ct.clinical.c01.study-available.v1';
const STATUS = 'ct.clinical.c01.study-status.v1';
const TRACE = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;

type Available = EventIn<'ctstream.clinical.v1.StudyAvailable'>;
type Handle = (event: Available, signal: AbortSignal) => Promise<Outcome>;

function world(): MemoryBroker {
  const broker = memoryBroker();
  for (const plan of topicPlans(['c01', 'c02'], 2)) broker.createTopic(plan.name, plan.partitions);
  return broker;
}

function available(uid: string, id = `cause-${uid}`): NewEvent & { id: string } {
  return {
    id,
    type: 'ctstream.clinical.v1.StudyAvailable',
    value: {
      centre: 'c01',
      studyInstanceUid: uid,
      revision: 'r1',
      sequence: 1,
      instanceCount: 1,
      seriesCount: 1,
      modalities: ['CT'],
      noticedBy: 'poll',
    },
  } as never;
}

async function announce(broker: MemoryBroker, ...uids: string[]): Promise<void> {
  await broker
    .bus()
    .publish(
      uids.map((uid) =>
        codec.encode(available(uid), { id: `cause-${uid}`, source: 'gateway-c01', timeMs: 1_800_000_000_000, traceparent: TRACE }),
      ),
    );
}

function status(event: Available): NewEvent {
  const { centre, studyInstanceUid, revision } = event.value;
  return {
    type: 'ctstream.clinical.v1.StudyStatus',
    value: { centre, studyInstanceUid, revision, state: 'stored', code: null, instanceCount: 1 },
  };
}

function stageOf(
  handle: Handle,
  more: Partial<Stage<'ctstream.clinical.v1.StudyAvailable', undefined>> = {},
): Stage<'ctstream.clinical.v1.StudyAvailable', undefined> {
  return {
    name: 'ingest',
    zone: 'clinical',
    consumes: ['ct.clinical.<centre>.study-available.v1'],
    produces: ['ct.clinical.<centre>.study-status.v1', 'ct.clinical.study-stored.v1'],
    jobTimeoutMs: 60_000,
    handle: (event, _ports, signal) => handle(event, signal),
    ...more,
  };
}

let contexts: { ctx: TestContext; done: Promise<void> }[] = [];

/** Starts the stage; the test ends it, or the clean-up does. */
function run(
  broker: MemoryBroker,
  handle: Handle,
  o: Partial<StageDeps> & { clock?: Clock; stage?: Partial<Stage<'ctstream.clinical.v1.StudyAvailable', undefined>> } = {},
): { ctx: TestContext; done: Promise<void> } {
  const ctx = testContext({ name: 'ingest', ...(o.clock === undefined ? {} : { clock: o.clock }) });
  const done = runStage(stageOf(handle, o.stage), undefined, {
    bus: broker.bus(),
    codec,
    ctx,
    concurrency: 4,
    window: 16,
    drainMs: 200,
    ...o,
  });
  done.catch(() => undefined);
  const started = { ctx, done };
  contexts.push(started);
  return started;
}

afterEach(async () => {
  for (const { ctx, done } of contexts) {
    ctx.stop();
    await done.catch(() => undefined);
  }
  contexts = [];
});

const committedAll = async (broker: MemoryBroker, topic = AVAILABLE, group = 'ingest'): Promise<boolean> => {
  const ends = (await broker.bus().ends([topic])).filter((e) => e.end > 0n);
  const committed = await broker.bus().committed(group, [topic]);
  return ends.every((e) => committed.some((c) => c.partition === e.partition && c.offset === e.end));
};

const decoded = (r: BusRecord | undefined): EventIn => {
  if (r === undefined) throw new Error('no record');
  return codec.decode(r);
};

describe('outcomes', () => {
  test('emitted events carry an id that every attempt gives again, the trace, and the writer', async () => {
    const broker = world();
    await announce(broker, '1.2.3');
    run(broker, async (event) => emit([status(event), { ...status(event), cause: 'manifest-sha' }]));
    await until('both events', () => broker.records(STATUS).length === 2 && true);
    const [one, two] = broker.records(STATUS);
    const type = 'ctstream.clinical.v1.StudyStatus';
    expect([decoded(one).id, decoded(two).id]).toEqual([eventId('cause-1.2.3', type, 0), eventId('manifest-sha', type, 0)]);
    expect(decoded(one).source).toBe('ingest');
    await until('the commit', () => committedAll(broker));
  });

  test.each([
    ['skip', () => skip('DUPLICATE_OF', 'c02'), 'ct.clinical.study-skipped.v1'],
    ['reject', () => reject('MISSING_UID', 'SOPInstanceUID (0008,0018)'), 'ct.clinical.study-rejected.v1'],
  ] as const)("%s is published as the zone's event about the same study", async (kind, outcome, topic) => {
    const broker = world();
    await announce(broker, '1.2.3');
    run(broker, async () => outcome());
    await until('the verdict', () => broker.records(topic).length === 1);
    const event = decoded(broker.records(topic)[0]);
    const { code, detail } = outcome() as Extract<Outcome, { code: unknown }>;
    expect(event.value).toMatchObject({ centre: 'c01', studyInstanceUid: '1.2.3', revision: 'r1', stage: 'ingest', code, detail });
    expect(event.id).toBe(outgoingId('ingest', 'cause-1.2.3', event.type, 0));
    expect(event.id).not.toBe(outgoingId('anonymise', 'cause-1.2.3', event.type, 0));
    await until('the commit', () => committedAll(broker));
    expect(kind).toBeDefined();
  });

  test('a verdict goes out together with other events', async () => {
    const broker = world();
    await announce(broker, '1');
    run(broker, async (event) => reject('STUDY_VANISHED', '', [status(event)]));
    await until('both', () => broker.records('ct.clinical.study-rejected.v1').length === 1 && broker.records(STATUS).length === 1);
  });
});

describe('contract', () => {
  const broken = async (handle: Handle): Promise<unknown> => {
    const broker = world();
    await announce(broker, '1.2.3');
    const { done } = run(broker, handle);
    const error: unknown = await done.then(
      () => undefined,
      (e: unknown) => e,
    );
    expect(await committedAll(broker)).toBe(false);
    expect(broker.records('ct.research.subject-withdrawn.v1')).toEqual([]);
    return error;
  };

  test('an event that crosses the boundary with a clinical id as its cause ends the process', async () => {
    const error = await broken(async () =>
      emit([{ type: 'ctstream.research.v1.SubjectWithdrawn', value: { subjectId: 'p' as never, studies: null } }]),
    );
    expect(error).toMatchObject({ name: 'InvariantViolation', message: expect.stringContaining('does not produce') });
  });

  test('a stage that may produce it must name a cause of its own', async () => {
    const broker = world();
    await announce(broker, '1');
    const crossing =
      (cause?: string): Handle =>
      async () =>
        emit([
          {
            type: 'ctstream.research.v1.SubjectWithdrawn',
            value: { subjectId: 'p' as never, studies: null },
            ...(cause === undefined ? {} : { cause }),
          },
        ]);
    const stage = { name: 'anonymise', produces: ['ct.research.subject-withdrawn.v1'] };
    await expect(run(broker, crossing(), { stage, group: 'one' }).done).rejects.toThrow(/crosses the trust boundary/);
    run(broker, crossing('manifest'), { stage, group: 'two' });
    await until('the event', () => broker.records('ct.research.subject-withdrawn.v1').length === 1);
    expect(decoded(broker.records('ct.research.subject-withdrawn.v1')[0]).id).toBe(
      eventId('manifest', 'ctstream.research.v1.SubjectWithdrawn', 0),
    );
  });

  test('no permission ends the process', async () => {
    const broker = world();
    broker.outage = undefined;
    await announce(broker, '1');
    broker.outage = new Fault('DENIED_BY_BROKER', false, 'no');
    await expect(run(broker, async (event) => emit([status(event)])).done).rejects.toMatchObject({ code: 'DENIED_BY_BROKER' });
    expect(await committedAll(broker)).toBe(false);
  });
});

describe('what a job holds', () => {
  const held =
    (order: string[], settle: (event: Available) => Promise<Outcome>, broker: MemoryBroker) =>
    async (event: Available, job: Job | undefined) => {
      for (const name of ['first', 'second'])
        job?.untilSettled(async () => {
          order.push(
            `${name} released after ${broker.records(STATUS).length} events and ${broker.records(retryTopic('clinical', 'ingest', '30s')).length} retries`,
          );
        });
      return settle(event);
    };
  const start = (broker: MemoryBroker, handle: (event: Available, job: Job | undefined) => Promise<Outcome>, o: Partial<StageDeps> = {}) =>
    run(broker, async () => emit([]), { ...o, stage: { handle: (event, _ports, _signal, job) => handle(event, job) } });

  test('is released after the event is in the log, the newest first', async () => {
    const broker = world();
    await announce(broker, '1');
    const order: string[] = [];
    start(
      broker,
      held(order, async (event) => emit([status(event)]), broker),
    );
    await until('both', () => order.length === 2);
    expect(order).toEqual(['second released after 1 events and 0 retries', 'first released after 1 events and 0 retries']);
  });

  test('is released after the record was handed on, when the handler throws', async () => {
    const broker = world();
    await announce(broker, '1');
    const order: string[] = [];
    start(
      broker,
      held(order, () => Promise.reject(new Fault('VAULT_UNAVAILABLE', true, 'away')), broker),
    );
    await until('both', () => order.length === 2);
    expect(order[1]).toBe('first released after 0 events and 1 retries');
  });

  test('is released when the process stops and the job is let go', async () => {
    const broker = world();
    await announce(broker, '1');
    const order: string[] = [];
    let began = false;
    const { ctx, done } = start(
      broker,
      held(order, () => new Promise((_, reject) => void ((began = true), setTimeout(() => reject(new Error('late')), 300))), broker),
      { drainMs: 50 },
    );
    await until('the handler', () => began);
    ctx.stop();
    await done;
    expect(order).toHaveLength(2);
  });

  test('is released when a contract is broken; an error of the release is logged and hides nothing', async () => {
    const broker = world();
    await announce(broker, '1');
    let released = 0;
    const { ctx, done } = start(broker, async (_event, job) => {
      job?.untilSettled(async () => void released++);
      job?.untilSettled(() => Promise.reject(new Error('Ivanov')));
      return emit([{ type: 'ctstream.research.v1.SubjectWithdrawn', value: { subjectId: 'p' as never, studies: null } }]);
    });
    await expect(done).rejects.toMatchObject({ name: 'InvariantViolation' });
    expect(released).toBe(1);
    expect(ctx.lines().join('\n')).toContain('releasing what the job held failed');
    expect(ctx.lines().join('\n')).not.toContain('Ivanov');
  });

  test('what comes too late, from a handler that was left alone, is released at once', async () => {
    const broker = world();
    await announce(broker, '1');
    let late: Job | undefined;
    start(broker, async (event, job) => {
      late = job;
      return emit([status(event)]);
    });
    await until('the commit', () => committedAll(broker));
    let released = false;
    await until('the release', () => {
      late?.untilSettled(async () => void (released = true));
      return released;
    });
  });
});

describe('what is told once the events are in the log', () => {
  test('comes after the events and before the commit', async () => {
    const broker = world();
    await announce(broker, '1');
    let seen: unknown;
    const told = async (event: Available, outcome: Outcome): Promise<void> => {
      // Long enough for a commit that did not wait.
      await new Promise((resolve) => setTimeout(resolve, 100));
      seen = { id: event.id, kind: outcome.kind, events: broker.records(STATUS).length, committed: await committedAll(broker) };
    };
    run(broker, async (event) => emit([status(event)]), { stage: { told } });
    await until('the commit', () => committedAll(broker));
    expect(seen).toEqual({ id: 'cause-1', kind: 'emit', events: 1, committed: false });
  });

  test('is told again with the events when it fails, and their ids are the same', async () => {
    const broker = world();
    await announce(broker, '1');
    let tells = 0;
    const told = async (): Promise<void> => {
      if (++tells === 1) throw new Fault('STORE_UNAVAILABLE', true, 'away');
    };
    run(broker, async (event) => emit([status(event)]), { stage: { told }, retryDelaysMs: [1, 1, 1] });
    await until('it is told again', () => tells === 2);
    await until('the commits', async () => {
      const waited = await committedAll(broker, retryTopic('clinical', 'ingest', '30s'), 'ingest.retry');
      return waited && (await committedAll(broker));
    });
    const waited = broker.records(retryTopic('clinical', 'ingest', '30s'));
    expect(waited.map((r) => r.headers['ct-code'])).toEqual(['STORE_UNAVAILABLE']);
    const [first, second, ...more] = broker.records(STATUS);
    expect(more).toEqual([]);
    expect(decoded(second).id).toBe(decoded(first).id);
    expect(second?.value).toEqual(first?.value);
    expect(broker.records(deadTopic('clinical', 'ingest'))).toEqual([]);
  });

  test('is not told of a record that another process has by then', async () => {
    const broker = world();
    const uids = Array.from({ length: 8 }, (_, i) => `1.${i}`);
    await announce(broker, ...uids);
    const partitionOf = new Map(broker.records(AVAILABLE).map((r) => [r.headers['ce_id'] ?? '', r.partition]));
    expect(new Set(partitionOf.values()).size).toBe(2);
    const bus = broker.bus();
    let published = 0;
    let thief: Promise<unknown> | undefined;
    const told = new Set<string>();
    run(broker, async (event) => emit([status(event)]), {
      concurrency: uids.length,
      bus: {
        ...bus,
        publish: async (records, signal) => {
          await bus.publish(records, signal);
          published += 1;
          await until('all are published', () => published >= uids.length);
          // A second member of the group takes one of the two partitions before anything is told.
          thief ??= broker.bus().subscribe({ group: 'ingest', topics: ['ct.clinical.<centre>.study-available.v1'], window: 16 });
          await thief;
        },
      },
      stage: { told: async (event) => void told.add(event.id) },
    });
    const kept = [...partitionOf].filter(([, partition]) => partition === 0).map(([id]) => id);
    await until('what was kept is told', () => kept.every((id) => told.has(id)));
    expect([...told].sort()).toEqual(kept.sort());
    expect(broker.records(STATUS)).toHaveLength(uids.length);
  });
});

describe('faults', () => {
  test('a fault worth another try waits 30 s, 5 m and 1 h, then lies with the dead letters, bytes and headers as they were', async () => {
    const broker = world();
    const clock = manualClock();
    await announce(broker, '1.2.3');
    const original = broker.records(AVAILABLE)[0];
    let tries = 0;
    run(
      broker,
      async (event) => {
        tries++;
        expect([event.topic, event.partition, event.offset]).toEqual([AVAILABLE, original?.partition, original?.offset]);
        throw new Fault('MANIFEST_MISSING', true, 'connect');
      },
      { clock },
    );
    for (const [i, [delay, ms]] of (
      [
        ['30s', 30_000],
        ['5m', 300_000],
        ['1h', 3_600_000],
      ] as const
    ).entries()) {
      const topic = retryTopic('clinical', 'ingest', delay);
      await until(`the record in ${topic}`, () => broker.records(topic).length === 1);
      expect(broker.records(topic)[0]?.headers).toMatchObject({
        'ct-attempt': String(i + 1),
        'ct-code': 'MANIFEST_MISSING',
        'ct-due': String(clock.nowMs() + ms),
        'ct-origin-topic': AVAILABLE,
      });
      await until('it waits', () => clock.sleepers() > 0);
      await clock.advance(ms - 1);
      expect(tries).toBe(i + 1);
      await clock.advance(1);
    }
    const dead = deadTopic('clinical', 'ingest');
    await until('the dead letter', () => broker.records(dead).length === 1);
    const letter = broker.records(dead)[0];
    expect(tries).toBe(4);
    expect(letter?.value).toEqual(original?.value);
    expect(letter?.key).toBe(original?.key);
    expect(letter?.headers).toEqual({
      ...original?.headers,
      'ct-origin-topic': AVAILABLE,
      'ct-origin-partition': String(original?.partition),
      'ct-origin-offset': '0',
      'ct-attempt': '4',
      'ct-code': 'MANIFEST_MISSING',
      'ct-stage': 'ingest',
    });
    await until(
      'the commits',
      async () => (await committedAll(broker)) && (await committedAll(broker, retryTopic('clinical', 'ingest', '1h'), 'ingest.retry')),
    );
  });

  test('a fault that no try can mend is dead at once; an unforeseen error is UNEXPECTED and its text is logged nowhere', async () => {
    const broker = world();
    await announce(broker, '1', '2');
    const { ctx } = run(broker, async (event) => {
      if (event.value.studyInstanceUid === '1') throw new Fault('OBJECT_CORRUPT', false, 'hash');
      throw new TypeError('Ivanov^Ivan is not iterable');
    });
    await until(
      'one dead, one waiting',
      () =>
        broker.records(deadTopic('clinical', 'ingest')).length === 1 &&
        broker.records(retryTopic('clinical', 'ingest', '30s')).length === 1,
    );
    expect(broker.records(retryTopic('clinical', 'ingest', '30s'))[0]?.headers['ct-code']).toBe('UNEXPECTED');
    const lines = ctx.lines().join('\n');
    expect(lines).toContain('TypeError');
    expect(lines).toContain('stage-loop.test.ts');
    expect(lines).not.toContain('Ivanov');
    expect(lines).not.toContain('c01|');
  });

  test('a replayed dead letter is handled at once, with all its tries again', async () => {
    const broker = world();
    await announce(broker, '1');
    let mended = false;
    run(broker, async (event) => {
      if (!mended) throw new Fault('OBJECT_CORRUPT', false, 'hash');
      return emit([status(event)]);
    });
    await until('the dead letter', () => broker.records(deadTopic('clinical', 'ingest')).length === 1);
    mended = true;
    const letter = broker.records(deadTopic('clinical', 'ingest'))[0];
    if (letter === undefined) throw new Error('no letter');
    await broker.bus().publish([replayRecord('clinical', letter, Date.now())]);
    await until('the event', () => broker.records(STATUS).length === 1);
  });

  test('bytes that are no event are dead; those of a newer version wait for ever', async () => {
    const broker = world();
    const clock = manualClock();
    const good = codec.encode(available('1'), { id: 'x', source: 's', timeMs: 1_800_000_000_000 });
    const wrongType = codec.encode(
      { type: 'ctstream.research.v1.SubjectWithdrawn', value: { subjectId: 'p' as never, studies: null } },
      { id: 'w', source: 's', timeMs: 1_800_000_000_000 },
    );
    const newer = Buffer.from(good.value);
    newer.writeUInt32BE(9999, 1);
    await broker.bus().publish([
      { ...good, value: Buffer.from('?') },
      { ...good, value: newer },
      { ...wrongType, topic: AVAILABLE, key: 'z' },
    ]);
    run(broker, async () => emit([]), { clock });
    await until('two dead', () => broker.records(deadTopic('clinical', 'ingest')).length === 2);
    expect(broker.records(deadTopic('clinical', 'ingest')).map((r) => r.headers['ct-code'])).toEqual(['BAD_EVENT', 'BAD_EVENT']);
    for (let i = 0; i < 6; i++) {
      await until('the newer one waits', () => clock.sleepers() > 0);
      await clock.advance(3_600_000);
    }
    expect(broker.records(retryTopic('clinical', 'ingest', '1h')).length).toBeGreaterThan(2);
    expect(broker.records(deadTopic('clinical', 'ingest'))).toHaveLength(2);
  });

  test('a dependency that is away makes no dead letters: its records wait at the last step for as long as it takes', async () => {
    const broker = world();
    const clock = manualClock();
    await announce(broker, '1');
    let away = true;
    run(
      broker,
      async (event) => {
        if (away) throw new Fault('PACS_UNREACHABLE', true, 'connect');
        return emit([status(event)]);
      },
      { clock },
    );
    for (let i = 0; i < 6; i++) {
      await until('it waits', () => clock.sleepers() > 0);
      await clock.advance(3_600_000);
    }
    await until('it waits', () => clock.sleepers() > 0);
    expect(broker.records(deadTopic('clinical', 'ingest'))).toEqual([]);
    expect(broker.records(retryTopic('clinical', 'ingest', '1h'))).toHaveLength(5);
    away = false;
    await clock.advance(3_600_000);
    await until('the event', () => broker.records(STATUS).length === 1);
  });

  test('whoever writes a main topic says nothing about its place, its tries or its time: forged headers are taken off', async () => {
    const broker = world();
    const good = codec.encode(available('1'), { id: 'x', source: 'gateway-c01', timeMs: 1_800_000_000_000 });
    const forged = {
      'ct-origin-topic': 'ct.clinical.c02.study-available.v1',
      'ct-origin-partition': 'x',
      'ct-origin-offset': 'x',
      'ct-attempt': 'x',
      'ct-due': '99999999999999',
      'ct-sha256': 'x',
      'ct-stage': 'anonymise',
    };
    await broker.bus().publish([{ ...good, headers: { ...good.headers, ...forged } }]);
    const [record] = broker.records(AVAILABLE);
    let place: unknown[] = [];
    run(broker, async (event) => {
      place = [event.topic, event.partition, event.offset];
      throw new Fault('OBJECT_CORRUPT', false, 'hash');
    });
    await until('the dead letter', () => broker.records(deadTopic('clinical', 'ingest')).length === 1);
    expect(place).toEqual([AVAILABLE, record?.partition, record?.offset]);
    expect(broker.records(deadTopic('clinical', 'ingest'))[0]?.headers).toEqual({
      ...good.headers,
      'ct-origin-topic': AVAILABLE,
      'ct-origin-partition': String(record?.partition),
      'ct-origin-offset': '0',
      'ct-attempt': '1',
      'ct-code': 'OBJECT_CORRUPT',
      'ct-stage': 'ingest',
    });
  });

  test.each([
    ['ct-origin-topic', 'ct.clinical.study-stored.v1'],
    ['ct-origin-topic', retryTopic('clinical', 'ingest', '30s')],
    ['ct-origin-partition', '-1'],
    ['ct-origin-offset', 'x'],
    ['ct-origin-offset', '9'.repeat(400)],
    ['ct-attempt', '1e3'],
    ['ct-away', '-1'],
    ['ct-sha256', '../x'],
  ])('a waiting record whose %s is %s is a dead letter and ends nothing', async (name, value) => {
    const broker = world();
    const good = codec.encode(available('1'), { id: 'x', source: 's', timeMs: 1_800_000_000_000 });
    const place = { 'ct-origin-topic': AVAILABLE, 'ct-origin-partition': '0', 'ct-origin-offset': '0', 'ct-attempt': '1' };
    const waiting = { ...good, topic: retryTopic('clinical', 'ingest', '30s') };
    let handled = 0;
    run(broker, async () => (handled++, emit([])));
    await broker.bus().publish([{ ...waiting, headers: { ...good.headers, ...place, [name]: value } }]);
    await until('the dead letter', () => broker.records(deadTopic('clinical', 'ingest')).length === 1);
    expect(broker.records(deadTopic('clinical', 'ingest'))[0]?.headers['ct-code']).toBe('BAD_EVENT');
    await broker.bus().publish([{ ...waiting, headers: { ...good.headers, ...place } }]);
    await until('a good one is handled', () => handled === 1);
  });

  test('a record too large to be parked waits as a reference, and is handled with its own bytes', async () => {
    const broker = world();
    const long = { ...available('1').value, noticedBy: 'poll', modalities: Array.from({ length: 900_000 }, () => 'CT') };
    const event = { ...available('1'), value: long } as NewEvent;
    await broker.bus().publish([codec.encode(event, { id: 'large', source: 's', timeMs: 1_800_000_000_000 })]);
    const [original] = broker.records(AVAILABLE);
    expect(original?.value.byteLength).toBeGreaterThan(2_500_000);
    const seen: unknown[] = [];
    run(
      broker,
      async (e) => {
        seen.push([e.id, e.topic, e.offset, e.key, e.value.modalities.length]);
        if (seen.length === 1) throw new Fault('PACS_UNREACHABLE', true, 'x');
        throw new Fault('OBJECT_CORRUPT', false, 'x');
      },
      { retryDelaysMs: [1, 1, 1] },
    );
    await until('the dead letter', () => broker.records(deadTopic('clinical', 'ingest')).length === 1);
    expect(seen).toEqual([1, 2].map(() => ['large', AVAILABLE, 0n, original?.key, 900_000]));
    for (const topic of [retryTopic('clinical', 'ingest', '30s'), deadTopic('clinical', 'ingest')]) {
      const [parked] = broker.records(topic);
      expect(parked?.value.byteLength).toBe(0);
      expect(parked?.headers).toMatchObject({ ce_id: 'large', 'ct-origin-topic': AVAILABLE, 'ct-origin-offset': '0' });
      expect(parked?.headers['ct-sha256']).toBe(
        createHash('sha256')
          .update(original?.value ?? '')
          .digest('hex'),
      );
    }
  });

  test('the topics where records are parked take more than what is parked whole, and that is more than any broker takes by default', () => {
    const parked = topicPlans(['c01']).filter((p) => /\.(?:retry\..*|dead)$/.test(p.name));
    expect(parked).toHaveLength(6 * 4);
    for (const plan of parked) expect(plan.maxMessageBytes).toBeGreaterThan(PARK_BYTES);
    expect(PARK_BYTES).toBeGreaterThan(1_048_588);
  });

  test('a reference whose bytes are no longer there is a dead letter', async () => {
    const broker = world();
    await announce(broker, '1');
    const headers = {
      'ct-origin-topic': AVAILABLE,
      'ct-origin-partition': String(broker.records(AVAILABLE)[0]?.partition),
      'ct-origin-offset': '0',
      'ct-attempt': '1',
      'ct-sha256': '0'.repeat(64),
    };
    let handled = 0;
    run(broker, async () => (handled++, emit([])));
    await broker.bus().publish([{ topic: retryTopic('clinical', 'ingest', '30s'), key: 'k', value: new Uint8Array(), headers }]);
    await until('the dead letter', () => broker.records(deadTopic('clinical', 'ingest')).length === 1);
    expect(broker.records(deadTopic('clinical', 'ingest'))[0]?.headers['ct-code']).toBe('BAD_EVENT');
    expect(handled).toBe(1);
  });

  test('a job that is too long is aborted, and its record waits as JOB_TIMEOUT', async () => {
    const broker = world();
    await announce(broker, '1');
    run(
      broker,
      (_event, signal) => new Promise((_, rejectJob) => signal.addEventListener('abort', () => rejectJob(new Error('aborted')))),
      { jobTimeoutMs: 50 },
    );
    await until('it waits', () => broker.records(retryTopic('clinical', 'ingest', '30s'))[0]?.headers['ct-code'] === 'JOB_TIMEOUT');
  });

  test('while the bus takes nothing, a finished job waits with its events and is not done twice', async () => {
    const broker = world();
    await announce(broker, '1');
    let done = 0;
    broker.outage = new Fault('BUS_UNAVAILABLE', true, 'away');
    run(broker, async (event) => {
      done++;
      return emit([status(event)]);
    });
    await until('the job is done', () => done === 1);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(await committedAll(broker)).toBe(false);
    broker.outage = undefined;
    await until('the event', () => broker.records(STATUS).length === 1);
    await until('the commit', () => committedAll(broker));
    expect(done).toBe(1);
  });
});

test('a waiting record whose outcome the bus does not take goes back to wait, as often as it must: all centres share its topic', async () => {
  const broker = world();
  const clock = manualClock();
  const bus = broker.bus();
  let takes = false;
  const away = new Fault('BUS_UNAVAILABLE', true, 'its topic takes nothing');
  const picky: EventBus = {
    ...bus,
    publish: async (records, signal) => {
      if (!takes && records.some((r) => r.topic === STATUS)) throw away;
      await bus.publish(records, signal);
    },
  };
  const due = codec.encode(available('1'), { id: 'due', source: 's', timeMs: 1_800_000_000_000 });
  const place = { 'ct-origin-topic': AVAILABLE, 'ct-origin-partition': '0', 'ct-origin-offset': '0', 'ct-attempt': '3' };
  const headers = { ...due.headers, ...place, 'ct-code': 'JOB_TIMEOUT', 'ct-due': '1' };
  await broker.bus().publish([{ ...due, topic: retryTopic('clinical', 'ingest', '1h'), headers }]);
  run(broker, async (event) => emit([status(event)]), { clock, bus: picky });
  const parked = retryTopic('clinical', 'ingest', '30s');
  for (let i = 0; i < 80 && broker.records(parked).length === 0; i += 1) {
    await until('it waits', () => clock.sleepers() > 0);
    await clock.advance(10_000);
  }
  expect(broker.records(parked)[0]?.headers).toMatchObject({ 'ct-attempt': '4', 'ct-away': '1', 'ct-code': 'BUS_UNAVAILABLE' });
  expect(await committedAll(broker, retryTopic('clinical', 'ingest', '1h'), 'ingest.retry')).toBe(true);
  takes = true;
  await clock.advance(30_000);
  await until('the event', () => broker.records(STATUS).length === 1);
});

describe('side by side', () => {
  test('jobs of one key run in order and one at a time; of different keys together, up to the limit', async () => {
    const broker = world();
    const uids = Array.from({ length: 12 }, (_, i) => `1.${i % 6}`);
    await broker.bus().publish(uids.map((uid, i) => codec.encode(available(uid), { id: `e${i}`, source: 's', timeMs: 1_800_000_000_000 })));
    const running = new Set<string>();
    const order = new Map<string, string[]>();
    let most = 0;
    run(broker, async (event) => {
      const uid = event.value.studyInstanceUid;
      expect(running.has(uid)).toBe(false);
      running.add(uid);
      most = Math.max(most, running.size);
      await new Promise((resolve) => setTimeout(resolve, 10));
      running.delete(uid);
      order.set(uid, [...(order.get(uid) ?? []), event.id]);
      return emit([]);
    });
    await until('the commits', () => committedAll(broker));
    expect(most).toBe(4);
    for (let i = 0; i < 6; i++) expect(order.get(`1.${i}`)).toEqual([`e${i}`, `e${i + 6}`]);
  });

  test('a waiting record takes no slot', async () => {
    const broker = world();
    const clock = manualClock();
    await announce(broker, 'slow', 'quick');
    run(
      broker,
      async (event) => {
        if (event.value.studyInstanceUid === 'slow') throw new Fault('PACS_UNREACHABLE', true, 'x');
        return emit([status(event)]);
      },
      { clock, concurrency: 1 },
    );
    await until('the quick one is through', () => broker.records(STATUS).length === 1);
  });

  test('with one slot and nothing new to do, waiting records have their turn', async () => {
    const broker = world();
    const clock = manualClock();
    await announce(broker, '1');
    let tries = 0;
    run(
      broker,
      async (event) => {
        if (++tries === 1) throw new Fault('PACS_UNREACHABLE', true, 'x');
        return emit([status(event)]);
      },
      { clock, concurrency: 1 },
    );
    await until('it waits', () => clock.sleepers() > 0);
    await clock.advance(30_000);
    await until('the event', () => broker.records(STATUS).length === 1);
  });
});

describe('whose turn it is', () => {
  type Stored = EventIn<'ctstream.clinical.v1.StudyStored'>;
  const stored = (centre: string, i: number) =>
    codec.encode(
      {
        type: 'ctstream.clinical.v1.StudyStored',
        value: {
          centre,
          studyInstanceUid: `1.2.${i}`,
          revision: 'r',
          sequence: 1,
          manifestKey: 'k',
          manifestSha256: 's',
          contentDigest: 'd',
          seriesCount: 1,
          instanceCount: 1,
          sizeBytes: 1,
        },
      } as never,
      { id: `${centre}-${i}`, source: 's', timeMs: 1_800_000_000_000 },
    );
  const withdrawn = codec.encode(
    { type: 'ctstream.research.v1.SubjectWithdrawn', value: { subjectId: 'p' as never, studies: null } },
    { id: 'withdrawn', source: 's', timeMs: 1_800_000_000_000 },
  );
  const manyPartitions = (): MemoryBroker => {
    const broker = memoryBroker();
    for (const plan of topicPlans(['c01'])) broker.createTopic(plan.name, plan.partitions);
    return broker;
  };

  test('a centre that floods all partitions first keeps neither the studies of another waiting nor a withdrawal', async () => {
    const broker = manyPartitions();
    const flood = Array.from({ length: 1000 }, (_, i) => stored('flood', i));
    await broker.bus().publish([...flood, ...Array.from({ length: 5 }, (_, i) => stored('good', 5000 + i)), withdrawn]);
    const order: string[] = [];
    const handle = async (event: EventIn): Promise<Outcome> => {
      order.push('centre' in event.value ? event.value.centre : event.id);
      await new Promise((resolve) => setTimeout(resolve, 1));
      return emit([]);
    };
    run(broker, async () => emit([]), {
      concurrency: 2,
      window: 64,
      stage: {
        name: 'anonymise',
        consumes: ['ct.clinical.study-stored.v1', 'ct.research.subject-withdrawn.v1'],
        handle: handle as never,
      },
    });
    await until('all are done', () => order.length === flood.length + 6, 20_000);
    expect(order.flatMap((name, i) => (name === 'flood' ? [] : [i])).every((place) => place < 20)).toBe(true);
  });

  test('revisions of one study stay in order and one at a time', async () => {
    const broker = manyPartitions();
    const revisions = [1, 2, 3].map((n) => ({ ...stored('good', 1), headers: { ...stored('good', 1).headers, ce_id: `r${n}` } }));
    await broker.bus().publish([...Array.from({ length: 50 }, (_, i) => stored('flood', i)), ...revisions]);
    const steps: string[] = [];
    let done = 0;
    const handle = async (event: Stored): Promise<Outcome> => {
      if (event.value.centre === 'good') steps.push(`${event.id} begins`);
      await new Promise((resolve) => setTimeout(resolve, 2));
      if (event.value.centre === 'good') steps.push(`${event.id} ends`);
      done += 1;
      return emit([]);
    };
    const stage = { name: 'anonymise', consumes: ['ct.clinical.study-stored.v1'], handle: handle as never };
    run(broker, async () => emit([]), { concurrency: 4, window: 64, stage });
    await until('all are done', () => done === 53);
    expect(steps).toEqual(['r1', 'r2', 'r3'].flatMap((id) => [`${id} begins`, `${id} ends`]));
  });

  test('what is due and gets no slot for long goes behind what waits, with its code and its tries; then it has its turn', async () => {
    const broker = world();
    await announce(broker, 'long');
    let end: (() => void) | undefined;
    run(
      broker,
      async (event) => {
        if (event.value.studyInstanceUid === 'long') await new Promise<void>((resolve) => (end = resolve));
        return emit([status(event)]);
      },
      { concurrency: 1, turnMs: 20 },
    );
    await until('the only slot is taken', () => end !== undefined);
    const due = codec.encode(available('due'), { id: 'due', source: 's', timeMs: 1_800_000_000_000 });
    const headers = {
      ...due.headers,
      'ct-origin-topic': AVAILABLE,
      'ct-origin-partition': '0',
      'ct-origin-offset': '9',
      'ct-attempt': '3',
      'ct-code': 'MANIFEST_MISSING',
      'ct-due': '1',
    };
    await broker.bus().publish([{ ...due, topic: retryTopic('clinical', 'ingest', '1h'), headers }]);
    const behind = retryTopic('clinical', 'ingest', '5m');
    await until('it went behind the others, twice', () => broker.records(behind).length > 1);
    for (const record of broker.records(behind))
      expect(record.headers).toEqual({ ...headers, 'ct-due': expect.stringMatching(/^\d{13}$/) });
    end?.();
    await until('both are done', () => broker.records(STATUS).length === 2);
    expect(broker.records(deadTopic('clinical', 'ingest'))).toEqual([]);
  });
});

test('a stage is ready once it has joined its groups', async () => {
  const broker = world();
  const bus = broker.bus();
  let join: (() => void) | undefined;
  const joins = new Promise<void>((resolve) => (join = resolve));
  const { ctx } = run(broker, async () => emit([]), {
    bus: { ...bus, subscribe: async (o) => (o.group.endsWith('.retry') ? joins.then(() => bus.subscribe(o)) : bus.subscribe(o)) },
  });
  expect(ctx.waitsFor()).toEqual(['ingest has not joined its consumer groups yet']);
  join?.();
  await until('it is ready', () => ctx.waitsFor().length === 0);
});

describe('the end', () => {
  test('after the stop signal running jobs end and are committed, and nothing new starts', async () => {
    const broker = world();
    await announce(broker, '1');
    let finish: (() => void) | undefined;
    const { ctx, done } = run(broker, (event) => new Promise((resolve) => void (finish = () => resolve(emit([status(event)])))), {
      drainMs: 5000,
    });
    await until('the job runs', () => finish !== undefined);
    ctx.stop();
    await announce(broker, '2');
    finish?.();
    await done;
    expect(broker.records(STATUS)).toHaveLength(1);
    const committed = await broker.bus().committed('ingest', [AVAILABLE]);
    expect(committed.reduce((sum, c) => sum + Number(c.offset), 0)).toBe(1);
  });

  test('a job that does not end in time is aborted and its record comes again to the next process', async () => {
    const broker = world();
    await announce(broker, '1');
    let aborted = false;
    let begun = false;
    const { ctx, done } = run(broker, (_event, signal) => {
      begun = true;
      return new Promise((_, rejectJob) =>
        signal.addEventListener('abort', () => {
          aborted = true;
          rejectJob(new Error('stopped'));
        }),
      );
    });
    await until('the job runs', () => begun);
    ctx.stop();
    await done;
    expect(aborted).toBe(true);
    expect(broker.records(retryTopic('clinical', 'ingest', '30s'))).toEqual([]);
    run(broker, async (event) => emit([status(event)]));
    await until('the second process does it', () => broker.records(STATUS).length === 1);
  });

  test('a record that is waiting for its time stays for the next process', async () => {
    const broker = world();
    const clock = manualClock();
    await announce(broker, '1');
    const { ctx, done } = run(broker, async () => Promise.reject(new Fault('PACS_UNREACHABLE', true, 'x')), { clock });
    await until('it waits', () => clock.sleepers() > 0);
    ctx.stop();
    await done;
    const later = manualClock(clock.nowMs() + 31_000);
    run(broker, async (event) => emit([status(event)]), { clock: later });
    await until('the second process does it', () => broker.records(STATUS).length === 1);
  });
});

test('jobs of a partition that another process took are aborted, and only their new owner commits them', async () => {
  const broker = world();
  await announce(broker, ...Array.from({ length: 8 }, (_, i) => `1.${i}`));
  const first = new Set<string>();
  let lost = 0;
  run(
    broker,
    (event, signal) => {
      first.add(event.id);
      return new Promise((_, rejectJob) => signal.addEventListener('abort', () => (lost++, rejectJob(new Error('lost')))));
    },
    { concurrency: 16 },
  );
  await until('all run', () => first.size === 8);
  const second = new Set<string>();
  run(broker, async (event) => {
    second.add(event.id);
    return emit([status(event)]);
  });
  await until('the other did what was lost', () => lost > 0 && second.size === lost);
  await until('its events', () => broker.records(STATUS).length === lost);
  expect(broker.records(retryTopic('clinical', 'ingest', '30s'))).toEqual([]);
});
