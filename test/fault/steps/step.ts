// The steps of a job, written to a file as they happen, and a signal to this process at the one that another file names.
import { appendFileSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** In CTSTREAM_STEPS, the folder of a stage: the steps so far, a line each; and the signal and the step at which to take it, once. */
export const STEPS_FILE = 'steps';
export const SIGNAL_FILE = 'signal-at';
export const atStep = (signal: 'SIGKILL' | 'SIGSTOP', step: string): string => `${signal} ${step}`;

const fileOf = (name: string): string => join(process.env['CTSTREAM_STEPS'] ?? '.', name);
const seen = new Map<string, number>();

/** A job begins. The counts start anew, so that a step has the same name in every job, whatever a job does first. */
export function take(what: string): void {
  seen.clear();
  step(`after ${what}`);
}

export const read = (what: string): void => step(`after ${what}`);

/** Does a write, with a step on both sides. */
export async function write<T>(what: string, work: () => Promise<T>): Promise<T> {
  step(`before ${what}`);
  const result = await work();
  step(`after ${what}`);
  return result;
}

export function step(what: string): void {
  const n = (seen.get(what) ?? 0) + 1;
  seen.set(what, n);
  const name = n === 1 ? what : `${what}, time ${n}`;
  appendFileSync(fileOf(STEPS_FILE), `${name}\n`);
  const at = wanted();
  for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
    if (at !== atStep(signal, name)) continue;
    rmSync(fileOf(SIGNAL_FILE));
    process.kill(process.pid, signal);
  }
}

function wanted(): string | undefined {
  try {
    return readFileSync(fileOf(SIGNAL_FILE), 'utf8');
  } catch {
    return undefined;
  }
}
