// Announcements that were deleted before ingest read them: ingest refuses to go on, a command says what is lost, changes
// nothing but the places that are gone, and only while nobody is in the group; then the centre announces again, and
// nothing is unaccounted for.
import { execFile } from 'node:child_process';
import { readFile, symlink } from 'node:fs/promises';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pino from 'pino';
import { openBus } from '../../services/adapters/event-bus.ts';
import type { KafkaBusOptions } from '../../services/adapters/kafka-offsets.ts';
import { kafkaGroupOffsets } from '../../services/adapters/platformatic-group-offsets.ts';
import { platformDir, writeDeployment } from '../../services/cli/deployment.ts';
import type { TopicEnd } from '../../services/ports/event-bus.ts';
import type { GroupPoint } from '../../services/ports/group-offsets.ts';
import { until as untilTrue } from '../shared/test-context.ts';
import { adminClient } from './kafka-bus-suite.ts';
import { sendPhantom, startPipeline, until, type Pipeline } from './pipeline.ts';
import { releasePlatform } from './support.ts';

let p: Pipeline;
let topic: string;
let studies = 0;

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const acceptLoss = async (...args: string[]): Promise<Ran> => {
  const main = resolve(import.meta.dirname, '../../services/cli/main.ts');
  const all = ['--no-warnings', main, 'log', 'accept-loss', '--stage', 'ingest', ...args, '--dir', p.dir, '--json'];
  try {
    return { code: 0, ...(await promisify(execFile)(process.execPath, all, { timeout: 120_000 })) };
  } catch (error) {
    return error as Ran;
  }
};

const asIngest = (): KafkaBusOptions => ({
  brokers: p.platform.kafka.brokers,
  username: 'ingest',
  password: p.provisioned.secretOf('ingest'),
  prefix: p.provisioned.prefix,
  clientId: 'test',
  log: pino({ level: 'silent' }),
  sessionTimeoutMs: 6000,
});

/** Everything that ingest's groups have committed. */
async function places(): Promise<GroupPoint[]> {
  const offsets = kafkaGroupOffsets(asIngest());
  try {
    const retries = await offsets.topics(['ct.clinical.ingest.retry.*']);
    return [...(await offsets.committed('ingest', [topic])), ...(await offsets.committed('ingest.retry', retries))];
  } finally {
    await offsets.close();
  }
}

async function send(): Promise<void> {
  const [pacs] = p.pacs;
  if (pacs === undefined) throw new Error('no PACS');
  await sendPhantom(pacs, { seed: 47, index: ++studies });
  await untilTrue(
    'its announcement',
    async () => (await p.ports.bus.ends([topic])).reduce((sum, e) => sum + Number(e.end), 0) >= studies,
    60_000,
  );
}

beforeAll(async () => {
  p = await startPipeline({ name: 'loss', centres: 1, readers: false, only: ['centre-gateway', 'ingest'] });
  await symlink(p.platform.dir, platformDir(p.dir));
  await writeDeployment(p.dir, { centres: p.provisioned.centres, prefix: p.provisioned.prefix, readers: 0, urls: {}, apiUrls: {} });
  topic = `ct.clinical.${p.provisioned.centres[0]}.study-available.v1`;
});

afterAll(async () => {
  await p?.stop();
  await releasePlatform();
});

test('ingest refuses, the command says what is lost and accepts just that, and the centre makes up for it', async () => {
  for (let i = 0; i < 2; i++) await send();
  await until(p, (a) => a.reached.stored === 2);
  await p.stages.kill('ingest', 'SIGTERM');
  // A study's partition is its key's: as many as it takes until one partition has read and unread records.
  const read = new Map((await places()).filter((c) => c.topic === topic && c.offset > 0n).map((c) => [c.partition, c.offset]));
  const unread = (e: TopicEnd): boolean => e.end > (read.get(e.partition) ?? e.end);
  let cut: TopicEnd | undefined;
  while (cut === undefined) {
    await send();
    cut = (await p.ports.bus.ends([topic])).find(unread);
  }
  const { partition, end } = cut;
  const committed = read.get(partition) ?? 0n;
  const admin = await adminClient();
  await admin.fetchTopicOffsets(p.provisioned.prefix + topic);
  await admin.deleteTopicRecords({ topic: p.provisioned.prefix + topic, partitions: [{ partition, offset: end.toString() }] });
  await admin.disconnect();

  const log = async (): Promise<string> => await readFile(p.stages.logFile('ingest'), 'utf8');
  await p.stages.start('ingest').catch(() => undefined);
  await untilTrue('LOG_TRUNCATED', async () => (await log()).includes('LOG_TRUNCATED'), 60_000);
  await untilTrue('its end', () => p.exits.some(({ name, code }) => name === 'ingest' && code === 1), 60_000);

  const before = await places();
  const loss = {
    group: 'ingest',
    topic,
    partition,
    committed: `${committed}`,
    reason: 'DELETED',
    lost: { first: `${committed}`, last: `${end - 1n}`, records: `${end - committed}` },
    goesOnAt: `${end}`,
  };
  const dry = await acceptLoss('--dry-run');
  expect([dry.code, JSON.parse(dry.stdout)]).toMatchObject([0, { dryRun: true, accepted: [loss], refused: [] }]);
  expect(await acceptLoss()).toMatchObject({ code: 2, stderr: expect.stringContaining('--yes') });
  expect(await places()).toEqual(before);

  // A member that reads something else: its own partitions are not concerned, and yet nobody may be in the group.
  const bus = await openBus(asIngest());
  const subscription = await bus.subscribe({ group: 'ingest', topics: ['ct.clinical.ingest.retry.1h'], window: 1 });
  const offsets = kafkaGroupOffsets(asIngest());
  await untilTrue('a member', async () => (await offsets.members('ingest')) === 1);
  expect(await acceptLoss('--yes')).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('GROUP_ACTIVE') });
  await expect(offsets.set('ingest', [{ topic, partition, offset: end }])).rejects.toMatchObject({ code: 'GROUP_ACTIVE' });
  expect(await places()).toEqual(before);
  await subscription.stop();
  await bus.close();
  await untilTrue('no member', async () => (await offsets.members('ingest')) === 0);
  await offsets.close();

  const accepted = await acceptLoss('--yes');
  expect([accepted.code, JSON.parse(accepted.stdout)]).toMatchObject([0, { dryRun: false, accepted: [loss], refused: [] }]);
  expect(await places()).toEqual(before.map((c) => (c.topic === topic && c.partition === partition ? { ...c, offset: end } : c)));
  expect(JSON.parse((await acceptLoss('--yes')).stdout)).toMatchObject({ accepted: [] });

  const lost = Number(end - committed);
  await p.stages.start('ingest');
  await until(p, (a) => a.reached.stored === studies - lost);
  const ask = async (path: string, body: object): Promise<number> => {
    const response = await fetch(`${p.stages.apiUrl('centre-gateway')}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${p.provisioned.gatewayToken}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return response.status;
  };
  expect(await ask('/census', {})).toBe(200);
  const open = await until(p, (a) => a.totals.sent === studies);
  expect([open.totals.unaccounted, open.totals.waiting, open.reasons]).toEqual([
    lost,
    studies - lost,
    { NOT_ANNOUNCED: lost, IN_QUEUE: studies - lost },
  ]);

  expect(await ask('/announce-again', { centre: p.pacs[0]?.centre, dryRun: false })).toBe(200);
  const closed = await until(p, (a) => a.reached.stored === studies);
  expect(closed.totals).toMatchObject({ sent: studies, unaccounted: 0 });
});
