// A study that died is listed, shown without its UID, and replayed: it goes through once, with one manifest and one event
// id, and nothing counts it as dead any more. A second replay is refused.
import { execFile } from 'node:child_process';
import { symlink } from 'node:fs/promises';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { platformDir, writeDeployment } from '../../services/cli/deployment.ts';
import type { PhantomTruth } from '../../services/cli/phantom/generate.ts';
import { recordsOf, rootStore } from './privacy/corpus.ts';
import { sendPhantom, startPipeline, until, type Pipeline } from './pipeline.ts';
import { releasePlatform } from './support.ts';

let p: Pipeline;
let truths: readonly PhantomTruth[] = [];
const CLINICAL = 'ct-clinical';
const ANONYMISED = 'ct.research.study-anonymised.v1';

interface Ran {
  readonly code: number;
  readonly stdout: string;
}

const ctstream = async (...args: string[]): Promise<Ran> => {
  const main = resolve(import.meta.dirname, '../../services/cli/main.ts');
  const all = ['--no-warnings', main, ...args, '--dir', p.dir];
  try {
    const { stdout } = await promisify(execFile)(process.execPath, all, { timeout: 120_000 });
    return { code: 0, stdout };
  } catch (error) {
    const { code, stdout } = error as { code: number; stdout: string };
    return { code, stdout };
  }
};
const json = async (...args: string[]): Promise<unknown> => JSON.parse((await ctstream(...args, '--json')).stdout);

const keysOf = async (bucket: string, ending: string): Promise<string[]> => {
  const keys: string[] = [];
  for await (const { key } of rootStore(p).list(bucket, '')) if (key.endsWith(ending)) keys.push(key);
  return keys;
};
const parked = async (): Promise<number> =>
  (await p.ports.bus.ends(await p.ports.bus.topics(['ct.clinical.anonymise.*']))).reduce((n, e) => n + Number(e.end - e.first), 0);

beforeAll(async () => {
  p = await startPipeline({ name: 'deadl', centres: 1, readers: false, only: ['centre-gateway', 'ingest', 'anonymise'] });
  await p.stages.kill('anonymise', 'SIGTERM');
  await symlink(p.platform.dir, platformDir(p.dir));
  await writeDeployment(p.dir, { centres: p.provisioned.centres, prefix: p.provisioned.prefix, readers: 0, urls: {}, apiUrls: {} });
  const [pacs] = p.pacs;
  if (pacs === undefined) throw new Error('no PACS');
  for (const index of [1, 2]) truths = [...truths, await sendPhantom(pacs, { seed: 41, index })];
  await until(p, (a) => a.reached.stored === 2);
});

afterAll(async () => {
  await p?.stop();
  await releasePlatform();
});

test('a study dies, is listed and shown; a dry run changes nothing; replayed it goes through once, and only once', async () => {
  const dying = truths[0]?.studyInstanceUid ?? '';
  const [manifest = ''] = (await keysOf(CLINICAL, '/manifest.json')).filter((key) => key.includes(dying));
  const bytes = await rootStore(p).getBytes(CLINICAL, manifest, 1 << 24);
  if (bytes === undefined) throw new Error('no manifest');
  await rootStore(p).remove(CLINICAL, [manifest]);
  await p.stages.start('anonymise', { RETRY_DELAYS_MS: '100,100,100' });
  const dead = await until(p, (a) => a.studies.some((s) => s.dead) && a.reached.anonymised === 1);
  expect(dead.reasons).toMatchObject({ MANIFEST_MISSING: 1 });

  const listed = (await json('dead', 'list')) as { open: number; letters: { id: string }[] };
  expect(listed).toMatchObject({
    open: 1,
    letters: [{ stage: 'anonymise', state: 'open', code: 'MANIFEST_MISSING', attempts: 4, centre: p.provisioned.centres[0] }],
  });
  const id = listed.letters[0]?.id ?? '';
  const shown = await ctstream('dead', 'show', id);
  expect(shown).toMatchObject({ code: 0, stdout: expect.stringContaining("Check the bucket's retention; replay the stage before.") });
  expect(JSON.stringify(listed) + shown.stdout).not.toContain(dying);
  expect((await ctstream('dead', 'show', id, '--identified')).stdout).toContain(dying);
  expect(await json('dead', 'list', '--stage', 'ingest')).toMatchObject({ open: 0, letters: [] });

  const before = await parked();
  expect(await json('dead', 'replay', '--code', 'MANIFEST_MISSING', '--dry-run')).toEqual({ dryRun: true, replayed: [id], refused: [] });
  expect(await json('dead', 'replay', '--stage', 'anonymise', '--limit', '0', '--dry-run')).toMatchObject({ replayed: [], refused: [] });
  expect(await json('dead', 'replay', '--code', 'JOB_TIMEOUT', '--dry-run')).toMatchObject({ replayed: [], refused: [] });
  expect(await ctstream('dead', 'replay')).toMatchObject({ code: 2, stdout: '' });
  expect(await ctstream('dead', 'replay', id, '--stage', 'anonymise')).toMatchObject({ code: 2, stdout: '' });
  expect(await parked()).toBe(before);

  await rootStore(p).put(CLINICAL, manifest, bytes);
  expect(await json('dead', 'replay', id)).toEqual({ dryRun: false, replayed: [id], refused: [] });
  const mended = await until(p, (a) => a.reached.anonymised === 2);
  expect(mended.totals).toMatchObject({ sent: 2, unaccounted: 0 });
  expect(mended.studies.filter((s) => s.dead)).toEqual([]);
  const again = await ctstream('dead', 'replay', id, 'anonymise/0/999', '--json');
  expect(again.code).toBe(1);
  expect(again.stdout).toContain('ALREADY_');
  expect(again.stdout).toContain('NOT_FOUND');
  for (;;) {
    const all = (await json('dead', 'list', '--all')) as { letters: { state: string }[] };
    if (all.letters[0]?.state === 'settled') break;
    expect(all).toMatchObject({ open: 0, letters: [{ state: 'waiting' }] });
  }
  expect((await ctstream('dead', 'replay', id, '--json')).code).toBe(0);
  expect(await parked()).toBe(before + 1);
  expect(await keysOf('ct-research', '/manifest.json')).toHaveLength(2);
  const events = await recordsOf(p, ANONYMISED);
  expect([events.length, new Set(events.map((r) => r.headers['ce_id'])).size]).toEqual([2, 2]);
});
