// Key rotation, backup and restore of the vault on the real PostgreSQL, by the real commands: it opens with exactly one
// key whatever dies when, and no backup brings a withdrawn patient back.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { restoreVault } from '../../services/adapters/postgres-vault-admin-restore.ts';
import { rotateKey } from '../../services/adapters/postgres-vault-admin-keys.ts';
import { RESEARCH_IDS } from '../../services/anonymise/withdraw-ids.ts';
import type { IdentityVault } from '../../services/ports/identity-vault.ts';
import { releasePlatform, testPlatform } from './support.ts';
import { emptyVault, eventually, idKey, study, subjectOf, type TestVault } from './vault-support.ts';

const open: TestVault[] = [];
const fresh = async (key?: Buffer): Promise<TestVault> => {
  const one = await emptyVault(key);
  open.push(one);
  return one;
};

beforeAll(async () => void (await testPlatform()));
afterAll(async () => {
  for (const one of open) one.dispose();
  await releasePlatform();
});

/** Opens, works, closes. */
const within = async <T>(vault: Promise<IdentityVault>, work: (vault: IdentityVault) => Promise<T>): Promise<T> => {
  const opened = await vault;
  try {
    return await work(opened);
  } finally {
    await opened.close();
  }
};

const filled = async (): Promise<TestVault> => {
  const one = await fresh();
  await within(one.open(), async (vault) => {
    // More than a page of the backup.
    for (let i = 0; i < 620; i++) await study(vault, await subjectOf(vault, `P${i}`), `1.${i}`);
  });
  // The tables of the outbox come with the first process that may withdraw.
  await (await one.withdrawals()).close();
  return one;
};

const opensWith = (one: TestVault, key: Uint8Array): Promise<boolean> =>
  within(one.open(key), async () => true).catch((error: { code?: string }) => {
    if (error.code !== 'BAD_CONFIG') throw error;
    return false;
  });

test('after a rotation the new key alone opens the vault; who has it open goes on; all links stay', async () => {
  const one = await fresh();
  const vault = await one.open();
  const before = await subjectOf(vault, 'A');
  const newKeyFile = join(one.dir, 'key.new');
  expect((await one.cli(['rotate-key', '--new-key-file', newKeyFile])).code).toBe(0);
  const newKey = Buffer.from(readFileSync(newKeyFile, 'utf8').trim(), 'hex');
  expect([await opensWith(one, one.key), await opensWith(one, newKey)]).toEqual([false, true]);
  expect(await subjectOf(vault, 'A')).toEqual(before);
  expect(await within(one.open(newKey), (again) => subjectOf(again, 'A'))).toEqual(before);
  await vault.close();
  const again = await one.cli(['rotate-key', '--new-key-file', newKeyFile]);
  expect(again.code).toBe(78);
});

test('a rotation that is killed before its commit leaves the old key, and the new one when done again', async () => {
  const one = await fresh();
  await within(one.open(), (vault) => subjectOf(vault, 'A'));
  const newKeyFile = join(one.dir, 'key.new');
  const holder = new pg.Client({ connectionString: one.url });
  await holder.connect();
  await holder.query("begin; select from vault_meta where name = 'data-key' for update");
  const child = one.spawnCli(['rotate-key', '--new-key-file', newKeyFile]);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const waiting =
    "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%data-key%' and datname = current_database()";
  await eventually('the rotation waits for the row', async () => (await one.query(waiting)).length > 0);
  child.kill('SIGKILL');
  await ended;
  await holder.query('rollback');
  await holder.end();
  // The new key was on disk before the database was asked, and is taken up by the second try.
  const newKey = Buffer.from(readFileSync(newKeyFile, 'utf8').trim(), 'hex');
  expect([await opensWith(one, one.key), await opensWith(one, newKey)]).toEqual([true, false]);
  expect((await one.cli(['rotate-key', '--new-key-file', newKeyFile])).code).toBe(0);
  expect([await opensWith(one, one.key), await opensWith(one, newKey)]).toEqual([false, true]);
});

test('two rotations at once: the vault opens with exactly one of the two new keys', async () => {
  const one = await fresh();
  await within(one.open(), (vault) => subjectOf(vault, 'A'));
  const keys = [randomBytes(32), randomBytes(32)];
  const results = await Promise.allSettled(
    keys.map((newKey) => rotateKey({ connectionString: one.url, oldKey: one.key, newKey, by: 't' })),
  );
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect((await Promise.all(keys.map((key) => opensWith(one, key)))).filter(Boolean)).toHaveLength(1);
  expect(await opensWith(one, one.key)).toBe(false);
});

const ofAll = async (one: TestVault): Promise<string[]> => {
  const rows: string[] = [];
  for (const table of ['vault_meta', 'patients', 'identifiers', 'studies', 'revisions', 'deny', 'withdrawals', 'outbox', 'outbox_counter'])
    for (const row of await one.query(`select * from ${table} as t where not (t.*::text like '(data-key,%') order by t.*::text`))
      rows.push(`${table} ${JSON.stringify(row)}`);
  return rows;
};

test('a restored vault is the vault, also under another key file and after rotations', async () => {
  const one = await filled();
  const backup = join(one.dir, 'all.bak');
  const made = await one.cli(['backup', backup]);
  expect(JSON.parse(made.stdout)).toMatchObject({ rows: { patients: 620, studies: 620 } });
  // Nothing of it stands in clear, and it is not written over.
  const bytes = readFileSync(backup);
  const [someone] = await one.query('select subject_row, id_digest from identifiers limit 1');
  for (const text of Object.values(someone ?? {})) expect(bytes.includes(String(text))).toBe(false);
  expect((await one.cli(['backup', backup])).code).toBe(1);
  expect(readFileSync(backup).equals(bytes)).toBe(true);

  const two = await fresh();
  const oldKey = two.file('old-key', one.key.toString('hex'));
  expect((await two.cli(['restore', backup, '--without-denials'])).stderr).toContain('--old-key-file');
  const restored = await two.cli(['restore', backup, '--without-denials', '--old-key-file', oldKey]);
  expect(restored).toMatchObject({ code: 0, stderr: '' });
  expect(await ofAll(two)).toEqual(await ofAll(one));
  expect(await opensWith(two, one.key)).toBe(false);
  const [a, b] = [await within(one.open(), (v) => subjectOf(v, 'P7')), await within(two.open(), (v) => subjectOf(v, 'P7'))];
  expect(b).toEqual(a);
  // Its audit is numbered on.
  await within(two.open(), (v) => subjectOf(v, 'new'));
  const again = await two.cli(['restore', backup, '--without-denials', '--old-key-file', oldKey]);
  expect(again.code).toBe(1);
  expect(again.stderr).toContain('empty');
});

test('a backup that was cut, changed or made under another key restores nothing', async () => {
  const one = await filled();
  const backup = join(one.dir, 'all.bak');
  await one.cli(['backup', backup]);
  const good = readFileSync(backup);
  const two = await fresh(one.key);
  const bad = join(one.dir, 'bad.bak');
  const spoilt: Record<string, Buffer> = {
    cut: good.subarray(0, -1000),
    'without its tag': good.subarray(0, -16),
    empty: Buffer.alloc(0),
    'another date in the header': Buffer.from(good.toString('latin1').replace('"at":"2', '"at":"3'), 'latin1'),
  };
  for (const at of [600, Math.floor(good.length / 2), good.length - 17, good.length - 1]) {
    const changed = Buffer.from(good);
    changed[at] = (changed[at] ?? 0) ^ 1;
    spoilt[`a bit of byte ${at}`] = changed;
  }
  for (const [what, content] of Object.entries(spoilt)) {
    writeFileSync(bad, content);
    const o = {
      connectionString: two.url,
      key: one.key,
      oldKeys: [],
      backup: bad,
      denials: undefined,
      withdrawn: new Set<string>(),
      ids: RESEARCH_IDS,
      by: 't',
    };
    await expect(restoreVault(o).then(() => `restored although ${what}`)).rejects.toMatchObject({ name: 'BackupDamaged' });
    expect(await two.query("select 1 from pg_class where relname = 'patients'")).toEqual([]);
  }
});

test('a backup from before a withdrawal does not bring the person back', async () => {
  const one = await fresh();
  const [gone, stays] = await within(one.open(), async (vault) => {
    const [a, b] = [await subjectOf(vault, 'GONE'), await subjectOf(vault, 'STAYS')];
    await study(vault, a, '1.1');
    await study(vault, b, '1.2');
    return [a, b];
  });
  const backup = join(one.dir, 'before.bak');
  const early = join(one.dir, 'early.bak');
  expect((await one.cli(['denials', 'export', early])).code).toBe(0);
  expect((await one.cli(['backup', backup])).code).toBe(0);
  const withdrawals = await one.withdrawals();
  await withdrawals.withdrawPatient(idKey('GONE'), 'tester');
  await withdrawals.close();
  const denials = join(one.dir, 'denials.bak');
  expect((await one.cli(['denials', 'export', denials])).code).toBe(0);

  const two = await fresh(one.key);
  // Neither without denials, nor with an export from before the backup.
  expect((await two.cli(['restore', backup])).code).toBe(2);
  expect((await two.cli(['restore', backup, '--denials', early])).stderr).toContain('older than the backup');
  expect((await two.cli(['restore', denials, '--denials', backup])).stderr).toContain('holds denials');
  const restored = await two.cli(['restore', backup, '--denials', denials]);
  expect(JSON.parse(restored.stdout)).toMatchObject({ withdrawnAgain: 1, retiredAgain: 0 });
  await within(two.open(), async (vault) => {
    expect(await vault.subject(idKey('GONE'))).toBe('denied');
    expect(await subjectOf(vault, 'STAYS')).toEqual(stays);
  });
  for (const table of ['patients', 'identifiers', 'studies'])
    expect(await two.query(`select 1 from ${table} where subject_row = $1`, [gone.subjectRow])).toEqual([]);
  expect(await two.query('select count(*)::int as n from studies')).toEqual([{ n: 1 }]);

  // With the export lost, what research was told to erase is the net.
  const three = await fresh(one.key);
  const withdrawn = three.file('withdrawn', `${RESEARCH_IDS.subjectId(gone.secret)}\n`);
  const netted = await three.cli(['restore', backup, '--without-denials', '--withdrawn-file', withdrawn]);
  expect(JSON.parse(netted.stdout)).toMatchObject({ withdrawnAgain: 1 });
  await within(three.open(), async (vault) => expect(await vault.subject(idKey('GONE'))).toBe('denied'));
});

test('a backup from before a merge does not bring the retired pseudonym back, and denies nobody', async () => {
  const one = await fresh();
  const [, b] = await within(one.open(), async (vault) => [await subjectOf(vault, 'A'), await subjectOf(vault, 'B')]);
  const backup = join(one.dir, 'before.bak');
  await one.cli(['backup', backup]);
  const corrections = await one.corrections();
  await corrections.merge({ key: idKey('A') }, { key: idKey('B') }, 'tester');
  await corrections.close();
  const denials = join(one.dir, 'denials.bak');
  await one.cli(['denials', 'export', denials]);
  const two = await fresh(one.key);
  expect(JSON.parse((await two.cli(['restore', backup, '--denials', denials])).stdout)).toMatchObject({
    withdrawnAgain: 0,
    retiredAgain: 1,
  });
  const again = await within(two.open(), (vault) => subjectOf(vault, 'B'));
  expect(RESEARCH_IDS.subjectId(again.secret)).not.toBe(RESEARCH_IDS.subjectId((b as { secret: Uint8Array }).secret));
});

test('a backup is of one moment, while patients come', async () => {
  const one = await fresh();
  await within(one.open(), async (vault) => {
    let isDone = false;
    const coming = (async () => {
      for (let i = 0; !isDone; i++) await study(vault, await subjectOf(vault, `Q${i}`), `2.${i}`);
    })();
    const backup = join(one.dir, 'moment.bak');
    const made = await one.cli(['backup', backup]);
    isDone = true;
    await coming;
    expect(made).toMatchObject({ code: 0, stderr: '' });
    const { rows } = JSON.parse(made.stdout) as { rows: Record<string, number> };
    expect(existsSync(`${backup}.part`)).toBe(false);
    expect(rows['identifiers']).toBe(rows['patients']);
    expect((rows['patients'] ?? 0) - (rows['studies'] ?? 0)).toBeLessThanOrEqual(1);
  });
});
