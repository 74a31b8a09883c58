// `npm test`: generated files, types, lint, unit tests, the tests on the real parts, then checks by other tools. Words after `--` go to jest.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const bin = (name: string): string => join(root, 'node_modules', '.bin', name);
const words = process.argv.slice(2);

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}
const tally: Tally = { passed: 0, failed: 0, skipped: 0 };

/** One check as a process of its own: its output is shown as it comes. */
function check(title: string, command: string, args: readonly string[]): void {
  process.stderr.write(`\n== ${title}\n`);
  const result = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (result.status === 0) tally.passed += 1;
  else {
    tally.failed += 1;
    process.stderr.write(`== ${title}: FAILED (${result.signal ?? result.status})\n`);
  }
}

interface JestResult {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numFailedTestSuites: number;
  numRuntimeErrorTestSuites: number;
}

/** What one worker of the tests on the real parts takes at most: its platform, a file's own one, and all services. */
const BYTES_OF_A_WORKER = 5 * 2 ** 30;

/** Two workers, each with its platform, use the time in which one waits. Words choose files: one platform starts sooner. */
function workersOnParts(): string {
  const hasRoom = process.availableMemory() >= 2 * BYTES_OF_A_WORKER && availableParallelism() >= 2;
  return words.length === 0 && hasRoom ? '2' : '1';
}

function jest(title: string, project: string, workers: string): void {
  process.stderr.write(`\n== ${title}\n`);
  const folder = mkdtempSync(join(tmpdir(), 'ctstream-jest-'));
  const report = join(folder, 'report.json');
  try {
    const args = [
      '--experimental-vm-modules',
      '--no-warnings',
      join(root, 'node_modules/jest/bin/jest.js'),
      '--selectProjects',
      project,
      `--maxWorkers=${workers}`,
      '--json',
      `--outputFile=${report}`,
      // What words choose may be in one project alone.
      ...(words.length > 0 ? ['--passWithNoTests'] : []),
      ...words,
    ];
    const result = spawnSync(process.execPath, args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
    const counts = JSON.parse(readFileSync(report, 'utf8')) as JestResult;
    tally.passed += counts.numPassedTests;
    tally.skipped += counts.numPendingTests;
    // A file that could not be loaded runs no test: it is a failure all the same.
    tally.failed += counts.numFailedTests + counts.numRuntimeErrorTestSuites;
    if (result.status !== 0 && counts.numFailedTests + counts.numRuntimeErrorTestSuites === 0) tally.failed += 1;
  } catch (error) {
    tally.failed += 1;
    process.stderr.write(`== ${title}: FAILED without a report (${error instanceof Error ? error.message : String(error)})\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (words.length === 0) {
  check('generated files are current', process.execPath, ['--no-warnings', join(root, 'schemas/generate.ts'), '--check']);
  check('types', bin('tsc'), ['--noEmit', '-p', root]);
  check('lint', bin('oxlint'), ['--type-aware', '--quiet']);
  check('format', bin('oxfmt'), ['--check', '.']);
}
jest('unit tests', 'unit', '2');
jest('tests on the real parts', 'integration', workersOnParts());
// After the platform, which installs those tools.
jest('checks by other tools', 'oracle', '2');

const skipped = tally.skipped === 0 ? '' : `, ${tally.skipped} skipped`;
process.stdout.write(`\n${tally.passed} passed, ${tally.failed} failed${skipped}\n`);
process.exitCode = tally.failed === 0 ? 0 : 1;
