// The local platform for people: up, down, status. The demo and the tests start their own.
import { parseArgs } from 'node:util';
import { join, resolve } from 'node:path';
import { startPlatform, platformFromState } from './platform.ts';
import { cleanUp, stopAll } from './cleanup.ts';
import { isRunning } from './processes.ts';
import { readState, type PlatformState } from './state.ts';
import { EXTRAS, type Extra } from './tools.ts';

export const DEFAULT_DIR = join('.ctstream', 'platform');

const HELP = `usage: up | down | status [--dir DIR] [--json]

  up      start Kafka, MinIO, PostgreSQL and one Orthanc per centre; ends with Ctrl-C
            --centres N     how many centres (1 to 48; 4 unless told)
            --with LIST     also ${EXTRAS.join(', ')} (comma-separated)
            --detach        return once it is up; 'down' ends it
  down    end it
  status  what runs, where

  --dir DIR   run folder, wiped by 'up' (${DEFAULT_DIR} unless told)
  --json      one JSON document on stdout; with passwords, so mind where it goes

examples: up --centres 2 --with registry,traces
          up --detach && status --json`;

interface Arguments {
  command: string;
  dir: string;
  centres: number;
  extras: Extra[];
  detach: boolean;
  json: boolean;
}

/** Runs one command; gives the exit code (0 done, 1 failed, 2 usage, 78 configuration). */
export async function platformCommand(argv: readonly string[]): Promise<number> {
  let args: Arguments | undefined;
  try {
    args = readArguments(argv);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}\n`);
    return 2;
  }
  if (args === undefined) {
    process.stdout.write(`${HELP}\n`);
    return 0;
  }
  try {
    if (args.command === 'up') return await up(args);
    return args.command === 'down' ? await down(args) : status(args);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return exitCodeOf(error);
  }
}

function readArguments(argv: readonly string[]): Arguments | undefined {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      dir: { type: 'string', default: DEFAULT_DIR },
      centres: { type: 'string', default: '4' },
      with: { type: 'string', default: '' },
      detach: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  const [command = '', ...rest] = positionals;
  if (!['up', 'down', 'status'].includes(command) || rest.length > 0) throw new Error('Say one of up, down, status');
  const centres = Number(values.centres);
  if (!Number.isInteger(centres) || centres < 1 || centres > 48) throw new Error('--centres takes a number from 1 to 48');
  const extras = values.with.split(',').filter((name) => name !== '');
  const isExtra = (name: string): name is Extra => EXTRAS.some((extra) => extra === name);
  const unknown = extras.filter((name) => !isExtra(name));
  if (unknown.length > 0) throw new Error(`--with does not know ${unknown.join(', ')}; it knows ${EXTRAS.join(', ')}`);
  return { command, dir: resolve(values.dir), centres, extras: extras.filter(isExtra), detach: values.detach, json: values.json };
}

async function up(args: Arguments): Promise<number> {
  const centres = Array.from({ length: args.centres }, (_, index) => `c${String(index + 1).padStart(2, '0')}`);
  await startPlatform({ dir: args.dir, centres, with: args.extras, detached: args.detach });
  printState(args);
  if (args.detach) return 0;
  process.stderr.write('\nCtrl-C ends it.\n');
  // The platform's signal handler ends this process.
  await new Promise<never>(() => setInterval(() => undefined, 60_000));
  return 0;
}

async function down(args: Arguments): Promise<number> {
  const state = readState(args.dir);
  if (state === undefined) {
    process.stderr.write(`No platform is running in ${args.dir}\n`);
    return 0;
  }
  if (state.owner !== null && isRunning(state.owner) && state.owner.pid !== process.pid) {
    // Its own process stops it best, and would otherwise be left with dead parts.
    process.kill(state.owner.pid, 'SIGTERM');
    const deadline = Date.now() + 30_000;
    while (isRunning(state.owner) && Date.now() < deadline) await new Promise((done) => setTimeout(done, 50));
  }
  if (readState(args.dir)?.ready) await (await platformFromState(args.dir)).stop({ stop: true });
  else if (readState(args.dir) !== undefined) {
    await stopAll(args.dir);
    await cleanUp(args.dir, 'keep-logs');
  }
  process.stderr.write(`Stopped; the logs stay in ${join(args.dir, 'logs')}\n`);
  return 0;
}

function status(args: Arguments): number {
  const state = readState(args.dir);
  if (state === undefined) {
    process.stderr.write(`No platform is running in ${args.dir}\n`);
    if (args.json) process.stdout.write('{"running":false}\n');
    return 1;
  }
  printState(args);
  return Object.values(state.processes).every(isRunning) ? 0 : 1;
}

function printState(args: Arguments): void {
  const state = readState(args.dir);
  if (state === undefined) return;
  if (args.json) process.stdout.write(`${JSON.stringify(describe(state))}\n`);
  else process.stdout.write(table(args.dir, state));
}

function describe(state: PlatformState): Record<string, unknown> {
  const { version: _, processes, owner, outsideDirs: __, ...rest } = state;
  const parts = Object.fromEntries(
    Object.entries(processes).map(([part, record]) => [part, { pid: record.pid, running: isRunning(record), log: record.spec.logFile }]),
  );
  return { running: Object.values(processes).every(isRunning), owner: owner?.pid ?? null, ...rest, parts };
}

function table(dir: string, state: PlatformState): string {
  const places: Record<string, string | undefined> = {
    kafka: `127.0.0.1:${state.kafka.port}`,
    minio: `http://127.0.0.1:${state.minio.port}`,
    postgres: `${state.postgres.host}:${state.postgres.port}`,
    registry: state.registryUrl,
    traces: state.zipkinUrl,
    metrics: state.prometheusUrl,
    toxiproxy: state.toxiproxyUrl,
  };
  for (const orthanc of state.orthancs) places[`orthanc/${orthanc.centre}`] = orthanc.dicomWebUrl;
  const rows = Object.entries(state.processes)
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(
      ([part, record]) =>
        `  ${part.padEnd(14)} ${isRunning(record) ? 'running' : 'ENDED  '}  pid ${String(record.pid).padEnd(8)} ${places[part] ?? ''}\n`,
    );
  return `${rows.join('')}  users and passwords: ${join(dir, 'state.json')}\n  logs: ${join(dir, 'logs')}\n`;
}

function exitCodeOf(error: unknown): number {
  return error instanceof Error && 'exitCode' in error && typeof error.exitCode === 'number' ? error.exitCode : 1;
}

if (import.meta.main) process.exit(await platformCommand(process.argv.slice(2)));
