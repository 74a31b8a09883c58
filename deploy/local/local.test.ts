// The small parts of the local platform: locks, atomic installs, identity of processes, missing tools.
import { afterAll, describe, expect, test } from '@jest/globals';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { claimFolder } from './cleanup.ts';
import { readLocalEnv } from './env.ts';
import { ensureCached } from './install.ts';
import { withLock } from './lock.ts';
import { freePorts } from './ports.ts';
import { isRunning, startProcess, stopProcess, waitUntilHealthy, type ProcessSpec } from './processes.ts';
import { runTasks } from './progress.ts';

const scratch = mkdtempSync(join(tmpdir(), 'ctstream-local-test-'));
const silent = (): void => undefined;
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function shell(name: string, script: string): ProcessSpec {
  return {
    name,
    command: '/bin/sh',
    args: ['-c', script],
    cwd: scratch,
    env: { PATH: '/usr/bin:/bin' },
    logFile: join(scratch, 'logs', `${name}.log`),
    stopSignal: 'SIGTERM',
  };
}

describe('lock', () => {
  test('lets one holder in at a time', async () => {
    const file = join(scratch, 'a.lock');
    let inside = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 8 }, () =>
        withLock(file, async () => {
          most = Math.max(most, ++inside);
          await new Promise((resolve) => setTimeout(resolve, 10));
          inside--;
        }),
      ),
    );
    expect(most).toBe(1);
  });

  test('is free again when its holder was killed', async () => {
    const file = join(scratch, 'b.lock');
    const script = `import { withLock } from ${JSON.stringify(join(import.meta.dirname, 'lock.ts'))}; await withLock(${JSON.stringify(file)}, async () => { console.log('held'); await new Promise((r) => setTimeout(r, 60000)); });`;
    const holder = spawn(process.execPath, ['--no-warnings', '--input-type=module-typescript', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => holder.stdout.once('data', resolve));
    let waited = false;
    const taken = withLock(
      file,
      async () => 'taken',
      () => {
        waited = true;
        holder.kill('SIGKILL');
      },
    );
    expect(await taken).toBe('taken');
    expect(waited).toBe(true);
  }, 20_000);

  test('gives the lock back when the work fails', async () => {
    const file = join(scratch, 'c.lock');
    await expect(withLock(file, () => Promise.reject(new Error('work failed')))).rejects.toThrow('work failed');
    expect(await withLock(file, async () => 1)).toBe(1);
  });
});

describe('install', () => {
  test('builds a part once, however many ask for it at a time', async () => {
    const cache = join(scratch, 'cache-once');
    let builds = 0;
    const part = {
      id: 'part-1',
      build: async (into: string) => {
        builds++;
        await new Promise((resolve) => setTimeout(resolve, 30));
        writeFileSync(join(into, 'program'), 'x');
      },
    };
    const folders = await Promise.all(Array.from({ length: 5 }, () => ensureCached(cache, part, silent)));
    expect(builds).toBe(1);
    expect(new Set(folders)).toEqual(new Set([join(cache, 'part-1')]));
  });

  test('leaves nothing that looks installed when a build fails, and clears what a killed one left', async () => {
    const cache = join(scratch, 'cache-fail');
    mkdirSync(join(cache, '.part-1.tmp-left'), { recursive: true });
    const failing = {
      id: 'part-1',
      build: async (into: string) => {
        writeFileSync(join(into, 'half'), 'x');
        await Promise.reject(new Error('network is down'));
      },
    };
    await expect(ensureCached(cache, failing, silent)).rejects.toThrow('network is down');
    expect(readdirSync(cache)).toEqual(['part-1.lock']);
    const working = { id: 'part-1', build: async (into: string) => writeFileSync(join(into, 'whole'), 'x') };
    expect(readdirSync(await ensureCached(cache, working, silent))).toEqual(['whole']);
  });
});

describe('processes', () => {
  test('are told from another one with the same pid', async () => {
    const record = await startProcess(shell('sleeper', 'sleep 30'));
    expect(isRunning(record)).toBe(true);
    const other = { ...record, startedAt: 'another moment' };
    expect(isRunning(other)).toBe(false);
    await stopProcess(other);
    expect(isRunning(record)).toBe(true);
    await stopProcess(record);
    expect(isRunning(record)).toBe(false);
  });

  test('end with the group they started', async () => {
    const pidFile = join(scratch, 'grandchild');
    const record = await startProcess(shell('parent', `sleep 30 & echo $! > ${pidFile}; wait`));
    await waitUntilHealthy(record, async () => existsSync(pidFile) && readFileSync(pidFile, 'utf8').trim() !== '');
    const grandchild = Number(readFileSync(pidFile, 'utf8'));
    await stopProcess(record);
    await expectGone(grandchild);
  });

  test('that do not heed the signal are killed', async () => {
    const ready = join(scratch, 'deaf-ready');
    const record = await startProcess(shell('deaf', `trap '' TERM; touch ${ready}; while :; do sleep 0.05; done`));
    await waitUntilHealthy(record, async () => existsSync(ready));
    await stopProcess(record, undefined, 200);
    expect(isRunning(record)).toBe(false);
  });

  test('that end while they start are named, with the end of their log', async () => {
    const record = await startProcess(shell('broken', 'echo the port is taken; exit 3'));
    await expect(waitUntilHealthy(record, async () => false)).rejects.toThrow(
      /^broken ended while it was starting.*\n.*the port is taken/s,
    );
  });

  test('that never answer are named, with the end of their log', async () => {
    const record = await startProcess(shell('mute', 'echo thinking; sleep 30'));
    await expect(waitUntilHealthy(record, async () => false, 300)).rejects.toThrow(/mute did not answer.*thinking/s);
    await stopProcess(record);
  });

  async function expectGone(pid: number): Promise<void> {
    for (let i = 0; i < 100; i++) {
      try {
        process.kill(pid, 0);
      } catch {
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`process ${pid} is still there`);
  }
});

test('ports are different, free, and below the range of outgoing connections', async () => {
  const ports = await freePorts(60);
  expect(new Set(ports).size).toBe(60);
  for (const port of ports) {
    expect(port).toBeLessThan(32_768);
    const server = createServer();
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
    await new Promise((resolve) => server.close(resolve));
  }
});

test('a port that was drawn is drawn by nobody else, though nothing listens on it yet', async () => {
  const draws = await Promise.all(Array.from({ length: 10 }, async () => await freePorts(60)));
  expect(new Set(draws.flat()).size).toBe(600);
});

test('a folder with files of someone else is not wiped', async () => {
  const folder = join(scratch, 'home');
  mkdirSync(folder);
  writeFileSync(join(folder, 'thesis.txt'), 'x');
  await expect(claimFolder(folder)).rejects.toThrow(/not a platform's/);
  expect(readdirSync(folder)).toEqual(['thesis.txt']);
});

test('progress: every task is left to end, then the first failure is thrown', async () => {
  const lines: string[] = [];
  let ended = false;
  const tasks = [
    { title: 'bad', run: async () => await Promise.reject(new Error('no')) },
    {
      title: 'slow',
      run: async () => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        ended = true;
      },
    },
  ];
  await expect(runTasks(tasks, { log: (line) => lines.push(line) })).rejects.toThrow('no');
  expect(ended).toBe(true);
  expect(lines.join('\n')).toMatch(/\[slow\] ready/);
});

describe('environment', () => {
  test('the cache folder follows CTSTREAM_CACHE, then XDG_CACHE_HOME', () => {
    expect(readLocalEnv({ CTSTREAM_CACHE: '/a', XDG_CACHE_HOME: '/b' }).cacheDir).toBe('/a');
    expect(readLocalEnv({ XDG_CACHE_HOME: '/b' }).cacheDir).toBe('/b/ctstream');
  });

  test('a server does not see the settings of its kind in the shell', () => {
    expect(readLocalEnv({ PATH: '/bin', MINIO_BROWSER: 'on', PGDATA: '/x' }).childEnv).toEqual({ PATH: '/bin' });
  });

  test('all missing tools are named at once, with the way to get each, and exit code 78', () => {
    const cache = join(scratch, 'cache-empty');
    const result = spawnSync(
      process.execPath,
      ['--no-warnings', join(import.meta.dirname, 'main.ts'), 'up', '--dir', join(scratch, 'run')],
      {
        encoding: 'utf8',
        env: { PATH: '/nonexistent', CTSTREAM_CACHE: cache, HOME: scratch },
      },
    );
    expect(result.stderr).toMatch(/Java 17[^]*apt-get install openjdk[^]*Maven[^]*Go 1\.21[^]*go\.dev/);
    expect(result.status).toBe(78);
    expect(existsSync(cache)).toBe(false);
  });
});

describe('main', () => {
  const run = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, ['--no-warnings', join(import.meta.dirname, 'main.ts'), ...args], { encoding: 'utf8' });

  test('explains itself, and tells wrong usage with exit code 2', () => {
    expect(run('--help')).toMatchObject({ status: 0, stdout: expect.stringMatching(/usage: up \| down \| status/) });
    for (const wrong of [[], ['sideways'], ['up', '--centres', '49'], ['up', '--with', 'coffee'], ['up', '--what']]) {
      expect(run(...wrong)).toMatchObject({ status: 2, stdout: '' });
    }
  });

  test('status of a folder without a platform: exit code 1, and JSON when asked', () => {
    expect(run('status', '--json', '--dir', join(scratch, 'none'))).toMatchObject({ status: 1, stdout: '{"running":false}\n' });
  });
});
