// Ingest and anonymise are killed at single steps of a job, drawn by a fixed seed; `node test/fault/step-boundaries.ts` takes every step.
import { afterAll, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { releasePlatform, testPlatform } from '../integration/support.ts';
import { killAtSteps } from './steps/run.ts';

/** A stage, beside one part and one take-over for each; the suite has at most 30 kills in all. */
const KILLS = 1;

afterAll(() => releasePlatform());

test('a kill at any step loses and doubles nothing', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'ctstream-step-kills-'));
  const result = await killAtSteps({
    dir,
    seed: 7,
    most: KILLS,
    mostTakeOvers: 1,
    mostPartKills: 1,
    platform: await testPlatform(),
    say: () => undefined,
  });
  // Else the stages would no longer run on the adapters that report their steps.
  expect(result.steps.ingest).toEqual(expect.arrayContaining(['before put ct-clinical manifest', 'before commit', 'after commit']));
  expect(result.steps.anonymise).toEqual(expect.arrayContaining(['before put ct-research manifest', 'before commit', 'after commit']));
  expect(result.kills.filter((k) => !k.hit)).toEqual([]);
  expect(result.kills).toHaveLength(2 * KILLS);
  // Before its manifest each stage was stopped until another process had finished the study.
  expect(result.takeOvers.map(({ stage }) => stage)).toEqual(['ingest', 'anonymise']);
  expect(result.partKills).toHaveLength(2);
  expect(result.verdict).toMatchObject({ problems: [], lost: 0, doubled: 0, unaccounted: 0, committedTooFar: 0 });
  await rm(dir, { recursive: true, force: true });
});
