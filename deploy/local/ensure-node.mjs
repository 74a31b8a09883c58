// The way into every npm script, for any Node from 18 on and with no node_modules yet: installs the
// packages when package-lock.json has changed, then runs a TypeScript file on the project's own Node.
//   node deploy/local/ensure-node.mjs FILE.ts [arguments]
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const EXIT_CONFIG = 78;
const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const marker = join(root, 'node_modules', '.ctstream-installed');
const node = join(root, 'node_modules', '.bin', 'node');
const installLock = join(root, '.node_modules.lock');

const say = (line) => process.stderr.write(`${line}\n`);
const fail = (line, code = EXIT_CONFIG) => {
  say(line);
  process.exit(code);
};
const wanted = () =>
  createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
const installed = () => existsSync(node) && existsSync(marker) && readFileSync(marker, 'utf8').trim() === wanted();

/** Only one installs; the others wait for it. A lock whose process is gone, or an hour old, is broken. */
function takeLock() {
  for (let waited = false; ;) {
    try {
      mkdirSync(installLock);
      writeFileSync(join(installLock, 'pid'), String(process.pid));
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') fail(`Cannot write in ${root}: ${error.message}`);
    }
    if (lockIsStale()) {
      rmSync(installLock, { recursive: true, force: true });
      continue;
    }
    if (!waited) say('Another process is installing the packages; waiting for it');
    waited = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
  }
}

function lockIsStale() {
  try {
    const age = Date.now() - statSync(installLock).mtimeMs;
    const pidFile = join(installLock, 'pid');
    if (!existsSync(pidFile)) return age > 10_000;
    if (age > 3_600_000) return true;
    process.kill(Number(readFileSync(pidFile, 'utf8')), 0);
    return false;
  } catch (error) {
    // ESRCH: its process is gone. EPERM: it lives and is someone else's. ENOENT: just released.
    return error.code !== 'EPERM' && error.code !== 'ENOENT';
  }
}

function install() {
  const version = spawnSync('npm', ['--version'], { encoding: 'utf8' });
  if (version.error !== undefined || version.status !== 0)
    fail('npm is missing: it comes with Node.js (https://nodejs.org, or: sudo apt-get install npm)');
  takeLock();
  const release = () => rmSync(installLock, { recursive: true, force: true });
  process.once('exit', release);
  if (!installed()) runNpm();
  process.off('exit', release);
  release();
}

function runNpm() {
  const started = Date.now();
  say('Installing the packages of package-lock.json (npm ci; about half a minute)');
  let result = npm('ci');
  if (result.status !== 0 && onlyForeignPackagesMissing(result.stderr)) {
    say('This registry does not have the packages of some other systems; installing the rest by the lock file');
    result = npm('install', '--no-save');
  }
  if (result.signal !== null) process.exit(130);
  if (result.status !== 0) {
    say(result.stderr.split('\n').slice(0, 20).join('\n'));
    fail(`npm ended with code ${result.status}. Is the package registry reachable (npm ping)?`);
  }
  if (!existsSync(node))
    fail("The package 'node' was installed without its program: are install scripts switched off (npm config get ignore-scripts)?");
  writeFileSync(marker, `${wanted()}\n`);
  say(`Packages ready (${((Date.now() - started) / 1000).toFixed(0)} s)`);
}

/** npm's stdout goes to stderr: ours belongs to the command that follows. */
function npm(...args) {
  return spawnSync('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 2, 'pipe'],
    encoding: 'utf8',
  });
}

/**
 * True when `npm ci` refused for one reason only: optional packages for other systems, which the registry
 * cannot describe (a mirror with part of them). npm then names them without a version. `npm install` takes
 * the same versions with the same checksums from the lock file, and leaves it as it is with --no-save.
 */
function onlyForeignPackagesMissing(text) {
  const complaints = text.split('\n').filter((line) => /(Missing|Invalid): /.test(line));
  return text.includes('EUSAGE') && complaints.length > 0 && complaints.every((line) => /Missing: \S+@ from lock file$/.test(line.trim()));
}

const [file, ...args] = process.argv.slice(2);
if (Number(process.versions.node.split('.')[0]) < 18)
  fail(`This is Node ${process.versions.node}; 18 or newer is needed to install the project's own (https://nodejs.org)`);
if (file === undefined) fail('usage: node deploy/local/ensure-node.mjs FILE.ts [arguments]', 2);
if (!installed()) install();

// Compiled code from run to run: compiling the modules anew takes a quarter of a second of each process and
// thread. Among the packages, where nobody else writes.
const env = { NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'ctstream', 'code'), ...process.env };
const child = spawn(node, ['--no-warnings', file, ...args], { stdio: 'inherit', env });
// On Ctrl-C the terminal signals the whole group, so the child has it already; a second one would look
// like impatience. Only a signal sent to this process alone is passed on.
const pass = (signal) => {
  if (!(signal === 'SIGINT' && process.stdin.isTTY)) child.kill(signal);
};
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, pass);
child.on('error', (error) => fail(`${node} does not start: ${error.message}`));
child.on('exit', (code, signal) => {
  if (signal === null) process.exit(code ?? 1);
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(name, pass);
  process.kill(process.pid, signal);
});
