// A rolling upgrade on the real broker: a gateway writes a version of its event that a stage does not know yet. The record
// waits under its code, is dead for nobody and lost in no account, and the upgraded stage handles it once, as the same event.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { EventRecord } from '../../schemas/events.gen.ts';
import { avroCodec, ownSchemas } from '../../services/adapters/avro-codec.ts';
import { localAccess, operatorPorts, type OperatorPorts } from '../../services/cli/deployment.ts';
import { followLog } from '../../services/cli/follow-log.ts';
import type { Account } from '../../services/kernel/accounting.ts';
import { outgoingId } from '../../services/kernel/event-ids.ts';
import { reject } from '../../services/kernel/outcome.ts';
import { deadTopic, retryTopic } from '../../services/kernel/route.ts';
import type { EventIn, Stage } from '../../services/kernel/stage.ts';
import type { BusRecord } from '../../services/ports/event-bus.ts';
import type { EventCodec } from '../../services/ports/event-codec.ts';
import { runStage } from '../../services/runtime/stage-loop.ts';
import { eventually, openKit, processContext, type Kit } from './research-kit.ts';

type Available = EventIn<'ctstream.clinical.v1.StudyAvailable'>;
const FILE = 'clinical/study-available.v1.avsc';
const TYPE = 'ctstream.clinical.v1.StudyAvailable';
const AVAILABLE = 'ct.clinical.c01.study-available.v1';
const REJECTED = 'ct.clinical.study-rejected.v1';
const older = avroCodec();
const newer = avroCodec({ schemas: withField() });
const TIME = 1_800_000_000_000;

/** The schemas of the next version: one event has a field more, with a default. */
function withField(): Map<string, { text: string; id: number }> {
  const own = ownSchemas();
  const record = JSON.parse(own.get(FILE)?.text ?? '') as { fields: object[] };
  const field = { name: 'urgency', type: 'int', default: 0, doc: 'Of this test.' };
  const text = JSON.stringify({ ...record, fields: [...record.fields, field] });
  return new Map([...own, [FILE.replace('.v1.', '.v1.1.'), { text, id: 9001 }]]);
}

let kit: Kit;
let operator: OperatorPorts;
const ends: (() => Promise<void>)[] = [];

beforeAll(async () => {
  kit = await openKit('ahead');
  operator = await operatorPorts(localAccess(kit.platform, kit.provisioned));
});

afterAll(async () => {
  for (const end of ends) await end();
  await operator?.close();
  await kit?.end();
});

const study = (uid: string, more: object = {}): EventRecord =>
  ({
    type: TYPE,
    value: {
      centre: 'c01',
      studyInstanceUid: uid,
      revision: uid,
      sequence: 1,
      instanceCount: 1,
      seriesCount: 1,
      modalities: ['CT'],
      noticedBy: 'poll',
      ...more,
    },
  }) as unknown as EventRecord;

const census = (...uids: string[]): EventRecord =>
  ({
    type: 'ctstream.clinical.v1.Census',
    value: {
      centre: 'c01',
      censusId: 'one',
      takenAtMs: TIME,
      page: 1,
      pages: 1,
      total: uids.length,
      digest: 'd',
      outboxSequence: 2,
      studies: uids.map((studyInstanceUid) => ({ studyInstanceUid, instanceCount: 1, state: 'announced', code: null })),
    },
  }) as unknown as EventRecord;

async function publish(codec: EventCodec, id: string, event: EventRecord, sequence?: bigint): Promise<void> {
  const envelope = { id, source: 'gateway-c01', timeMs: TIME, ...(sequence === undefined ? {} : { sequence }) };
  await kit.bus('gateway-c01').publish([codec.encode(event, envelope)]);
}

/** One process of the stage, with the codec of its version. */
function start(codec: EventCodec): { handled: Available[]; stop(): Promise<void> } {
  const { ctx, stop } = processContext('ingest');
  const handled: Available[] = [];
  const stage: Stage<typeof TYPE, undefined> = {
    name: 'ingest',
    zone: 'clinical',
    consumes: ['ct.clinical.<centre>.study-available.v1'],
    produces: ['ct.clinical.study-rejected.v1'],
    jobTimeoutMs: 60_000,
    handle: async (event) => {
      handled.push(event);
      return reject('STUDY_VANISHED', '');
    },
  };
  const running = runStage(stage, undefined, {
    bus: kit.bus('ingest'),
    codec,
    ctx,
    concurrency: 4,
    window: 64,
    retryDelaysMs: [300, 300, 300],
  });
  const end = async (): Promise<void> => {
    stop();
    await running;
  };
  ends.push(() => end().catch(() => undefined));
  return { handled, stop: end };
}

async function recordsOf(topic: string): Promise<BusRecord[]> {
  const log = kit.bus('account');
  return await Array.fromAsync(log.read(await log.ends([topic])));
}

const accountBy = (codec: EventCodec): Promise<Account> => followLog({ ...operator, codec }).account(AbortSignal.timeout(30_000));
const standingOf = (a: Account, uid: string): string | undefined => {
  const found = a.studies.find((s) => s.key.endsWith(uid));
  return found === undefined ? undefined : `${found.state} ${found.code}`;
};

test('a record of the next version waits, is lost for no operator, and is handled once by the upgraded stage', async () => {
  const before = start(older);
  await publish(newer, 'ahead', study('1.2.1', { urgency: 7 }), 1n);
  await publish(older, 'known', study('1.2.2'), 2n);
  await publish(older, 'census', census('1.2.1', '1.2.2'));
  await eventually('the known one is handled', async () => before.handled.some((e) => e.id === 'known'));
  // More often than a fault of other kinds may be tried.
  const last = retryTopic('clinical', 'ingest', '1h');
  const waiting = await eventually('it waits at the last step for the third time', async () => (await recordsOf(last))[2]);
  expect(waiting.headers).toMatchObject({ ce_id: 'ahead', 'ct-code': 'SCHEMA_AHEAD' });
  expect(await recordsOf(deadTopic('clinical', 'ingest'))).toEqual([]);
  expect(before.handled.map((e) => e.id)).toEqual(['known']);
  // The operator's own tools may be of either version.
  for (const codec of [newer, older]) {
    const now = await accountBy(codec);
    expect(standingOf(now, '1.2.1')).toBe('waiting SCHEMA_AHEAD');
    expect(now).toMatchObject({ totals: { sent: 2, waiting: 1, rejected: 1, unaccounted: 0 }, missing: [] });
  }

  // Both versions run for a while.
  const after = start(newer);
  await publish(newer, 'between', study('1.2.3', { urgency: 8 }), 3n);
  await before.stop();
  const outcomes = await eventually('both are handled', async () => {
    const found = (await recordsOf(REJECTED)).map((r) => older.decode(r));
    return found.length === 3 ? found : undefined;
  });
  await eventually('nothing waits any more', async () => {
    const topics = ['30s', '5m', '1h'].map((delay) => retryTopic('clinical', 'ingest', delay));
    const log = kit.bus('account');
    const committed = await log.committed('ingest.retry', topics);
    const isDone = (e: { topic: string; partition: number; first: bigint; end: bigint }): boolean =>
      e.end === e.first || committed.some((c) => c.topic === e.topic && c.partition === e.partition && c.offset === e.end);
    return (await log.ends(topics)).every(isDone);
  });
  expect(await recordsOf(REJECTED)).toHaveLength(3);
  expect(await recordsOf(deadTopic('clinical', 'ingest'))).toEqual([]);
  expect(after.handled.map((e) => [e.id, (e.value as { urgency?: number }).urgency]).sort()).toEqual([
    ['ahead', 7],
    ['between', 8],
  ]);
  const idOf = (cause: string): string => outgoingId('ingest', cause, 'ctstream.clinical.v1.StudyRejected', 0);
  expect(outcomes.map((e) => e.id).sort()).toEqual(['ahead', 'between', 'known'].map(idOf).sort());
  const [original] = (await recordsOf(AVAILABLE)).filter((r) => r.headers['ce_id'] === 'ahead');
  expect(original?.value).toEqual(waiting.value);
  await after.stop();
});
