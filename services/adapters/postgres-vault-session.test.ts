// What the waiting for a patient's lock leaves in its transaction.
import { expect, test } from '@jest/globals';
import pg from 'pg';
import type { Transaction } from '../ports/database.ts';
import { lockPatient } from './postgres-vault-session.ts';

test('however often a lock is waited for again, the transaction has one savepoint', async () => {
  const asked: string[] = [];
  let refusals = 3;
  const query = async (sql: string): Promise<readonly never[]> => {
    asked.push(sql);
    if (sql.includes('pg_advisory_xact_lock') && refusals-- > 0)
      throw Object.assign(new pg.DatabaseError('lock timeout', 0, 'error'), { code: '55P03' });
    return [];
  };
  await lockPatient({ query } as unknown as Transaction, 'row');
  expect(asked.filter((sql) => sql.startsWith('savepoint'))).toHaveLength(1);
  expect(asked.filter((sql) => sql.startsWith('rollback to'))).toHaveLength(3);
  expect(asked.filter((sql) => sql.includes('pg_advisory_xact_lock'))).toHaveLength(4);
});
