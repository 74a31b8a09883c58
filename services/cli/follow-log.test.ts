// The follower of the log does not grow with the number of censuses, and lag reads only what stages have not finished.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from '@jest/globals';
import { memoryBroker } from '../../test/shared/memory-bus.ts';
import { avroCodec } from '../adapters/avro-codec.ts';
import { centreId, type StudyInstanceUid } from '../kernel/ids.ts';
import type { EventIn } from '../kernel/stage.ts';
import type { BusRecord, EventBus, OutgoingRecord } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import type { OperatorPorts } from './deployment.ts';
import { followLog, stageLags } from './follow-log.ts';

const C = centreId('c01');
const CENSUS = `ct.clinical.${C}.census.v1`;
const AVAILABLE = `ct.clinical.${C}.study-available.v1`;
const never = new AbortController().signal;

/** The vault denies every study of which it is asked, when `denies`. */
const portsOf = (bus: EventBus, codec: Pick<EventCodec, 'decode'>, denies = false): OperatorPorts => {
  const denied = async (keys: readonly string[]): Promise<Set<string>> => new Set(denies ? keys : []);
  return { bus, codec, vault: { lineages: async function* () {}, denied } } as unknown as OperatorPorts;
};

/** A census of so many studies, made anew from each record. */
function censusIn(record: BusRecord, studies: number): EventIn {
  const number = Number(record.offset);
  const lines = Array.from({ length: studies }, (_, n) => ({
    studyInstanceUid: `1.2.840.${n}.${studies}` as StudyInstanceUid,
    instanceCount: 300,
    state: 'announced',
    code: null,
  }));
  const value = {
    centre: C,
    censusId: `n${number}`,
    takenAtMs: number,
    page: 1,
    pages: 1,
    total: studies,
    digest: '',
    outboxSequence: 0,
    studies: lines,
  };
  const { topic, partition, offset, key } = record;
  return { type: 'ctstream.clinical.v1.Census', value, id: `e${number}`, source: 'x', timeMs: number, topic, partition, offset, key };
}

function usedBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}

test('a month of hourly censuses costs what its studies cost', async () => {
  const [studies, censuses] = [1000, 720];
  const broker = memoryBroker();
  broker.createTopic(CENSUS, 1);
  const bus = broker.bus();
  await bus.publish(Array.from({ length: censuses }, () => ({ topic: CENSUS, key: C, value: new Uint8Array(), headers: {} })));
  const follower = followLog(portsOf(bus, { decode: (record) => censusIn(record, studies) }));
  const before = usedBytes();
  const { totals } = await follower.account(never);
  const grown = usedBytes() - before;
  expect(totals.sent).toBe(studies);
  // Each of the 720,000 lines takes more than 100 bytes.
  expect(grown).toBeLessThan(20_000_000);
  expect((await follower.account(never)).totals).toEqual(totals);
});

test('lag counts what a stage has not finished, and reads neither censuses nor what is done', async () => {
  const broker = memoryBroker();
  for (const topic of [CENSUS, AVAILABLE]) broker.createTopic(topic, 1);
  const bus = broker.bus();
  const ages = [3_000_000, 2_000_000, 1_000_000];
  const nowMs = Date.now();
  const record = (ageMs: number): OutgoingRecord => ({
    topic: AVAILABLE,
    key: 'k',
    value: new Uint8Array(),
    headers: { ce_time: new Date(nowMs - ageMs).toISOString() },
  });
  await bus.publish([...ages.map(record), { topic: CENSUS, key: C, value: new Uint8Array(), headers: {} }]);
  const ingest = await bus.subscribe({ group: 'ingest', topics: [AVAILABLE], window: 1 });
  (await ingest.take(never))?.ack();
  await ingest.stop();
  const read: string[] = [];
  const watched: EventBus = {
    ...bus,
    read: (ends, signal) => {
      read.push(...ends.map((e) => `${e.topic} ${e.first}-${e.end}`));
      return bus.read(ends, signal);
    },
  };
  const [first, ...others] = await stageLags(watched, never);
  expect(first).toMatchObject({ stage: 'ingest', records: 2 });
  expect(Math.round((first?.oldestMs ?? 0) / 100_000)).toBe(20);
  expect(others.every(({ records, oldestMs }) => records === 0 && oldestMs === 0)).toBe(true);
  expect(read).toEqual([`${AVAILABLE} 1-3`]);
});

test("a parked record is counted for its study, and for no other centre's", async () => {
  const dead = 'ct.clinical.ingest.dead';
  const broker = memoryBroker();
  broker.createTopic(dead, 1);
  const bus = broker.bus();
  const letter = (key: string): OutgoingRecord => ({
    topic: dead,
    key,
    value: new Uint8Array(),
    headers: { ce_id: `of ${key}`, 'ct-code': 'JOB_TIMEOUT', 'ct-origin-topic': AVAILABLE },
  });
  await bus.publish([letter(`${C}|1.2`), letter('c02|1.3')]);
  const { studies } = await followLog(portsOf(bus, avroCodec())).account(never);
  expect(studies.map(({ key, code }) => [key, code])).toEqual([[`${C}|1.2`, 'JOB_TIMEOUT']]);
  expect((await followLog(portsOf(bus, avroCodec(), true)).account(never)).totals.withdrawn).toBe(1);
});
