// Provisioning gives each service the objects that it works on and nothing else, sets what expires, and can be repeated.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'minio';
import pg from 'pg';
import { readExpiryDays } from '../../deploy/local/lifecycle.ts';
import { BUCKETS, STORE_USERS } from '../../deploy/local/policies.ts';
import type { Platform } from '../../deploy/local/platform.ts';
import { provision, storeUser, type Provisioned, type ProvisionOptions } from '../../deploy/local/provision.ts';
import { openPostgresHeld } from '../../services/adapters/postgres-held.ts';
import { openPostgresVault } from '../../services/adapters/postgres-vault.ts';
import { centreId, type StudyInstanceUid } from '../../services/kernel/ids.ts';
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
  options = { centres: ['c01'], prefix, dir, partitions: 1 };
  p = await provision(platform, options);
  root = new Client({ ...platform.minio, region: 'us-east-1' });
  for (const bucket of ['ct-clinical', 'ct-research', 'ct-releases', 'ct-quarantine', 'ct-release-candidates'])
    await root.putObject(prefix + bucket, ATTEMPT, 'x');
  for (const key of [CLINICAL, RESEARCH]) await root.putObject(`${prefix}ct-event-log`, key, 'x');
});

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
  ['anonymise', 'put', 'ct-clinical', 'a/some-study/some-revision/done.json'],
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
  ['anonymise', 'put', 'ct-clinical', 'a/done.json/b'],
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

  // Written by hand after section 6 of the design: r reads, l sees names, w writes, d removes. '-' is nothing at all.
  const MATRIX: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    ingest: { 'ct-clinical': 'rlwd' },
    anonymise: { 'ct-clinical': 'rld', 'ct-research': 'rlwd', 'ct-quarantine': 'lwd' },
    security: { 'ct-quarantine': 'rl' },
    assess: { 'ct-research': 'rlwd' },
    'label-queue': { 'ct-research': 'rl' },
    release: { 'ct-research': 'rl', 'ct-release-candidates': 'rlwd', 'ct-releases': 'rlwd' },
    // Each only under its zone's names, which the lists above try.
    'archiver-clinical': { 'ct-event-log': '-' },
    'archiver-research': { 'ct-event-log': '-' },
    analyst: { 'ct-event-log': 'rl', 'ct-releases': 'rl' },
  };

  test('every user and every bucket: the server lets do exactly this', async () => {
    expect(Object.keys(MATRIX).toSorted()).toEqual(STORE_USERS.toSorted());
    const found: Record<string, Record<string, string>> = {};
    for (const service of STORE_USERS) {
      const row: Record<string, string> = {};
      for (const bucket of BUCKETS) {
        const key = `matrix/${service}`;
        await root.putObject(prefix + bucket, key, 'x');
        const answers = await Promise.all([attempt(service, 'get', bucket, key), attempt(service, 'list', bucket, '')]);
        answers.push(await attempt(service, 'put', bucket, `${key}-own`), await attempt(service, 'delete', bucket, key));
        expect(answers.filter((a) => a !== 'ok' && a !== 'AccessDenied')).toEqual([]);
        const letters = answers.map((a, i) => (a === 'ok' ? 'rlwd'[i] : '')).join('');
        if (letters !== '' || service.startsWith('archiver-')) row[bucket] = letters === '' ? '-' : letters;
      }
      found[service] = service.startsWith('archiver-') ? { 'ct-event-log': row['ct-event-log'] ?? '' } : row;
      if (service.startsWith('archiver-')) expect(new Set(Object.values(row))).toEqual(new Set(['-']));
    }
    expect(found).toEqual(MATRIX);
  });

  test('nobody without a key reads anything, and no user makes or removes a bucket', async () => {
    // How the world gets at ct-releases (a mirror, a public bucket) is the operator's choice.
    for (const bucket of BUCKETS.filter((name) => name !== 'ct-releases')) {
      const url = `http://${platform.minio.endPoint}:${platform.minio.port}/${prefix}${bucket}`;
      for (const path of ['', `/${ATTEMPT}`]) {
        const response = await fetch(url + path);
        expect([bucket, path, response.status]).toEqual([bucket, path, 403]);
        await response.body?.cancel();
      }
    }
    for (const service of STORE_USERS) {
      await expect(as(service).makeBucket(`${prefix}by-${service}`)).rejects.toMatchObject({ code: 'AccessDenied' });
      await expect(as(service).removeBucket(`${prefix}ct-releases`)).rejects.toMatchObject({ code: 'AccessDenied' });
    }
  });

  test('held studies expire by age, nothing else does: originals may still be waited for', async () => {
    expect(await readExpiryDays(root, `${prefix}ct-quarantine`)).toBe(14);
    for (const bucket of ['ct-clinical', 'ct-research'])
      await expect(readExpiryDays(root, prefix + bucket)).rejects.toMatchObject({ code: 'NoSuchLifecycleConfiguration' });
  });
});

describe('PostgreSQL', () => {
  const rowsOf = async (url: string, sql: string): Promise<Record<string, unknown>[]> => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(sql)).rows;
    } finally {
      await client.end();
    }
  };
  const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : String(error));
  const everyone = (): Record<string, string> => ({ ...p.databases, ...p.vaultAs });
  const homeOf = (who: string): string => (who in p.databases ? who : 'vault');

  test('every role connects to its own database and to no other', async () => {
    for (const [who, url] of Object.entries(everyone())) {
      for (const name of [...Object.keys(p.databases), 'postgres', 'template1']) {
        const at = new URL(url);
        at.pathname = name in p.databases ? `/${prefix}${name}`.replaceAll('-', '_') : `/${name}`;
        const answer = await rowsOf(at.href, 'SELECT 1').then(() => 'ok', codeOf);
        // insufficient_privilege: no right to connect
        expect([who, name, answer]).toEqual([who, name, name === homeOf(who) ? 'ok' : '42501']);
      }
    }
  });

  test('no role is more than a login', async () => {
    for (const [who, url] of Object.entries(everyone())) {
      const [role] = await rowsOf(
        url,
        'SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = current_user',
      );
      expect([who, Object.values(role ?? {}).some(Boolean)]).toEqual([who, false]);
    }
  });

  // Written by hand: what each may do in the vault beyond its owner. A column list stands where it is not the whole table.
  const GUESTS: Readonly<Record<string, readonly string[]>> = {
    security: [
      'audit INSERT action',
      'audit INSERT detail',
      'audit INSERT subject_row',
      'audit SELECT audit_id',
      'held SELECT',
      'held UPDATE decided_at',
      'held UPDATE decided_by',
      'held UPDATE decided_digest',
      'held UPDATE decision',
      'held UPDATE reason',
      'held_looks INSERT',
      'held_looks SELECT',
      'held_looks UPDATE at',
      'held_looks UPDATE findings_digest',
      'studies SELECT subject_row',
      'studies SELECT token',
    ],
    'archiver-clinical': [
      'deny SELECT',
      'studies INSERT key_box',
      'studies INSERT lineage_id',
      'studies INSERT secret_box',
      'studies INSERT study_digest',
      'studies INSERT token',
      'studies SELECT',
      'vault_meta SELECT',
    ],
    account: ['deny SELECT', 'studies SELECT', 'vault_meta SELECT'],
  };

  test.each(Object.entries(GUESTS))('%s has these rights in the vault and no other', async (guest, expected) => {
    const url = Object.entries(p.vaultAs).find(([name]) => name === guest)?.[1] ?? '';
    const found = await rowsOf(
      url,
      `SELECT relname || ' ' || kind AS "right" FROM pg_class, unnest(ARRAY['SELECT','INSERT','UPDATE','DELETE','TRUNCATE','REFERENCES','TRIGGER']) AS kind
       WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND has_table_privilege(pg_class.oid, kind)
       UNION ALL
       SELECT relname || ' ' || kind || ' ' || attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid, unnest(ARRAY['SELECT','INSERT','UPDATE','REFERENCES']) AS kind
       WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
         AND has_column_privilege(pg_class.oid, attnum, kind) AND NOT has_table_privilege(pg_class.oid, kind)`,
    );
    expect(found.map((r) => r['right']).toSorted()).toEqual([...expected].toSorted());
    await expect(rowsOf(url, 'SELECT * FROM patients')).rejects.toMatchObject({ code: '42501' });
    await expect(rowsOf(url, 'DELETE FROM studies')).rejects.toMatchObject({ code: '42501' });
    await expect(rowsOf(url, 'CREATE TABLE mine (a int)')).rejects.toMatchObject({ code: '42501' });
  });

  test('with these rights the archiver gets tokens, the account follows links, the security role decides', async () => {
    const key = Buffer.from((await readFile(p.file('vault-key'), 'utf8')).trim(), 'hex');
    const study = '1.2.3' as StudyInstanceUid;
    const archiver = await openPostgresVault({ connectionString: p.vaultAs['archiver-clinical'], key });
    const { token } = await archiver.token(centreId('c01'), study);
    // A row that is there already, too.
    expect((await archiver.tokens(centreId('c01'), [study])).get(study)?.token).toBe(token);
    await archiver.siteSecret();
    await archiver.close();
    const account = await openPostgresVault({ connectionString: p.vaultAs.account, key });
    const links = await Array.fromAsync(account.lineages());
    expect(links.map((l) => [l.studyInstanceUid, l.token])).toEqual([[study, token]]);
    await expect(account.token(centreId('c01'), '1.2.4' as StudyInstanceUid)).rejects.toMatchObject({ code: 'VAULT_UNAUTHORISED' });
    await account.close();
    const owner = openPostgresHeld(p.databases.vault);
    const note = {
      heldId: 'h1',
      token,
      centre: centreId('c01'),
      code: 'HELD_BY_VERIFIER',
      digest: 'd',
      findings: 1,
      checks: [],
      objects: [],
      eventId: 'e',
    } as const;
    await owner.hold(note);
    await owner.close();
    const security = openPostgresHeld(p.vaultAs.security);
    expect((await security.list()).map((h) => h.heldId)).toEqual(['h1']);
    await security.noteLook('h1', 'd', 'One');
    await security.noteLook('h1', 'd', 'One');
    expect(await security.hasLooked('h1', 'd', 'One')).toBe(true);
    expect(await security.decide({ heldId: 'h1', digest: 'd', kind: 'released', by: 'One', reason: 'a reason' })).toBe(true);
    await expect(security.hold(note)).rejects.toMatchObject({ code: 'VAULT_UNAUTHORISED' });
    await security.close();
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
});
