// Everything from the originals to the dataset, made again into empty buckets by the command that people type: manifests,
// images, volumes, decisions and the released files are what they were, byte for byte, and nothing that was is changed.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { s3Store, type S3Store } from '../../services/adapters/s3-store.ts';
import { feed } from '../../services/centre-gateway/feed.ts';
import { generateStudy } from '../../services/cli/phantom/generate.ts';
import { sendPhantom, SMALL, startPipeline, until, type Pipeline } from './pipeline.ts';
import { attachable, release, replay } from './replay-support.ts';
import { releasePlatform } from './support.ts';

const SEED = 41;
const INTO = 'replay-';
let p: Pipeline;
let source: S3Store;
let target: S3Store;

beforeAll(async () => {
  p = await startPipeline({ name: 'replay', centres: 2 });
  const { minio } = p.platform;
  const store = (bucketPrefix: string): S3Store =>
    s3Store({ endpoint: `http://${minio.endPoint}:${minio.port}`, accessKey: minio.accessKey, secretKey: minio.secretKey, bucketPrefix });
  source = store(p.provisioned.bucketPrefix);
  target = store(INTO + p.provisioned.bucketPrefix);
  await attachable(p);
});

afterAll(async () => {
  await p.stop();
  await releasePlatform();
});

/** Sends a study without its last files, and those later: a second revision. */
async function sendInTwoParts(between: () => Promise<unknown>): Promise<void> {
  const [pacs] = p.pacs;
  if (pacs === undefined) throw new Error('no PACS');
  const files = [...generateStudy({ ...SMALL, seed: SEED, index: 3, issuer: `iss-${pacs.centre}` })];
  const access = { orthancUrl: pacs.baseUrl, dicomWebUrl: pacs.dicomWebUrl, username: pacs.username, password: pacs.password };
  const send = async (part: typeof files): Promise<unknown> =>
    await feed(
      part.map(({ path, bytes }) => ({ path, bytes: async () => bytes })),
      access,
      { signal: AbortSignal.timeout(60_000) },
    );
  await send(files.slice(0, -3));
  await between();
  await send(files.slice(-3));
}

async function keysOf(store: S3Store, bucket: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(bucket, '')) keys.push(key);
  return keys;
}

/** Whole contents of the vault's tables: a replay draws and moves nothing. */
async function vaultRows(): Promise<string> {
  const client = new pg.Client({ connectionString: p.provisioned.databases.vault });
  await client.connect();
  try {
    const tables = ['patients', 'identifiers', 'studies', 'revisions', 'deny', 'audit'];
    const rows = await Promise.all(tables.map(async (t) => (await client.query(`SELECT to_jsonb(x) AS x FROM ${t} x ORDER BY 1`)).rows));
    return JSON.stringify(rows);
  } finally {
    await client.end();
  }
}

test('what all stages made is made again, byte for byte', async () => {
  const [a, b] = p.pacs;
  if (a === undefined || b === undefined) throw new Error('two PACSs are needed');
  const both = sendInTwoParts(() => until(p, (x) => x.reached.assessed >= 1));
  await both;
  await Promise.all([
    sendPhantom(a, { seed: SEED, index: 0 }),
    sendPhantom(b, { seed: SEED, index: 1 }),
    sendPhantom(b, { seed: SEED, index: 2, defect: 'short-coverage' }),
  ]);
  await until(p, (x) => x.totals.sent === 4 && x.totals.rejected === 1 && x.reached.labelled >= 3);
  await release(p, 'v1.0.0', 3);
  await until(p, (x) => x.totals.released === 3);

  // What was published after the log was cut: objects that it does not name.
  const later = (name: string): string => `R${'z'.repeat(16)}/${'z'.repeat(24)}/${name}.json`;
  for (const name of ['manifest', 'assessment']) await source.put('ct-research', later(name), Buffer.from('{}'));
  const vault = await vaultRows();
  const before = await keysOf(source, 'ct-clinical');
  // In this order assess and release take the images and volumes that were made again before.
  for (const stage of ['anonymise', 'assess', 'select', 'release']) {
    const { code, report } = await replay(p, stage, INTO);
    expect([stage, code, report.differences, report.faults]).toEqual([stage, 0, [], []]);
    expect(report.events).toBeGreaterThan(0);
  }
  expect(await vaultRows()).toBe(vault);
  expect(await keysOf(source, 'ct-clinical')).toEqual(before);
  const manifests = (await keysOf(target, 'ct-research')).filter((key) => key.endsWith('/manifest.json'));
  expect(manifests).toHaveLength(5);
  expect(await keysOf(target, 'ct-releases')).toEqual(await keysOf(source, 'ct-releases'));

  // It can fail: a manifest that is another one is told, and so is what follows from it.
  const [manifest] = manifests;
  if (manifest === undefined) throw new Error('no manifest');
  const text = Buffer.from((await target.getBytes('ct-research', manifest, 1 << 20)) ?? []).toString('utf8');
  await target.put('ct-research', manifest, Buffer.from(text.replace('"attempt": "', '"attempt": "0')));
  const again = await replay(p, 'anonymise', INTO);
  expect(again.code).toBe(1);
  expect(again.report.differences.map((d) => [d.what, d.how])).toEqual(
    expect.arrayContaining([
      ['object', 'other'],
      ['event', 'missing'],
      ['event', 'extra'],
    ]),
  );
});
