import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { endRecordedStages, readStageRecords, recordStage } from './stage-records.ts';

let dir: string;
const children: ChildProcess[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ctstream-stages-'));
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await rm(dir, { recursive: true, force: true });
});

/** A process that says when its handlers stand. */
async function started(script: string): Promise<ChildProcess & { pid: number }> {
  const child = spawn(process.execPath, ['-e', `${script}; console.log('up'); setInterval(() => {}, 1000)`], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  await once(child.stdout, 'data');
  if (child.pid === undefined) throw new Error('no pid');
  return Object.assign(child, { pid: child.pid });
}

const endOf = async (child: ChildProcess): Promise<unknown[]> =>
  child.exitCode === null && child.signalCode === null ? once(child, 'exit') : [child.exitCode, child.signalCode];

test('what a killed parent left is asked to end, and may drain', async () => {
  const child = await started("process.on('SIGTERM', () => setTimeout(() => process.exit(7), 300))");
  recordStage(dir, 'assess', child.pid);
  expect((await stat(join(dir, 'stages.json'))).mode & 0o777).toBe(0o600);
  expect(await endRecordedStages(dir)).toEqual(['assess']);
  expect(await endOf(child)).toEqual([7, null]);
  expect(readStageRecords(dir)).toEqual({});
});

test('one that does not drain is killed after the grace', async () => {
  const child = await started("process.on('SIGTERM', () => {})");
  recordStage(dir, 'ingest', child.pid);
  await endRecordedStages(dir, 100);
  expect(await endOf(child)).toEqual([null, 'SIGKILL']);
});

test('another process that has the pid by now is left alone', async () => {
  const child = await started('0');
  recordStage(dir, 'select', child.pid);
  const records = JSON.parse(await readFile(join(dir, 'stages.json'), 'utf8')) as { select: { startedAt: string } };
  records.select.startedAt += '0';
  await writeFile(join(dir, 'stages.json'), JSON.stringify(records));
  expect(await endRecordedStages(dir, 100)).toEqual([]);
  expect([child.exitCode, child.signalCode]).toEqual([null, null]);
});

test('a folder without records, or with a broken file, has none', async () => {
  expect(await endRecordedStages(dir)).toEqual([]);
  await writeFile(join(dir, 'stages.json'), '{"a":');
  expect(readStageRecords(dir)).toEqual({});
});
