// Puts a part into the cache in one step: built in a folder of its own and then renamed, under a lock,
// so that neither a crash half way nor two installers at once leave a half-installed part.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { withLock } from './lock.ts';
import { PartFailedError } from './problem.ts';
import type { Report } from './progress.ts';

export interface CachedPart {
  /** Folder name in the cache, with the version: 'kafka-4.1.2'. */
  id: string;
  /** Fills the empty folder `into`. */
  build: (into: string, report: Report) => Promise<void>;
}

/** The folder of the part, built first if it is not there. */
export async function ensureCached(cacheDir: string, part: CachedPart, report: Report): Promise<string> {
  const target = join(cacheDir, part.id);
  if (existsSync(target)) return target;
  await mkdir(cacheDir, { recursive: true });
  const lockFile = join(cacheDir, `${part.id}.lock`);
  await withLock(
    lockFile,
    async () => {
      // The one who held the lock before us has built it.
      if (existsSync(target)) return;
      await removeLeftovers(cacheDir, part.id);
      const temporary = await mkdtemp(join(cacheDir, `.${part.id}.tmp-`));
      try {
        await part.build(temporary, report);
        await rename(temporary, target);
      } finally {
        await rm(temporary, { recursive: true, force: true });
      }
    },
    () => report('another process is installing it; waiting'),
  );
  return target;
}

/** What installers that died left behind; safe under the part's lock. */
async function removeLeftovers(cacheDir: string, id: string): Promise<void> {
  for (const name of await readdir(cacheDir)) {
    if (name.startsWith(`.${id}.tmp-`)) await rm(join(cacheDir, name), { recursive: true, force: true });
  }
}

export interface CommandOptions {
  cwd?: string;
  report?: Report;
  uid?: number;
  gid?: number;
}

/** Runs a command to its end and gives its output; fails with the end of what it printed. */
export async function runCommand(part: string, command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  return await new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      uid: options.uid,
      gid: options.gid,
    });
    // An installer must not go on after the one who asked for it has gone.
    const killChild = (): void => void child.kill('SIGTERM');
    process.once('exit', killChild);
    let output = '';
    const onData = (chunk: Buffer): void => {
      output = (output + chunk.toString('utf8')).slice(-64 * 1024);
      const line = output.trimEnd().split('\n').at(-1)?.trim();
      if (line) options.report?.(line.slice(0, 120));
    };
    child.stdout.on('data', onData);
    child.stderr.on('data', onData);
    child.once('error', (error) => reject(new PartFailedError(part, `: '${command}' could not be run: ${error.message}`, '')));
    child.once('close', (code, signal) => {
      process.off('exit', killChild);
      if (code === 0) resolve(output);
      else reject(new PartFailedError(part, `: '${command} ${args.slice(0, 3).join(' ')}' ended with ${signal ?? `code ${code}`}`, output));
    });
  });
}

/** `runCommand` with extra variables, through env(1). */
export async function runWithEnv(
  part: string,
  variables: Record<string, string>,
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const assignments = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
  return await runCommand(part, 'env', [...assignments, command, ...args], options);
}

/** True if the command runs and ends with 0. */
export async function commandWorks(command: string, args: readonly string[]): Promise<boolean> {
  return await runCommand(command, command, args).then(
    () => true,
    () => false,
  );
}
