// The real parts for a bench: Kafka, MinIO, PostgreSQL and PACSs of its own on loopback, gone at the end.
import { readFileSync, rmSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { startPlatform, type Platform } from '../deploy/local/platform.ts';
import type { StageExit } from '../deploy/local/stages.ts';
import { provision, type Provisioned } from '../deploy/local/provision.ts';
import { kafkaBus } from '../services/adapters/kafkajs-bus.ts';
import { s3Store, type S3Store } from '../services/adapters/s3-store.ts';
import type { EventBus } from '../services/ports/event-bus.ts';
import { say } from './report.ts';

export interface BenchPlatform {
  readonly platform: Platform;
  readonly provisioned: Provisioned;
  /** Of the bench, on disk: logs and the state of stages. */
  readonly dir: string;
  /** As the administrator, who may do everything. */
  readonly store: S3Store;
  readonly bus: EventBus;
  /** The same, for topics with another prefix. */
  busOf(prefix: string): EventBus;
  stop(): Promise<void>;
}

export interface BenchPlatformOptions {
  /** Centres with a PACS. */
  readonly pacs: readonly string[];
  /** Centres that only have topics. */
  readonly more?: readonly string[];
  readonly partitions?: number;
  readonly cohortFile?: string;
}

/** Starts the parts; some seconds. */
export const benchPlatform = async ({ pacs, more = [], ...o }: BenchPlatformOptions): Promise<BenchPlatform> => {
  const dir = await mkdtemp(join(tmpdir(), 'ctstream-bench-'));
  const platform = await startPlatform({ dir: join(dir, 'platform'), centres: pacs, log: (line) => say(line) });
  // After a signal too; the platform has ended its parts by then.
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
  const provisioned = await provision(platform, { ...o, centres: [...pacs, ...more], dir: join(dir, 'secrets') });
  const { minio, kafka } = platform;
  const store = s3Store({
    endpoint: `http://${minio.endPoint}:${minio.port}`,
    accessKey: minio.accessKey,
    secretKey: minio.secretKey,
    bucketPrefix: provisioned.bucketPrefix,
  });
  const busOf = (prefix: string): EventBus =>
    kafkaBus({
      brokers: kafka.brokers,
      username: kafka.admin.username,
      password: kafka.admin.password,
      prefix,
      clientId: 'bench',
      log: pino({ level: 'silent' }),
    });
  const bus = busOf(provisioned.prefix);
  return {
    platform,
    provisioned,
    dir,
    store,
    bus,
    busOf,
    stop: async () => {
      await bus.close();
      await platform.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
};

/** Seconds of processor time that a process has used (Linux: clock ticks are hundredths). */
export const cpuSecondsOf = async (pid: number): Promise<number> => {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ').at(-1)?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
};

/** Most memory that a process ever had resident, in MB of 2^20 bytes. */
export const peakRssMbOf = async (pid: number): Promise<number> => {
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Math.round(Number(kilobytes) / 1024);
};

/** A stage ended by itself: the bench would wait for ever. Says how, with the end of its log, and ends as at a signal. */
export const tellEnd = ({ dir }: Pick<BenchPlatform, 'dir'>, { name, code, signal }: StageExit): void => {
  const lines = readFileSync(join(dir, 'logs', `${name}.log`), 'utf8')
    .trimEnd()
    .split('\n');
  say(`${name} ended with ${signal ?? code}:\n${lines.slice(-5).join('\n')}`);
  process.kill(process.pid, 'SIGTERM');
};
