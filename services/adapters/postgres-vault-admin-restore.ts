// Restore of the identity vault in PostgreSQL from a backup, into an empty database. Whoever withdrew since the backup was
// made is deleted again and denied: by the newest export of denials, and by what research was told to erase.
import { createHash } from 'node:crypto';
import pg from 'pg';
import type { z } from 'zod';
import { OWN_TABLES } from './postgres-database.ts';
import { DENIAL_TABLES, firstLine, lastLine, rowsLine, tablesOf } from './postgres-vault-admin-backup.ts';
import type { Counts, Table } from './postgres-vault-admin-backup.ts';
import type { ResearchIds } from './postgres-vault-withdraw.ts';
import { guarded, makeTables, newPool, noteSchema, openDataKey, transaction, VaultRefusal } from './postgres-vault-session.ts';
import type { Client } from './postgres-vault-session.ts';
import { BackupDamaged, readBackup, readBackupHeader } from './vault-backup-file.ts';
import type { BackupHeader, BackupKind } from './vault-backup-file.ts';
import { vaultCrypto, wrapDataKey } from './vault-crypto.ts';
import type { VaultCrypto } from './vault-crypto.ts';

const PAGE = 500;
const { escapeIdentifier } = pg;

export interface RestoreOptions {
  /** An empty database of the vault's role. */
  readonly connectionString: string;
  /** The key file of the restored vault. */
  readonly key: Uint8Array;
  /** Earlier keys, under which the files may have been made. */
  readonly oldKeys: readonly Uint8Array[];
  readonly backup: string;
  /** The newest export of denials; undefined only when nobody can have withdrawn since the backup. */
  readonly denials: string | undefined;
  /** Pseudonyms that research was told to erase (ct.research.subject-withdrawn), kept for ever there: the net below. */
  readonly withdrawn: ReadonlySet<string>;
  readonly ids: ResearchIds;
  readonly by: string;
}

export interface Restored {
  readonly backupAt: string;
  readonly denialsAt: string | undefined;
  readonly rows: Counts;
  /** Patients of the backup that had withdrawn since: deleted again, and denied. */
  readonly withdrawnAgain: number;
  /** Pseudonyms that a merge or split had retired since: the merge or split has to be done again. */
  readonly retiredAgain: number;
}

/**
 * Fills an empty database from a backup, in one transaction: a damaged file leaves nothing behind.
 * @throws VaultRefusal, BackupDamaged, Fault BAD_CONFIG
 */
export const restoreVault = async (o: RestoreOptions): Promise<Restored> => {
  const pool = newPool(o.connectionString, 1);
  try {
    await guarded(() => pool.query('select 1'));
    return await transaction(pool, async (client) => {
      await makeTables(client);
      await client.query(OWN_TABLES);
      await client.query("delete from outbox_counter where last = 0; delete from vault_meta where name = 'schema'");
      await assertEmpty(client);
      const backup = await openFile(o.backup, 'vault', o);
      const loaded = await load(client, o.backup, backup.key);
      const crypto = await rewrap(client, backup.key, o.key);
      if (loaded.vault !== crypto.keyCheck) throw new BackupDamaged('the backup is not of the vault that its data key opens');
      const denials = o.denials === undefined ? undefined : await openFile(o.denials, 'denials', o);
      if (o.denials !== undefined && denials !== undefined)
        await loadDenials(client, { path: o.denials, ...denials }, backup.header, crypto);
      const gone = await withdrawAgain(client, crypto, o);
      await resetIdentities(client);
      await noteSchema(client);
      const detail = { by: o.by, backupAt: backup.header.at, denialsAt: denials?.header.at, ...gone };
      await client.query("insert into audit (action, detail) values ('restored', $1)", [JSON.stringify(detail)]);
      return { backupAt: backup.header.at, denialsAt: denials?.header.at, rows: loaded.rows, ...gone };
    });
  } finally {
    await pool.end();
  }
};

const assertEmpty = async (client: Client): Promise<void> => {
  for (const { name } of await tablesOf(client)) {
    const { rowCount } = await client.query(`select from ${escapeIdentifier(name)} limit 1`);
    if (rowCount !== 0) throw new VaultRefusal('the database already holds a vault: stop the stages and restore into an empty one');
  }
};

/** Header of the file and the key that it was made under. All of it is read: nothing unproven reaches the database. */
const openFile = async (
  path: string,
  kind: BackupKind,
  { key, oldKeys }: RestoreOptions,
): Promise<{ header: BackupHeader; key: Uint8Array }> => {
  const header = await readBackupHeader(path);
  if (header.kind !== kind) throw new VaultRefusal(`${path} holds ${header.kind}, not ${kind}`);
  for (const tried of [key, ...oldKeys]) if (await isMadeUnder(path, tried)) return { header, key: tried };
  throw new BackupDamaged(`${path} was made under another key (give it with --old-key-file), or is damaged`);
};

const isMadeUnder = async (path: string, key: Uint8Array): Promise<boolean> => {
  try {
    for await (const line of readBackup(path, key)) if (line === undefined) return false;
    return true;
  } catch (error) {
    if (error instanceof BackupDamaged) return false;
    throw error;
  }
};

/** Inserts the file's rows and checks its counts and digest. */
const load = async (client: Client, path: string, key: Uint8Array): Promise<{ vault: string; rows: Counts }> => {
  const tables = new Map((await tablesOf(client)).map((table) => [table.name, table]));
  const rows: Record<string, number> = {};
  const hash = createHash('sha256');
  let first: z.output<typeof firstLine> | undefined;
  let last: z.output<typeof lastLine> | undefined;
  for await (const line of readBackup(path, key)) {
    const text = `${JSON.stringify(line)}\n`;
    const end = lastLine.safeParse(line);
    if (last !== undefined) throw new BackupDamaged('the backup goes on after its end');
    if (end.success) last = end.data;
    else {
      hash.update(text);
      if (first === undefined) first = firstLine.parse(line);
      else await insertPage(client, tables, first, rowsLine.parse(line), rows);
    }
  }
  if (first === undefined || last === undefined) throw new BackupDamaged('the backup is cut short');
  if (JSON.stringify(last.end.rows) !== JSON.stringify(rows) || last.end.sha256 !== hash.digest('hex'))
    throw new BackupDamaged("the backup's rows are not those that it counted");
  return { vault: first.vault, rows };
};

const insertPage = async (
  client: Client,
  tables: ReadonlyMap<string, Table>,
  first: z.output<typeof firstLine>,
  page: z.output<typeof rowsLine>,
  counts: Record<string, number>,
): Promise<void> => {
  const table = tables.get(page.table);
  const names = first.tables.find(({ name }) => name === page.table)?.columns ?? [];
  const columns = names.map((name) => table?.columns.find((column) => column.name === name));
  if (table === undefined || columns.length === 0 || columns.includes(undefined))
    throw new VaultRefusal(`this version has no place for the backup's table ${page.table}: restore with the version that made it`);
  const known = columns.filter((column) => column !== undefined);
  const list = known.map((column) => escapeIdentifier(column.name)).join(', ');
  const values = known.map((column, i) => `c${i}::${column.type}`).join(', ');
  const arrays = known.map((_, i) => `$${i + 1}::text[]`).join(', ');
  await client.query(
    `insert into ${escapeIdentifier(table.name)} (${list}) overriding system value
     select ${values} from unnest(${arrays}) as page (${known.map((_, i) => `c${i}`).join(', ')})`,
    known.map((_, i) => page.rows.map((row) => row[i] ?? null)),
  );
  counts[page.table] = (counts[page.table] ?? 0) + page.rows.length;
};

/** The data key goes on under the key file of today. */
const rewrap = async (client: Client, from: Uint8Array, to: Uint8Array): Promise<VaultCrypto> => {
  const { rows } = await client.query<{ value: Buffer }>("select value from vault_meta where name = 'data-key'");
  if (rows[0] === undefined) throw new BackupDamaged('the backup has no data key');
  const dataKey = openDataKey(from, rows[0].value);
  await client.query("update vault_meta set value = $1 where name = 'data-key'", [wrapDataKey(to, dataKey)]);
  return vaultCrypto(dataKey);
};

/** Puts the export in the place of what the backup knew of withdrawals. */
const loadDenials = async (
  client: Client,
  denials: { path: string; header: BackupHeader; key: Uint8Array },
  backup: BackupHeader,
  crypto: VaultCrypto,
): Promise<void> => {
  const known = await client.query<{ id_digest: string }>('select id_digest from deny');
  for (const name of DENIAL_TABLES.toReversed()) await client.query(`delete from ${escapeIdentifier(name)}`);
  const { vault } = await load(client, denials.path, denials.key);
  if (vault !== crypto.keyCheck) throw new VaultRefusal(`${denials.path} is of another vault than the backup`);
  const digests = known.rows.map((row) => row.id_digest);
  const { rowCount } = await client.query('select from unnest($1::text[]) as known (id) where id not in (select id_digest from deny)', [
    digests,
  ]);
  if (denials.header.at < backup.at || rowCount !== 0)
    throw new VaultRefusal(`${denials.path} is older than the backup: give the newest export of denials`);
};

interface GoneAgain {
  readonly withdrawnAgain: number;
  readonly retiredAgain: number;
}

/** Deletes the patients whose id, study or pseudonym was withdrawn or retired since the backup. */
const withdrawAgain = async (client: Client, crypto: VaultCrypto, { withdrawn, ids }: RestoreOptions): Promise<GoneAgain> => {
  const { rows: known } = await client.query<{ subject_digest: string; kind: string }>('select subject_digest, kind from withdrawals');
  const kinds = new Map(known.map((row) => [row.subject_digest, row.kind]));
  const kindOf = (row: { subject_row: string; secret_box: Buffer }): string | undefined => {
    const pseudonym = ids.subjectId(crypto.open(row.secret_box, row.subject_row));
    return kinds.get(crypto.digest('subject', pseudonym)) ?? (withdrawn.has(pseudonym) ? 'withdrawal' : undefined);
  };
  let retiredAgain = 0;
  for (let after = ''; ;) {
    const { rows } = await client.query<{ subject_row: string; secret_box: Buffer }>(
      'select subject_row, secret_box from patients where subject_row > $1 order by subject_row limit $2',
      [after, PAGE],
    );
    const of = (kind: string): string[] => rows.filter((row) => kindOf(row) === kind).map((row) => row.subject_row);
    await client.query(
      `insert into deny (id_digest) select id_digest from identifiers where subject_row = any ($1)
       union select study_digest from studies where subject_row = any ($1) on conflict do nothing`,
      [of('withdrawal')],
    );
    // Nobody's since a merge or split that the backup does not have: drawn anew when they are seen next.
    retiredAgain += (await client.query('delete from patients where subject_row = any ($1)', [of('correction')])).rowCount ?? 0;
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE) break;
    after = last.subject_row;
  }
  const { rowCount } = await client.query(`
    delete from patients where subject_row in (
      select subject_row from identifiers join deny using (id_digest)
      union select subject_row from studies join deny on deny.id_digest = study_digest where subject_row is not null)`);
  await client.query('delete from studies where study_digest in (select id_digest from deny)');
  return { withdrawnAgain: rowCount ?? 0, retiredAgain };
};

/** New rows are numbered after the restored ones. */
const resetIdentities = async (client: Client): Promise<void> => {
  for (const { name, columns } of await tablesOf(client)) {
    for (const column of columns.filter(({ isIdentity }) => isIdentity)) {
      await client.query(
        `select setval(pg_get_serial_sequence($1, $2), coalesce((select max(${escapeIdentifier(column.name)}) from ${escapeIdentifier(name)}), 0) + 1, false)`,
        [escapeIdentifier(name), column.name],
      );
    }
  }
};
