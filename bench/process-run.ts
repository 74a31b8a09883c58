// Runs one program of a bench and takes its time, as a whole process.
import { spawn, spawnSync } from 'node:child_process';

export interface Ran {
  seconds: number;
  stdout: string;
}

/** Wall time of a process from start to end. Throws when it fails. */
export const timed = async (command: string, args: readonly string[]): Promise<Ran> => {
  const startedMs = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  // The first words of what went wrong are enough.
  child.stderr.on('data', (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(0, 2000)));
  const code = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${stderr.trim().split('\n').at(-1) ?? ''}`);
  return { seconds: (performance.now() - startedMs) / 1000, stdout };
};

/** Whether a program can be started at all. */
export const isThere = (command: string): boolean => spawnSync(command, ['--version'], { stdio: 'ignore' }).error === undefined;

/** First line of what a program says, '' when it can't be started. */
export const firstLine = (command: string, args: readonly string[]): string =>
  (spawnSync(command, args, { encoding: 'utf8' }).stdout ?? '').split('\n')[0]?.trim() ?? '';
