// Processes of the events bench: stages whose loop is real and whose handler is a stub.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePorts } from '../deploy/local/ports.ts';
import { stageEnv } from '../deploy/local/stages.ts';
import { cpuSecondsOf, tellEnd, type BenchPlatform } from './platform.ts';

export interface StubProcess {
  readonly name: string;
  cpuSeconds(): Promise<number>;
  /** Drains and ends. */
  stop(): Promise<void>;
}

const READY_WITHIN_MS = 90_000;

/** Starts a stub stage; resolves when it has joined its groups. `PATH` and the like are not passed on. */
export const startStub = async (
  bench: BenchPlatform,
  name: 'ingest' | 'anonymise' | 'assess',
  o: { latencyMs?: number; env?: Readonly<Record<string, string>> } = {},
): Promise<StubProcess> => {
  const [port = 0] = await freePorts(1);
  mkdirSync(join(bench.dir, 'logs'), { recursive: true });
  const log = openSync(join(bench.dir, 'logs', `${name}.log`), 'a');
  const env = { ...stageEnv(name, bench.platform, bench.provisioned, bench.dir, port, 0), LOG_LEVEL: 'warn', ...o.env };
  const child = spawn(
    process.execPath,
    ['--no-warnings', new URL('events-stage-run.ts', import.meta.url).pathname, name, String(o.latencyMs ?? 0)],
    { env, stdio: ['ignore', log, log] },
  );
  // However the bench ends.
  const killNow = (): void => void child.kill('SIGKILL');
  process.once('exit', killNow);
  let isEnding = false;
  child.once('exit', (code, signal) => {
    process.off('exit', killNow);
    if (!isEnding) tellEnd(bench, { name, code, signal });
  });
  await untilReady(child, port, name);
  return {
    name,
    cpuSeconds: () => cpuSecondsOf(child.pid ?? 0),
    stop: async () => {
      isEnding = true;
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await gone;
    },
  };
};

const untilReady = async (child: ChildProcess, port: number, name: string): Promise<void> => {
  const deadlineMs = performance.now() + READY_WITHIN_MS;
  while (performance.now() < deadlineMs) {
    if (child.exitCode !== null) throw new Error(`${name} ended while it started`);
    const isReady = await fetch(`http://127.0.0.1:${port}/readyz`, { signal: AbortSignal.timeout(2000) }).then(
      (response) => response.ok,
      () => false,
    );
    if (isReady) return;
    await sleep(200);
  }
  child.kill('SIGKILL');
  throw new Error(`${name} was not ready after ${READY_WITHIN_MS / 1000} s`);
};
