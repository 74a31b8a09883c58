// Identity links only through the vault and its key: the vault's contract on the real PostgreSQL.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { createDatabase } from '../../deploy/local/postgres.ts';
import { newPool, transaction } from '../../services/adapters/postgres-vault-session.ts';
import { openPostgresVault } from '../../services/adapters/postgres-vault.ts';
import { Fault } from '../../services/kernel/fault.ts';
import { centreId } from '../../services/kernel/ids.ts';
import type { StudyInstanceUid } from '../../services/kernel/ids.ts';
import { vaultContract } from '../contract/vault.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

const key = randomBytes(32);
const name = testPrefix('vault').replaceAll('-', '_');
let connectionString = '';

const open = async (): Promise<string> => {
  const platform = await testPlatform();
  connectionString ||= await createDatabase(platform.postgres, name, { user: name, password: randomBytes(12).toString('hex') });
  return connectionString;
};

const query = async (sql: string, params: readonly unknown[] = []): Promise<Record<string, unknown>[]> => {
  const client = new pg.Client({ connectionString: await open() });
  await client.connect();
  try {
    return (await client.query(sql, [...params])).rows as Record<string, unknown>[];
  } finally {
    await client.end();
  }
};

beforeAll(open);
afterAll(releasePlatform);

vaultContract('PostgreSQL', async () => ({
  open: async () => openPostgresVault({ connectionString: await open(), key, maxLocks: 4 }),
  dump: async () => {
    const parts: string[] = [];
    for (const table of ['vault_meta', 'patients', 'identifiers', 'studies', 'revisions', 'deny', 'audit']) {
      for (const row of await query(`select * from ${table}`)) {
        for (const value of Object.values(row))
          parts.push(Buffer.isBuffer(value) ? `${value.toString('latin1')} ${value.toString('hex')}` : String(value));
      }
    }
    return parts.join('\n');
  },
  deny: async (subjectRow) => void (await query('insert into deny select id_digest from identifiers where subject_row = $1', [subjectRow])),
}));

describe('the vault in PostgreSQL', () => {
  test('opens twice at once on an empty database, and not with another key', async () => {
    const platform = await testPlatform();
    const empty = `${name}fresh`;
    const url = await createDatabase(platform.postgres, empty, { user: empty, password: randomBytes(12).toString('hex') });
    const both = await Promise.all([openPostgresVault({ connectionString: url, key }), openPostgresVault({ connectionString: url, key })]);
    expect(await both[0].siteSecret()).toEqual(await both[1].siteSecret());
    await Promise.all(both.map((vault) => vault.close()));
    await expect(openPostgresVault({ connectionString: url, key: randomBytes(32) })).rejects.toMatchObject({ code: 'BAD_CONFIG' });
  });

  test('tokens of a page of thousands are given by one connection, also while a withdrawal holds their rows', async () => {
    const vault = await openPostgresVault({ connectionString: await open(), key, maxConnections: 1 });
    const page = Array.from({ length: 5000 }, (_, i) => `1.2.5000.${i}` as StudyInstanceUid);
    const drawn = await vault.tokens(centreId('c01'), page);
    expect(new Set([...drawn.values()].map(({ token }) => token)).size).toBe(5000);
    const pool = newPool(await open(), 1);
    await transaction(pool, async (client) => {
      await client.query('select from studies where token = $1 for update', [drawn.get(page[7] as StudyInstanceUid)?.token]);
      expect(await vault.tokens(centreId('c01'), page)).toEqual(drawn);
    });
    await Promise.all([pool.end(), vault.close()]);
  });

  test('the server notices within two minutes that a node which holds a lock is gone', async () => {
    const pool = newPool(await open(), 1);
    const { rows } = await pool.query<{ name: string; setting: string }>(
      "select name, setting from pg_settings where name like 'tcp\\_keepalives\\_%' order by name",
    );
    expect(rows.map(({ name: setting, setting: value }) => [setting.replace('tcp_keepalives_', ''), Number(value)])).toEqual([
      ['count', 3],
      ['idle', 60],
      ['interval', 10],
    ]);
    await pool.end();
  });

  test("a connection that ends between two queries of a transaction is that transaction's fault, and ends no process", async () => {
    const pool = newPool(await open(), 2);
    const cut = transaction(pool, async (client) => {
      const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
      await query('select pg_terminate_backend($1)', [rows[0]?.pid]);
      // The server's word comes while nobody waits for a query.
      await new Promise((resolve) => setTimeout(resolve, 300));
      await client.query('select 1');
    });
    await expect(cut).rejects.toThrow();
    expect(await transaction(pool, async (client) => (await client.query<{ n: number }>('select 1 as n')).rows[0]?.n)).toBe(1);
    await pool.end();
  });

  test('says VAULT_UNAVAILABLE, to be tried again, when the database is away', async () => {
    const refused = openPostgresVault({ connectionString: 'postgres://nobody:x@127.0.0.1:1/none', key });
    await expect(refused).rejects.toBeInstanceOf(Fault);
    await expect(refused).rejects.toMatchObject({ code: 'VAULT_UNAVAILABLE', retryable: true });
  });

  test('a withdrawal that deletes the patient takes studies and revisions along, and later locks see it', async () => {
    const vault = await openPostgresVault({ connectionString: await open(), key });
    const subject = await vault.subject({ namespace: 'n', patientId: 'goes' });
    if (subject === 'denied') throw new Error('denied');
    const { token } = await vault.study(subject, 'c01' as never, '1.2.3' as never, 'r' as never);
    await query('delete from patients where subject_row = $1', [subject.subjectRow]);
    expect(await query('select 1 from studies where token = $1', [token])).toEqual([]);
    await expect(vault.subjectLock(subject.subjectRow)).rejects.toMatchObject({ code: 'VAULT_UNAVAILABLE' });
    await vault.close();
  });
});
