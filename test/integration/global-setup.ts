// Starts a platform for each worker of jest, so that no file meets another's load, faults or restarts. (Jest wants a
// default export here; the rule against them has this one exception, with global-teardown.ts.)
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPlatform, type Platform } from '../../deploy/local/platform.ts';
import { platformFolder, RUN_FOLDER, TEST_CENTRES } from './support.ts';

declare global {
  var ctstreamTestPlatforms: Platform[] | undefined;
}

export default async function setup({ maxWorkers }: { readonly maxWorkers: number }): Promise<void> {
  const runFolder = join(tmpdir(), `ctstream-tests-${process.pid}`);
  globalThis.ctstreamTestPlatforms = [];
  // One after the other: the first installs what all need. Workers are numbered from 1.
  for (let worker = 1; worker <= maxWorkers; worker++) {
    const dir = platformFolder(runFolder, String(worker));
    globalThis.ctstreamTestPlatforms.push(await startPlatform({ dir, centres: TEST_CENTRES, with: ['registry', 'toxiproxy'] }));
  }
  process.env[RUN_FOLDER] = runFolder;
}
