// Brings the parts up side by side, notes each in the state as soon as its process exists, and starts
// a single one again.
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { makeCertificates } from './certificates.ts';
import type { LocalEnv } from './env.ts';
import { launchExtras, extraPorts } from './extras.ts';
import { kafkaAnswers, prepareKafka } from './kafka.ts';
import { minioAnswers, prepareMinio } from './minio.ts';
import { orthancAccess, orthancAnswers, prepareOrthanc, type OrthancAccess } from './orthanc.ts';
import type { PlatformOptions } from './platform.ts';
import { freePorts } from './ports.ts';
import { postgresAnswers, preparePostgres } from './postgres.ts';
import { processStart, startProcess, stopProcess, waitUntilHealthy, type ProcessSpec } from './processes.ts';
import { runTasks, type ProgressOptions, type Task } from './progress.ts';
import { readState, updateState, writeState, type PlatformState } from './state.ts';
import type { Tools } from './tools.ts';

/** Starts every part in the empty folder `dir` and returns when all of them answer. */
export async function launch(dir: string, options: PlatformOptions, tools: Tools, env: LocalEnv, progress: ProgressOptions): Promise<void> {
  const extras = options.with ?? [];
  const certificates = options.tls === true ? await makeCertificates(join(dir, 'certificates')) : undefined;
  const state = { ...(await freshState(options)), caFile: certificates?.caFile };
  await mkdir(join(dir, 'logs'), { mode: 0o700 });
  await writeState(dir, state);
  const { kafka, minio, postgres } = state;
  const extra = await extraPorts(extras, kafka.proxiedPorts);
  const controller = (await freePorts(1))[0] ?? 0;
  const tasks: Task[] = [
    {
      title: 'Kafka',
      run: async (report) => {
        report('formatting its log');
        const spec = await prepareKafka({
          dir,
          ports: { client: kafka.port, controller, proxied: extra.proxied },
          admin: kafka.admin,
          users: options.kafkaUsers ?? [],
          certificates,
          tools,
          env,
        });
        report('starting the broker');
        await startPart(dir, 'kafka', spec);
      },
    },
    { title: 'MinIO', run: async () => await startPart(dir, 'minio', await prepareMinio({ dir, ...minio, certificates, tools, env })) },
    {
      title: 'PostgreSQL',
      run: async () => {
        const { spec, outsideDir } = await preparePostgres({ dir, access: postgres, certificates, env });
        if (outsideDir !== undefined) await updateState(dir, (s) => void s.outsideDirs.push(outsideDir));
        await startPart(dir, 'postgres', spec);
      },
    },
    { title: `${options.centres.length} Orthanc`, run: async () => void (await addOrthancParts(dir, options.centres, tools, env)) },
    ...launchExtras({ dir, extras, ports: extra, tools, env, start: startPart }),
  ];
  await runTasks(tasks, progress);
  await updateState(dir, (s) => {
    s.ready = true;
  });
}

/** One for each service, so that the connections of one can be broken alone: a listener shows one address to all. */
const KAFKA_PROXIES = 9;

async function freshState(options: PlatformOptions): Promise<PlatformState> {
  const [kafka, minio, postgres, ...proxiedPorts] = await freePorts(3 + (options.with?.includes('toxiproxy') === true ? KAFKA_PROXIES : 0));
  if (kafka === undefined || minio === undefined || postgres === undefined) throw new Error('No free ports');
  return {
    version: 1,
    owner: options.detached === true ? null : { pid: process.pid, startedAt: processStart(process.pid) ?? '' },
    ready: false,
    processes: {},
    outsideDirs: [],
    orthancStableAge: options.orthancStableAge ?? 2,
    kafka: { port: kafka, proxiedPorts, admin: { username: 'admin', password: secret() } },
    minio: { port: minio, accessKey: 'platform-root', secretKey: secret() },
    postgres: { host: '127.0.0.1', port: postgres, superuser: 'postgres', password: secret() },
    orthancs: [],
  };
}

/** Starts a PACS for each centre that has none; gives the new ones. */
export async function addOrthancParts(dir: string, centres: readonly string[], tools: Tools, env: LocalEnv): Promise<OrthancAccess[]> {
  const state = readState(dir);
  const wanted = [...new Set(centres)].filter((centre) => !state?.orthancs.some((o) => o.centre === centre));
  for (const centre of wanted)
    if (!/^[a-z0-9][a-z0-9-]{0,30}$/.test(centre)) throw new Error(`'${centre}' is not a centre id: small letters, digits and dashes only`);
  const ports = await freePorts(wanted.length * 2);
  const added = wanted.map((centre, index) => orthancAccess(centre, ports[index * 2] ?? 0, ports[index * 2 + 1] ?? 0, secret()));
  await updateState(dir, (s) => void s.orthancs.push(...added));
  const stableAge = state?.orthancStableAge ?? 2;
  await Promise.all(
    added.map(
      async (access) => await startPart(dir, `orthanc/${access.centre}`, await prepareOrthanc({ dir, access, stableAge, tools, env })),
    ),
  );
  return added;
}

/** Starts a part, notes its process, and waits for its answer. */
async function startPart(dir: string, part: string, spec: ProcessSpec, healthy?: () => Promise<boolean>): Promise<void> {
  const record = await startProcess(spec);
  const state = await updateState(dir, (s) => {
    s.processes[part] = record;
  }).catch(async (error: unknown) => {
    // Nobody would find it again.
    await stopProcess(record, 'SIGKILL');
    throw error;
  });
  await waitUntilHealthy(record, healthy ?? (() => answers(state, part)));
}

/** Stops the part, starts it again as it was, and waits for its answer; or does only one half. */
export async function restartPart(
  dir: string,
  part: string,
  signal?: NodeJS.Signals,
  half: 'both' | 'stop' | 'start' = 'both',
): Promise<void> {
  const record = readState(dir)?.processes[part];
  if (record === undefined) throw new Error(`The platform in ${dir} has no part '${part}'`);
  if (half !== 'start') await stopProcess(record, signal);
  if (half !== 'stop') await startPart(dir, part, record.spec);
}

async function answers(state: PlatformState, part: string): Promise<boolean> {
  const ca = state.caFile === undefined ? undefined : readFileSync(state.caFile, 'utf8');
  if (part === 'kafka') return await kafkaAnswers(state.kafka.port, state.kafka.admin, ca);
  if (part === 'minio') return await minioAnswers(state.minio.port, ca);
  if (part === 'postgres') return await postgresAnswers({ ...state.postgres, caFile: state.caFile });
  const access = state.orthancs.find((o) => part === `orthanc/${o.centre}`);
  return access === undefined || (await orthancAnswers(access));
}

function secret(): string {
  return randomBytes(18).toString('base64url');
}
