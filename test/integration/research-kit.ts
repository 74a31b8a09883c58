// What the tests of select, label-queue and release share: a provisioned corner of the platform, a process context
// that a test can stop, and events in and out of the real log.
import { createHmac } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import pg from 'pg';
import type { Platform } from '../../deploy/local/platform.ts';
import { type DatabaseName, provision, type Provisioned, storeUser } from '../../deploy/local/provision.ts';
import type { EventRecord, EventType, StudyAssessed, StudySelected } from '../../schemas/events.gen.ts';
import { avroCodec } from '../../services/adapters/avro-codec.ts';
import { kafkaBus } from '../../services/adapters/kafkajs-bus.ts';
import { postgresDatabase } from '../../services/adapters/postgres-database.ts';
import { type S3Store, s3Store } from '../../services/adapters/s3-store.ts';
import { sha256Hex } from '../../services/kernel/digest.ts';
import type { ResearchRevision, ResearchStudyId, SiteId, SubjectId } from '../../services/kernel/ids.ts';
import { topicOf } from '../../services/kernel/route.ts';
import type { EventIn } from '../../services/kernel/stage.ts';
import type { BuildDeps } from '../../services/release/build.ts';
import { filesUnder } from '../../services/release/sums.ts';
import type { TakenUntil } from '../../services/release/versions.ts';
import type { EventBus } from '../../services/ports/event-bus.ts';
import { createLog } from '../../services/runtime/log.ts';
import type { ProcessContext } from '../../services/runtime/process.ts';
import { systemClock, systemRandom } from '../../services/runtime/system.ts';
import { apiTelemetry } from '../../services/runtime/telemetry.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

export const codec = avroCodec();
export const silent = createLog('test', 'silent');

export type StageDatabase = Awaited<ReturnType<typeof postgresDatabase>>;

export interface Kit {
  readonly platform: Platform;
  readonly provisioned: Provisioned;
  readonly dir: string;
  /** The log as a principal of the deployment. */
  bus(principal: string): EventBus;
  store(service: string): S3Store;
  /** The database of a stage, with the stage's own migrations. */
  database(name: Exclude<DatabaseName, 'vault'>): Promise<StageDatabase>;
  /** Publishes events as the principal; ids are a function of the event, unless given. */
  publish(principal: string, events: readonly (EventRecord & { id?: string })[]): Promise<void>;
  /** Every event of the types in the log, in offset order per partition. */
  events<T extends EventType>(...types: T[]): Promise<EventIn<T>[]>;
  end(): Promise<void>;
}

const STAGE_OF = { select: 'select', label_queue: 'label-queue', release: 'release' } as const;

/** Topics, users, buckets and databases of one test file, apart from all others. */
export async function openKit(name: string): Promise<Kit> {
  const platform = await testPlatform();
  const dir = await mkdtemp(join(tmpdir(), `ctstream-${name}-`));
  const provisioned = await provision(platform, {
    centres: ['c01'],
    prefix: testPrefix(name),
    dir: join(dir, 'secrets'),
    partitions: 2,
    readers: 6,
  });
  const ends: (() => Promise<unknown>)[] = [];
  const buses = new Map<string, EventBus>();
  const bus = (principal: string): EventBus => {
    const known = buses.get(principal);
    if (known !== undefined) return known;
    const made = kafkaBus({
      brokers: platform.kafka.brokers,
      username: principal,
      password: provisioned.secretOf(principal),
      prefix: provisioned.prefix,
      clientId: `test-${principal}`,
      log: silent,
      sessionTimeoutMs: 6000,
    });
    buses.set(principal, made);
    ends.push(() => made.close());
    return made;
  };
  return {
    platform,
    provisioned,
    dir,
    bus,
    store: (service) =>
      s3Store({
        endpoint: `http://${platform.minio.endPoint}:${platform.minio.port}`,
        accessKey: storeUser(provisioned.prefix, service),
        secretKey: provisioned.secretOf(service),
        bucketPrefix: provisioned.bucketPrefix,
      }),
    database: async (which) => {
      const stage = STAGE_OF[which];
      const database = await postgresDatabase({
        url: provisioned.databases[which],
        migrationsDir: join(import.meta.dirname, `../../services/${stage}/migrations`),
        codec,
        source: stage,
        log: silent,
      });
      ends.push(() => database.close());
      return database;
    },
    publish: async (principal, events) => {
      await bus(principal).publish(events.map((e) => codec.encode(e, { id: e.id ?? idOf(e), source: principal, timeMs: 0 })));
    },
    events: async <T extends EventType>(...types: T[]) => {
      const log = bus('account');
      const topics = await log.topics([...new Set(types.map((type) => topicOf({ type, value: {} } as unknown as EventRecord)))]);
      const found: EventIn<T>[] = [];
      for await (const record of log.read(await log.ends(topics))) found.push(codec.decode(record) as EventIn<T>);
      return found;
    },
    end: async () => {
      for (const end of ends.toReversed()) await end();
      await rm(dir, { recursive: true, force: true });
      await releasePlatform();
    },
  };
}

function idOf(e: EventRecord): string {
  const v = e.value;
  return `${e.type}|${'studyId' in v ? v.studyId : ''}|${'revision' in v ? v.revision : ''}`;
}

/** What release works with in a test, over its own database; no consumer has taken anything from the log unless `over` says so. */
export function releaseDeps(kit: Kit, database: StageDatabase, over: Partial<BuildDeps> = {}): BuildDeps {
  return {
    database,
    store: kit.store('release'),
    secret: Buffer.alloc(32, 7),
    codeVersion: '0.1.0-test',
    stagingDir: join(kit.dir, 'staging'),
    takenUntil: takenByNobody,
    ...over,
  };
}

/** For builds of what a test hands to release itself: no consumer has taken it from the log. */
export const takenByNobody: TakenUntil = async () => await Promise.resolve([]);

/** A process that a test starts and stops inside its own. */
export function processContext(name: string): { ctx: ProcessContext; stop: () => void } {
  const abort = new AbortController();
  const ctx: ProcessContext = {
    name,
    log: silent,
    clock: systemClock,
    random: systemRandom,
    signal: abort.signal,
    telemetry: apiTelemetry(name),
    health: { ready: () => undefined, note: () => undefined },
    onStop: () => undefined,
  } as ProcessContext;
  return { ctx, stop: () => abort.abort() };
}

/** How often `work` waited for PostgreSQL in its transactions: statements that are called together take one round trip. */
export async function roundTrips(work: () => Promise<unknown>): Promise<number> {
  const query = pg.Client.prototype.query as (...args: unknown[]) => Promise<unknown>;
  const underWay = new Map<unknown, number>();
  const add = (connection: unknown, n: number): number => {
    const now = (underWay.get(connection) ?? 0) + n;
    underWay.set(connection, now);
    return now;
  };
  let trips = 0;
  pg.Client.prototype.query = function counted(this: pg.Client, ...args: unknown[]): Promise<unknown> {
    if (add(this, 1) === 1 || !this.pipeline) trips += 1;
    return query.apply(this, args).finally(() => add(this, -1));
  } as typeof pg.Client.prototype.query;
  try {
    await work();
  } finally {
    pg.Client.prototype.query = query as typeof pg.Client.prototype.query;
  }
  return trips;
}

/** Waits until `look` gives something. @throws Error naming what it waited for. */
export async function eventually<T>(what: string, look: () => Promise<T | undefined | false>, limitMs = 60_000): Promise<T> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await sleep(50);
  }
}

/** An assessed study; `n` makes it another one. */
export function assessed(n: number, over: Partial<StudyAssessed> = {}): EventRecord & { type: 'ctstream.research.v1.StudyAssessed' } {
  const value: StudyAssessed = {
    studyId: `study-${n}` as ResearchStudyId,
    subjectId: `subject-${n}` as SubjectId,
    site: `site-${n % 3}` as SiteId,
    revision: `revision-${n}-${over.ordinal ?? 1}` as ResearchRevision,
    ordinal: 1,
    manifestKey: `study-${n}/r/assess.json`,
    manifestSha256: 'a'.repeat(64),
    volumeKey: `study-${n}/r/volume.nii.gz`,
    volumeDigest: 'b'.repeat(64),
    shape: [64, 64, 40],
    spacingMm: [0.7, 0.7, 5],
    sliceThicknessMm: 5,
    kernel: 'soft',
    kvp: 120,
    clampedVoxels: 0,
    lungVolumeMl: 4000,
    affectedPercent: 12.5,
    estimatedClass: n % 5,
    distanceToCut: 5,
    uncertain: false,
    leftAffectedPercent: null,
    rightAffectedPercent: 11,
    contrast: 'none',
    series: [],
    ageBand: '050-059',
    sex: n % 2 === 0 ? 'F' : 'M',
    manufacturer: 'Acme, Inc',
    ...over,
  };
  return { type: 'ctstream.research.v1.StudyAssessed', value };
}

/** The same study as select emits it. */
export function selected(n: number, over: Partial<StudySelected> = {}): EventRecord & { type: 'ctstream.research.v1.StudySelected' } {
  const {
    studyId,
    subjectId,
    site,
    revision,
    ordinal,
    volumeKey,
    volumeDigest,
    shape,
    spacingMm,
    sliceThicknessMm,
    kernel,
    kvp,
    lungVolumeMl,
    affectedPercent,
    estimatedClass,
    distanceToCut,
    uncertain,
    ageBand,
    sex,
    manufacturer,
  } = assessed(n).value;
  const value: StudySelected = {
    studyId,
    subjectId,
    site,
    revision,
    ordinal,
    cohort: 'test',
    round: 1,
    cell: 'CT-1/F/050-059',
    volumeKey,
    volumeDigest,
    shape,
    spacingMm,
    sliceThicknessMm,
    kernel,
    kvp,
    lungVolumeMl,
    affectedPercent,
    estimatedClass,
    distanceToCut,
    uncertain,
    ageBand,
    sex,
    manufacturer,
    ...over,
  };
  return { type: 'ctstream.research.v1.StudySelected', value };
}

const SALT = 'd1'.repeat(32);

/** The event's name of a volume that `putAssessed` leaves in the store. */
export function digestOf(volume: Uint8Array): string {
  return createHmac('sha256', Buffer.from(SALT, 'hex')).update(volume).digest('hex');
}

/** Volume and assessment of a study as assess leaves them. */
export async function putAssessed(
  store: S3Store,
  { studyId, revision, volumeKey }: Pick<StudySelected, 'studyId' | 'revision' | 'volumeKey'>,
  volume: Uint8Array,
): Promise<void> {
  await store.put('ct-research', volumeKey, gzipSync(volume));
  const assessment = { format: 'ctstream-assessment/1', volumeSha256: sha256Hex(volume), volumeSalt: SALT };
  await store.put('ct-research', `${studyId}/${revision}/assessment.json`, Buffer.from(JSON.stringify(assessment)));
}

/**
 * Every word of the log (16 letters or digits and more: hex, base32, base64 without its signs) that stands in a
 * file of the dataset or is the SHA-256 of one, unpacked too; as `<file>: <word>`. Where none does, no digest or id
 * leads from the dataset to the log. Left out is what names the dataset as a whole: DatasetReleased.
 */
export async function sharedWithLog(events: readonly EventIn[], dir: string): Promise<string[]> {
  const told = events
    .filter((e) => e.type !== 'ctstream.research.v1.DatasetReleased')
    .map((e) => JSON.stringify([e.id, e.key, e.value], (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v)));
  const words = new Set(told.flatMap((text) => text.match(/[0-9A-Za-z]{16,}/g) ?? []));
  const found: string[] = [];
  for (const file of await filesUnder(dir)) {
    const bytes = await readFile(join(dir, file));
    for (const one of file.endsWith('.gz') ? [bytes, gunzipSync(bytes)] : [bytes]) {
      const sum = sha256Hex(one);
      for (const word of words) if (word.toLowerCase() === sum || one.includes(word)) found.push(`${file}: ${word}`);
    }
  }
  return found;
}
