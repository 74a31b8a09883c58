// A backup of the folder vault: the database by SQLite's own copy, consistent while it is in use, and its key beside it.
import { copyFileSync, chmodSync, constants, existsSync } from 'node:fs';
import { backup, DatabaseSync } from 'node:sqlite';

/**
 * Copies the vault `file` and `file.key` to `target` and `target.key`, neither of which may be there. To restore, put
 * both back; withdrawals made since must be done again. @throws Error EEXIST, ENOENT
 */
export const backupSqliteVault = async (file: string, target: string): Promise<void> => {
  if (existsSync(target)) throw new Error(`${target} is there already: a backup is not written over another`);
  copyFileSync(`${file}.key`, `${target}.key`, constants.COPYFILE_EXCL);
  chmodSync(`${target}.key`, 0o600);
  const db = new DatabaseSync(file, { readOnly: true });
  try {
    await backup(db, target);
    chmodSync(target, 0o600);
  } finally {
    db.close();
  }
};
