// The research log, lost and put back from its Parquet files: every record at its own offset with its bytes, headers and
// time, the same answers, an archive that goes on where it was, and stages that start on it and make nothing twice.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { storeUser } from '../../deploy/local/provision.ts';
import { kafkaLogWriter } from '../../services/adapters/kafka-log-writer.ts';
import { kafkaClient } from '../../services/adapters/kafka-client.ts';
import { applyTopics, setTimestampType } from '../../services/adapters/kafka-topics.ts';
import { kafkaBus } from '../../services/adapters/kafkajs-bus.ts';
import { avroCodec } from '../../services/adapters/avro-codec.ts';
import { postgresDatabase, type OutboxTable } from '../../services/adapters/postgres-database.ts';
import { s3Store, type S3Store } from '../../services/adapters/s3-store.ts';
import { archivedPartitions } from '../../services/event-log/archived-log.ts';
import { archiveOnce, newState } from '../../services/event-log/archive.ts';
import { openDuckDb } from '../../services/event-log/parquet.ts';
import { createViews, mirrorLog, runQuery } from '../../services/event-log/query.ts';
import { restoreLog, type Restored } from '../../services/event-log/restore.ts';
import { Fault } from '../../services/kernel/fault.ts';
import type { ResearchRevision, ResearchStudyId } from '../../services/kernel/ids.ts';
import { typeOfTopic } from '../../services/kernel/route.ts';
import type { QueuedEvent } from '../../services/ports/database.ts';
import type { BusRecord, EventBus } from '../../services/ports/event-bus.ts';
import { createLog } from '../../services/runtime/log.ts';
import { sendPhantom, startPipeline, until, type Pipeline } from './pipeline.ts';
import { releasePlatform, testPrefix } from './support.ts';

const PARTITIONS = 4;
const never = new AbortController().signal;
const AGAIN = testPrefix('again');
let p: Pipeline;
let db: Awaited<ReturnType<typeof openDuckDb>>;
const ends: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  db = await openDuckDb();
  p = await startPipeline({
    name: 'restore',
    centres: 1,
    readers: false,
    only: ['centre-gateway', 'ingest', 'anonymise', 'assess', 'select', 'archiver-research'],
    env: { 'archiver-research': { ARCHIVE_EVERY_MS: '1000' } },
  });
});

afterAll(async () => {
  for (const end of ends.toReversed()) await end();
  await p.stop();
  db.closeSync();
  await releasePlatform();
});

const access = (prefix: string) => ({
  brokers: p.platform.kafka.brokers,
  ...p.platform.kafka.admin,
  prefix,
  clientId: 'test-restore',
  log: createLog('test', 'silent'),
});
function busOf(prefix: string): EventBus {
  const bus = kafkaBus(access(prefix));
  ends.push(() => bus.close());
  return bus;
}
const store = (bucketPrefix: string): S3Store => {
  const { minio } = p.platform;
  return s3Store({
    endpoint: `http://${minio.endPoint}:${minio.port}`,
    accessKey: minio.accessKey,
    secretKey: minio.secretKey,
    bucketPrefix,
  });
};

async function recordsOf(bus: EventBus): Promise<BusRecord[]> {
  const topics = (await bus.topics(['ct.research.*'])).filter((t) => typeOfTopic(t) !== undefined);
  const records: BusRecord[] = [];
  for await (const r of bus.read(await bus.ends(topics))) records.push({ ...r, value: Buffer.from(r.value) });
  return records.toSorted((a, b) =>
    a.topic < b.topic ? -1 : a.topic > b.topic ? 1 : a.partition - b.partition || Number(a.offset - b.offset),
  );
}

async function eventually(what: string, look: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 60_000; !(await look()); await sleep(300))
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`);
}

/** What analysts see of an archive. */
async function answers(dir: string): Promise<unknown> {
  await createViews(db, dir);
  const sql = [
    "SELECT * FROM events WHERE topic LIKE 'ct.research.%' ORDER BY event_id",
    'SELECT study_id, revision, affected_percent, series FROM research.study_assessed ORDER BY study_id',
    "SELECT count(*) AS n, count(bad_code) AS bad FROM records WHERE topic LIKE 'ct.research.%' AND topic NOT LIKE '%.dead'",
  ];
  return await Promise.all(sql.map(async (one) => (await runQuery(db, one)).rows));
}

/** Archives the log of the prefix once, into the bucket of that prefix. */
async function archive(bus: EventBus, into: S3Store): Promise<{ written: number; failed: string[] }> {
  const state = newState();
  const { written } = await archiveOnce({ bus, codec: avroCodec(), store: into, db }, { zone: 'research', maxRecords: 100 }, state, never);
  return { written, failed: [...state.failed.keys()] };
}

/** The Kafka that is restored into, and the archive of the lost one. */
async function deploymentFile(): Promise<string> {
  const { platform, provisioned, dir } = p;
  const own = async (name: string, text: string): Promise<string> => {
    await writeFile(join(dir, name), text, { mode: 0o600 });
    return join(dir, name);
  };
  const { brokers, admin } = platform.kafka;
  const users = { admin: { username: admin.username, passwordFile: await own('admin-password', admin.password) } };
  const secretFile = await own('analyst-secret', provisioned.secretOf('analyst'));
  const analyst = { accessKey: storeUser(provisioned.prefix, 'analyst'), secretFile };
  const content = {
    kafka: { brokers, topicPrefix: AGAIN, users },
    store: { endpoint: platform.minio.url, bucketPrefix: provisioned.bucketPrefix, users: { analyst } },
  };
  return await own('restore-deployment.json', JSON.stringify(content));
}

const objectsOf = async (): Promise<string[]> => {
  const found: string[] = [];
  for await (const { key, lastModifiedMs } of store(p.provisioned.bucketPrefix).list('ct-research', ''))
    if (!key.startsWith('subjects/')) found.push(`${key} ${lastModifiedMs}`);
  return found;
};

/** Events of select after the last that was archived: one told, one told and erased since, one not told yet. */
async function lostInSelect(): Promise<OutboxTable> {
  const log = createLog('test', 'silent');
  const database = await postgresDatabase({ url: p.provisioned.databases.select, codec: avroCodec(), source: 'select', log });
  ends.push(() => database.close());
  const revision = 'r' as ResearchRevision;
  const excluded = (study: string): QueuedEvent => ({
    type: 'ctstream.research.v1.StudyExcluded',
    value: { studyId: study as ResearchStudyId, revision, cohort: 'late', round: 9, code: 'COHORT_FULL', detail: '' },
    cause: study,
  });
  await database.transaction((tx) => tx.enqueue(['told and lost', 'told and erased'].map(excluded)));
  await database.markSent((await database.next(100)).map((row) => row.sequence));
  await database.transaction((tx) => tx.forget(['told and erased']));
  await database.transaction((tx) => tx.enqueue(excluded('not told yet')));
  return database;
}

/** The statements of docs/replay.md in select's database; the copy is psql's, so its rows are inserted here. */
async function markUnarchived(dir: string): Promise<void> {
  const text = await readFile(resolve(import.meta.dirname, '../../docs/replay.md'), 'utf8');
  const indented = (start: string): string => new RegExp(`^    ${start}(?:.*\\n)(?:      .*\\n)*`, 'm').exec(text)?.[0] ?? `no ${start}`;
  const ids = /query --csv "(.*)" > archived.csv/.exec(text)?.[1] ?? 'no query';
  await createViews(db, dir);
  const archived = (await runQuery(db, ids)).rows.map((row) => row['event_id']);
  const client = new pg.Client({ connectionString: p.provisioned.databases.select });
  await client.connect();
  await client.query(indented('create temp table archived'));
  await client.query('insert into archived select unnest($1::text[])', [archived]);
  await client.query(indented('update outbox'));
  await client.end();
}

test('the restored log is the lost one, and what starts on it makes nothing twice', async () => {
  const [pacs] = p.pacs;
  if (pacs === undefined) throw new Error('no PACS');
  await Promise.all([0, 1].map((index) => sendPhantom(pacs, { seed: 51, index })));
  await sendPhantom(pacs, { seed: 51, index: 2, defect: 'short-coverage' });
  await until(p, (x) => x.reached.selected === 2 && x.totals.rejected === 1);
  const lost = busOf(p.provisioned.prefix);
  // No event, and a letter that waits: their places count too.
  await lost.publish([
    { topic: 'ct.research.study-excluded.v1', key: 'no event', value: Buffer.from([1, 0, 255]), headers: { odd: 'ж' } },
    { topic: 'ct.research.label-queue.dead', key: 'k', value: Buffer.from('x'), headers: { 'ct-code': 'UNEXPECTED' } },
  ]);
  const was = await recordsOf(lost);
  const dir = join(p.dir, 'archive');
  await mkdir(dir);
  await eventually('everything is archived', async () => {
    await mirrorLog(store(p.provisioned.bucketPrefix), dir);
    const partitions = await archivedPartitions(db, dir);
    const sum = (events: boolean): number => partitions.filter((x) => x.isEvents === events).reduce((n, x) => n + x.records, 0);
    return sum(true) === was.length && sum(false) === 1;
  });
  await Promise.all(
    (['centre-gateway', 'ingest', 'anonymise', 'assess', 'select', 'archiver-research'] as const).map((s) => p.stages.kill(s, 'SIGTERM')),
  );
  const objects = await objectsOf();
  const select = await lostInSelect();

  // The first run is killed on its way; the command goes on.
  await applyTopics({ ...access(AGAIN), centres: p.provisioned.centres, partitionsOverride: PARTITIONS });
  const bus = busOf(AGAIN);
  const writer = await kafkaLogWriter(access(AGAIN));
  ends.push(() => writer.close());
  let batches = 2;
  const killed: typeof writer = {
    ...writer,
    append: async (...args) => {
      if (batches-- === 0) throw new Fault('BUS_UNAVAILABLE', true, 'killed');
      await writer.append(...args);
    },
  };
  await expect(restoreLog({ bus, writer: killed, db }, { dir, signal: never })).rejects.toThrow('killed');
  const main = resolve(import.meta.dirname, '../../services/cli/main.ts');
  const flags = ['--centres', p.provisioned.centres.join(','), '--partitions', String(PARTITIONS), '--json'];
  const all = ['--no-warnings', main, 'log', 'restore', '--deployment', await deploymentFile(), ...flags];
  const { stdout } = await promisify(execFile)(process.execPath, all, { timeout: 120_000 });
  const done = JSON.parse(stdout) as Restored;
  expect(done.shifts).toEqual([]);
  expect(done.notRestored).toEqual([{ topic: 'ct.research.label-queue.dead', partition: expect.any(Number), records: 1 }]);
  expect(done.partitions.reduce((n, x) => n + x.records, 0)).toBe(was.length);
  expect(done.partitions.reduce((n, x) => n + x.written, 0)).toBeLessThan(was.length);
  const is = await recordsOf(bus);
  expect(is).toEqual(was);

  // A new archive of it gives the same answers.
  const copy = store(AGAIN);
  await copy.ensureBuckets(['ct-event-log']);
  expect(await archive(bus, copy)).toEqual({ written: was.length, failed: [] });
  const dirAgain = join(p.dir, 'archive-again');
  await mirrorLog(copy, dirAgain);
  expect(await answers(dirAgain)).toEqual(await answers(dir));

  // What the archive never had, select tells again when it starts.
  await markUnarchived(dir);
  expect((await select.next(100)).map((row) => row.key)).toEqual(['told and lost', 'not told yet']);

  // The groups' offsets are gone with the lost log: assess begins at the start.
  await p.stages.start('assess', { TOPIC_PREFIX: AGAIN });
  const consumed = ['ct.research.study-anonymised.v1'];
  await eventually('assess has read the restored log', async () => {
    const committed = await bus.committed('assess', consumed);
    const open = (await bus.ends(consumed)).filter((e) => e.end > (committed.find((c) => c.partition === e.partition)?.offset ?? 0n));
    return open.length === 0;
  });
  await p.stages.kill('assess', 'SIGTERM');
  const idsOf = (records: readonly BusRecord[]): string[] => [...new Set(records.map((r) => r.headers['ce_id'] ?? ''))].sort();
  const after = await recordsOf(bus);
  // Told again, with the ids that they had.
  expect(after.length).toBe(was.length + 3);
  expect(idsOf(after)).toEqual(idsOf(was));
  expect((await objectsOf()).filter((name) => name.includes('assessment.json') || name.includes('manifest.json'))).toEqual(
    objects.filter((name) => name.includes('assessment.json') || name.includes('manifest.json')),
  );
  // The old archive goes on behind its end.
  expect(await archive(bus, store(p.provisioned.bucketPrefix))).toEqual({ written: 3, failed: [] });
});

test('a record to which a broker gives its own time ends the restore at once, with the partition named', async () => {
  const topic = 'ct.research.study-excluded.v1';
  const prefix = testPrefix('times');
  const admin = kafkaClient(access(prefix)).admin();
  await admin.connect();
  ends.push(() => admin.disconnect());
  await admin.createTopics({ topics: [{ topic: prefix + topic, numPartitions: 2 }], waitForLeaders: true });
  const writer = await kafkaLogWriter(access(prefix));
  ends.push(() => writer.close());
  await writer.keepTimes([topic]);
  const record = { key: 'k', value: Buffer.from('x'), headers: {}, timestampMs: 1_600_000_000_000 };
  await writer.append(topic, 0, 0n, [record]);
  await setTimestampType(admin, [prefix + topic], 'LogAppendTime');
  // Told before the partitions have it: each try is at another end until they do.
  let at = 0n;
  await expect(
    (async () => {
      for (; at < 1000n; at += 1n) await writer.append(topic, 1, at, [record]);
    })(),
  ).rejects.toMatchObject({ code: 'TIMES_NOT_KEPT', message: expect.stringContaining(`${topic}/1`) });
});
