// The wall clock of all services jumps ahead and back while a study flows: nothing is lost, doubled or stuck.
import { afterAll, expect, test } from '@jest/globals';
import { releasePlatform, testPlatform } from '../integration/support.ts';
import { jumpClocks } from './clock/run.ts';

afterAll(() => releasePlatform());

test('jumps of minutes and of hours are survived', async () => {
  const result = await jumpClocks({ platform: await testPlatform(), seed: 3, places: ['all services'], say: () => undefined });
  expect(result.verdict).toMatchObject({ problems: [], lost: 0, doubled: 0, unaccounted: 0, committedTooFar: 0 });
  expect(result.studies).toBe(4);
});
