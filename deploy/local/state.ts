// What is known about a running platform, in DIR/state.json (mode 0600: it holds passwords). Other
// processes attach through it, and the next start cleans up through it after a crash.
import { readFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { withLock } from './lock.ts';

const processSchema = z.object({
  pid: z.number().int().positive(),
  startedAt: z.string(),
  spec: z.object({
    name: z.string(),
    command: z.string(),
    args: z.array(z.string()),
    cwd: z.string(),
    env: z.record(z.string(), z.string()),
    uid: z.number().optional(),
    gid: z.number().optional(),
    logFile: z.string(),
    stopSignal: z.enum(['SIGTERM', 'SIGINT']),
  }),
});

const userSchema = z.object({ username: z.string(), password: z.string() });

const orthancSchema = z.object({
  centre: z.string(),
  baseUrl: z.string(),
  dicomWebUrl: z.string(),
  username: z.string(),
  password: z.string(),
  dicomPort: z.number(),
  aeTitle: z.string(),
  scannerAeTitle: z.string(),
});

const stateSchema = z.object({
  version: z.literal(1),
  /** The process that stops the platform when it ends; null for a detached platform. */
  owner: z.object({ pid: z.number(), startedAt: z.string() }).nullable(),
  /** False until every part has answered. */
  ready: z.boolean(),
  /** By part: 'kafka', 'minio', 'postgres', 'orthanc/c01', 'registry', ... */
  processes: z.record(z.string(), processSchema),
  /** Folders outside DIR that belong to the platform. */
  outsideDirs: z.array(z.string()),
  orthancStableAge: z.number(),
  kafka: z.object({ port: z.number(), proxiedPorts: z.array(z.number()), admin: userSchema }),
  minio: z.object({ port: z.number(), accessKey: z.string(), secretKey: z.string() }),
  postgres: z.object({ host: z.string(), port: z.number(), superuser: z.string(), password: z.string() }),
  orthancs: z.array(orthancSchema),
  /** Certificate that vouches for Kafka, MinIO and PostgreSQL, when they speak TLS. */
  caFile: z.string().optional(),
  registryUrl: z.string().optional(),
  zipkinUrl: z.string().optional(),
  prometheusUrl: z.string().optional(),
  toxiproxyUrl: z.string().optional(),
});

export type PlatformState = z.infer<typeof stateSchema>;

/** The state in `dir`, or undefined when there is none or it is not readable as one. */
export function readState(dir: string): PlatformState | undefined {
  try {
    return stateSchema.parse(JSON.parse(readFileSync(stateFile(dir), 'utf8')));
  } catch {
    return undefined;
  }
}

/** Writes it whole, in one step. */
export async function writeState(dir: string, state: PlatformState): Promise<void> {
  const temporary = `${stateFile(dir)}.${process.pid}.tmp`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(JSON.stringify(state, null, 2));
  } finally {
    await handle.close();
  }
  await rename(temporary, stateFile(dir));
}

/** Changes the state under a lock, so that two processes that restart parts do not undo each other. */
export async function updateState(dir: string, change: (state: PlatformState) => void): Promise<PlatformState> {
  return await withLock(join(dir, 'state.lock'), async () => {
    const state = readState(dir);
    if (state === undefined) throw new Error(`There is no platform in ${dir}`);
    change(state);
    await writeState(dir, state);
    return state;
  });
}

function stateFile(dir: string): string {
  return join(dir, 'state.json');
}
