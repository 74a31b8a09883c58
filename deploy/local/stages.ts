// The stages as processes on a local platform: started, watched, killed and stopped by name.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, open } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { readLocalEnv } from './env.ts';
import type { Platform } from './platform.ts';
import { freePorts } from './ports.ts';
import { storeUser, type Provisioned } from './provision.ts';
import { endRecordedStages, recordStage, signalStage, STOP_WITHIN_MS } from './stage-records.ts';

const root = resolve(import.meta.dirname, '../..');

export const STAGE_NAMES = [
  'centre-gateway',
  'ingest',
  'anonymise',
  'assess',
  'select',
  'label-queue',
  'release',
  'archiver-clinical',
  'archiver-research',
] as const;
export type StageName = (typeof STAGE_NAMES)[number];

type Env = Record<string, string>;

interface Spec {
  readonly main: string;
  /** Kafka principal; the gateway has one per centre in its file. */
  readonly kafka?: string;
  readonly store?: string;
  readonly database?: 'select' | 'label_queue' | 'release';
  /** Its role in the vault's database: the owner, or one with single rights. */
  readonly vault?: 'owner' | 'archiver-clinical';
  /** Has an API of its own, on a second port. */
  readonly api?: true;
  readonly env?: (p: Provisioned, dir: string) => Env;
}

/**
 * What is read from a socket or put together as a slice lies beside the heap. With a small young heap it is freed soon: a
 * third less memory and processor, measured.
 */
const FREED_SOON = '--max-semi-space-size=2';

const SPECS: Readonly<Record<StageName, Spec>> = {
  'centre-gateway': {
    main: 'services/centre-gateway/main.ts',
    api: true,
    env: (p, dir) => ({
      CENTRES_FILE: p.file('gateway-centres.json'),
      STATE_DIR: join(dir, 'gateway'),
      GATEWAY_TOKEN: p.gatewayToken,
      STABLE_AFTER_MS: '2500',
    }),
  },
  ingest: {
    main: 'services/ingest/main.ts',
    kafka: 'ingest',
    store: 'ingest',
    env: (p) => ({
      CENTRES_FILE: p.file('centres.json'),
      CLINICAL_KEEP_DAYS: String(p.clinicalDays),
      NODE_OPTIONS: FREED_SOON,
    }),
  },
  anonymise: {
    main: 'services/anonymise/main.ts',
    kafka: 'anonymise',
    store: 'anonymise',
    vault: 'owner',
    env: (p) => ({ CENTRES_FILE: p.file('centres.json'), NODE_OPTIONS: FREED_SOON }),
  },
  assess: { main: 'services/assess/main.ts', kafka: 'assess', store: 'assess' },
  select: {
    main: 'services/select/main.ts',
    kafka: 'select',
    database: 'select',
    api: true,
    env: (p) => ({ COHORT_FILE: p.file('cohort.yaml'), SELECT_TOKEN: p.selectToken, SELECT_EVERY_MS: '4000' }),
  },
  'label-queue': {
    main: 'services/label-queue/main.ts',
    kafka: 'label-queue',
    store: 'label-queue',
    database: 'label_queue',
    api: true,
    env: (p) => ({ READERS_FILE: p.file('readers.json') }),
  },
  release: {
    main: 'services/release/main.ts',
    kafka: 'release',
    store: 'release',
    database: 'release',
    api: true,
    env: (p, dir) => ({
      RELEASE_SECRET_FILE: p.file('release-secret'),
      RELEASE_TOKEN: p.releaseToken,
      RELEASE_OUT_DIR: join(dir, 'dataset'),
      STAGING_DIR: join(dir, 'staging'),
    }),
  },
  'archiver-clinical': {
    main: 'services/event-log/main.ts',
    kafka: 'archiver-clinical',
    store: 'archiver-clinical',
    vault: 'archiver-clinical',
    env: () => ({ ZONE: 'clinical', ARCHIVE_EVERY_MS: '3000' }),
  },
  'archiver-research': {
    main: 'services/event-log/main.ts',
    kafka: 'archiver-research',
    store: 'archiver-research',
    env: () => ({ ZONE: 'research', ARCHIVE_EVERY_MS: '3000' }),
  },
};

/** Environment of a stage on this platform; also what the deployment manifests are checked against. */
export function stageEnv(name: StageName, platform: Platform, p: Provisioned, dir: string, httpPort: number, apiPort: number): Env {
  const spec = SPECS[name];
  return {
    LOG_LEVEL: 'info',
    JOBS_FOLDER: join(dir, 'jobs'),
    HTTP_PORT: String(httpPort),
    ...(spec.api === undefined ? {} : { API_PORT: String(apiPort) }),
    KAFKA_BROKERS: platform.kafka.brokers.join(','),
    ...(platform.tls === undefined ? {} : { KAFKA_SSL_CA_FILE: platform.tls.caFile }),
    TOPIC_PREFIX: p.prefix,
    ...(spec.kafka === undefined ? {} : { KAFKA_USERNAME: spec.kafka, KAFKA_PASSWORD: p.secretOf(spec.kafka) }),
    ...(spec.store === undefined
      ? {}
      : {
          S3_ENDPOINT: platform.minio.url,
          ...(platform.tls === undefined ? {} : { S3_CA_FILE: platform.tls.caFile }),
          S3_ACCESS_KEY: storeUser(p.prefix, spec.store),
          S3_SECRET_KEY: p.secretOf(spec.store),
          BUCKET_PREFIX: p.bucketPrefix,
        }),
    ...(spec.database === undefined ? {} : { DATABASE_URL: p.databases[spec.database] }),
    ...(spec.vault === undefined
      ? {}
      : { VAULT_URL: spec.vault === 'owner' ? p.databases.vault : p.vaultAs[spec.vault], VAULT_KEY_FILE: p.file('vault-key') }),
    ...(platform.registryUrl === undefined ? {} : { SCHEMA_REGISTRY_URL: platform.registryUrl }),
    ...(platform.zipkinUrl === undefined ? {} : { ZIPKIN_URL: `${platform.zipkinUrl}/api/v2/spans` }),
    ...spec.env?.(p, dir),
  };
}

export interface StageExit {
  readonly name: StageName;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface RunningStages {
  /** Base URL of a stage's health and metrics. */
  url(name: StageName): string;
  /** Base URL of its own API or page. */
  apiUrl(name: StageName): string;
  pid(name: StageName): number | undefined;
  logFile(name: StageName): string;
  start(name: StageName, extra?: Env): Promise<void>;
  /** Sends the signal and waits for the end of the process. */
  kill(name: StageName, signal: NodeJS.Signals): Promise<void>;
  stop(): Promise<void>;
}

export interface StagesOptions {
  readonly platform: Platform;
  readonly provisioned: Provisioned;
  /** Folder of logs and the gateway's state. */
  readonly dir: string;
  readonly only?: readonly StageName[];
  /** More environment for some stages. */
  readonly env?: Readonly<Partial<Record<StageName, Env>>>;
  /** Called when a process ends that nobody stopped. */
  readonly onExit?: (exit: StageExit) => void;
}

const READY_WITHIN_MS = 60_000;

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null;

async function untilReady(url: string, child: ChildProcess, name: string, logFile: string): Promise<void> {
  const deadline = Date.now() + READY_WITHIN_MS;
  while (Date.now() < deadline) {
    if (hasEnded(child))
      throw new Error(`${name} ended with ${child.signalCode ?? `code ${child.exitCode}`} while it started; its log is ${logFile}`);
    const ok = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2000) }).then(
      (r) => r.ok,
      () => false,
    );
    if (ok) return;
    await new Promise((r) => setTimeout(r, 100));
  }
  throw new Error(`${name} was not ready after ${READY_WITHIN_MS / 1000} s; its log is ${logFile}`);
}

/**
 * The process of a stage, leader of a group of its own: a terminal's Ctrl-C reaches the parent alone, which then stops
 * the stages in order. It writes to its log itself, so the last lines stand there whoever ends first.
 */
async function spawnStage(main: string, env: Env, logFile: string): Promise<ChildProcess> {
  const local = readLocalEnv();
  // Compiled code that we run later: nobody else may write there.
  const compileCache = join(local.cacheDir, 'node-compile-cache');
  await mkdir(compileCache, { recursive: true, mode: 0o700 });
  const base = { PATH: local.childEnv['PATH'] ?? '', HOME: local.childEnv['HOME'] ?? '', TZ: 'UTC', NODE_COMPILE_CACHE: compileCache };
  const log = await open(logFile, 'a', 0o600);
  try {
    return spawn(process.execPath, ['--no-warnings', join(root, main)], {
      cwd: root,
      env: { ...base, ...env },
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    });
  } finally {
    await log.close();
  }
}

/** Starts the stages and waits until each says that it is ready. Ends first what a killed parent left in the folder. */
export async function startStages(o: StagesOptions): Promise<RunningStages> {
  const names = o.only ?? STAGE_NAMES;
  await mkdir(join(o.dir, 'logs'), { recursive: true });
  await endRecordedStages(o.dir);
  const ports = await freePorts(2 * names.length);
  const urls = new Map(names.map((name, i) => [name, `http://127.0.0.1:${ports[i]}`]));
  const apiUrls = new Map(names.map((name, i) => [name, `http://127.0.0.1:${ports[names.length + i]}`]));
  const children = new Map<StageName, ChildProcess>();
  const ending = new Set<ChildProcess>();
  let stopped = false;
  const logFile = (name: StageName): string => join(o.dir, 'logs', `${name}.log`);

  const start = async (name: StageName, extra: Env = {}): Promise<void> => {
    const url = urls.get(name);
    if (url === undefined) throw new Error(`${name} is not one of these stages`);
    const env = {
      ...stageEnv(name, o.platform, o.provisioned, o.dir, Number(new URL(url).port), Number(new URL(apiUrls.get(name) ?? '').port)),
      ...o.env?.[name],
      ...extra,
    };
    const child = await spawnStage(SPECS[name].main, env, logFile(name));
    children.set(name, child);
    child.once('exit', (code, signal) => {
      if (!ending.has(child)) o.onExit?.({ name, code, signal });
    });
    if (child.pid !== undefined) recordStage(o.dir, name, child.pid);
    // stop() did not see this one: it was being started.
    if (stopped) await kill(name, 'SIGTERM');
    await untilReady(url, child, name, logFile(name));
  };

  const kill = async (name: StageName, signal: NodeJS.Signals): Promise<void> => {
    const child = children.get(name);
    if (child?.pid === undefined || hasEnded(child)) return;
    const { pid } = child;
    ending.add(child);
    const gone = new Promise<void>((done) => void child.once('exit', () => done()));
    signalStage(pid, signal);
    // SIGTERM drains; a process that does not end by itself is ended.
    const late = setTimeout(() => signalStage(pid, 'SIGKILL'), STOP_WITHIN_MS);
    await gone;
    clearTimeout(late);
  };

  const killAll = (): void => {
    for (const child of children.values()) if (child.pid !== undefined && !hasEnded(child)) signalStage(child.pid, 'SIGKILL');
  };
  process.once('exit', killAll);
  const stop = async (): Promise<void> => {
    stopped = true;
    await Promise.all(names.map((name) => kill(name, 'SIGTERM')));
    process.off('exit', killAll);
  };
  const starting = names.map((name) => start(name));
  try {
    await Promise.all(starting);
  } catch (error) {
    await stop();
    await Promise.allSettled(starting);
    throw error;
  }
  return {
    url: (name) => urls.get(name) ?? '',
    apiUrl: (name) => apiUrls.get(name) ?? '',
    pid: (name) => children.get(name)?.pid,
    logFile,
    start,
    kill,
    stop,
  };
}
