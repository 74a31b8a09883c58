// Starts the platform once for all tests on the real parts of a run. (Jest wants a default export here; the rule
// against them has this one exception, with global-teardown.ts.)
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPlatform, type Platform } from '../../deploy/local/platform.ts';
import { TEST_CENTRES } from './support.ts';

declare global {
  var ctstreamTestPlatform: Platform | undefined;
}

export default async function setup(): Promise<void> {
  const dir = join(tmpdir(), `ctstream-tests-${process.pid}`);
  globalThis.ctstreamTestPlatform = await startPlatform({ dir, centres: TEST_CENTRES, with: ['registry', 'toxiproxy'] });
  process.env['CTSTREAM_TEST_PLATFORM'] = dir;
}
