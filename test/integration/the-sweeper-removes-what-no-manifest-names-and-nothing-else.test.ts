// The sweeper on the real store, over what real processes left there: studies that are done, that wait, and attempts whose
// process was killed in the middle of a pull. Nothing that a manifest names goes before its time, nobody else's names ever.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readFile, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { storeUser } from '../../deploy/local/provision.ts';
import { s3Store, type S3Store } from '../../services/adapters/s3-store.ts';
import type { StudyManifest } from '../../services/kernel/manifest.ts';
import { SWEEP_AFTER_MS } from '../../services/kernel/sweep.ts';
import type { ObjectInfo } from '../../services/ports/object-store.ts';
import { sweep, type SweepOptions } from '../../services/runtime/sweeper.ts';
import { systemRandom } from '../../services/runtime/system.ts';
import { eventually, freshUid, openLab, put, smallStudy, storedOf, type Lab } from './pacs-support.ts';
import { sendPhantom } from './pipeline.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

const CLINICAL = 'ct-clinical';
const RESEARCH = 'ct-research';
const A = `sw${process.pid}`;
const DAY_MS = 86_400_000;
const signal = AbortSignal.timeout(300_000);
/** Parts of paths at which the PACS begins to say nothing. */
const silent = new Set<string>();
let gate: http.Server | undefined;
let lab: Lab;

/** Stands before the PACS, so that a pull can be stopped at a known place. */
async function openGate(to: URL): Promise<number> {
  const server = http.createServer((request, response) => {
    if ([...silent].some((part) => request.url?.includes(part) === true)) return;
    const { method, url, headers } = request;
    const onward = http.request({ host: to.hostname, port: to.port, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  gate = server;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

beforeAll(async () => {
  lab = await openLab({
    platform: await testPlatform(),
    centres: [A],
    prefix: testPrefix('sweep'),
    stages: ['centre-gateway', 'ingest', 'anonymise'],
    env: {
      'centre-gateway': { STABLE_AFTER_MS: '700', COUNT_PAUSE_MS: '100', CHANGES_POLL_MS: '200' },
      // It sweeps all the time, so that it would take what it must not.
      ingest: { KAFKA_SESSION_TIMEOUT_MS: '6000', SWEEP_EVERY_MS: '1000' },
    },
    before: async (provisioned) => {
      const file = provisioned.file('centres.json');
      const centres = JSON.parse(await readFile(file, 'utf8')) as { dicomWebUrl: string }[];
      for (const centre of centres) {
        const url = new URL(centre.dicomWebUrl);
        url.port = String(await openGate(new URL(centre.dicomWebUrl)));
        centre.dicomWebUrl = url.href;
      }
      await writeFile(file, JSON.stringify(centres), { mode: 0o600 });
    },
  });
});

afterAll(async () => {
  await (lab as Lab | undefined)?.close();
  gate?.closeAllConnections();
  gate?.close();
  await releasePlatform();
});

/** The store with the rights of a stage. */
function storeOf(stage: string): S3Store {
  const { prefix, bucketPrefix, secretOf } = lab.provisioned;
  const accessKey = storeUser(prefix, stage);
  return s3Store({ endpoint: lab.platform.minio.url, accessKey, secretKey: secretOf(stage), bucketPrefix });
}

const list = (bucket: string, prefix = ''): Promise<ObjectInfo[]> => Array.fromAsync(lab.store.list(bucket, prefix));
const namesOf = async (bucket: string, prefix = ''): Promise<string[]> => (await list(bucket, prefix)).map((o) => o.key);
const tarsOf = async (study: string): Promise<string[]> => (await namesOf(CLINICAL, `${A}/${study}/`)).filter((k) => k.endsWith('.tar'));

async function bytesOf(bucket: string, key: string): Promise<Buffer> {
  const bytes = await lab.store.getBytes(bucket, key, 1 << 28);
  if (bytes === undefined) throw new Error('an object is gone');
  return Buffer.from(bytes);
}

/** Objects that the manifests of the bucket name. */
async function named(bucket: string): Promise<string[]> {
  const found: string[] = [];
  for (const key of await namesOf(bucket)) {
    if (!key.endsWith('/manifest.json')) continue;
    const manifest = JSON.parse((await bytesOf(bucket, key)).toString()) as StudyManifest;
    for (const series of manifest.series) {
      found.push(series.object);
      expect((await bytesOf(bucket, series.object)).length).toBe(series.sizeBytes);
    }
  }
  return found;
}

/** As the listing has it, to the millisecond; a HEAD gives whole seconds. */
async function lastModified(bucket: string, key: string): Promise<number> {
  return (await list(bucket, key))[0]?.lastModifiedMs ?? NaN;
}

/** After this the store's clock, which the sweeper reads in whole seconds, has passed what was written before. */
const A_SECOND_MS = 1100;

const stored = (study: string): Promise<unknown> =>
  eventually(`study-stored of ${study}`, async () => (await storedOf(lab)).find((e) => e.value.studyInstanceUid === study));

/** Two series, the second of which the PACS does not send as long as its path is in `silent`. */
async function halfStudy(): Promise<{ study: string; second: string }> {
  const study = freshUid();
  const second = `${study}.2`;
  silent.add(`/series/${second}`);
  const files = [smallStudy({ study }), smallStudy({ study, series: second })].flatMap((s) => s.files);
  await put(lab.orthanc(A), files);
  return { study, second };
}

interface Left {
  done: string;
  waiting: string;
  /** Killed once, then stored. */
  again: string;
  /** Killed twice, never stored. */
  never: string;
}

/** Lets the real processes leave everything that a sweeper can meet. */
async function leave(): Promise<Left> {
  const pacs = lab.orthanc(A);
  const { studyInstanceUid: done } = await sendPhantom(pacs, { seed: 71, index: 0, severity: 1 });
  await eventually('the mark of the first study', async () =>
    (await namesOf(CLINICAL, `${A}/${done}/`)).some((k) => k.endsWith('/done.json')) ? true : undefined,
  );
  await lab.stages.kill('anonymise', 'SIGTERM');
  const { studyInstanceUid: waiting } = await sendPhantom(pacs, { seed: 71, index: 1, severity: 1 });
  // Before the others: a study waits behind two of its own PACS that hang.
  await stored(waiting);
  const again = await halfStudy();
  const never = await halfStudy();
  const hasTars = async (study: string, n: number): Promise<true | undefined> => ((await tarsOf(study)).length === n ? true : undefined);
  for (const { study } of [again, never]) await eventually('the first series', () => hasTars(study, 1));
  await lab.stages.kill('ingest', 'SIGKILL');
  silent.delete(`/series/${again.second}`);
  await lab.stages.start('ingest');
  await stored(again.study);
  await eventually('the first series once more', () => hasTars(never.study, 2));
  await eventually('a pass of the process itself', async () =>
    (await readFile(lab.stages.logFile('ingest'), 'utf8')).includes('"swept"') ? true : undefined,
  );
  await lab.stages.kill('ingest', 'SIGKILL');
  return { done, waiting, again: again.study, never: never.study };
}

test('only what nobody can publish any more goes, and a study only N days after its outcome is in the log', async () => {
  const left = await leave();
  const strangers = [`${A}/README.txt`, `${A}/${left.again}/notes.txt`, `other/${'a'.repeat(16)}/1.tar`, '_claims/of-somebody', 'x.tar'];
  for (const key of strangers) await lab.store.put(CLINICAL, key, Buffer.from('x'));
  const trial = `.sweep/${'e'.repeat(16)}`;
  await lab.store.put(CLINICAL, trial, Buffer.from('x'));
  const all = await namesOf(CLINICAL);
  const keep = new Set(await named(CLINICAL));
  const unnamed = all.filter((k) => k.endsWith('.tar') && !keep.has(k) && !strangers.includes(k));
  // One of the study that was stored in the end, two of the one that never was.
  expect(unnamed.map((k) => k.split('/')[1]).sort()).toEqual([left.again, left.never, left.never].sort());
  // Also what a killed process had tried the store with.
  const orphans = [...unnamed, ...all.filter((k) => k.startsWith('.'))];
  expect(orphans).toContain(trial);
  const claims = all.filter((k) => k.startsWith('_claims/'));
  expect(claims.length).toBeGreaterThan(3);

  const store = storeOf('ingest');
  const as = (nowMs: () => number, more: Partial<SweepOptions> = {}): SweepOptions => ({
    store,
    bucket: CLINICAL,
    layout: 'clinical',
    clock: { nowMs, sleep: () => Promise.resolve() },
    random: systemRandom,
    keepMs: 30 * DAY_MS,
    ...more,
  });
  // At the ages that hold in use everything is young, and a clock that has jumped years ahead makes nothing old.
  for (const aheadMs of [0, 3650 * DAY_MS]) {
    const swept = await sweep(
      as(() => Date.now() + aheadMs),
      signal,
    );
    expect(swept).toMatchObject({ orphans: 0, freed: 0, unreadable: 0, objects: all.length });
  }
  expect(await namesOf(CLINICAL)).toEqual(all);

  // An attempt that began just now, in the folder of one that is old.
  const young = `${orphans[0]?.split('/').slice(0, 3).join('/')}/${'f'.repeat(16)}/1.2.tar`;
  await lab.store.put(CLINICAL, young, Buffer.from('x'));
  const minAgeMs = 1000;
  const nowMs = (await lastModified(CLINICAL, young)) + minAgeMs - 1;
  const doneKey = all.find((k) => k.startsWith(`${A}/${left.done}/`) && k.endsWith('/done.json')) ?? '';
  const doneForMs = nowMs - (await lastModified(CLINICAL, doneKey));
  await sleep(minAgeMs + A_SECOND_MS);
  const early = await sweep(
    as(() => nowMs, { minAgeMs, keepMs: doneForMs + 1 }),
    signal,
  );
  expect(early).toMatchObject({ orphans: orphans.length, freed: 0, unreadable: 0 });
  const afterOrphans = all.filter((k) => !orphans.includes(k));
  expect(await namesOf(CLINICAL)).toEqual([...afterOrphans, young].sort());

  const due = await sweep(
    as(() => nowMs, { minAgeMs, keepMs: doneForMs }),
    signal,
  );
  expect(due).toMatchObject({ orphans: 0, freed: 1 });
  const afterFreed = afterOrphans.filter((k) => !k.startsWith(`${A}/${left.done}/`));
  expect(afterFreed.length).toBeLessThan(afterOrphans.length);
  expect(await namesOf(CLINICAL)).toEqual([...afterFreed, young].sort());

  // Whatever their age: without an outcome a study stays, and so do claims and what is not ours.
  const old = await sweep(as(Date.now, { minAgeMs: 0, keepMs: 0 }), signal);
  expect(old).toMatchObject({ orphans: 1, freed: 0, unfinished: 2, objects: afterFreed.length });
  expect(await namesOf(CLINICAL)).toEqual(afterFreed);
  for (const key of [...claims, ...strangers]) expect(afterFreed).toContain(key);
  const stillNamed = await named(CLINICAL);
  for (const study of [left.waiting, left.again]) expect(stillNamed.some((k) => k.startsWith(`${A}/${study}/`))).toBe(true);
});

test('in ct-research an attempt without a manifest goes, and nothing else', async () => {
  const store = storeOf('assess');
  const [manifest = ''] = (await namesOf(RESEARCH)).filter((k) => k.endsWith('/manifest.json'));
  const revision = manifest.slice(0, manifest.lastIndexOf('/') + 1);
  const assessed = `${revision}${'a'.repeat(16)}/volume.nii.gz`;
  const orphan = `${revision}${'b'.repeat(16)}/volume.nii.gz`;
  await store.put(RESEARCH, assessed, Buffer.from('x'));
  await store.put(RESEARCH, `${revision}assessment.json`, Buffer.from(JSON.stringify({ attempt: 'a'.repeat(16) })));
  await store.put(RESEARCH, orphan, Buffer.from('x'));
  const before = await namesOf(RESEARCH);
  await sleep(A_SECOND_MS);
  const options = { store, bucket: RESEARCH, layout: 'research', clock: { nowMs: Date.now, sleep: () => Promise.resolve() } } as const;
  expect(await sweep({ ...options, random: systemRandom, minAgeMs: SWEEP_AFTER_MS }, signal)).toMatchObject({ orphans: 0 });
  expect(await sweep({ ...options, random: systemRandom, minAgeMs: 0 }, signal)).toMatchObject({ orphans: 1, unreadable: 0 });
  expect(await namesOf(RESEARCH)).toEqual(before.filter((k) => k !== orphan));
  expect((await named(RESEARCH)).length).toBeGreaterThan(0);
});
