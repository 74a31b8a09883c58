// Kafka, MinIO and PostgreSQL over TLS with certificates of our own: through the adapters all three work; another
// authority, an expired certificate and plain text are refused, by us or by the server, with a code.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm, writeFile as writeText } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTls, TLSSocket } from 'node:tls';
import pino from 'pino';
import { makeCertificates, type Certificates } from '../../deploy/local/certificates.ts';
import { runCommand } from '../../deploy/local/install.ts';
import { startPlatform, type Platform } from '../../deploy/local/platform.ts';
import { provision, storeUser, type Provisioned } from '../../deploy/local/provision.ts';
import { startStages } from '../../deploy/local/stages.ts';
import { kafkaBus } from '../../services/adapters/kafkajs-bus.ts';
import { openPostgresHeld } from '../../services/adapters/postgres-held.ts';
import { openPostgresVault } from '../../services/adapters/postgres-vault.ts';
import { s3Store } from '../../services/adapters/s3-store.ts';
import { fileAccess } from '../../services/cli/deployment-file.ts';
import { operatorPorts } from '../../services/cli/deployment.ts';
import type { EventBus } from '../../services/ports/event-bus.ts';

let dir: string;
let platform: Platform;
let p: Provisioned;
/** Of another authority. */
let other: Certificates;
let otherCa: string;
const closing: (() => unknown)[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ctstream-tls-'));
  platform = await startPlatform({ dir: join(dir, 'platform'), centres: ['c01'], tls: true, handleSignals: false });
  p = await provision(platform, { centres: ['c01'], prefix: 'tls-', dir: join(dir, 'secrets'), partitions: 1 });
  other = await makeCertificates(join(dir, 'other'));
  otherCa = await readFile(other.caFile, 'utf8');
});

afterAll(async () => {
  for (const close of closing) await close();
  await platform?.stop();
  await rm(dir, { recursive: true, force: true });
});

function busAs(user: string, ca: string | undefined, brokers: readonly string[] = platform.kafka.brokers): EventBus {
  const bus = kafkaBus({
    brokers,
    username: user,
    password: p.secretOf(user),
    ...(ca === undefined ? {} : { ssl: { ca } }),
    prefix: p.prefix,
    clientId: user,
    log: pino({ level: 'silent' }),
  });
  closing.push(() => bus.close());
  return bus;
}

function storeAs(user: string, ca: string | undefined, endpoint = platform.minio.url): ReturnType<typeof s3Store> {
  const options = { endpoint, accessKey: storeUser(p.prefix, user), secretKey: p.secretOf(user), bucketPrefix: p.bucketPrefix };
  return s3Store({ ...options, ...(ca === undefined ? {} : { tls: { ca } }) });
}

const record = { topic: 'ct.clinical.study-stored.v1', key: 'k', value: Buffer.from('over TLS'), headers: {} };

test('all three work: publish and consume, put and get, query', async () => {
  const ca = platform.tls?.ca;
  await busAs('ingest', ca).publish([record]);
  const subscription = await busAs('anonymise', ca).subscribe({ group: 'anonymise', topics: [record.topic], window: 1 });
  const lease = await subscription.take(AbortSignal.timeout(30_000));
  expect(Buffer.from(lease?.record.value ?? []).toString()).toBe('over TLS');
  await subscription.stop();
  const store = storeAs('ingest', ca);
  await store.conformance('ct-clinical');
  await store.put('ct-clinical', 'a', Buffer.from('bytes'));
  expect(Buffer.from((await store.getBytes('ct-clinical', 'a', 10)) ?? []).toString()).toBe('bytes');
  const key = Buffer.from(await readFile(p.file('vault-key'), 'utf8'), 'hex');
  const vault = await openPostgresVault({ connectionString: p.databases.vault, key });
  expect((await vault.siteSecret()).byteLength).toBeGreaterThan(0);
  await vault.close();
});

test('stages run on it with nothing but their environment', async () => {
  const only = ['assess', 'select', 'archiver-clinical'] as const;
  const stages = await startStages({ platform, provisioned: p, dir: join(dir, 'stages'), only });
  await stages.stop();
});

test("people's commands work on it by a deployment file", async () => {
  const own = async (name: string, content: string): Promise<string> => {
    await writeText(join(dir, name), content, { mode: 0o600 });
    return join(dir, name);
  };
  const caFile = platform.tls?.caFile;
  const analyst = { accessKey: storeUser(p.prefix, 'analyst'), secretFile: await own('analyst', p.secretOf('analyst')) };
  const file = {
    kafka: {
      brokers: platform.kafka.brokers,
      caFile,
      topicPrefix: p.prefix,
      users: { account: { passwordFile: await own('account', p.secretOf('account')) } },
    },
    store: { endpoint: platform.minio.url, caFile, bucketPrefix: p.bucketPrefix, users: { analyst } },
    vault: { urlFiles: { account: await own('url', p.vaultAs.account) }, keyFile: p.file('vault-key') },
  };
  const ports = await operatorPorts(fileAccess(await own('deployment.json', JSON.stringify(file)), 'account'));
  closing.push(() => ports.close());
  expect((await ports.bus.ends([record.topic])).map((e) => e.end)).toEqual([1n]);
  // The archiver of the test before may have written its first file.
  for await (const { key } of ports.store.list('ct-event-log', '')) expect(key).toMatch(/\.parquet$/);
  expect(await Array.fromAsync(ports.vault.lineages())).toEqual([]);
});

/** What a client of each says of the server at this address. */
async function answers(o: { ca: string | undefined; kafka: string; s3: string; postgres: string }): Promise<Answers> {
  const codeOf = (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => 'ok',
      (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
    );
  const held = openPostgresHeld(o.postgres);
  const found = {
    kafka: codeOf(busAs('ingest', o.ca, [o.kafka]).publish([record])),
    store: codeOf(storeAs('ingest', o.ca, o.s3).getBytes('ct-clinical', 'a', 10)),
    vault: codeOf(held.list()),
  };
  const result = { kafka: await found.kafka, store: await found.store, vault: await found.vault };
  await held.close();
  return result;
}

const UNTRUSTED = { kafka: 'BUS_UNTRUSTED', store: 'STORE_UNTRUSTED', vault: 'VAULT_UNTRUSTED' };

const withRoot = (url: string, file: string): string => {
  const changed = new URL(url);
  changed.searchParams.set('sslrootcert', file);
  return changed.href;
};

type Answers = Record<string, unknown>;

/** All asked at once, once: kafkajs tries a broker that it can't trust for a quarter of a minute. */
let asked: Promise<{ otherAuthority: Answers; plain: Answers; expired: Answers; heard: number }> | undefined;

async function askAll(): Promise<{ otherAuthority: Answers; plain: Answers; expired: Answers; heard: number }> {
  const kafka = platform.kafka.brokers[0] ?? '';
  const plainUrl = new URL(p.databases.vault);
  plainUrl.search = '';
  const [otherAuthority, plain, { found: expired, heard }] = await Promise.all([
    answers({ ca: otherCa, kafka, s3: platform.minio.url, postgres: withRoot(p.databases.vault, other.caFile) }),
    answers({ ca: undefined, kafka, s3: platform.minio.url.replace('https:', 'http:'), postgres: plainUrl.href }),
    askExpired(),
  ]);
  return { otherAuthority, plain, expired, heard };
}

test('a server that another authority vouches for gets no password and gives no data', async () => {
  expect((await (asked ??= askAll())).otherAuthority).toEqual(UNTRUSTED);
});

test('plain text is refused by the servers, and no wait is endless', async () => {
  // Kafka closes the connection and MinIO answers 400 to all: a client without TLS can tell no more than that it gets nothing.
  const expected = { kafka: 'BUS_UNAVAILABLE', store: 'STORE_UNAVAILABLE', vault: 'VAULT_UNTRUSTED' };
  expect((await (asked ??= askAll())).plain).toEqual(expected);
});

test('an expired certificate is refused before the password is sent', async () => {
  const { expired, heard } = await (asked ??= askAll());
  expect(expired).toEqual(UNTRUSTED);
  expect(heard).toBe(0);
});

/** Servers whose certificate has expired, and how much they heard. */
async function askExpired(): Promise<{ found: Answers; heard: number }> {
  const expired = await expiredCertificates(join(dir, 'expired'));
  const secret = { key: await readFile(expired.keyFile), cert: await readFile(expired.certFile) };
  let heard = 0;
  const hear = (socket: Socket): void => {
    socket.on('error', () => undefined);
    socket.on('data', () => void heard++);
  };
  const tls = createTls(secret, hear);
  tls.on('tlsClientError', () => undefined);
  // PostgreSQL's way into TLS: an SSLRequest of 8 bytes, answered with S (PostgreSQL manual, 54.2.10).
  const postgres = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.write('S');
      hear(new TLSSocket(socket, { isServer: true, ...secret }));
    });
  });
  const [tlsPort, postgresPort] = [await listen(tls), await listen(postgres)];
  const found = await answers({
    ca: await readFile(expired.caFile, 'utf8'),
    kafka: `127.0.0.1:${tlsPort}`,
    s3: `https://127.0.0.1:${tlsPort}`,
    postgres: `postgres://u:p@127.0.0.1:${postgresPort}/d?sslmode=verify-full&sslrootcert=${encodeURIComponent(expired.caFile)}`,
  });
  return { found, heard };
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => server.close());
  const address = server.address();
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

/** The server's certificate was good for one day, two years ago. */
async function expiredCertificates(folder: string): Promise<Certificates> {
  const made = await makeCertificates(folder);
  const database = join(folder, 'index.txt');
  const config = `[ca]\ndefault_ca=own\n[own]\ndatabase=${database}\nnew_certs_dir=${folder}\ndefault_md=sha256\npolicy=any\nrand_serial=yes\n[any]\ncommonName=supplied\n`;
  await Promise.all([writeText(database, ''), writeText(join(folder, 'ca.cnf'), config)]);
  const old = ['-startdate', '20240101000000Z', '-enddate', '20240102000000Z', '-extfile', join(folder, 'server.ext')];
  const authority = ['-cert', made.caFile, '-keyfile', join(folder, 'ca.key'), '-in', join(folder, 'server.csr'), '-out', made.certFile];
  await runCommand('openssl', 'openssl', ['ca', '-batch', '-notext', '-config', join(folder, 'ca.cnf'), ...authority, ...old]);
  return made;
}
