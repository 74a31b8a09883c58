// Starts, recognises and ends the parts' processes. Each is the leader of its own process group and
// writes to a log file, so it outlives the starter's pipes and can be found again by another process.
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PartFailedError } from './problem.ts';

/** How to start a part: all that is needed to start it again from another process. */
export interface ProcessSpec {
  name: string;
  command: string;
  args: string[];
  cwd: string;
  env: Record<string, string>;
  uid?: number | undefined;
  gid?: number | undefined;
  logFile: string;
  /** The signal that asks this part to end in order. */
  stopSignal: 'SIGTERM' | 'SIGINT';
}

/** A started process. Pids are reused, so the moment of its start belongs to its identity. */
export interface ProcessRecord {
  spec: ProcessSpec;
  pid: number;
  startedAt: string;
}

/** Starts the part in its own process group; it is not tied to this process's life. */
export async function startProcess(spec: ProcessSpec): Promise<ProcessRecord> {
  mkdirSync(dirname(spec.logFile), { recursive: true });
  const log = openSync(spec.logFile, 'a', 0o600);
  try {
    const child = spawn(spec.command, spec.args, {
      cwd: spec.cwd,
      env: spec.env,
      detached: true,
      stdio: ['ignore', log, log],
      ...(spec.uid === undefined ? {} : { uid: spec.uid, gid: spec.gid }),
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (error) => reject(new PartFailedError(spec.name, `could not be started: ${error.message}`, '')));
    });
    child.unref();
    const pid = child.pid;
    if (pid === undefined) throw new PartFailedError(spec.name, 'has no process id', '');
    return { spec, pid, startedAt: processStart(pid) ?? 'ended' };
  } finally {
    closeSync(log);
  }
}

/** True while the very process of the record runs (not a zombie, not another one with its pid). */
export function isRunning(process: { pid: number; startedAt: string }): boolean {
  return processStart(process.pid) === process.startedAt;
}

/**
 * When a process started, in clock ticks since boot with the boot's id; undefined if it has ended.
 * From /proc/PID/stat, fields 3 (state) and 22 (starttime): proc(5).
 */
export function processStart(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in field 2 may hold spaces and parentheses: count from the last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    return `${bootId()}-${fields[19]}`;
  } catch {
    return undefined;
  }
}

let boot: string | undefined;
function bootId(): string {
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return boot;
}

/** Ends the process with `signal` (its own stop signal by default); SIGKILL after `graceMs`. */
export async function stopProcess(record: ProcessRecord, signal?: NodeJS.Signals, graceMs = 15_000): Promise<void> {
  if (!isRunning(record)) return;
  signalGroup(record.pid, signal ?? record.spec.stopSignal);
  const deadline = Date.now() + graceMs;
  while (isRunning(record)) {
    if (Date.now() > deadline) signalGroup(record.pid, 'SIGKILL');
    await sleep(20);
  }
}

/** Stops the process and all that it started in their tracks, or lets them go on. Its children may have groups of their own (PostgreSQL's). */
export function freezeProcess(record: ProcessRecord, signal: 'SIGSTOP' | 'SIGCONT'): void {
  if (!isRunning(record)) return;
  const parents = new Map(
    readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? [[Number(name), parentOf(Number(name))] as const] : [])),
  );
  const tree = [record.pid];
  // Grows while it is read: children of children come too.
  for (const pid of tree) for (const [child, parent] of parents) if (parent === pid) tree.push(child);
  for (const pid of tree) {
    try {
      process.kill(pid, signal);
    } catch {
      // Ended meanwhile.
    }
  }
}

/** Field 4 of /proc/PID/stat: proc(5). */
function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}

/** For exit hooks, where nothing can be awaited. */
export function killNow(record: ProcessRecord): void {
  if (isRunning(record)) signalGroup(record.pid, 'SIGKILL');
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // Gone between the look and the signal.
  }
}

/**
 * Polls `check` until it is true. Fails with the tail of the part's log when its process has ended or
 * `timeoutMs` has passed; a check that throws counts as 'not yet'.
 */
export async function waitUntilHealthy(record: ProcessRecord, check: () => Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    if (await check().catch(() => false)) return;
    if (!isRunning(record)) throw new PartFailedError(record.spec.name, 'ended while it was starting', await logTail(record.spec.logFile));
    if (Date.now() > deadline)
      throw new PartFailedError(record.spec.name, `did not answer within ${timeoutMs / 1000} s`, await logTail(record.spec.logFile));
    await sleep(50);
  }
}

/** The last 4 KiB of a log file; empty when there is none. */
export async function logTail(file: string): Promise<string> {
  try {
    const handle = await open(file, 'r');
    try {
      const { size } = await handle.stat();
      const start = Math.max(0, size - 4096);
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(4096), 0, 4096, start);
      return buffer.subarray(0, bytesRead).toString('utf8');
    } finally {
      await handle.close();
    }
  } catch {
    return '';
  }
}
