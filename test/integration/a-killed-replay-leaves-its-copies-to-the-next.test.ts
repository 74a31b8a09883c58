// What a replay of release has beside its buckets (a database with subject ids, a folder with images) lasts no longer than to the
// next replay or `replay remove`, also when it was killed; what a running one has, or another deployment, stays.
import { afterAll, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDatabase, databaseNames } from '../../deploy/local/postgres.ts';
import { makeCopies, removeEnded } from '../../services/cli/replay/release-copies.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

afterAll(releasePlatform);

test('copies of replays that were killed go, those of running ones and of other deployments stay', async () => {
  const { postgres } = await testPlatform();
  const dir = await mkdtemp(join(tmpdir(), 'copies-'));
  const prefix = `${testPrefix('copies')}-`;
  const place = { platform: { dir, postgres }, provisioned: { prefix } };
  const ours = `${prefix}replay_`.replaceAll('-', '_');
  const named = async (): Promise<string[]> => (await databaseNames(postgres)).filter((name) => name.startsWith(ours.slice(0, -7))).sort();
  const leave = (name: string): Promise<string> => createDatabase(postgres, name, { user: name, password: 'of a killed one' });
  try {
    const running = await makeCopies(place);
    const mine = new URL(running.url).pathname.slice(1);
    await leave(`${ours}00000001`);
    // Killed between the two: a folder alone.
    for (const name of ['00000001', '00000002']) await mkdir(join(dir, 'replay', ours + name));
    // Of a deployment whose prefix begins with ours, and no replay's.
    const others = [`${ours}x_replay_00000003`, `${ours}label`];
    for (const other of others) await leave(other);

    expect(await removeEnded(place)).toBe(2);
    expect(await named()).toEqual([...others, mine].sort());
    expect([existsSync(running.folder), existsSync(join(dir, 'replay', `${ours}00000002`))]).toEqual([true, false]);
    expect(await removeEnded(place)).toBe(0);

    await running.remove();
    expect(await named()).toEqual(others.toSorted());
    expect(existsSync(running.folder)).toBe(false);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
