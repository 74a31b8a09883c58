// Wrong, expired, disabled and missing credentials: one clear code each, an end without endless tries, and neither data nor
// a secret in what is said.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import pino from 'pino';
import { removeScramUsers } from '../../deploy/local/kafka-scram.ts';
import { disableMinioUser } from '../../deploy/local/minio-admin.ts';
import type { Platform } from '../../deploy/local/platform.ts';
import { provision, storeUser, type Provisioned } from '../../deploy/local/provision.ts';
import { stageEnv, type StageName } from '../../deploy/local/stages.ts';
import { avroCodec } from '../../services/adapters/avro-codec.ts';
import { kafkaBus } from '../../services/adapters/kafkajs-bus.ts';
import { postgresDatabase } from '../../services/adapters/postgres-database.ts';
import { openPostgresHeld } from '../../services/adapters/postgres-held.ts';
import { openPostgresVault } from '../../services/adapters/postgres-vault.ts';
import { s3Store } from '../../services/adapters/s3-store.ts';
import { CODES, isCode } from '../../services/kernel/codes.ts';
import { Fault } from '../../services/kernel/fault.ts';
import type { EventBus } from '../../services/ports/event-bus.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

const root = join(import.meta.dirname, '../..');
const prefix = testPrefix('wrong');
const log = pino({ level: 'silent' });
const WRONG = 'not-the-right-secret';
const closing: (() => Promise<unknown>)[] = [];
let platform: Platform;
let p: Provisioned;
let dir: string;

beforeAll(async () => {
  platform = await testPlatform();
  dir = await mkdtemp(join(tmpdir(), 'ctstream-wrong-'));
  p = await provision(platform, { centres: ['c01'], prefix, dir, partitions: 1 });
  const left = `${prefix}left`;
  await platform.kafka.addUsers([{ username: left, password: 'was-right' }]);
  const [host = '', port = ''] = platform.kafka.brokers[0]?.split(':') ?? [];
  await removeScramUsers({ host, port: Number(port), admin: platform.kafka.admin, names: [left] });
  await platform.minio.addUser(
    `${prefix}disabled`,
    'was-right',
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*"],"Resource":["arn:aws:s3:::*"]}]}',
  );
  await disableMinioUser(platform.minio, `${prefix}disabled`);
});

afterAll(async () => {
  await Promise.all(closing.map((close) => close()));
  await rm(dir, { recursive: true, force: true });
  await releasePlatform();
});

function busAs(username: string, password: string): EventBus {
  const bus = kafkaBus({ brokers: platform.kafka.brokers, username, password, prefix, clientId: 'test', log });
  closing.push(() => bus.close());
  return bus;
}

function storeAs(accessKey: string, secretKey: string): ReturnType<typeof s3Store> {
  return s3Store({ endpoint: platform.minio.url, accessKey, secretKey, bucketPrefix: p.bucketPrefix });
}

async function databaseAs(url: string): Promise<unknown> {
  const database = await postgresDatabase({ url, codec: avroCodec(), source: 'test', log });
  closing.push(() => database.close());
  return database;
}

function urlWith(url: string, change: (u: URL) => void): string {
  const changed = new URL(url);
  change(changed);
  return changed.href;
}

/** As the superuser. */
async function sql(text: string): Promise<void> {
  const { host, port, superuser, password } = platform.postgres;
  const client = new pg.Client({ host, port, user: superuser, password, database: 'postgres' });
  await client.connect();
  await client.query(text);
  await client.end();
}

/** The role of select, until yesterday. */
async function expiredRole(): Promise<string> {
  const user = new URL(p.databases.select).username;
  await sql(`ALTER ROLE "${user}" VALID UNTIL '2020-01-01'`);
  return p.databases.select;
}

const topic = 'ct.clinical.study-stored.v1';
const record = { topic, key: 'k', value: Buffer.from('x'), headers: {} };
const key = Buffer.alloc(32);
const wrongPassword = (url: string): string => urlWith(url, (u) => (u.password = WRONG));

const CASES: readonly (readonly [string, string, () => Promise<unknown>])[] = [
  ['Kafka, a wrong password, publishing', 'BUS_UNAUTHORISED', () => busAs('ingest', WRONG).publish([record])],
  [
    'Kafka, a wrong password, consuming',
    'BUS_UNAUTHORISED',
    () => busAs('anonymise', WRONG).subscribe({ group: 'anonymise', topics: [topic], window: 1 }),
  ],
  ['Kafka, a wrong password, asking', 'BUS_UNAUTHORISED', () => busAs('ingest', WRONG).ends([topic])],
  ['Kafka, an unknown user', 'BUS_UNAUTHORISED', () => busAs(`${prefix}nobody`, WRONG).publish([record])],
  ['Kafka, a user that was removed', 'BUS_UNAUTHORISED', () => busAs(`${prefix}left`, 'was-right').publish([record])],
  ['Kafka, a right password without the right', 'DENIED_BY_BROKER', () => busAs('assess', p.secretOf('assess')).publish([record])],
  ['MinIO, a wrong secret', 'STORE_UNAUTHORISED', () => storeAs(storeUser(prefix, 'ingest'), WRONG).getBytes('ct-clinical', 'a', 10)],
  [
    'MinIO, a wrong secret, writing',
    'STORE_UNAUTHORISED',
    () => storeAs(storeUser(prefix, 'ingest'), WRONG).put('ct-clinical', 'a', Buffer.from('x')),
  ],
  ['MinIO, a wrong secret, looking', 'STORE_UNAUTHORISED', () => storeAs(storeUser(prefix, 'ingest'), WRONG).head('ct-clinical', 'a')],
  [
    'MinIO, a wrong secret, listing',
    'STORE_UNAUTHORISED',
    () => Array.fromAsync(storeAs(storeUser(prefix, 'ingest'), WRONG).list('ct-clinical', '')),
  ],
  ['MinIO, a wrong secret, removing', 'STORE_UNAUTHORISED', () => storeAs(storeUser(prefix, 'ingest'), WRONG).remove('ct-clinical', ['a'])],
  ['MinIO, a wrong secret, at start', 'STORE_UNAUTHORISED', () => storeAs(storeUser(prefix, 'ingest'), WRONG).conformance('ct-clinical')],
  ['MinIO, an unknown user', 'STORE_UNAUTHORISED', () => storeAs(`${prefix}nobody`, WRONG).getBytes('ct-clinical', 'a', 10)],
  [
    'MinIO, a user that was disabled',
    'STORE_UNAUTHORISED',
    () => storeAs(`${prefix}disabled`, 'was-right').getBytes('ct-clinical', 'a', 10),
  ],
  [
    'MinIO, a right secret without the right',
    'STORE_UNAUTHORISED',
    () => storeAs(storeUser(prefix, 'assess'), p.secretOf('assess')).getBytes('ct-clinical', 'a', 10),
  ],
  ['PostgreSQL, a wrong password', 'DATABASE_UNAUTHORISED', () => databaseAs(wrongPassword(p.databases.release))],
  ['PostgreSQL, no password', 'DATABASE_UNAUTHORISED', () => databaseAs(urlWith(p.databases.release, (u) => (u.password = '')))],
  ['PostgreSQL, an unknown role', 'DATABASE_UNAUTHORISED', () => databaseAs(urlWith(p.databases.release, (u) => (u.username = 'nobody')))],
  ['PostgreSQL, an expired role', 'DATABASE_UNAUTHORISED', async () => databaseAs(await expiredRole())],
  [
    'PostgreSQL, no right to connect',
    'DATABASE_UNAUTHORISED',
    () => databaseAs(urlWith(p.databases.release, (u) => (u.pathname = new URL(p.databases.label_queue).pathname))),
  ],
  ['PostgreSQL, no such database', 'DATABASE_UNAUTHORISED', () => databaseAs(urlWith(p.databases.release, (u) => (u.pathname = '/none')))],
  ['PostgreSQL, TLS that checks nothing', 'BAD_CONFIG', () => databaseAs(`${p.databases.release}?sslmode=require`)],
  [
    'PostgreSQL, TLS without the file',
    'BAD_CONFIG',
    () => databaseAs(`${p.databases.release}?sslmode=verify-full&sslrootcert=/no/such/file`),
  ],
  ['PostgreSQL, TLS where the server has none', 'DATABASE_UNTRUSTED', () => databaseAs(`${p.databases.release}?sslmode=verify-full`)],
  [
    'the vault, a wrong password',
    'VAULT_UNAUTHORISED',
    () => openPostgresVault({ connectionString: wrongPassword(p.databases.vault), key }),
  ],
  ['the vault, a wrong key', 'BAD_CONFIG', () => openPostgresVault({ connectionString: p.databases.vault, key })],
  [
    'held studies, a wrong password',
    'VAULT_UNAUTHORISED',
    async () => {
      const held = openPostgresHeld(wrongPassword(p.vaultAs.security));
      closing.push(() => held.close());
      return held.list();
    },
  ],
];

test.each(CASES)('%s is %s', async (_, code, attempt) => {
  const error: unknown = await attempt().then(
    () => 'it worked',
    (e: unknown) => e,
  );
  expect(error instanceof Fault ? error.code : error).toBe(code);
  const said = error instanceof Fault ? error.message : '';
  for (const secret of [WRONG, 'was-right', ...Object.values(p.databases).map((url) => new URL(url).password)])
    expect(said).not.toContain(secret);
  expect(isCode(code) && CODES[code].remedy.length > 10).toBe(true);
});

describe('a stage as a process', () => {
  async function run(
    name: StageName,
    change: Record<string, string | undefined>,
  ): Promise<{ code: number | null; out: string; err: string }> {
    const { PATH, HOME } = process.env;
    const env: NodeJS.ProcessEnv = { PATH, HOME, ...stageEnv(name, platform, p, dir, 0, 0), ...change };
    const main = name.startsWith('archiver-') ? 'event-log' : name;
    const child = spawn(process.execPath, ['--no-warnings', join(root, 'services', main, 'main.ts')], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [out, err]: [string[], string[]] = [[], []];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk.toString()));
    const late = setTimeout(() => child.kill('SIGKILL'), 60_000);
    const code = await new Promise<number | null>((resolve) => child.once('exit', resolve));
    clearTimeout(late);
    return { code, out: out.join(''), err: err.join('') };
  }

  test('ends with the code on stderr, and its log has no secret', async () => {
    const ends = await Promise.all([
      run('assess', { KAFKA_PASSWORD: WRONG }),
      run('assess', { S3_SECRET_KEY: WRONG }),
      run('release', { DATABASE_URL: wrongPassword(p.databases.release) }),
      run('archiver-clinical', { VAULT_URL: wrongPassword(p.vaultAs['archiver-clinical']) }),
    ]);
    expect(ends.map((e) => [e.code, e.err.split(':')[0]])).toEqual([
      [1, 'BUS_UNAUTHORISED'],
      [1, 'STORE_UNAUTHORISED'],
      [1, 'DATABASE_UNAUTHORISED'],
      [1, 'VAULT_UNAUTHORISED'],
    ]);
    for (const { out, err } of ends) expect(out + err).not.toContain(WRONG);
  });

  test('without credentials or with files that are not there: 78, and all problems at once', async () => {
    const empty = join(dir, 'empty');
    await writeFile(empty, '');
    const end = await run('anonymise', {
      KAFKA_PASSWORD: undefined,
      KAFKA_USERNAME: undefined,
      S3_SECRET_KEY: undefined,
      S3_SECRET_KEY_FILE: join(dir, 'none'),
      VAULT_URL: undefined,
      VAULT_KEY_FILE: empty,
      CENTRES_FILE: join(dir, 'no-centres'),
    });
    expect(end.code).toBe(78);
    expect(
      end.err
        .split('\n')
        .flatMap((line) => /^  (\w+):/.exec(line)?.[1] ?? [])
        .toSorted(),
    ).toEqual(['CENTRES_FILE', 'KAFKA_PASSWORD', 'KAFKA_USERNAME', 'S3_SECRET_KEY_FILE', 'VAULT_KEY_FILE', 'VAULT_URL']);
  });
});
