// A copy of the folder vault, made while it is open, is the vault.
import { afterAll, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { backupSqliteVault } from './sqlite-vault-backup.ts';
import { openSqliteVault } from './sqlite-vault.ts';

const dir = mkdtempSync(join(tmpdir(), 'sqlite-backup-'));
afterAll(() => rmSync(dir, { recursive: true }));

test('the copy opens with its own key file and knows the same patients', async () => {
  const vault = openSqliteVault(join(dir, 'vault.sqlite'));
  const key = { namespace: 'n', patientId: 'A' };
  const before = await vault.subject(key);
  const copy = join(dir, 'copy.sqlite');
  await backupSqliteVault(join(dir, 'vault.sqlite'), copy);
  const after = await vault.subject({ namespace: 'n', patientId: 'later' });
  await vault.close();
  for (const file of [copy, `${copy}.key`]) expect(statSync(file).mode & 0o777).toBe(0o600);
  const restored = openSqliteVault(copy);
  expect(await restored.subject(key)).toEqual(before);
  expect(await restored.subject({ namespace: 'n', patientId: 'later' })).not.toEqual(after);
  await restored.close();
  await expect(backupSqliteVault(join(dir, 'vault.sqlite'), copy)).rejects.toThrow('already');
});
