// assess on the real Kafka and MinIO: killed while it works and started again, every study has one assessment, one
// event id and a volume whose bytes are those that the event says; a bad study is refused with its code.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import pino from 'pino';
import { avroCodec } from '../../services/adapters/avro-codec.ts';
import { applyTopics } from '../../services/adapters/kafka-topics.ts';
import { kafkaBus } from '../../services/adapters/kafkajs-bus.ts';
import { s3Store } from '../../services/adapters/s3-store.ts';
import { syntheticSeries } from '../../services/assess/synthetic-series.ts';
import { TAG } from '../../services/dicom/dictionary.ts';
import { element } from '../../services/dicom/values.ts';
import { writeDicom } from '../../services/dicom/write.ts';
import { sha256Hex } from '../../services/kernel/digest.ts';
import type { ResearchRevision, ResearchStudyId, SiteId, SubjectId } from '../../services/kernel/ids.ts';
import { canonicalJson, type StudyManifest } from '../../services/kernel/manifest.ts';
import type { EventIn } from '../../services/kernel/stage.ts';
import type { EventBus } from '../../services/ports/event-bus.ts';
import type { Platform } from '../../deploy/local/platform.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

const BUCKET = 'ct-research';
const MAIN = join(import.meta.dirname, '../../services/assess/main.ts');
const prefix = testPrefix('assess');
const codec = avroCodec();
let platform: Platform;
let bus: EventBus;
let store: ReturnType<typeof s3Store>;
let process_: ChildProcess | undefined;

beforeAll(async () => {
  platform = await testPlatform();
  const { brokers, admin } = platform.kafka;
  await applyTopics({ brokers, ...admin, prefix, centres: [], partitionsOverride: 2 });
  bus = kafkaBus({ brokers, ...admin, prefix, clientId: 'assess-test', log: pino({ level: 'silent' }) });
  const { endPoint, port, accessKey, secretKey } = platform.minio;
  store = s3Store({ endpoint: `http://${endPoint}:${port}`, accessKey, secretKey, bucketPrefix: prefix });
  await store.ensureBuckets([BUCKET]);
});

afterAll(async () => {
  process_?.kill('SIGKILL');
  await bus.close();
  await releasePlatform();
});

function start(): ChildProcess {
  const { brokers, admin } = platform.kafka;
  const { endPoint, port, accessKey, secretKey } = platform.minio;
  const child = spawn(process.execPath, [MAIN], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      KAFKA_BROKERS: brokers.join(','),
      KAFKA_USERNAME: admin.username,
      KAFKA_PASSWORD: admin.password,
      KAFKA_SESSION_TIMEOUT_MS: '6000',
      TOPIC_PREFIX: prefix,
      S3_ENDPOINT: `http://${endPoint}:${port}`,
      S3_ACCESS_KEY: accessKey,
      S3_SECRET_KEY: secretKey,
      BUCKET_PREFIX: prefix,
    },
  });
  return child;
}

/** Puts a study where anonymise leaves it, and its event. */
async function publishStudy(study: string, isTilted: boolean): Promise<void> {
  const files = syntheticSeries({
    columns: 192,
    rows: 160,
    pixelMm: 2,
    slices: 60,
    change: () => (isTilted ? [element(TAG.GantryDetectorTilt, 'DS', 9)] : []),
  }).map(writeDicom);
  const object = `${study}/r1/a1/1.2.3.tar`;
  let offset = 0;
  const instances = files.map((bytes, at) => {
    const instance = {
      sopInstanceUid: `1.2.3.${at}`,
      sopClassUid: '1.2.840.10008.5.1.4.1.1.2',
      transferSyntaxUid: '1.2.840.10008.1.2.1',
      offset: offset + 512,
      sizeBytes: bytes.length,
      sha256: sha256Hex(bytes),
    };
    offset += 512 + bytes.length;
    return instance;
  });
  await store.put(BUCKET, object, Buffer.concat(files.flatMap((bytes) => [new Uint8Array(512), bytes])));
  const manifest: StudyManifest = {
    format: 'ctstream-manifest/1',
    study,
    revision: 'r1',
    attempt: 'a1',
    facts: {},
    series: [{ seriesInstanceUid: '1.2.3', modality: 'CT', object, sizeBytes: offset, instances }],
  };
  const manifestKey = `${study}/r1/manifest.json`;
  await store.put(BUCKET, manifestKey, canonicalJson(manifest));
  const value = {
    studyId: study as ResearchStudyId,
    subjectId: `subject-${study}` as SubjectId,
    site: 'site1' as SiteId,
    revision: 'r1' as ResearchRevision,
    ordinal: 1,
    manifestKey,
    manifestSha256: sha256Hex(canonicalJson(manifest)),
    instanceCount: files.length,
    dropped: [],
    sizeBytes: offset,
    ageBand: 'unknown',
    sex: 'unknown',
    manufacturer: 'unknown',
  };
  const envelope = { id: `event-${study}`, source: 'test', timeMs: Date.now() };
  await bus.publish([codec.encode({ type: 'ctstream.research.v1.StudyAnonymised', value }, envelope)]);
}

async function eventsOf(topic: string): Promise<EventIn[]> {
  const events: EventIn[] = [];
  for await (const record of bus.read(await bus.ends([topic]))) events.push(codec.decode(record));
  return events;
}

async function assessments(): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(BUCKET, '')) if (key.endsWith('/assessment.json')) keys.push(key);
  return keys;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 90_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('it did not come true within 90 s');
    await sleep(25);
  }
}

test('killed with SIGKILL while it works: nothing lost, nothing doubled', async () => {
  const good = Array.from({ length: 8 }, (_, n) => `study${n}`);
  for (const study of good) await publishStudy(study, false);
  await publishStudy('tilted', true);
  process_ = start();
  await until(async () => (await assessments()).length >= 1);
  process_.kill('SIGKILL');
  expect((await assessments()).length).toBeLessThan(good.length);
  process_ = start();
  const ids = async (): Promise<Set<string>> => new Set((await eventsOf('ct.research.study-assessed.v1')).map(({ id }) => id));
  await until(async () => (await ids()).size >= good.length && (await eventsOf('ct.research.study-rejected.v1')).length > 0);

  const events = await eventsOf('ct.research.study-assessed.v1');
  const studies = new Map(
    events.flatMap((event) =>
      event.type === 'ctstream.research.v1.StudyAssessed' ? [[event.value.studyId as string, event.value] as const] : [],
    ),
  );
  expect([...studies.keys()].sort()).toEqual(good);
  expect((await ids()).size).toBe(good.length);
  expect(await assessments()).toEqual(good.map((study) => `${study}/r1/assessment.json`));
  for (const value of studies.values()) {
    const volume = await store.getBytes(BUCKET, value.volumeKey, 1 << 28);
    const bytes = gunzipSync(volume ?? new Uint8Array());
    const assessment = await store.getBytes(BUCKET, value.manifestKey, 1 << 20);
    expect(sha256Hex(assessment ?? '')).toBe(value.manifestSha256);
    const { volumeSha256, volumeSalt } = JSON.parse(Buffer.from(assessment ?? '').toString()) as Record<string, string>;
    expect(sha256Hex(bytes)).toBe(volumeSha256);
    const digest = createHmac('sha256', Buffer.from(volumeSalt ?? '', 'hex'))
      .update(bytes)
      .digest('hex');
    expect(digest).toBe(value.volumeDigest);
  }
  const rejected = await eventsOf('ct.research.study-rejected.v1');
  expect(new Set(rejected.map(({ id }) => id)).size).toBe(1);
  expect(rejected[0]?.value).toMatchObject({ studyId: 'tilted', stage: 'assess', code: 'GANTRY_TILT' });
  const ended = new Promise((resolve) => process_?.on('exit', resolve));
  process_.kill('SIGTERM');
  expect(await ended).toBe(0);
});
