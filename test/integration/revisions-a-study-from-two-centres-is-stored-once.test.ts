// Rows of docs/revisions.md about two centres, on two real PACSs and two ingest processes: whoever is first, of equal
// copies exactly one is stored and the other centre is told; other copies are held, and a replay asks again.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningStages, startStages } from '../../deploy/local/stages.ts';
import type { BusRecord } from '../../services/ports/event-bus.ts';
import { replayRecord } from '../../services/runtime/retry.ts';
import { eventsOf, eventually, type Lab, openLab, put, smallStudy, storedOf, TOPICS } from './pacs-support.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

const A = `ra${process.pid}`;
const B = `rb${process.pid}`;
const INGEST = { RETRY_DELAYS_MS: '300,1000,600000', KAFKA_SESSION_TIMEOUT_MS: '6000' };
let lab: Lab;
let second: RunningStages;
let dir: string;

beforeAll(async () => {
  const platform = await testPlatform();
  lab = await openLab({
    platform,
    centres: [A, B],
    prefix: testPrefix('copies'),
    stages: ['centre-gateway', 'ingest'],
    env: { 'centre-gateway': { STABLE_AFTER_MS: '700', COUNT_PAUSE_MS: '100', CHANGES_POLL_MS: '200' }, ingest: INGEST },
  });
  dir = await mkdtemp(join(tmpdir(), 'ctstream-copies-'));
  second = await startStages({ platform, provisioned: lab.provisioned, dir, only: ['ingest'], env: { ingest: INGEST } });
});

afterAll(async () => {
  await (second as RunningStages | undefined)?.stop();
  await (lab as Lab | undefined)?.close();
  if (dir !== undefined) await rm(dir, { recursive: true, force: true });
  await releasePlatform();
});

async function manifestsOf(study: string): Promise<string[]> {
  const keys: string[] = [];
  for (const centre of [A, B])
    for await (const { key } of lab.store.list('ct-clinical', `${centre}/${study}/`)) if (key.endsWith('/manifest.json')) keys.push(key);
  return keys;
}

const skipsOf = async (study: string, code: string) =>
  (await eventsOf(lab, 'ctstream.clinical.v1.StudySkipped', TOPICS.skipped)).filter(
    (e) => e.value.studyInstanceUid === study && e.value.code === code,
  );

test('equal copies that come to both centres at once: one is stored, the other is a duplicate and its centre is told', async () => {
  const studies = Array.from({ length: 6 }, (_, n) => smallStudy({ slices: 3, seed: n }));
  const feedAll = async (centre: string): Promise<void> => {
    for (const { files } of studies) await put(lab.orthanc(centre), files);
  };
  await Promise.all([feedAll(A), feedAll(B)]);
  for (const { study } of studies) {
    const skipped = await eventually('the duplicate', async () => (await skipsOf(study, 'DUPLICATE_OF'))[0]);
    const stored = await eventually('the stored copy', async () => (await storedOf(lab)).find((e) => e.value.studyInstanceUid === study));
    expect([stored.value.centre as string, skipped.value.centre as string].sort()).toEqual([A, B]);
    const told = await eventually('its status', async () =>
      (await eventsOf(lab, 'ctstream.clinical.v1.StudyStatus', TOPICS.status(skipped.value.centre))).find(
        (e) => e.value.studyInstanceUid === study,
      ),
    );
    expect(told.value).toMatchObject({ state: 'rejected', code: 'DUPLICATE_OF' });
    expect(await manifestsOf(study)).toEqual([stored.value.manifestKey]);
    expect(new Set((await storedOf(lab)).filter((e) => e.value.studyInstanceUid === study).map((e) => e.value.centre)).size).toBe(1);
  }
});

/** The dead letter of a study, as ingest left it. */
function deadOf(study: string): Promise<BusRecord> {
  return eventually('a dead letter', async () => {
    for (const topic of await lab.bus.topics(['ct.clinical.ingest.dead']))
      for await (const record of lab.bus.read(await lab.bus.ends([topic]))) if (record.key.endsWith(study)) return record;
    return undefined;
  });
}

test('another copy is held as a dead letter and nothing of it is stored; once the copies are equal, its replay is a duplicate', async () => {
  const first = smallStudy({ slices: 2 });
  await put(lab.orthanc(A), first.files);
  await eventually('the first copy', async () => (await storedOf(lab)).find((e) => e.value.studyInstanceUid === first.study));
  const more = smallStudy({ study: first.study, slices: 3 });
  await put(lab.orthanc(B), more.files);
  const dead = await deadOf(first.study);
  expect(dead.headers).toMatchObject({ 'ct-code': 'CONFLICTING_COPY', 'ct-stage': 'ingest', 'ct-attempt': '1' });
  const before = await manifestsOf(first.study);
  expect(before).toEqual([expect.stringContaining(`${A}/`)]);
  // The first centre gets the late slice too.
  await put(lab.orthanc(A), more.files);
  await eventually('the corrected copy', async () => ((await manifestsOf(first.study)).length === 2 ? true : undefined));
  await lab.bus.publish([replayRecord('clinical', dead, Date.now())]);
  const [skipped] = await eventually('the duplicate', async () => {
    const skips = await skipsOf(first.study, 'DUPLICATE_OF');
    return skips.length > 0 ? skips : undefined;
  });
  expect(skipped?.value.centre).toBe(B);
  expect((await manifestsOf(first.study)).every((key) => key.startsWith(`${A}/`))).toBe(true);
});
