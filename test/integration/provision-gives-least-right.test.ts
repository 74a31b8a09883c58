// Provisioning gives each service the objects that it works on and nothing else, sets what expires, and can be repeated.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'minio';
import pg from 'pg';
import { readExpiryDays } from '../../deploy/local/lifecycle.ts';
import type { Platform } from '../../deploy/local/platform.ts';
import { provision, storeUser, type Provisioned, type ProvisionOptions } from '../../deploy/local/provision.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

const prefix = testPrefix('rights');
let platform: Platform;
let dir: string;
let options: ProvisionOptions;
let p: Provisioned;
let root: Client;

const CLINICAL = 'ct.clinical.study-stored.v1/0/1.parquet';
const RESEARCH = 'ct.research.study-assessed.v1/0/1.parquet';
const ATTEMPT = 'some-study/some-revision/some-attempt/series.tar';

beforeAll(async () => {
  platform = await testPlatform();
  dir = await mkdtemp(join(tmpdir(), 'ctstream-rights-'));
  options = { centres: ['c01'], prefix, dir, partitions: 1, clinicalDays: 21 };
  p = await provision(platform, options);
  root = new Client({ ...platform.minio, region: 'us-east-1' });
  for (const bucket of ['ct-clinical', 'ct-research', 'ct-releases', 'ct-quarantine', 'ct-release-candidates'])
    await root.putObject(prefix + bucket, ATTEMPT, 'x');
  for (const key of [CLINICAL, RESEARCH]) await root.putObject(`${prefix}ct-event-log`, key, 'x');
}, 120_000);

afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
  await releasePlatform();
});

function as(service: string): Client {
  return new Client({ ...platform.minio, region: 'us-east-1', accessKey: storeUser(prefix, service), secretKey: p.secretOf(service) });
}

type Doing = 'get' | 'put' | 'delete' | 'list';

/** 'ok', or the server's own code. */
async function attempt(service: string, doing: Doing, bucket: string, key: string): Promise<string> {
  const client = as(service);
  const at = prefix + bucket;
  try {
    if (doing === 'get') (await client.getObject(at, key)).destroy();
    else if (doing === 'put') await client.putObject(at, key, 'x');
    else if (doing === 'delete') await client.removeObject(at, key);
    else for await (const _ of client.listObjectsV2(at, key, true)) break;
    return 'ok';
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}

const ALLOWED: readonly (readonly [string, Doing, string, string])[] = [
  ['ingest', 'put', 'ct-clinical', 'a/b'],
  ['ingest', 'delete', 'ct-clinical', 'a/b'],
  ['anonymise', 'get', 'ct-clinical', ATTEMPT],
  ['anonymise', 'list', 'ct-clinical', ''],
  ['anonymise', 'delete', 'ct-clinical', 'a/withdrawn'],
  ['anonymise', 'put', 'ct-quarantine', 'a/findings.json'],
  ['anonymise', 'list', 'ct-quarantine', ''],
  ['anonymise', 'delete', 'ct-quarantine', 'a/findings.json'],
  ['security', 'get', 'ct-quarantine', ATTEMPT],
  ['security', 'list', 'ct-quarantine', ''],
  ['anonymise', 'put', 'ct-research', 'a/b'],
  ['anonymise', 'delete', 'ct-research', 'a/b'],
  ['assess', 'put', 'ct-research', 'a/c'],
  ['assess', 'delete', 'ct-research', 'a/c'],
  ['label-queue', 'get', 'ct-research', ATTEMPT],
  ['release', 'put', 'ct-releases', 'v0/a'],
  ['release', 'delete', 'ct-releases', 'v0/a'],
  ['release', 'put', 'ct-release-candidates', 'v0/a'],
  ['release', 'delete', 'ct-release-candidates', 'v0/a'],
  ['archiver-clinical', 'put', 'ct-event-log', CLINICAL],
  ['archiver-clinical', 'get', 'ct-event-log', CLINICAL],
  ['archiver-clinical', 'list', 'ct-event-log', 'ct.clinical.study-stored.v1/0/'],
  ['archiver-research', 'put', 'ct-event-log', RESEARCH],
  ['archiver-research', 'get', 'ct-event-log', RESEARCH],
  ['archiver-research', 'list', 'ct-event-log', 'ct.research.study-assessed.v1/0/'],
  ['analyst', 'list', 'ct-event-log', ''],
  ['analyst', 'get', 'ct-releases', ATTEMPT],
];

const REFUSED: readonly (readonly [string, Doing, string, string])[] = [
  ['ingest', 'get', 'ct-research', ATTEMPT],
  ['anonymise', 'put', 'ct-clinical', 'a/b'],
  ['anonymise', 'get', 'ct-quarantine', ATTEMPT],
  ['security', 'put', 'ct-quarantine', ATTEMPT],
  ['security', 'delete', 'ct-quarantine', ATTEMPT],
  ['security', 'get', 'ct-clinical', ATTEMPT],
  ['security', 'get', 'ct-research', ATTEMPT],
  ...['ingest', 'assess', 'label-queue', 'release', 'archiver-clinical', 'archiver-research', 'analyst'].flatMap(
    (service): [string, Doing, string, string][] => [
      [service, 'get', 'ct-quarantine', ATTEMPT],
      [service, 'list', 'ct-quarantine', ''],
    ],
  ),
  ['assess', 'get', 'ct-clinical', ATTEMPT],
  ['label-queue', 'put', 'ct-research', ATTEMPT],
  ['label-queue', 'delete', 'ct-research', ATTEMPT],
  ['release', 'put', 'ct-research', ATTEMPT],
  ['archiver-clinical', 'put', 'ct-event-log', RESEARCH],
  ['archiver-clinical', 'get', 'ct-event-log', RESEARCH],
  ['archiver-clinical', 'list', 'ct-event-log', 'ct.research.'],
  ['archiver-clinical', 'list', 'ct-event-log', ''],
  ['archiver-clinical', 'delete', 'ct-event-log', CLINICAL],
  ['archiver-research', 'put', 'ct-event-log', CLINICAL],
  ['archiver-research', 'get', 'ct-event-log', CLINICAL],
  ['archiver-research', 'list', 'ct-event-log', 'ct.clinical.'],
  ['archiver-research', 'delete', 'ct-event-log', RESEARCH],
  ['analyst', 'put', 'ct-event-log', CLINICAL],
  ['analyst', 'get', 'ct-research', ATTEMPT],
];

describe('object store', () => {
  test.each(ALLOWED)('%s may %s in %s: %s', async (service, doing, bucket, key) => {
    expect(await attempt(service, doing, bucket, key)).toBe('ok');
  });

  test.each(REFUSED)('the server refuses %s to %s in %s: %s', async (service, doing, bucket, key) => {
    expect(await attempt(service, doing, bucket, key)).toBe('AccessDenied');
  });

  test('held studies and clinical pixels expire, nothing else does', async () => {
    const days = await Promise.all(
      ['ct-quarantine', 'ct-clinical'].map(async (bucket) => [bucket, await readExpiryDays(root, prefix + bucket)]),
    );
    expect(days).toEqual([
      ['ct-quarantine', 14],
      ['ct-clinical', 21],
    ]);
    await expect(readExpiryDays(root, `${prefix}ct-research`)).rejects.toMatchObject({ code: 'NoSuchLifecycleConfiguration' });
  });
});

test('provisioning again after a run that failed half-way keeps what is there and sets the passwords', async () => {
  const role = `${prefix}vault`.replaceAll('-', '_');
  const query = async (url: string, sql: string): Promise<unknown[]> => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(sql)).rows;
    } finally {
      await client.end();
    }
  };
  await query(p.databases.vault, 'CREATE TABLE kept AS SELECT 1 AS one');
  await platform.postgres.createDatabase(role, { user: role, password: 'of-another-run' });
  await expect(query(p.databases.vault, 'SELECT 1')).rejects.toThrow(/password authentication failed/);
  await writeFile(p.file('vault-key'), 'of a rotation');
  const again = await provision(platform, options);
  expect(await readFile(p.file('vault-key'), 'utf8')).toBe('of a rotation');
  expect(await query(again.databases.vault, 'SELECT one FROM kept')).toEqual([{ one: 1 }]);
  await expect(platform.postgres.createDatabase(role, { user: `${role}_other`, password: 'x' })).rejects.toThrow(/belongs to another role/);
}, 60_000);
