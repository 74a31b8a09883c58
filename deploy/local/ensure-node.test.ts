// The way in for npm scripts: runs the file on the project's own Node, and says what is missing.
import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync, existsSync, chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const scratch = mkdtempSync(join(tmpdir(), 'ctstream-ensure-test-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

let root: string;
let count = 0;

/** A project with the script, a lock file, this Node as its own, and a fake npm that notes its calls. */
beforeEach(() => {
  root = join(scratch, String(count++));
  mkdirSync(join(root, 'deploy', 'local'), { recursive: true });
  mkdirSync(join(root, 'bin'));
  copyFileSync(join(import.meta.dirname, 'ensure-node.mjs'), join(root, 'deploy', 'local', 'ensure-node.mjs'));
  writeFileSync(join(root, 'package-lock.json'), '{"a":1}');
  symlinkSync(process.execPath, join(root, 'bin', 'node'));
  npm(`[ "$1" = --version ] && echo 11 && exit 0
echo "$@" >> ${root}/npm-calls; echo from npm; sleep 0.3
mkdir -p ${root}/node_modules/.bin; ln -sf ${process.execPath} ${root}/node_modules/.bin/node`);
});

function npm(script: string): void {
  writeFileSync(join(root, 'bin', 'npm'), `#!/bin/sh\n${script}\n`);
  chmodSync(join(root, 'bin', 'npm'), 0o755);
}

function program(text: string): string {
  const file = join(root, 'program.ts');
  writeFileSync(file, text);
  return file;
}

const options = (): { encoding: 'utf8'; env: Record<string, string> } => ({
  encoding: 'utf8',
  env: { PATH: `${join(root, 'bin')}:/usr/bin:/bin` },
});
const script = (): string => join(root, 'deploy', 'local', 'ensure-node.mjs');
const run = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(process.execPath, [script(), ...args], options());
const calls = (): string[] => (existsSync(join(root, 'npm-calls')) ? readFileSync(join(root, 'npm-calls'), 'utf8').trim().split('\n') : []);

describe('ensure-node', () => {
  test('installs once, and again when the lock file changes; stdout belongs to the program', () => {
    const file = program('const a: string[] = process.argv.slice(2); console.log(JSON.stringify(a)); process.exit(7);');
    expect(run(file, 'x', '--y')).toMatchObject({ status: 7, stdout: '["x","--y"]\n', stderr: expect.stringMatching(/Installing/) });
    expect(run(file)).toMatchObject({ status: 7, stdout: '[]\n', stderr: '' });
    expect(calls()).toHaveLength(1);
    writeFileSync(join(root, 'package-lock.json'), '{"a":2}');
    run(file);
    expect(calls()).toHaveLength(2);
    expect(readFileSync(join(root, 'node_modules', '.ctstream-installed'), 'utf8').trim()).toBe(
      createHash('sha256').update('{"a":2}').digest('hex'),
    );
  });

  test('two at once install once', async () => {
    const file = program('');
    const codes = await Promise.all(
      [1, 2, 3].map(
        () => new Promise((resolve) => spawn(process.execPath, [script(), file], { ...options(), stdio: 'ignore' }).once('exit', resolve)),
      ),
    );
    expect(codes).toEqual([0, 0, 0]);
    expect(calls()).toHaveLength(1);
  });

  test('a lock left by a killed installer does not stop it', () => {
    mkdirSync(join(root, '.node_modules.lock'));
    // Larger than any pid: nobody.
    writeFileSync(join(root, '.node_modules.lock', 'pid'), '99999999');
    expect(run(program(''))).toMatchObject({ status: 0 });
  });

  test('a failed install leaves no mark, and says so with exit code 78', () => {
    npm('[ "$1" = --version ] && exit 0; echo ENOTFOUND >&2; exit 1');
    expect(run(program(''))).toMatchObject({ status: 78, stderr: expect.stringMatching(/ENOTFOUND[^]*npm ended with code 1/) });
    expect(existsSync(join(root, 'node_modules', '.ctstream-installed'))).toBe(false);
    expect(existsSync(join(root, '.node_modules.lock'))).toBe(false);
  });

  test('a registry without the packages of other systems is no obstacle; a stale lock file is one', () => {
    const refusing = (complaint: string): void =>
      npm(`[ "$1" = --version ] && exit 0; echo "$@" >> ${root}/npm-calls
[ "$1" = ci ] && printf 'npm error code EUSAGE\nnpm error ${complaint}\n' >&2 && exit 1
mkdir -p ${root}/node_modules/.bin; ln -sf ${process.execPath} ${root}/node_modules/.bin/node`);
    refusing('Missing: left-pad@1.3.0 from lock file');
    expect(run(program(''))).toMatchObject({ status: 78, stderr: expect.stringMatching(/left-pad/) });
    refusing('Missing: @some/binding-darwin-arm64@ from lock file');
    expect(run(program(''))).toMatchObject({ status: 0 });
    expect(calls().map((call) => call.split(' ')[0])).toEqual(['ci', 'ci', 'install']);
  });

  test('names a missing npm', () => {
    rmSync(join(root, 'bin', 'npm'));
    const result = spawnSync(process.execPath, [script(), program('')], { encoding: 'utf8', env: { PATH: join(root, 'bin') } });
    expect(result).toMatchObject({ status: 78, stderr: expect.stringMatching(/npm is missing/) });
  });

  test('passes SIGTERM on and ends as the program ends', async () => {
    const file = program("process.on('SIGTERM', () => process.exit(42)); console.log('ready'); setInterval(() => {}, 1000);");
    const child = spawn(process.execPath, [script(), file], { env: options().env, stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    child.kill('SIGTERM');
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(42);
  });

  test('without a file it explains its use', () => {
    expect(run()).toMatchObject({ status: 2, stderr: expect.stringMatching(/^usage/) });
  });
});
