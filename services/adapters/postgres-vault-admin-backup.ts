// Backup of the identity vault in PostgreSQL, without pg_dump: every table of the vault's database as text values, from
// one snapshot. Its rows are read again by postgres-vault-admin-restore.ts.
import { createHash } from 'node:crypto';
import pg from 'pg';
import { z } from 'zod';
import type { VaultSession } from './postgres-vault-admin.ts';
import { guarded, transaction } from './postgres-vault-session.ts';
import type { Client } from './postgres-vault-session.ts';
import { writeBackup } from './vault-backup-file.ts';
import type { BackupKind, Written } from './vault-backup-file.ts';

const PAGE = 500;
const { escapeIdentifier } = pg;

/** What a withdrawal leaves in the vault, and a backup from before it lacks. Parents first. */
export const DENIAL_TABLES: readonly string[] = ['deny', 'withdrawals', 'withdrawal_reports'];

export const firstLine = z.strictObject({
  /** Digest under the data key: which vault it is. */
  vault: z.string(),
  tables: z.array(z.strictObject({ name: z.string(), columns: z.array(z.string()) })),
});
export const rowsLine = z.strictObject({ table: z.string(), rows: z.array(z.array(z.string().nullable())) });
export const lastLine = z.strictObject({ end: z.strictObject({ rows: z.record(z.string(), z.number().int()), sha256: z.string() }) });

export type Counts = Readonly<Record<string, number>>;

export interface Table {
  readonly name: string;
  readonly columns: readonly { readonly name: string; readonly type: string; readonly isIdentity: boolean }[];
}

/** Tables of the database, a referenced one before those that refer to it. */
export const tablesOf = async (client: Client): Promise<Table[]> => {
  const { rows } = await client.query<{ name: string; columns: Table['columns']; refers: string[] }>(`
    select c.relname as name,
      (select json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'isIdentity', a.attidentity <> '')
         order by a.attnum)
       from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as columns,
      array(select f.relname::text from pg_constraint k join pg_class f on f.oid = k.confrelid
            where k.conrelid = c.oid and k.contype = 'f' and f.oid <> c.oid) as refers
    from pg_class c where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace order by c.relname`);
  const ordered: typeof rows = [];
  while (ordered.length < rows.length) {
    const next = rows.filter((t) => !ordered.includes(t) && t.refers.every((name) => ordered.some((o) => o.name === name)));
    if (next.length === 0) throw new Error("the vault's tables refer to each other in a ring");
    ordered.push(...next);
  }
  return ordered;
};

/** Keeps count and digest of the lines, and says them in the last one. */
async function* counted(lines: AsyncIterable<unknown>, rows: Record<string, number>): AsyncIterable<unknown> {
  const hash = createHash('sha256');
  for await (const line of lines) {
    hash.update(`${JSON.stringify(line)}\n`);
    const page = rowsLine.safeParse(line);
    if (page.success) rows[page.data.table] = (rows[page.data.table] ?? 0) + page.data.rows.length;
    yield line;
  }
  yield { end: { rows, sha256: hash.digest('hex') } };
}

async function* dump(client: Client, vault: string, wanted?: readonly string[]): AsyncIterable<unknown> {
  const tables = (await tablesOf(client)).filter(({ name }) => wanted?.includes(name) ?? true);
  yield { vault, tables: tables.map(({ name, columns }) => ({ name, columns: columns.map((c) => c.name) })) };
  for (const { name, columns } of tables) {
    const list = columns.map((c) => `${escapeIdentifier(c.name)}::text`).join(', ');
    await client.query(`declare page cursor for select array[${list}] as row from ${escapeIdentifier(name)}`);
    for (;;) {
      const { rows } = await client.query<{ row: (string | null)[] }>(`fetch ${PAGE} from page`);
      if (rows.length > 0) yield { table: name, rows: rows.map(({ row }) => row) };
      if (rows.length < PAGE) break;
    }
    await client.query('close page');
  }
}

export interface BackedUp extends Written {
  readonly rows: Counts;
}

/**
 * Writes all of the vault ('vault'), or what withdrawals left in it ('denials'), to a new file under the vault's key.
 * @throws Error EEXIST when the file is there
 */
export const backupVault = async (
  { pool, crypto }: VaultSession,
  o: { readonly path: string; readonly key: Uint8Array; readonly kind: BackupKind; readonly by: string },
): Promise<BackedUp> => {
  const rows: Record<string, number> = {};
  const written = await transaction(pool, async (client) => {
    // One snapshot for all tables: a patient that is first seen meanwhile is in it with everything, or not at all.
    await client.query('set transaction isolation level repeatable read, read only');
    const lines = dump(client, crypto.keyCheck, o.kind === 'denials' ? DENIAL_TABLES : undefined);
    return writeBackup(o.path, o.key, o.kind, counted(lines, rows));
  });
  const detail = JSON.stringify({ by: o.by, sha256: written.sha256 });
  await guarded(() => pool.query('insert into audit (action, detail) values ($1, $2)', [`backup-${o.kind}`, detail]));
  return { ...written, rows };
};
