// The platform of a test run: one for all files when the run started it, else one for this file alone.
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { platformFromState, startPlatform, type Platform } from '../../deploy/local/platform.ts';

/** Centres whose Orthanc is there in every test run; `platform.addOrthanc` gives further ones. */
export const TEST_CENTRES = ['c01', 'c02'] as const;

let own: Promise<Platform> | undefined;

/** The run's platform. The first call without one starts it; `releasePlatform` in afterAll ends that one again. */
export async function testPlatform(): Promise<Platform> {
  const dir = process.env['CTSTREAM_TEST_PLATFORM'];
  if (dir !== undefined) return platformFromState(dir);
  own ??= startPlatform({ dir: join(tmpdir(), `ctstream-test-${process.pid}`), centres: TEST_CENTRES, handleSignals: false });
  return own;
}

/** Stops the platform when this file started it itself. */
export async function releasePlatform(): Promise<void> {
  if (own !== undefined) await (await own).stop();
  own = undefined;
}

/** A random prefix for topics, buckets (a-z, 0-9, '-') and databases of one test file. */
export function testPrefix(name: string): string {
  return `${name}-${randomBytes(4).toString('hex')}-`;
}
