// Who may do what in the vault's database. Its owner is anonymise, and with it the privacy officers' commands, which
// move and delete patients; everyone else gets single tables and columns.
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { openPostgresVault } from '../../services/adapters/postgres-vault.ts';
import { makeTables, newPool, transaction } from '../../services/adapters/postgres-vault-session.ts';
import { createGuest, type PostgresAccess } from './postgres.ts';

/** What opening the vault reads: the sealed data key, the site secret, and which text made the tables. */
const OPEN = 'SELECT ON vault_meta';

export const VAULT_GUESTS = {
  // Looks at held studies, decides, and stands in the audit; nothing of patients, secrets or identifiers.
  security: [
    'SELECT ON held',
    'UPDATE (decision, decided_digest, decided_by, reason, decided_at) ON held',
    'SELECT ON held_looks',
    'INSERT ON held_looks',
    'UPDATE (findings_digest, at) ON held_looks',
    'SELECT (token, subject_row) ON studies',
    'INSERT (action, subject_row, detail) ON audit',
    'SELECT (audit_id) ON audit',
  ],
  // Puts a token in place of every UID; a study that it meets first gets its row, with no patient in it.
  'archiver-clinical': [
    OPEN,
    'SELECT ON deny',
    'SELECT ON studies',
    'INSERT (study_digest, key_box, lineage_id, token, secret_box) ON studies',
  ],
  // Follows a study across the boundary for the account.
  account: [OPEN, 'SELECT ON deny', 'SELECT ON studies'],
} as const satisfies Record<string, readonly string[]>;

export type VaultGuest = keyof typeof VAULT_GUESTS;
export const VAULT_GUEST_NAMES = Object.keys(VAULT_GUESTS) as VaultGuest[];

/** Role of a guest of the vault's database. */
export const guestRole = (database: string, guest: VaultGuest): string => `${database}_${guest.replaceAll('-', '_')}`;

/**
 * Makes the vault's tables and data key as its owner when they are not there, then the guests with exactly their rights.
 * @param keyFile the vault's key, read only when the vault has no data key yet
 */
export async function provisionVault(
  access: PostgresAccess,
  o: { readonly database: string; readonly ownerUrl: string; readonly keyFile: string; readonly passwordOf: (guest: VaultGuest) => string },
): Promise<void> {
  const pool = newPool(o.ownerUrl, 1);
  try {
    await transaction(pool, makeTables);
    const { rowCount } = await pool.query("select from vault_meta where name = 'data-key'");
    if (rowCount === 0) {
      const key = Buffer.from(readFileSync(o.keyFile, 'utf8').trim(), 'hex');
      await (await openPostgresVault({ connectionString: o.ownerUrl, key, maxConnections: 1 })).close();
    }
    for (const guest of VAULT_GUEST_NAMES) {
      const role = guestRole(o.database, guest);
      await createGuest(access, o.database, { user: role, password: o.passwordOf(guest) });
      await transaction(pool, async (client) => {
        for (const statement of grantsOf(guest, role)) await client.query(statement);
      });
    }
  } finally {
    await pool.end();
  }
}

/** The statements, for an operator's own server too: first nothing, then exactly the table's rights. */
export function grantsOf(guest: VaultGuest, role: string): string[] {
  const name = pg.escapeIdentifier(role);
  return [`REVOKE ALL ON ALL TABLES IN SCHEMA public FROM ${name}`, ...VAULT_GUESTS[guest].map((right) => `GRANT ${right} TO ${name}`)];
}
