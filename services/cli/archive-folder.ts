// The archive of a deployment's event log as files of this machine, for commands that read it whole.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { s3Store } from '../adapters/s3-store.ts';
import { mirrorLog } from '../event-log/query.ts';
import type { Access } from './access.ts';
import { deploymentFileOf, logMirrorDir, type Placed } from './deployment.ts';

/**
 * Copies what is new in the archive, then works on the copy. Of the local deployment it stays in its folder; of another one
 * only where `into` says, for the next time.
 */
export async function onArchive(
  o: Placed & { readonly into?: string },
  access: Access,
  work: (dir: string, copied: number) => Promise<void>,
): Promise<void> {
  const store = s3Store(access.store('analyst'));
  const given = o.into ?? (deploymentFileOf(o) === undefined ? logMirrorDir(o.dir) : undefined);
  const dir = given === undefined ? await mkdtemp(join(tmpdir(), 'ctstream-archive-')) : resolve(given);
  try {
    await work(dir, await mirrorLog(store, dir));
  } finally {
    if (given === undefined) await rm(dir, { recursive: true, force: true });
  }
}
