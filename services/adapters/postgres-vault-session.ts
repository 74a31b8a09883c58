// Connections of the identity vault in PostgreSQL: pools, transactions, its tables, and the data key that
// the key file opens. Look-ups (postgres-vault.ts) and the operator's work (postgres-vault-admin.ts) share it.
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { sha256Hex } from '../kernel/digest.ts';
import { Fault } from '../kernel/fault.ts';
import type { Transaction } from '../ports/database.ts';
import { newDataKey, newSecret, unwrapDataKey, VAULT_KEY_BYTES, vaultCrypto, wrapDataKey } from './vault-crypto.ts';
import type { VaultCrypto } from './vault-crypto.ts';
import { checkedUrl, refusalOf } from './postgres-connection.ts';

const CONNECT_TIMEOUT_MS = 10_000;
const QUERY_TIMEOUT_MS = 30_000;
/**
 * A node that dies closes no connection, and its sessions hold the locks of patients until the server has noticed: with these after a
 * minute and a half, with the system's own after two hours. Every role may set them; over a Unix socket they are without effect.
 */
const SERVER_KEEPALIVE = '-c tcp_keepalives_idle=60 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3';
/** Advisory lock of migrations, rotation and restore, one at a time; any fixed number. */
export const MIGRATION_LOCK = 7_203_114;

/** Connections that give up a query after half a minute, or after the time given. */
export const newPool = (connectionString: string, max: number, queryTimeoutMs: number = QUERY_TIMEOUT_MS): pg.Pool => {
  const pool = new pg.Pool({
    connectionString: checkedUrl(connectionString, 'VAULT_URL'),
    max,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: queryTimeoutMs,
    keepAlive: true,
    options: SERVER_KEEPALIVE,
  });
  // An idle connection that breaks is replaced; without a listener it would end the process.
  pool.on('error', () => undefined);
  return pool;
};

/** What the vault's rows or files do not allow; the text says what to do and names no patient. */
export class VaultRefusal extends Error {}

/** Any error of the database is the vault's being away: nothing of a study decides over it. */
export const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Fault || error instanceof VaultRefusal) throw error;
    if (error instanceof Error && error.name === 'AbortError') throw error;
    throw vaultFault(error, 'the identity vault failed');
  }
};

/** The fault behind an error of the vault's database. @param what told when the server neither refused nor was refused */
export const vaultFault = (error: unknown, what: string): Fault => {
  const refusal = refusalOf(error);
  if (refusal === undefined) return new Fault('VAULT_UNAVAILABLE', true, what, { cause: error });
  return new Fault(`VAULT_${refusal.kind}`, true, refusal.why, { cause: error });
};

export type Client = Pick<pg.Pool, 'query'>;

export const transaction = async <T>(pool: pg.Pool, work: (client: Client) => Promise<T>): Promise<T> => {
  const client = await pool.connect();
  // The pool listens to idle connections only: one that ends between two queries would end the process.
  const onError = (): void => undefined;
  client.on('error', onError);
  let isWhole = false;
  try {
    await client.query('begin');
    const result = await work(client);
    await client.query('commit');
    isWhole = true;
    return result;
  } finally {
    if (isWhole) client.off('error', onError);
    // A connection in an unknown state is not used again.
    client.release(!isWhole);
  }
};

/**
 * Makes the tables and the data key at first start, and opens the data key.
 * @throws Fault VAULT_UNAVAILABLE, or BAD_CONFIG when the key file is not the one that the vault was last given.
 */
export const openTables = (pool: pg.Pool, key: Uint8Array): Promise<VaultCrypto> =>
  guarded(() =>
    transaction(pool, async (client) => {
      await makeTables(client);
      const { rows } = await client.query<{ value: Buffer }>("select value from vault_meta where name = 'data-key'");
      return rows[0] === undefined ? makeVault(client, key) : vaultCrypto(openDataKey(key, rows[0].value));
    }),
  );

const SCHEMA = readFileSync(new URL('postgres-vault.sql', import.meta.url), 'utf8');

/**
 * Makes what is missing of the tables, alone: the lock is held until the transaction ends. Tables that are as this version
 * wants them are not touched: even a statement that changes nothing takes locks that studies in work may wait for.
 */
export const makeTables = async (client: Client): Promise<void> => {
  await client.query('select pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
  const { rows } = await client.query<{ there: boolean }>("select to_regclass('vault_meta') is not null as there");
  if (rows[0]?.there === true) {
    const { rows: noted } = await client.query<{ value: Buffer }>("select value from vault_meta where name = 'schema'");
    if (noted[0]?.value.toString() === sha256Hex(SCHEMA)) return;
  }
  await client.query(SCHEMA);
  await noteSchema(client);
};

/** Writes down which text made the tables. */
export const noteSchema = (client: Client): Promise<unknown> =>
  client.query("insert into vault_meta values ('schema', $1) on conflict (name) do update set value = excluded.value", [
    Buffer.from(sha256Hex(SCHEMA)),
  ]);

/** @throws Fault BAD_CONFIG */
export const openDataKey = (key: Uint8Array, wrapped: Uint8Array): Buffer => {
  checkLength(key);
  const dataKey = unwrapDataKey(key, wrapped);
  if (dataKey === undefined)
    throw new Fault('BAD_CONFIG', false, 'the key file is not the one that this vault was made with or last rotated to');
  return dataKey;
};

const checkLength = (key: Uint8Array): void => {
  if (key.length === VAULT_KEY_BYTES) return;
  throw new Fault('BAD_CONFIG', false, `the vault's key file holds ${VAULT_KEY_BYTES} bytes in hex, not ${key.length}`);
};

const makeVault = async (client: Client, key: Uint8Array): Promise<VaultCrypto> => {
  checkLength(key);
  // Rows under a data key that is gone would be drawn anew without a word: every patient would be another one.
  const { rowCount } = await client.query("select from patients union all select from vault_meta where name <> 'schema' limit 1");
  if (rowCount !== 0) throw new Fault('BAD_CONFIG', false, 'the vault has rows and no data key: restore its backup into an empty database');
  const dataKey = newDataKey();
  const wrapped = wrapDataKey(key, dataKey);
  const crypto = vaultCrypto(dataKey);
  await client.query("insert into vault_meta values ('data-key', $1), ('site-secret', $2)", [
    wrapped,
    crypto.seal(newSecret(), 'site-secret'),
  ]);
  return crypto;
};

/** Shorter than any limit of a single query. */
const LOCK_WAIT_MS = 20_000;
/** SQLSTATE of a lock that did not come in the time. */
const LOCK_NOT_AVAILABLE = '55P03';

/**
 * The patient's lock alone, until the transaction ends. Jobs of the patient hold it until their events are in the log, which may take
 * as long as the longest job; new ones are refused while somebody waits. A query that waits for long is given up by the client, so it
 * waits again and again. Ends with the transaction's signal.
 */
export const lockPatient = async (tx: Transaction, subjectRow: string, waitMs: number = LOCK_WAIT_MS): Promise<void> => {
  // Once: rolling back to it keeps it, and another of its name would lie within it.
  await tx.query('savepoint patient_lock');
  for (;;) {
    try {
      await tx.query("select set_config('lock_timeout', $1, true)", [String(waitMs)]);
      await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 1))', [subjectRow]);
      await tx.query("select set_config('lock_timeout', '0', true)");
      return;
    } catch (error) {
      if (!(error instanceof pg.DatabaseError) || error.code !== LOCK_NOT_AVAILABLE) throw error;
      await tx.query('rollback to savepoint patient_lock');
    }
  }
};
