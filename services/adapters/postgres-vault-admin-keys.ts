// Changing the vault's key file. The file's key only seals the vault's data key, so a rotation writes one row.
import { guarded, makeTables, newPool, openDataKey, transaction, VaultRefusal } from './postgres-vault-session.ts';
import { wrapDataKey } from './vault-crypto.ts';

export interface RotationOptions {
  /** postgres://user:password@host:port/database */
  readonly connectionString: string;
  /** The 32 bytes that open the vault now, and those that will. The new file must be on disk before. */
  readonly oldKey: Uint8Array;
  readonly newKey: Uint8Array;
  /** Who did it, for the audit. */
  readonly by: string;
}

/**
 * From the commit on the old key opens nothing, until then the new one doesn't. Processes that have the vault open go on.
 * @throws Fault BAD_CONFIG when the old key is not the vault's; VaultRefusal when both keys are the same or there is no vault
 */
export const rotateKey = async ({ connectionString, oldKey, newKey, by }: RotationOptions): Promise<void> => {
  if (Buffer.from(oldKey).equals(newKey)) throw new VaultRefusal('the new key is the old one');
  const pool = newPool(connectionString, 1);
  try {
    await guarded(() =>
      transaction(pool, async (client) => {
        await makeTables(client);
        const { rows } = await client.query<{ value: Buffer }>("select value from vault_meta where name = 'data-key' for update");
        if (rows[0] === undefined)
          throw new VaultRefusal('there is no vault in this database yet: it takes the new key file at first start');
        const wrapped = wrapDataKey(newKey, openDataKey(oldKey, rows[0].value));
        await client.query("update vault_meta set value = $1 where name = 'data-key'", [wrapped]);
        await client.query("insert into audit (action, detail) values ('key-rotated', $1)", [JSON.stringify({ by })]);
      }),
    );
  } finally {
    await pool.end();
  }
};
