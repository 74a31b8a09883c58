// What a replay of release makes beside its buckets: a database with subject ids and a folder with images, of one name. A replay
// that was killed leaves both; the next one and `replay remove` take them away.
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { databaseNames, dropEnded, lendDatabase, type PostgresAccess } from '../../../deploy/local/postgres.ts';

interface Place {
  readonly platform: { readonly dir: string; readonly postgres: PostgresAccess };
  readonly provisioned: { readonly prefix: string };
}

export interface ReleaseCopies {
  readonly url: string;
  readonly folder: string;
  /** The database is to be closed before. */
  remove(): Promise<void>;
}

const folderOf = ({ platform }: Place): string => join(platform.dir, 'replay');
const beginningOf = ({ provisioned }: Place): string => `${provisioned.prefix}replay_`.replaceAll('-', '_');

export async function makeCopies(place: Place): Promise<ReleaseCopies> {
  const name = `${beginningOf(place)}${randomBytes(4).toString('hex')}`;
  const { url, giveBack } = await lendDatabase(place.platform.postgres, name);
  const folder = join(folderOf(place), name);
  const remove = async (): Promise<void> => {
    try {
      await rm(folder, { recursive: true, force: true });
    } finally {
      await giveBack();
    }
  };
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    await giveBack();
    throw error;
  }
  return { url, folder, remove };
}

/** Removes what replays have left that run no more; answers how many. */
export async function removeEnded(place: Place): Promise<number> {
  const beginning = beginningOf(place);
  const folders = await readdir(folderOf(place)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const names = new Set([...(await databaseNames(place.platform.postgres)), ...folders]);
  let removed = 0;
  for (const name of names) {
    // Whole: the prefix of one deployment may begin that of another.
    if (!name.startsWith(beginning) || !/^[0-9a-f]{8}$/.test(name.slice(beginning.length))) continue;
    if (!(await dropEnded(place.platform.postgres, name))) continue;
    await rm(join(folderOf(place), name), { recursive: true, force: true });
    removed++;
  }
  return removed;
}
