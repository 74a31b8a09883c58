// A MinIO whose disk is full: ingest takes no new study and says so, also when it starts there; what is old is swept, nothing
// is lost or dead, and it goes on by itself when there is room. The disk is a small file system in memory, which only root may mount.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readLocalEnv } from '../../deploy/local/env.ts';
import { minioAnswers, prepareMinio } from '../../deploy/local/minio.ts';
import { freePorts } from '../../deploy/local/ports.ts';
import { startProcess, stopProcess, waitUntilHealthy, type ProcessRecord } from '../../deploy/local/processes.ts';
import { obtainTools } from '../../deploy/local/tools.ts';
import { s3Store, type S3Store } from '../../services/adapters/s3-store.ts';
import { sha256Hex } from '../../services/kernel/digest.ts';
import { Fault } from '../../services/kernel/fault.ts';
import type { StudyManifest } from '../../services/kernel/manifest.ts';
import { sweep } from '../../services/runtime/sweeper.ts';
import { systemRandom } from '../../services/runtime/system.ts';
import { eventually } from './pacs-support.ts';
import { sendPhantom, startPipeline, until, type Pipeline } from './pipeline.ts';
import { releasePlatform } from './support.ts';

const MiB = 1024 * 1024;
const CLINICAL = 'ct-clinical';
const STUDIES = 3;
const credentials = { accessKey: 'full-disk', secretKey: 'full-disk-secret' };

let dir: string | undefined;
let mounted: string | undefined;
let minio: ProcessRecord | undefined;
let endpoint: string;
let p: Pipeline | undefined;

/** Undefined, or why a small disk can't be had. */
function mountSmallDisk(at: string): string | undefined {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=96m', 'tmpfs', at], { stdio: 'pipe' });
    mounted = at;
    return undefined;
  } catch (error) {
    return error instanceof Error ? (error.message.split('\n')[1] ?? error.message) : 'mount failed';
  }
}

/** Asked before any test is defined, so that what can't be tried here counts as skipped. */
const noDisk = ((): string | undefined => {
  const at = mkdtempSync(join(tmpdir(), 'ctstream-mount-'));
  try {
    const why = mountSmallDisk(at);
    if (why === undefined) execFileSync('umount', [at]);
    return why;
  } finally {
    mounted = undefined;
    rmdirSync(at);
  }
})();
if (noDisk !== undefined) console.warn(`skipped: no small disk can be mounted here (${noDisk})`);

beforeAll(async () => {
  if (noDisk !== undefined) return;
  dir = await mkdtemp(join(tmpdir(), 'ctstream-full-'));
  const data = join(dir, 'minio', 'data');
  await mkdir(data, { recursive: true });
  await mkdir(join(dir, 'logs'));
  const why = mountSmallDisk(data);
  if (why !== undefined) throw new Error(why);
  const env = readLocalEnv();
  const [port = 0] = await freePorts(1);
  minio = await startProcess(await prepareMinio({ dir, port, ...credentials, tools: await obtainTools([], env), env }));
  await waitUntilHealthy(minio, () => minioAnswers(port));
  endpoint = `http://127.0.0.1:${port}`;
  await storeOn('').ensureBuckets([CLINICAL]);
  p = await startPipeline({
    name: 'full',
    centres: 1,
    readers: false,
    only: ['centre-gateway', 'ingest'],
    env: {
      ingest: {
        S3_ENDPOINT: endpoint,
        S3_ACCESS_KEY: credentials.accessKey,
        S3_SECRET_KEY: credentials.secretKey,
        BUCKET_PREFIX: '',
        RETRY_DELAYS_MS: '1000,1000,1000',
      },
    },
  });
});

afterAll(async () => {
  await p?.stop();
  if (minio !== undefined) await stopProcess(minio);
  if (mounted !== undefined) execFileSync('umount', [mounted]);
  if (dir !== undefined) await rm(dir, { recursive: true, force: true });
  await releasePlatform();
});

function storeOn(bucketPrefix: string): S3Store {
  return s3Store({ endpoint, ...credentials, bucketPrefix });
}

/** Puts objects until the server refuses; answers their names and the codes of the refusals. */
async function fill(store: S3Store): Promise<{ ballast: string[]; refusals: unknown[] }> {
  const ballast: string[] = [];
  // Smaller and smaller, so that in the end not even an empty one fits; tiny ones MinIO keeps beside its own notes.
  const refusals: unknown[] = [];
  for (const sizeBytes of [16 * MiB, 4 * MiB, MiB, MiB / 4, MiB / 16, 0]) {
    for (;;) {
      const key = `ballast/${ballast.length}`;
      try {
        await store.put(CLINICAL, key, Buffer.alloc(sizeBytes, 1));
        ballast.push(key);
      } catch (error) {
        refusals.push(error instanceof Fault ? error.code : error);
        break;
      }
    }
  }
  return { ballast, refusals };
}

async function notesOf(url: string): Promise<{ status: string; notes?: string[] }> {
  return (await (await fetch(`${url}/readyz`)).json()) as { status: string; notes?: string[] };
}

(noDisk === undefined ? test : test.skip)(
  'a full disk is STORE_FULL; ingest pauses, starts and sweeps there too, loses nothing, and stores all once there is room',
  async () => {
    if (p === undefined) throw new Error('the pipeline did not start');
    const store = storeOn('');
    const pacs = p.pacs[0];
    if (pacs === undefined) throw new Error('no PACS');
    const orphan = `c1/1.2.3/${'a'.repeat(32)}/${'b'.repeat(16)}/1.2.tar`;
    await store.put(CLINICAL, orphan, Buffer.from('x'));
    const { ballast, refusals } = await fill(store);
    // On the very edge MinIO also says IncompleteBody, which nobody could take for a full disk.
    expect(refusals).toContain('STORE_FULL');
    for (let i = 0; i < STUDIES; i++) await sendPhantom(pacs, { seed: 100, index: i, severity: 1 });
    const full = await until(p, (a) => (a.reasons['STORE_FULL'] ?? 0) > 0);
    expect(full.totals).toMatchObject({ unaccounted: 0, rejected: 0 });
    const url = p.stages.url('ingest');
    // Ready, since it works on what it has; and it says why it takes nothing.
    expect(await notesOf(url)).toMatchObject({ status: 'ready', notes: [expect.stringContaining('paused: disk')] });
    expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/^ingest_paused(?:\{[^}]*\})? 1$/m);
    await until(p, (a) => a.totals.sent === STUDIES && a.totals.waiting === STUDIES);
    await p.stages.kill('ingest', 'SIGTERM');
    const logFile = p.stages.logFile('ingest');
    const before = (await readFile(logFile, 'utf8')).length;
    const log = async (): Promise<string> => (await readFile(logFile, 'utf8')).slice(before);
    await p.stages.start('ingest');
    const again = p.stages.url('ingest');
    expect((await notesOf(again)).notes).toContainEqual(expect.stringContaining('paused: disk'));
    await eventually('a pass of the process that started', async () => (await log()).includes('"swept"') || undefined);
    expect(await log()).not.toContain('sweeping failed');
    const clock = { nowMs: Date.now, sleep: () => Promise.resolve() };
    const signal = AbortSignal.timeout(30_000);
    const sweeper = { store, bucket: CLINICAL, layout: 'clinical', clock, random: systemRandom, minAgeMs: 1 } as const;
    expect(await sweep(sweeper, signal)).toMatchObject({ refused: 0 });
    expect(await store.head(CLINICAL, orphan)).toBeUndefined();
    await store.remove(CLINICAL, ballast);
    const done = await until(p, (a) => a.reached.stored === STUDIES);
    expect(done.totals).toMatchObject({ sent: STUDIES, unaccounted: 0, rejected: 0 });
    expect(done.studies.filter((s) => s.dead)).toEqual([]);
    await eventually('nothing to tell', async () => ((await notesOf(again)).notes === undefined ? true : undefined));
    const manifests: StudyManifest[] = [];
    for await (const { key } of store.list(CLINICAL, ''))
      if (key.endsWith('/manifest.json'))
        manifests.push(JSON.parse(Buffer.from((await store.getBytes(CLINICAL, key, MiB)) ?? '').toString()) as StudyManifest);
    expect(new Set(manifests.map((m) => m.study)).size).toBe(STUDIES);
    expect(manifests).toHaveLength(STUDIES);
    for (const series of manifests.flatMap((m) => m.series)) {
      const tar = await store.getBytes(CLINICAL, series.object, 64 * MiB);
      expect(tar?.byteLength).toBe(series.sizeBytes);
      for (const { offset, sizeBytes, sha256 } of series.instances)
        expect(sha256Hex((tar ?? Buffer.alloc(0)).subarray(offset, offset + sizeBytes))).toBe(sha256);
    }
  },
  240_000,
);
