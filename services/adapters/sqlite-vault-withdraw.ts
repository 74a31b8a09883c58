// A withdrawal in the folder vault: what links goes, and the person is refused from then on.
import { existsSync } from 'node:fs';
import { Fault } from '../kernel/fault.ts';
import type { PatientKey } from '../ports/identity-vault.ts';
import { openVaultFile } from './sqlite-vault.ts';

/** Studies that were linked; 'denied' when nothing of the identifier was known. Throws Fault BAD_CONFIG when there is no such vault. */
export const withdrawFromSqliteVault = (file: string, key: PatientKey): { readonly studies: number } | 'denied' => {
  if (!existsSync(file)) throw new Fault('BAD_CONFIG', false, `${file}: there is no such vault`);
  const { db, crypto, transaction } = openVaultFile(file);
  const digest = crypto.digest('patient', key.namespace, key.patientId);
  // Deleted rows are overwritten, not only given back.
  db.exec('pragma secure_delete = on');
  try {
    return transaction(() => {
      const row = db.prepare('select subject_row from identifiers where id_digest = ?').get(digest)?.['subject_row'];
      db.prepare('insert into deny values (?) on conflict do nothing').run(digest);
      if (typeof row !== 'string') return 'denied';
      const known = `select id_digest from identifiers where subject_row = ?1 union select study_digest from studies where subject_row = ?1`;
      db.prepare(`insert into deny select * from (${known}) where true on conflict do nothing`).run(row);
      const studies = Number(db.prepare('select count(*) as n from studies where subject_row = ?').get(row)?.['n'] ?? 0);
      db.prepare('delete from patients where subject_row = ?').run(row);
      db.prepare("insert into audit (action, subject_row, detail) values ('withdrawn', null, '')").run();
      return { studies };
    });
  } finally {
    // The log beside the file still has the rows as they were.
    db.exec('pragma wal_checkpoint(truncate)');
    db.close();
  }
};
