// Select, label-queue and release as processes, each killed with SIGKILL while it works: every study is decided,
// labelled and released, nothing is lost or doubled, and no outbox sequence is missing in the log.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type RunningStages, startStages } from '../../deploy/local/stages.ts';
import { runSimulatedReader } from '../../services/label-queue/simulated-reader.ts';
import { thoraxNifti } from '../../services/label-queue/synthetic-volume.ts';
import { verifyRelease } from '../../services/release/verify.ts';
import { assessed, digestOf, eventually, type Kit, openKit, putAssessed, sharedWithLog } from './research-kit.ts';

const STUDIES = 24;
const STAGES = ['select', 'label-queue', 'release'] as const;

let kit: Kit;
let stages: RunningStages;
const readers = new AbortController();
const reading: Promise<unknown>[] = [];

beforeAll(async () => {
  kit = await openKit('kills');
  stages = await startStages({
    platform: kit.platform,
    provisioned: kit.provisioned,
    dir: kit.dir,
    only: STAGES,
    env: { select: { SELECT_EVERY_STUDIES: '5', SELECT_EVERY_MS: '1000' } },
  });
});

afterAll(async () => {
  readers.abort();
  await Promise.all(reading);
  await stages?.stop();
  await kit?.end();
});

async function releases(): Promise<{ ready: { studies: number } } | undefined> {
  return await fetch(`${stages.apiUrl('release')}/releases.json`).then(
    async (r) => (await r.json()) as { ready: { studies: number } },
    () => undefined,
  );
}

async function post(path: string, body: object): Promise<Record<string, unknown>> {
  const response = await fetch(`${stages.apiUrl('release')}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${kit.provisioned.releaseToken}` },
    body: JSON.stringify(body),
  });
  return (await response.json()) as Record<string, unknown>;
}

test('nothing is lost or doubled', async () => {
  const store = kit.store('assess');
  for (const r of kit.provisioned.readers) {
    reading.push(
      runSimulatedReader({
        baseUrl: stages.apiUrl('label-queue'),
        readerId: r.id,
        token: r.token,
        seed: 3,
        signal: readers.signal,
        idleMs: 100,
      }),
    );
  }
  for (let n = 0; n < STUDIES; n += 1) {
    const volume = thoraxNifti({ seed: n, affected: (n % 5) / 5 });
    const event = assessed(n, { volumeDigest: digestOf(volume) });
    await putAssessed(store, event.value, volume);
    await kit.publish('assess', [event]);
    // In the middle of the flow, one after the other.
    const victim = STAGES[n / 6 - 1];
    if (victim !== undefined) {
      await stages.kill(victim, 'SIGKILL');
      await stages.start(victim);
    }
  }
  await eventually(`${STUDIES} graded studies`, async () => (await releases())?.ready.studies === STUDIES, 120_000);
  expect(await post('/releases', { version: 'v1.0.0', waitForStudies: STUDIES })).toMatchObject({
    studies: STUDIES,
    waiting: 0,
    exclusions: 0,
  });
  const approved = await post('/releases/v1.0.0/approve', { approvers: ['Simulated approver 1', 'Simulated approver 2'], simulated: true });
  expect(await verifyRelease(String(approved['dir']))).toMatchObject({ ok: true, studies: STUDIES });
  const told = await eventually('the release in the log', async () => (await kit.events('ctstream.research.v1.DatasetReleased')).at(0));
  expect(told.value.studies).toHaveLength(STUDIES);

  const events = await kit.events(
    'ctstream.research.v1.StudySelected',
    'ctstream.research.v1.StudyExcluded',
    'ctstream.research.v1.SelectionRoundClosed',
    'ctstream.research.v1.StudyLabelled',
    'ctstream.research.v1.StudyRejected',
    'ctstream.research.v1.StudySkipped',
  );
  expect(await sharedWithLog(events, String(approved['dir']))).toEqual([]);
  const unique = new Map(events.map((e) => [e.id, e]));
  const studiesOf = (type: string): string[] =>
    [...unique.values()].flatMap((e) => (e.type === type && 'studyId' in e.value ? [e.value.studyId] : []));
  for (const type of ['ctstream.research.v1.StudySelected', 'ctstream.research.v1.StudyLabelled']) {
    expect(studiesOf(type)).toHaveLength(STUDIES);
    expect(new Set(studiesOf(type)).size).toBe(STUDIES);
  }
  for (const source of ['select', 'label-queue']) {
    const sequences = new Set(events.filter((e) => e.source === source).map((e) => Number(e.sequence)));
    expect([...sequences].sort((a, b) => a - b)).toEqual(Array.from({ length: sequences.size }, (_, i) => i + 1));
  }
});
