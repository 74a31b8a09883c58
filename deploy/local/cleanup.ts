// Ends what a platform started, now or in an earlier life, and clears its run folder.
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PlatformRunningError } from './problem.ts';
import { isRunning, killNow, stopProcess } from './processes.ts';
import { readState } from './state.ts';

// Only a folder with one of these, or an empty one, is ours to wipe.
const OURS = ['state.json', 'state.lock', 'logs'];

/**
 * Makes `dir` ready for a new platform: ends what a crashed one left and empties the folder. Throws
 * `PlatformRunningError` when a platform is in use there, and refuses a folder that is not a platform's.
 */
export async function claimFolder(dir: string): Promise<void> {
  const names = await readdir(dir);
  if (names.length > 0 && !names.some((name) => OURS.includes(name))) {
    throw new Error(`${dir} holds files that are not a platform's, and a run folder is wiped: choose another folder`);
  }
  const state = readState(dir);
  if (state !== undefined) {
    const running = Object.values(state.processes).some(isRunning);
    if (state.owner !== null && isRunning(state.owner) && running) throw new PlatformRunningError(dir, state.owner.pid);
    if (state.owner === null && state.ready && running) throw new PlatformRunningError(dir, null);
  }
  await stopAll(dir, 3000);
  await cleanUp(dir, 'all');
}

/** Ends every process of the platform in `dir`, each with its own stop signal. */
export async function stopAll(dir: string, graceMs?: number): Promise<void> {
  const processes = Object.values(readState(dir)?.processes ?? {});
  await Promise.all(processes.map((record) => stopProcess(record, undefined, graceMs)));
}

/** For exit hooks. */
export function killAllNow(dir: string): void {
  for (const record of Object.values(readState(dir)?.processes ?? {})) killNow(record);
}

/** Removes the platform's data; the logs stay for reading unless `what` is 'all'. */
export async function cleanUp(dir: string, what: 'all' | 'keep-logs'): Promise<void> {
  for (const folder of readState(dir)?.outsideDirs ?? []) await rm(folder, { recursive: true, force: true });
  for (const name of await readdir(dir)) {
    if (what === 'keep-logs' && name === 'logs') continue;
    await rm(join(dir, name), { recursive: true, force: true });
  }
}
