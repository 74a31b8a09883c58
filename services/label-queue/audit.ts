// The audit: each entry's hash covers the one before, so that a changed or removed entry shows.
import { digestOfParts } from '../kernel/digest.ts';
import type { Queryable, Transaction } from '../ports/database.ts';

export const AUDIT_LOCK = 0x41554449;
const GENESIS = '0'.repeat(64);

interface AuditRow {
  readonly seq: string;
  readonly at_ms: string;
  readonly actor: string;
  readonly action: string;
  readonly detail: string;
  readonly previous: string;
  readonly hash: string;
}

function hashOf(row: Omit<AuditRow, 'hash'>): string {
  return digestOfParts(['audit', row.previous, row.seq, row.at_ms, row.actor, row.action, row.detail]);
}

/** Appends an entry. Call it last in the transaction: until the commit, others wait here. */
export async function audit(
  tx: Transaction,
  actor: string,
  action: string,
  detail: Readonly<Record<string, string | number | boolean | null>>,
): Promise<void> {
  // Two statements: one that waits for the lock would see the head as it was before the wait.
  const [, [head]] = await Promise.all([
    tx.query('SELECT pg_advisory_xact_lock($1)', [AUDIT_LOCK]),
    tx.query<{ seq: string; hash: string; at_ms: string }>(
      `SELECT coalesce(max(seq), 0)::text AS seq, coalesce((SELECT hash FROM audit ORDER BY seq DESC LIMIT 1), $1) AS hash,
              (extract(epoch FROM clock_timestamp()) * 1000)::bigint::text AS at_ms FROM audit`,
      [GENESIS],
    ),
  ]);
  if (head === undefined) throw new Error('the audit gave no head');
  const row = {
    seq: (BigInt(head.seq) + 1n).toString(),
    at_ms: head.at_ms,
    actor,
    action,
    detail: JSON.stringify(detail),
    previous: head.hash,
  };
  await tx.query('INSERT INTO audit (seq, at_ms, actor, action, detail, previous, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)', [
    row.seq,
    row.at_ms,
    row.actor,
    row.action,
    row.detail,
    row.previous,
    hashOf(row),
  ]);
}

/** Number of the first entry that does not fit its chain; undefined when all do. */
export async function firstBrokenEntry(database: Queryable): Promise<number | undefined> {
  const rows = await database.query<AuditRow>(
    'SELECT seq::text, at_ms::text, actor, action, detail, previous, hash FROM audit ORDER BY audit.seq',
  );
  let previous = GENESIS;
  for (const [i, row] of rows.entries()) {
    if (row.seq !== String(i + 1) || row.previous !== previous || row.hash !== hashOf(row)) return i + 1;
    previous = row.hash;
  }
  return undefined;
}
