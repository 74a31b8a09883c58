// The operator's commands need no local deployment's folder: a deployment file says where the servers are and whose secrets
// to show, and the users that it names have no more rights than the command needs. What is missing or wrong has a code.
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pino from 'pino';
import { storeUser } from '../../deploy/local/provision.ts';
import type { EventRecord } from '../../schemas/events.gen.ts';
import { kafkaGroupOffsets } from '../../services/adapters/platformatic-group-offsets.ts';
import { ingestStage } from '../../services/ingest/stage.ts';
import { Fault } from '../../services/kernel/fault.ts';
import type { BusRecord } from '../../services/ports/event-bus.ts';
import { afterFailure } from '../../services/runtime/retry.ts';
import { adminClient } from './kafka-bus-suite.ts';
import { codec, eventually, openKit, type Kit } from './research-kit.ts';

const STUDIES = ['1.2.1', '1.2.2'];
const AVAILABLE = 'ct.clinical.c01.study-available.v1';

let kit: Kit;

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command as the image runs it: with nothing but the variable that names the file. */
const ctstream = async (file: string, ...args: string[]): Promise<Ran> => {
  const main = resolve(import.meta.dirname, '../../services/cli/main.ts');
  const env = { PATH: process.env['PATH'], CTSTREAM_DEPLOYMENT: file };
  return promisify(execFile)(process.execPath, ['--no-warnings', main, ...args], { env, cwd: kit.dir, timeout: 120_000 }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: Ran) => error,
  );
};

const secretFile = async (name: string, text: string): Promise<string> => {
  await writeFile(join(kit.dir, name), `${text}\n`, { mode: 0o600 });
  return name;
};

const deploymentFile = async (name: string, content: object): Promise<string> =>
  join(kit.dir, await secretFile(name, JSON.stringify(content)));

/** Kafka as the users named, and nothing else. */
const kafkaAs = async (...users: ('account' | 'operator' | 'ingest')[]): Promise<object> => ({
  brokers: kit.platform.kafka.brokers,
  topicPrefix: kit.provisioned.prefix,
  users: Object.fromEntries(
    await Promise.all(
      users.map(async (user) => [user, { passwordFile: await secretFile(`${user}-password`, kit.provisioned.secretOf(user)) }] as const),
    ),
  ),
});

const vaultOfAccount = async (): Promise<object> => ({
  urlFiles: { account: await secretFile('vault-url', kit.provisioned.vaultAs.account) },
  keyFile: kit.provisioned.file('vault-key'),
});

const available = (uid: string): EventRecord =>
  ({
    type: 'ctstream.clinical.v1.StudyAvailable',
    value: {
      centre: 'c01',
      studyInstanceUid: uid,
      revision: uid,
      sequence: 1,
      instanceCount: 1,
      seriesCount: 1,
      modalities: ['CT'],
      noticedBy: 'poll',
    },
  }) as unknown as EventRecord;

const census = {
  type: 'ctstream.clinical.v1.Census',
  value: {
    centre: 'c01',
    censusId: 'one',
    takenAtMs: 1_800_000_000_000,
    page: 1,
    pages: 1,
    total: STUDIES.length,
    digest: 'd',
    outboxSequence: STUDIES.length,
    studies: STUDIES.map((studyInstanceUid) => ({ studyInstanceUid, instanceCount: 1, state: 'announced', code: null })),
  },
} as unknown as EventRecord;

/** The first study's announcement; undefined while the broker is not ready to tell. */
async function announced(): Promise<BusRecord | undefined> {
  const log = kit.bus('account');
  try {
    return (await Array.fromAsync(log.read(await log.ends([AVAILABLE])))).find((r) => r.headers['ce_id'] === STUDIES[0]);
  } catch (error) {
    if (error instanceof Fault && ['BUS_UNAVAILABLE', 'BUS_NO_COORDINATOR'].includes(error.code)) return undefined;
    throw error;
  }
}

/** Two studies announced, of which ingest gave up the first. */
beforeAll(async () => {
  kit = await openKit('remote');
  const envelope = (id: string): { id: string; source: string; timeMs: number } => ({
    id,
    source: 'gateway-c01',
    timeMs: 1_800_000_000_000,
  });
  const gateway = kit.bus('gateway-c01');
  for (const [i, uid] of STUDIES.entries())
    await gateway.publish([codec.encode(available(uid), { ...envelope(uid), sequence: BigInt(i + 1) })]);
  await gateway.publish([codec.encode(census, envelope('census'))]);
  const record = await eventually('a broker that has just started takes its first reader', announced);
  const fault = new Fault('JOB_TIMEOUT', false, 'for the test');
  await kit.bus('ingest').publish([afterFailure({ stage: ingestStage, record, fault, nowMs: Date.now() }).record]);
});

afterAll(() => kit?.end());

test('account with the Kafka user account and the vault role account', async () => {
  const file = await deploymentFile('account.json', { kafka: await kafkaAs('account'), vault: await vaultOfAccount() });
  const ran = await ctstream(file, 'account', '--json');
  expect([ran.code, ran.stderr]).toEqual([0, '']);
  expect(JSON.parse(ran.stdout)).toMatchObject({
    sent: 2,
    waiting: 2,
    unaccounted: 0,
    reasons: { JOB_TIMEOUT: 1, IN_QUEUE: 1 },
    missing: [],
    bad: [],
  });
});

test('lag with the Kafka user account alone', async () => {
  const file = await deploymentFile('lag.json', { kafka: await kafkaAs('account') });
  const ran = await ctstream(file, 'lag', '--json');
  expect([ran.code, ran.stderr]).toEqual([0, '']);
  expect(JSON.parse(ran.stdout)).toContainEqual(expect.objectContaining({ stage: 'ingest' }));
});

test('dead list and show with the Kafka user account alone; replay names the one that it needs, and works with it', async () => {
  const file = await deploymentFile('dead.json', { kafka: await kafkaAs('account') });
  const listed = await ctstream(file, 'dead', 'list', '--json');
  expect([listed.code, listed.stderr]).toEqual([0, '']);
  const { open, letters } = JSON.parse(listed.stdout) as { open: number; letters: { id: string }[] };
  expect([open, letters]).toMatchObject([1, [{ stage: 'ingest', state: 'open', code: 'JOB_TIMEOUT', centre: 'c01' }]]);
  const id = letters[0]?.id ?? '';
  expect((await ctstream(file, 'dead', 'show', id)).code).toBe(0);
  expect(await ctstream(file, 'dead', 'replay', id)).toMatchObject({
    code: 78,
    stdout: '',
    stderr: `BAD_CONFIG: deployment file ${file}: kafka.users.operator is missing, and 'dead replay' needs it\n`,
  });
  const operators = await deploymentFile('replay.json', { kafka: await kafkaAs('account', 'operator') });
  const replayed = await ctstream(operators, 'dead', 'replay', id, '--json');
  expect([replayed.code, JSON.parse(replayed.stdout)]).toEqual([0, { dryRun: false, replayed: [id], refused: [] }]);
});

test('query with the user analyst of the store alone', async () => {
  const { provisioned, platform } = kit;
  const secret = await secretFile('analyst-secret', provisioned.secretOf('analyst'));
  const analyst = { accessKey: storeUser(provisioned.prefix, 'analyst'), secretFile: secret };
  const store = { endpoint: platform.minio.url, bucketPrefix: provisioned.bucketPrefix, users: { analyst } };
  const ran = await ctstream(await deploymentFile('query.json', { store }), 'query', 'select count(*) as n from events', '--json');
  expect([ran.code, ran.stderr, JSON.parse(ran.stdout)]).toMatchObject([0, '', [{ n: expect.anything() }]]);
});

test('held list with what the security role has', async () => {
  const { provisioned, platform } = kit;
  const security = {
    accessKey: storeUser(provisioned.prefix, 'security'),
    secretFile: await secretFile('security-secret', provisioned.secretOf('security')),
  };
  const file = await deploymentFile('held.json', {
    kafka: await kafkaAs('operator'),
    store: { endpoint: platform.minio.url, bucketPrefix: provisioned.bucketPrefix, users: { security } },
    vault: { urlFiles: { security: await secretFile('held-url', provisioned.vaultAs.security) } },
  });
  expect(await ctstream(file, 'held', 'list', '--json')).toMatchObject({ code: 0, stdout: '[]\n', stderr: '' });
});

test('vault commands with the vault of its owner; Kafka is asked for where studies are handed over', async () => {
  const vault = { ...(await vaultOfAccount()), urlFiles: { privacy: await secretFile('owner-url', kit.provisioned.databases.vault) } };
  const alone = await deploymentFile('vault.json', { vault });
  expect((await ctstream(alone, 'vault', 'denials', 'export', 'denials.bak', '--json')).code).toBe(0);
  expect(await ctstream(alone, 'vault', 'reanonymise')).toMatchObject({
    code: 78,
    stderr: expect.stringMatching(/kafka\.users\.account is missing.+kafka\.users\.operator is missing/),
  });
  const whole = await deploymentFile('whole.json', { kafka: await kafkaAs('account', 'operator'), vault });
  expect(await ctstream(whole, 'vault', 'reanonymise', '--json')).toMatchObject({ code: 0, stderr: '' });
});

test('a wrong password and what others may read have their codes, and no secret is said', async () => {
  const wrong = 'not-the-right-secret';
  const kafka = { ...(await kafkaAs()), users: { account: { passwordFile: await secretFile('wrong-password', wrong) } } };
  const refused = await ctstream(await deploymentFile('wrong.json', { kafka, vault: await vaultOfAccount() }), 'account', '--json');
  expect(refused).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/^BUS_UNAUTHORISED: /) });
  expect(refused.stderr).not.toContain(wrong);

  const url = new URL(kit.provisioned.vaultAs.account);
  url.password = wrong;
  const vault = { ...(await vaultOfAccount()), urlFiles: { account: await secretFile('wrong-url', url.href) } };
  const file = await deploymentFile('wrong-vault.json', { kafka: await kafkaAs('account'), vault });
  const locked = await ctstream(file, 'account', '--json');
  expect(locked).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/^VAULT_UNAUTHORISED: /) });
  expect(locked.stderr).not.toContain(wrong);

  await writeFile(join(kit.dir, 'open.json'), '{}', { mode: 0o644 });
  const open = await ctstream(join(kit.dir, 'open.json'), 'dead', 'list');
  expect(open).toMatchObject({ code: 78, stderr: expect.stringMatching(/^BAD_CONFIG: deployment file: others may read .+: chmod 600\n$/) });
});

test('log restore names what it needs: the administrator of Kafka, and the archive', async () => {
  const file = await deploymentFile('restore.json', { kafka: await kafkaAs('operator') });
  expect(await ctstream(file, 'log', 'restore')).toMatchObject({
    code: 78,
    stdout: '',
    stderr: expect.stringMatching(/kafka\.users\.admin is missing.+store\.users\.analyst is missing, and 'log restore' needs it/),
  });
});

// The last one: it deletes what the others read.
test('log accept-loss with the own user of the stage that lost something, and no other', async () => {
  const { platform, provisioned } = kit;
  const asIngest = { username: 'ingest', password: provisioned.secretOf('ingest'), brokers: platform.kafka.brokers };
  const offsets = kafkaGroupOffsets({ ...asIngest, prefix: provisioned.prefix, clientId: 'test', log: pino({ level: 'silent' }) });
  const deleted = (await offsets.ends([AVAILABLE])).filter(({ end }) => end > 0n);
  await offsets.set(
    'ingest',
    deleted.map(({ topic, partition }) => ({ topic, partition, offset: 0n })),
  );
  const admin = await adminClient();
  await admin.fetchTopicOffsets(provisioned.prefix + AVAILABLE);
  const upTo = deleted.map(({ partition, end }) => ({ partition, offset: end.toString() }));
  await admin.deleteTopicRecords({ topic: provisioned.prefix + AVAILABLE, partitions: upTo });
  await admin.disconnect();

  const acceptLoss = ['log', 'accept-loss', '--stage', 'ingest', '--yes', '--json'];
  const others = await deploymentFile('no-ingest.json', { kafka: await kafkaAs('account', 'operator') });
  expect(await ctstream(others, ...acceptLoss)).toMatchObject({
    code: 78,
    stdout: '',
    stderr: `BAD_CONFIG: deployment file ${others}: kafka.users.ingest is missing, and 'log accept-loss' needs it\n`,
  });
  const ran = await ctstream(await deploymentFile('ingest.json', { kafka: await kafkaAs('ingest') }), ...acceptLoss);
  const accepted = deleted.map(({ partition, end }) => ({ group: 'ingest', topic: AVAILABLE, partition, goesOnAt: `${end}` }));
  expect([ran.code, ran.stderr, JSON.parse(ran.stdout)]).toMatchObject([0, '', { dryRun: false, accepted, refused: [] }]);
  expect(await offsets.committed('ingest', [AVAILABLE])).toEqual(
    expect.arrayContaining(deleted.map(({ topic, partition, end }) => ({ topic, partition, offset: end }))),
  );
  await offsets.close();
});
