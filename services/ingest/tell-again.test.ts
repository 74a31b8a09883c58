// What is stored and has no outcome is told of again before its dead letter is gone, with the event that it had.
import { expect, test } from '@jest/globals';
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import { memoryBroker } from '../../test/shared/memory-bus.ts';
import { memoryStore } from '../../test/shared/memory-store.ts';
import { avroCodec } from '../adapters/avro-codec.ts';
import { outgoingId } from '../kernel/event-ids.ts';
import { canonicalJson } from '../kernel/manifest.ts';
import { sha256Hex } from '../kernel/digest.ts';
import { TELL_AGAIN_MS } from '../kernel/sweep.ts';
import { systemRandom } from '../runtime/system.ts';
import { sweep } from '../runtime/sweeper.ts';
import { tellAgain } from './tell-again.ts';

const BUCKET = 'ct-clinical';
const TOPIC = 'ct.clinical.study-stored.v1';
const REVISION = `c01/1.2.3/${'a'.repeat(32)}`;
/** Of a study that is listed behind it. */
const OTHER = `c01/1.2.4/${'a'.repeat(32)}`;
const DAY = 86_400_000;
const signal = new AbortController().signal;

const manifest = canonicalJson({
  format: 'ctstream-manifest/1',
  study: '1.2.3',
  revision: 'a'.repeat(32),
  attempt: '0'.repeat(16),
  series: [],
  facts: { centre: 'c01', sequence: 7, contentDigest: 'd'.repeat(64), instanceCount: 3, sizeBytes: 9, verified: 'content' },
});

function lab() {
  let nowMs = 1_800_000_000_000;
  const store = memoryStore(() => nowMs);
  const broker = memoryBroker();
  broker.createTopic(TOPIC, 1);
  const codec = avroCodec();
  const clock = { nowMs: () => nowMs, sleep: async () => undefined };
  const ports = { store, bus: broker.bus(), codec, clock };
  const options = {
    store,
    bucket: BUCKET,
    layout: 'clinical' as const,
    clock,
    random: systemRandom,
    keepMs: TELL_AGAIN_MS,
    tellAgain: (key: string) => tellAgain(ports, key, signal),
  };
  return {
    put: (name: string, bytes: Uint8Array, revision = REVISION) => store.put(BUCKET, `${revision}/${name}`, bytes),
    later: (ms: number) => void (nowMs += ms),
    /** A pass, a day after the one before. */
    pass: async () => (await sweep(options, signal, { windowMs: DAY })).toldAgain,
    told: () => broker.records(TOPIC).map((r) => codec.decode(r)),
  };
}

test('twice at least while its dead letter is there, and again while it waits', async () => {
  const { put, later, pass, told } = lab();
  await put('manifest.json', manifest);
  const days: number[] = [];
  for (let day = 1; day <= 100; day += 1) {
    later(DAY);
    if ((await pass()) > 0) days.push(day);
  }
  expect(days).toEqual([30, 60, 90]);
  expect(2 * TELL_AGAIN_MS).toBeLessThan(topicsFile.dead.retentionMs);
  const ids = told().map((e) => e.id);
  expect(ids).toEqual(days.map(() => outgoingId('ingest', sha256Hex(manifest), 'ctstream.clinical.v1.StudyStored', 0)));
  expect(told()[0]).toMatchObject({ source: 'ingest', key: 'c01|1.2.3', value: { sequence: 7, manifestKey: `${REVISION}/manifest.json` } });
});

test.each(['no manifest', 'null', '{"attempt":"0","facts":{"centre":7}}'])('one that can not be read holds up nobody: %s', async (text) => {
  const { put, later, pass, told } = lab();
  await put('manifest.json', Buffer.from(text));
  await put('manifest.json', manifest, OTHER);
  later(TELL_AGAIN_MS);
  expect(await pass()).toBe(1);
  expect(told().map((e) => e.key)).toEqual(['c01|1.2.3']);
});

test('not once it has an outcome', async () => {
  const { put, later, pass, told } = lab();
  await put('manifest.json', manifest);
  later(TELL_AGAIN_MS - 1000);
  await put('done.json', canonicalJson({ format: 'ctstream-done/1', code: null }));
  later(2000);
  expect([await pass(), told()]).toEqual([0, []]);
});
