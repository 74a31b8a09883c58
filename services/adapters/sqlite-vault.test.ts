import { afterAll, describe, expect, test } from '@jest/globals';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { centreId, clinicalKey } from '../kernel/ids.ts';
import type { ClinicalRevision, StudyInstanceUid } from '../kernel/ids.ts';
import { vaultContract } from '../../test/contract/vault.ts';
import { openSqliteVault } from './sqlite-vault.ts';
import { withdrawFromSqliteVault } from './sqlite-vault-withdraw.ts';

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
  test('a withdrawal deletes what links and refuses the person and the studies; others stay', async () => {
    const path = join(folder, 'withdraw.db');
    const vault = openSqliteVault(path);
    const [goes, stays] = [
      { namespace: 'issuer:H', patientId: '1' },
      { namespace: 'issuer:H', patientId: '2' },
    ];
    const [seen, other] = [await vault.subject(goes), await vault.subject(stays)];
    if (seen === 'denied' || other === 'denied') throw new Error('denied');
    const uid = '1.2.3.77' as StudyInstanceUid;
    await vault.study(seen, centreId('local'), uid, 'r' as ClinicalRevision);
    await vault.close();
    expect(withdrawFromSqliteVault(path, goes)).toEqual({ studies: 1 });
    expect(withdrawFromSqliteVault(path, goes)).toBe('denied');
    expect(withdrawFromSqliteVault(path, { namespace: 'issuer:H', patientId: 'never seen' })).toBe('denied');
    const bytes = readFileSync(path).toString('latin1');
    expect(bytes).not.toContain(Buffer.from(seen.secret).toString('latin1'));
    expect(bytes.split(seen.subjectRow)).toHaveLength(2); // the audit's first sight: the row itself is overwritten
    const again = openSqliteVault(path);
    expect(await again.subject(goes)).toBe('denied');
    expect(await again.subject({ namespace: 'issuer:H', patientId: 'never seen' })).toBe('denied');
    expect(await again.subject(stays)).toEqual(other);
    expect((await again.denied([clinicalKey(centreId('local'), uid)])).size).toBe(1);
    await again.close();
    expect(() => withdrawFromSqliteVault(join(folder, 'none.db'), goes)).toThrow('BAD_CONFIG');
  });

  test('keeps its key in a file that only its owner reads', () => {
    expect(statSync(`${file}.key`).mode & 0o077).toBe(0);
  });

  test('says which folder can not be made, instead of trying for ever', () => {
    expect(() => openSqliteVault('/proc/none/such/vault.sqlite')).toThrow(/BAD_CONFIG|\/proc\/none/);
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
