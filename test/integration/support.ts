// The platform of a test file: that of jest's worker when the run started one for each, else one for this file alone.
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { platformFromState, startPlatform, type Platform } from '../../deploy/local/platform.ts';

/** Names the folder of all platforms of a run. */
export const RUN_FOLDER = 'CTSTREAM_TEST_PLATFORMS';

/** Centres whose Orthanc is there in every test run; `platform.addOrthanc` gives further ones. */
export const TEST_CENTRES = ['c01', 'c02'] as const;

let own: Promise<Platform> | undefined;

/** Folder of the platform that the files of one worker of jest have to themselves, one file after the other. */
export function platformFolder(runFolder: string, worker: string): string {
  return join(runFolder, worker);
}

/** True when the run started the platforms, which have all extras that a test needs. */
export function isPlatformOfRun(): boolean {
  return process.env[RUN_FOLDER] !== undefined;
}

/** The worker's platform. The first call without one starts it; `releasePlatform` in afterAll ends that one again. */
export async function testPlatform(): Promise<Platform> {
  const runFolder = process.env[RUN_FOLDER];
  if (runFolder !== undefined) return platformFromState(platformFolder(runFolder, process.env['JEST_WORKER_ID'] ?? '1'));
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
