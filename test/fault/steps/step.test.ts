// A kill is asked for by the name of a step: a job in which that step has another name goes on, and the run says 'not reached'.
import { expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { read, STEPS_FILE, take, write } from './step.ts';

/** As anonymise's: it writes before it reads, and reads several of a kind. */
async function job(): Promise<void> {
  take('take');
  await write('remove mark', async () => undefined);
  read('get tar');
  read('get tar');
  await write('publish', async () => undefined);
  await write('commit', async () => undefined);
}

const STEPS = [
  'after take',
  'before remove mark',
  'after remove mark',
  'after get tar',
  'after get tar, time 2',
  'before publish',
  'after publish',
  'before commit',
  'after commit',
];

test('a step has the same name in every job', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ctstream-step-names-'));
  process.env['CTSTREAM_STEPS'] = folder;
  for (let i = 0; i < 3; i += 1) await job();
  const lines = (await readFile(join(folder, STEPS_FILE), 'utf8')).trim().split('\n');
  expect(lines).toEqual([...STEPS, ...STEPS, ...STEPS]);
  delete process.env['CTSTREAM_STEPS'];
  await rm(folder, { recursive: true, force: true });
});
