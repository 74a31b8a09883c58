import { afterAll, describe, expect, test } from '@jest/globals';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { vaultContract } from '../../test/contract/vault.ts';
import { openSqliteVault } from './sqlite-vault.ts';

const folder = mkdtempSync(join(tmpdir(), 'ctstream-vault-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'vault.db');

vaultContract('SQLite file', async () => ({
  open: async () => openSqliteVault(file),
  dump: async () => {
    const db = new DatabaseSync(file);
    db.exec('pragma wal_checkpoint(truncate)');
    db.close();
    return readFileSync(file).toString('latin1').replaceAll('issuer_of', '');
  },
  deny: async (subjectRow) => {
    const db = new DatabaseSync(file);
    db.prepare('insert into deny select id_digest from identifiers where subject_row = ?').run(subjectRow);
    db.close();
  },
}));

describe('the file vault', () => {
  test('keeps its key in a file that only its owner reads', () => {
    expect(statSync(`${file}.key`).mode & 0o077).toBe(0);
  });

  test('does not open with another key, or without one', async () => {
    const path = join(folder, 'other.db');
    await openSqliteVault(path).close();
    writeFileSync(`${path}.key`, '11'.repeat(32));
    expect(() => openSqliteVault(path)).toThrow('BAD_CONFIG');
    rmSync(`${path}.key`);
    expect(() => openSqliteVault(path)).toThrow('BAD_CONFIG');
  });
});
