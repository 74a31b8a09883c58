// A folder of the dataset comes to its place whole or not at all.
import { chmod, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Fills a folder beside `to` and puts it there; an older one is replaced. When `fill` fails nothing is left of it. */
export async function placeFolder(to: string, fill: (dir: string) => Promise<void>): Promise<string> {
  await mkdir(dirname(to), { recursive: true });
  const fresh = await mkdtemp(`${to}.`);
  try {
    await fill(fresh);
    // mkdtemp makes folders for their owner alone; a dataset is for others to read.
    await chmod(fresh, 0o755);
    await rm(to, { recursive: true, force: true });
    await rename(fresh, to);
    return to;
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    throw error;
  }
}
