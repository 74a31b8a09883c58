// What comes again shares its topics, and their windows, with all centres: one that is slow and has thousands of studies there
// keeps nobody else waiting, and its own come one after the other.
import { expect, test } from '@jest/globals';
import { memoryBroker } from '../../test/shared/memory-bus.ts';
import { memoryStore } from '../../test/shared/memory-store.ts';
import { testContext, until } from '../../test/shared/test-context.ts';
import { avroCodec } from '../adapters/avro-codec.ts';
import { topicPlans } from '../adapters/kafka-topics.ts';
import { fairPlaces } from '../kernel/fair-places.ts';
import type { CentreId, ClinicalRevision, StudyInstanceUid } from '../kernel/ids.ts';
import { deadTopic, retryTopic } from '../kernel/route.ts';
import type { OutgoingRecord } from '../ports/event-bus.ts';
import { HEADER } from '../runtime/retry.ts';
import { runStage } from '../runtime/stage-loop.ts';
import { centrePulls } from './centre-pulls.ts';
import { limitedWork } from './ports.ts';
import { slowPulls } from './slow-pulls.ts';
import { ingestStage } from './stage.ts';

const codec = avroCodec();
const REJECTED = 'ct.clinical.study-rejected.v1';
// More than the window of a retry partition.
const FLOOD = 2100;

/** A study that failed often, in the last of the retry topics, and is due. */
function parked(centre: string, i: number): OutgoingRecord {
  const value = {
    centre: centre as CentreId,
    studyInstanceUid: `1.${i}` as StudyInstanceUid,
    revision: 'a'.repeat(32) as ClinicalRevision,
    sequence: 1,
    instanceCount: 1,
    seriesCount: 1,
    modalities: ['CT'],
    noticedBy: 'poll',
  };
  const event = { type: 'ctstream.clinical.v1.StudyAvailable' as const, value };
  const record = codec.encode(event, { id: `${centre}-${i}`, source: 's', timeMs: 1_800_000_000_000 });
  const own = {
    [HEADER.originTopic]: record.topic,
    [HEADER.originPartition]: '0',
    [HEADER.originOffset]: String(i),
    [HEADER.attempt]: '3',
    [HEADER.code]: 'PACS_UNREACHABLE',
    [HEADER.due]: '1',
  };
  return { ...record, topic: retryTopic('clinical', 'ingest', '1h'), headers: { ...record.headers, ...own } };
}

test('a centre with more waiting studies than the window of a retry partition keeps no other waiting', async () => {
  const broker = memoryBroker();
  for (const plan of topicPlans(['slow', 'good'], 1)) broker.createTopic(plan.name, plan.partitions);
  await broker.bus().publish([...Array.from({ length: FLOOD }, (_, i) => parked('slow', i)), parked('good', 0)]);
  const ctx = testContext({ name: 'ingest' });
  const line = fairPlaces(2);
  const slow = slowPulls(9);
  // The PACS has no such study any more, which is all that is asked: the slow one says so after a while.
  const pullsOf = (centre: string, answerMs: number) =>
    centrePulls(
      centre,
      {
        async *studies() {},
        study: async (_uid, signal) => (await ctx.clock.sleep(answerMs, signal), []),
        series: async () => [],
        instances: async () => [],
        retrieveSeries: async () => undefined,
      },
      {
        gate: { places: 2, failures: 3, openMs: 1000 },
        pace: { slowBytesPerSecond: 1, judgeMs: 1000 },
        jobMs: 60_000,
        pullMs: 60_000,
        waitMs: { new: 60_000, again: 500 },
      },
      { line, slow, clock: ctx.clock },
    );
  const pacs = new Map([
    ['slow', pullsOf('slow', 50)],
    ['good', pullsOf('good', 0)],
  ]);
  const ports = {
    store: memoryStore(),
    pacs: (centre: string) => pacs.get(centre),
    random: ctx.random,
    clock: ctx.clock,
    admission: { isOpen: () => true, open: async () => undefined },
    spill: { folder: '/nowhere', memoryBytes: 1, headBytes: 1, maxBytes: 1 },
    work: limitedWork(fairPlaces(2), 60_000),
    byContent: new Set<string>(),
    count: () => undefined,
  };
  const done = runStage(ingestStage, ports, {
    bus: broker.bus(),
    codec,
    ctx,
    concurrency: Number.MAX_SAFE_INTEGER,
    window: 64,
    drainMs: 100,
  });
  const answered = (): string[] => broker.records(REJECTED).map((r) => r.key.split('|')[0] ?? '');
  try {
    await until('the answer about the good study', () => answered().includes('good'), 60_000);
    // In twice the time that the window of the slow one takes to turn over, and before most of its studies.
    expect(answered().length).toBeLessThan(FLOOD / 4);
    const waits = broker.records(retryTopic('clinical', 'ingest', '5m'));
    expect(waits.length).toBeGreaterThan(0);
    // It is due at once, says why it waits, and has lost no try.
    for (const { headers } of waits) {
      expect(headers).toMatchObject({ [HEADER.attempt]: '3', [HEADER.code]: 'PACS_BUSY', [HEADER.originTopic]: expect.anything() });
      expect(Number(headers[HEADER.due])).toBeLessThanOrEqual(ctx.clock.nowMs());
    }
    expect(broker.records(deadTopic('clinical', 'ingest'))).toEqual([]);
  } finally {
    ctx.stop();
    await done;
  }
}, 90_000);
