// The operator's connection to the identity vault in PostgreSQL, and what their commands share: a patient by
// pseudonym, and a patient's studies. Clinical zone only.
import type pg from 'pg';
import type { CentreId, ResearchStudyId, StudyInstanceUid } from '../kernel/ids.ts';
import type { Queryable } from '../ports/database.ts';
import type { ResearchIds } from './postgres-vault-withdraw.ts';
import { newPool, openTables } from './postgres-vault-session.ts';
import type { Client } from './postgres-vault-session.ts';
import type { VaultCrypto } from './vault-crypto.ts';

export interface VaultAdminOptions {
  /** postgres://user:password@host:port/database */
  readonly connectionString: string;
  /** The 32 bytes of the vault's key file. */
  readonly key: Uint8Array;
  readonly ids: ResearchIds;
}

/** What opens boxes and derives research ids. */
export interface VaultReading {
  readonly crypto: VaultCrypto;
  readonly ids: ResearchIds;
}

export interface VaultSession extends VaultReading {
  readonly pool: pg.Pool;
  close(): Promise<void>;
}

const PAGE = 500;

/** Rows alone, as the ports' databases give them. */
export const queryable = (client: Client): Queryable => ({
  query: async (sql, params = []) => (await client.query<never>(sql, [...params])).rows,
});

/** @throws Fault VAULT_UNAVAILABLE, BAD_CONFIG when the key is another one. */
export const openVaultSession = async (o: VaultAdminOptions): Promise<VaultSession> => {
  const pool = newPool(o.connectionString, 2);
  try {
    const crypto = await openTables(pool, o.key);
    return { pool, crypto, ids: o.ids, close: () => pool.end() };
  } catch (error) {
    await pool.end();
    throw error;
  }
};

export interface AffectedStudy {
  readonly centre: CentreId;
  readonly studyInstanceUid: StudyInstanceUid;
  /** What the study is called in research. */
  readonly researchStudy: ResearchStudyId;
}

/** The patient's row, by trying every secret: nothing leads from a pseudonym to a row. */
export const patientOfPseudonym = async (on: Queryable, { crypto, ids }: VaultReading, pseudonym: string): Promise<string | undefined> => {
  for (let after = ''; ;) {
    const rows = await on.query<{ subject_row: string; secret_box: Buffer }>(
      'select subject_row, secret_box from patients where subject_row > $1 order by subject_row limit $2',
      [after, PAGE],
    );
    const found = rows.find((row) => ids.subjectId(crypto.open(row.secret_box, row.subject_row)) === pseudonym);
    if (found !== undefined) return found.subject_row;
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE) return undefined;
    after = last.subject_row;
  }
};

export interface VaultStudy extends AffectedStudy {
  readonly digest: string;
  readonly idDigest: string | null;
}

/** The studies under a patient's row, with the clinical key that the box holds. */
export const studiesOf = async (on: Queryable, { crypto, ids }: VaultReading, subjectRow: string): Promise<VaultStudy[]> => {
  const rows = await on.query<{ study_digest: string; id_digest: string | null; key_box: Buffer; secret_box: Buffer }>(
    'select study_digest, id_digest, key_box, secret_box from studies where subject_row = $1 order by study_digest',
    [subjectRow],
  );
  return rows.map(({ study_digest: digest, id_digest: idDigest, key_box, secret_box }) => {
    const [centre, studyInstanceUid] = JSON.parse(crypto.open(key_box, digest).toString()) as [CentreId, StudyInstanceUid];
    return { digest, idDigest, centre, studyInstanceUid, researchStudy: ids.studyId(crypto.open(secret_box, digest)) };
  });
};
