// Toxiproxy breaks single connections of the services, drawn by a fixed seed; `node test/fault/broken-connections.ts` takes all.
import { expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPlatform } from '../../deploy/local/platform.ts';
import { isPlatformOfRun, testPlatform } from '../integration/support.ts';
import { breakConnections } from './connections/run.ts';

/** One of each kind, each at another place. */
const FAULTS = 5;

test('broken connections lose and double nothing', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'ctstream-broken-'));
  // The run's platform has Toxiproxy; one that a file starts for itself has not.
  const isShared = isPlatformOfRun();
  const platform = isShared ? await testPlatform() : await startPlatform({ dir, centres: [], with: ['toxiproxy'], handleSignals: false });
  try {
    const result = await breakConnections({ platform, seed: 6, most: FAULTS, say: () => undefined });
    expect(result.verdict).toMatchObject({ problems: [], lost: 0, doubled: 0, unaccounted: 0, committedTooFar: 0 });
    expect(new Set(result.faults.map(({ place }) => place)).size).toBe(FAULTS);
  } finally {
    if (!isShared) await platform.stop();
  }
  await rm(dir, { recursive: true, force: true });
});
