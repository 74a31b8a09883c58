// The local platform holds what it promises: who has no account gets nothing, data outlives a killed
// part, and no process outlives the platform.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Admin, AclOperationTypes, AclPermissionTypes, AclResourceTypes, Kafka, logLevel, ResourcePatternTypes } from 'kafkajs';
import { Client as MinioClient } from 'minio';
import pg from 'pg';
import { processStart } from '../../deploy/local/processes.ts';
import { type KafkaUser, type Platform, platformFromState, startPlatform } from '../../deploy/local/platform.ts';

const SECONDS = 1000;
const PLATFORM = join(import.meta.dirname, '../../deploy/local/platform.ts');
const folders: string[] = [];

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ctstream-platform-test-'));
  folders.push(folder);
  return folder;
}

function kafkaAs(user: KafkaUser, brokers: string[]): Kafka {
  return new Kafka({
    clientId: 'platform-test',
    brokers,
    sasl: { mechanism: 'scram-sha-512', ...user },
    logLevel: logLevel.NOTHING,
    retry: { retries: 2 },
  });
}

async function asAdmin<T>(user: KafkaUser, brokers: string[], work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = kafkaAs(user, brokers).admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

/** Pids of all processes that mention the folder in their command line. */
function processesOf(folder: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder);
      } catch {
        return false;
      }
    })
    .map(Number);
}

async function until(condition: () => boolean, ms = 30 * SECONDS): Promise<void> {
  const deadline = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('The condition did not come true');
    await sleep(50);
  }
}

/** Another process that starts a platform in `dir` and says 'up'. */
async function startElsewhere(dir: string): Promise<ChildProcess> {
  const script = `import { startPlatform } from ${JSON.stringify(PLATFORM)}; await startPlatform({ dir: ${JSON.stringify(dir)}, centres: ['c01'], quiet: true }); console.log('up'); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--no-warnings', '--input-type=module-typescript', '-e', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', () => resolve());
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.once('exit', (code) => reject(new Error(`It ended with ${code}: ${output}`)));
  });
  return child;
}

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

describe('a platform', () => {
  let platform: Platform;
  const dir = newFolder();
  const seeded: KafkaUser = { username: 'stage', password: 'stage-password' };

  beforeAll(async () => {
    platform = await startPlatform({ dir, centres: ['c01', 'c02'], kafkaUsers: [seeded], quiet: true });
  }, 600 * SECONDS);

  afterAll(async () => await platform?.stop(), 60 * SECONDS);

  test('keeps its passwords from other users', () => {
    expect(statSync(join(dir, 'state.json')).mode & 0o077).toBe(0);
  });

  test('Kafka knows its administrator and refuses a stranger and a wrong password', async () => {
    const { brokers, admin } = platform.kafka;
    expect(await asAdmin(admin, brokers, async (a) => (await a.describeCluster()).brokers.length)).toBe(1);
    for (const user of [
      { username: 'stranger', password: 'x' },
      { username: 'admin', password: 'x' },
    ]) {
      await expect(asAdmin(user, brokers, async () => undefined)).rejects.toThrow(/[Aa]uthentication/);
    }
  });

  test(
    'Kafka lets a user do what an ACL allows and nothing else',
    async () => {
      const { brokers, admin } = platform.kafka;
      const late: KafkaUser = { username: 'late', password: 'late-password' };
      await platform.kafka.addUser(late);
      await asAdmin(admin, brokers, async (a) => {
        await a.createTopics({ topics: [{ topic: 'own' }, { topic: 'other' }], waitForLeaders: true });
        const rule = {
          resourceType: AclResourceTypes.TOPIC,
          resourceName: 'own',
          resourcePatternType: ResourcePatternTypes.LITERAL,
          host: '*',
          permissionType: AclPermissionTypes.ALLOW,
        };
        await a.createAcls({
          acl: [seeded, late].map((user) => ({ ...rule, principal: `User:${user.username}`, operation: AclOperationTypes.WRITE })),
        });
      });
      for (const user of [seeded, late]) {
        const producer = kafkaAs(user, brokers).producer();
        await producer.connect();
        try {
          await producer.send({ topic: 'own', messages: [{ value: user.username }] });
          await expect(producer.send({ topic: 'other', messages: [{ value: 'x' }] })).rejects.toThrow(/[Aa]uthori[sz]/);
        } finally {
          await producer.disconnect();
        }
      }
    },
    60 * SECONDS,
  );

  test(
    'a killed broker comes back on its port with topics, records and users',
    async () => {
      const { brokers } = platform.kafka;
      const before = platform.kafka.pid;
      await platform.kafka.restart('SIGKILL');
      expect(platform.kafka.pid).not.toBe(before);
      const offsets = await asAdmin(platform.kafka.admin, brokers, async (a) => await a.fetchTopicOffsets('own'));
      expect(offsets.map((o) => o.high)).toEqual(['2']);
      await asAdmin({ username: 'late', password: 'late-password' }, brokers, async () => undefined);
    },
    60 * SECONDS,
  );

  test('MinIO stores and gives back, and holds a user to the policy', async () => {
    const { endPoint, port, useSSL, accessKey, secretKey } = platform.minio;
    const root = new MinioClient({ endPoint, port, useSSL, accessKey, secretKey });
    await root.makeBucket('allowed');
    await root.makeBucket('forbidden');
    const policy = {
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Action: ['s3:PutObject', 's3:GetObject'], Resource: ['arn:aws:s3:::allowed/*'] }],
    };
    await platform.minio.addUser('svc-test', 'secret-of-the-service', JSON.stringify(policy));
    // Setting a user again is not an error.
    await platform.minio.addUser('svc-test', 'secret-of-the-service', JSON.stringify(policy));
    const service = new MinioClient({
      endPoint,
      port,
      useSSL,
      accessKey: 'svc-test',
      secretKey: 'secret-of-the-service',
      region: 'us-east-1',
    });
    await service.putObject('allowed', 'a/b', Buffer.from('content'), 7);
    const parts: Buffer[] = [];
    for await (const part of await service.getObject('allowed', 'a/b')) if (Buffer.isBuffer(part)) parts.push(part);
    expect(Buffer.concat(parts).toString()).toBe('content');
    await expect(service.putObject('forbidden', 'a/b', Buffer.from('content'), 7)).rejects.toThrow(/[Dd]enied/);
  });

  test(
    "each PACS opens with its own centre's password only, and keeps its studies when killed",
    async () => {
      const [first, second] = platform.orthancs;
      if (first === undefined || second === undefined) throw new Error('two centres were asked for');
      const status = async (password?: string): Promise<number> => {
        const authorization = `Basic ${Buffer.from(`${first.username}:${password}`).toString('base64')}`;
        const response = await fetch(`${first.dicomWebUrl}/studies`, { headers: password === undefined ? {} : { authorization } });
        await response.arrayBuffer();
        return response.status;
      };
      expect(await status(first.password)).toBe(200);
      expect(await status()).toBe(401);
      expect(await status(second.password)).toBe(401);
      const before = first.pid;
      await platform.restartOrthanc('c01', 'SIGKILL');
      expect(first.pid).not.toBe(before);
      expect(await status(first.password)).toBe(200);
      await platform.stopOrthanc('c01');
      await expect(status(first.password)).rejects.toThrow();
      await platform.startOrthanc('c01');
      expect(await status(first.password)).toBe(200);
    },
    60 * SECONDS,
  );

  test(
    'a centre can be added while it runs',
    async () => {
      const added = await platform.addOrthanc('c03');
      const response = await fetch(`${added.baseUrl}/system`, {
        headers: { authorization: `Basic ${Buffer.from(`${added.username}:${added.password}`).toString('base64')}` },
      });
      expect(await response.json()).toMatchObject({ DicomAet: 'PACS_C03' });
      expect(platform.orthancs.map((o) => o.centre)).toEqual(['c01', 'c02', 'c03']);
    },
    60 * SECONDS,
  );

  test('PostgreSQL gives each service a database that no other service may open', async () => {
    const own = await platform.postgres.createDatabase('vault', { user: 'anonymise', password: 'p/w@1' });
    await platform.postgres.createDatabase('tasks', { user: 'label', password: 'p2' });
    const select = async (url: string): Promise<unknown> => {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      try {
        return (await client.query<{ one: number }>('select 1 as one')).rows[0]?.one;
      } finally {
        await client.end();
      }
    };
    expect(await select(own)).toBe(1);
    await expect(select(own.replace('/vault', '/tasks'))).rejects.toThrow(/permission denied/);
    await expect(select(own.replace('anonymise', 'label'))).rejects.toThrow(/password authentication failed/);
  });

  test(
    'another process can attach, and cannot start a second platform in the folder',
    async () => {
      const attached = await platformFromState(dir);
      expect(attached.kafka.pid).toBe(platform.kafka.pid);
      await attached.minio.restart('SIGKILL');
      expect(platform.minio.pid).toBe(attached.minio.pid);
      await attached.stop();
      expect(processesOf(dir)).toContain(platform.kafka.pid);
      await expect(startPlatform({ dir, centres: ['c01'], quiet: true })).rejects.toThrow(/is running in/);
      expect(processesOf(dir)).toContain(platform.kafka.pid);
    },
    60 * SECONDS,
  );

  test(
    'nothing is left when it stops',
    async () => {
      // Root's PostgreSQL runs from a folder elsewhere, as this one is closed to other users.
      const pids = [platform.postgres.pid, ...processesOf(dir)];
      expect(pids.length).toBeGreaterThanOrEqual(6);
      await platform.stop();
      expect(pids.filter((pid) => processStart(pid) !== undefined)).toEqual([]);
      expect(readdirSync(dir)).toEqual(['logs']);
      await expect(platformFromState(dir)).rejects.toThrow(/No platform is running/);
    },
    60 * SECONDS,
  );
});

test(
  'a platform ends with the process that started it, when that is asked to',
  async () => {
    const dir = newFolder();
    const owner = await startElsewhere(dir);
    expect(processesOf(dir).length).toBeGreaterThanOrEqual(4);
    const ended = new Promise((resolve) => owner.once('exit', resolve));
    owner.kill('SIGTERM');
    expect(await ended).toBe(143);
    expect(processesOf(dir)).toEqual([]);
  },
  120 * SECONDS,
);

test(
  'what a killed process left behind is ended by the next start in its folder',
  async () => {
    const dir = newFolder();
    const owner = await startElsewhere(dir);
    owner.kill('SIGKILL');
    await until(() => owner.signalCode === 'SIGKILL');
    const left = (await platformFromState(dir)).kafka.pid;
    expect(processesOf(dir)).toContain(left);
    const next = await startPlatform({ dir, centres: ['c01'], quiet: true });
    try {
      expect(processesOf(dir)).not.toContain(left);
      expect(processesOf(dir)).toContain(next.kafka.pid);
    } finally {
      await next.stop();
    }
    expect(processesOf(dir)).toEqual([]);
  },
  180 * SECONDS,
);
