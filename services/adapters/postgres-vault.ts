// The identity vault in PostgreSQL. First sight is safe when two stages ask at once: the first insert
// wins and everybody reads the winner's row.
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { Fault } from '../kernel/fault.ts';
import type { CentreId, ClinicalRevision, StudyInstanceUid } from '../kernel/ids.ts';
import type { IdentityVault, Lineage, PatientKey, StudyKeys, SubjectKeys } from '../ports/identity-vault.ts';
import { isSameKey, newId, newSecret, vaultCrypto } from './vault-crypto.ts';
import type { VaultCrypto } from './vault-crypto.ts';

export interface PostgresVaultOptions {
  /** postgres://user:password@host:port/database */
  connectionString: string;
  /** The 32 bytes of the vault's key file. */
  key: Uint8Array;
  /** Connections for look-ups. */
  maxConnections?: number;
  /** Most patients whose lock is held at once by this process; each holds a connection. */
  maxLocks?: number;
}

const CONNECT_TIMEOUT_MS = 10_000;
const QUERY_TIMEOUT_MS = 30_000;
const LINEAGE_PAGE = 500;
/** Advisory lock that serialises migrations; any fixed number. */
const MIGRATION_LOCK = 7_203_114;

/** Opens the vault, creating its tables. Throws Fault VAULT_UNAVAILABLE, BAD_CONFIG when the key is another one. */
export const openPostgresVault = async (options: PostgresVaultOptions): Promise<IdentityVault> => {
  const crypto = vaultCrypto(options.key);
  const pool = newPool(options.connectionString, options.maxConnections ?? 4);
  // Locks are held while look-ups run: from one pool they could starve each other.
  const locks = newPool(options.connectionString, options.maxLocks ?? 16);
  const close = async (): Promise<void> => {
    await Promise.all([pool.end(), locks.end()]);
  };
  try {
    await guarded(() => migrate(pool, crypto));
  } catch (error) {
    await close();
    throw error;
  }
  return {
    subject: (key, signal) => guarded(() => subject(pool, crypto, key, signal)),
    study: (subjectRow, centre, study, revision, signal) =>
      guarded(() => studyKeys(pool, crypto, { subjectRow, centre, study, revision }, signal)),
    token: (centre, study, signal) => guarded(() => studyToken(pool, crypto, centre, study, signal)),
    siteSecret: () => guarded(() => siteSecret(pool, crypto)),
    withSubjectLock: (subjectRow, work) => withSubjectLock(locks, subjectRow, work),
    lineages: (signal) => lineages(pool, crypto, signal),
    close,
  };
};

const newPool = (connectionString: string, max: number): pg.Pool => {
  const pool = new pg.Pool({ connectionString, max, connectionTimeoutMillis: CONNECT_TIMEOUT_MS, query_timeout: QUERY_TIMEOUT_MS });
  // An idle connection that breaks is replaced; without a listener it would end the process.
  pool.on('error', () => undefined);
  return pool;
};

/** Any error of the database is the vault's being away: nothing of a study decides over it. */
const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Fault) throw error;
    if (error instanceof Error && error.name === 'AbortError') throw error;
    throw new Fault('VAULT_UNAVAILABLE', true, 'the identity vault failed', { cause: error });
  }
};

type Client = Pick<pg.Pool, 'query'>;

const transaction = async <T>(pool: pg.Pool, work: (client: Client) => Promise<T>): Promise<T> => {
  const client = await pool.connect();
  try {
    await client.query('begin');
    const result = await work(client);
    await client.query('commit');
    client.release();
    return result;
  } catch (error) {
    // A connection in an unknown state is not used again.
    client.release(true);
    throw error;
  }
};

const migrate = (pool: pg.Pool, crypto: VaultCrypto): Promise<void> =>
  transaction(pool, async (client) => {
    await client.query('select pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
    await client.query(readFileSync(new URL('postgres-vault.sql', import.meta.url), 'utf8'));
    await client.query("insert into vault_meta values ('key-check', $1), ('site-secret', $2) on conflict do nothing", [
      Buffer.from(crypto.keyCheck),
      crypto.seal(newSecret(), 'site-secret'),
    ]);
    const { rows } = await client.query<{ value: Buffer }>("select value from vault_meta where name = 'key-check'");
    if (!rows[0] || !isSameKey(crypto, rows[0].value.toString())) {
      throw new Fault('BAD_CONFIG', false, 'the key file is not the one that this vault was made with');
    }
  });

const subject = async (pool: pg.Pool, crypto: VaultCrypto, key: PatientKey, signal?: AbortSignal): Promise<SubjectKeys | 'denied'> => {
  signal?.throwIfAborted();
  const digest = crypto.digest('patient', key.namespace, key.patientId);
  return (
    (await findSubject(pool, crypto, digest)) ??
    transaction(pool, async (client) => {
      // Serialises first sights of one id, and of a withdrawal of it.
      await client.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [digest]);
      const found = await findSubject(client, crypto, digest);
      if (found !== undefined) return found;
      const [subjectRow, secret] = [newId(), newSecret()];
      await client.query('insert into patients values ($1, $2)', [subjectRow, crypto.seal(secret, subjectRow)]);
      await client.query('insert into identifiers values ($1, $2)', [digest, subjectRow]);
      await client.query("insert into audit (action, subject_row, detail) values ('first-sight', $1, '')", [subjectRow]);
      return { subjectRow, secret };
    })
  );
};

const findSubject = async (client: Client, crypto: VaultCrypto, digest: string): Promise<SubjectKeys | 'denied' | undefined> => {
  const { rows } = await client.query<{ denied: boolean; subject_row: string | null; secret_box: Buffer | null }>(
    `select exists (select from deny where id_digest = $1) as denied, found.subject_row, found.secret_box
     from (select 1) as one left join (select subject_row, secret_box from identifiers join patients using (subject_row) where id_digest = $1) as found on true`,
    [digest],
  );
  const row = rows[0];
  if (row?.denied) return 'denied';
  if (!row?.subject_row || !row.secret_box) return undefined;
  return { subjectRow: row.subject_row, secret: crypto.open(row.secret_box, row.subject_row) };
};

interface StudyAsked {
  subjectRow: string;
  centre: CentreId;
  study: StudyInstanceUid;
  revision: ClinicalRevision;
}

interface StudyRow {
  lineage_id: string;
  token: string;
  secret_box: Buffer;
  subject_row: string | null;
}

/** The study's row, drawn when it is not there, and locked until the transaction ends. */
const studyRow = async (
  client: Client,
  crypto: VaultCrypto,
  centre: CentreId,
  study: StudyInstanceUid,
): Promise<StudyRow & { study_digest: string }> => {
  const digest = crypto.digest('study', centre, study);
  await client.query(
    `insert into studies (study_digest, key_box, lineage_id, token, secret_box)
     values ($1, $2, $3, $4, $5) on conflict (study_digest) do nothing`,
    [digest, crypto.seal(Buffer.from(JSON.stringify([centre, study])), digest), newId(), newId(), crypto.seal(newSecret(), digest)],
  );
  const { rows } = await client.query<StudyRow & { study_digest: string }>('select * from studies where study_digest = $1 for update', [
    digest,
  ]);
  if (rows[0] === undefined) throw new Error("the study's row is gone");
  return rows[0];
};

const studyToken = async (
  pool: pg.Pool,
  crypto: VaultCrypto,
  centre: CentreId,
  study: StudyInstanceUid,
  signal?: AbortSignal,
): Promise<{ token: string; secret: Uint8Array }> => {
  signal?.throwIfAborted();
  return transaction(pool, async (client) => {
    const row = await studyRow(client, crypto, centre, study);
    return { token: row.token, secret: crypto.open(row.secret_box, row.study_digest) };
  });
};

const studyKeys = async (pool: pg.Pool, crypto: VaultCrypto, asked: StudyAsked, signal?: AbortSignal): Promise<StudyKeys> => {
  signal?.throwIfAborted();
  return transaction(pool, async (client) => {
    const row = await studyRow(client, crypto, asked.centre, asked.study);
    const digest = row.study_digest;
    // A corrected patient id moves the study, and with it its lineage, to the other patient.
    if (row.subject_row !== asked.subjectRow) await moveStudy(client, digest, row.subject_row, asked.subjectRow);
    return {
      lineageId: row.lineage_id,
      token: row.token,
      secret: crypto.open(row.secret_box, digest),
      ordinal: await ordinalOf(client, digest, asked.revision),
    };
  });
};

const moveStudy = async (client: Client, digest: string, from: string | null, to: string): Promise<void> => {
  await client.query('update studies set subject_row = $2 where study_digest = $1', [digest, to]);
  if (from === null) return;
  await client.query("insert into audit (action, subject_row, detail) values ('study-moved', $1, $2)", [to, `from ${from}`]);
};

const ordinalOf = async (client: Client, digest: string, revision: string): Promise<number> => {
  await client.query(
    `insert into revisions select $1, $2, coalesce(max(ordinal), 0) + 1 from revisions where study_digest = $1
     on conflict (study_digest, revision) do nothing`,
    [digest, revision],
  );
  const { rows } = await client.query<{ ordinal: number }>('select ordinal from revisions where study_digest = $1 and revision = $2', [
    digest,
    revision,
  ]);
  return rows[0]?.ordinal ?? 1;
};

const siteSecret = async (pool: pg.Pool, crypto: VaultCrypto): Promise<Uint8Array> => {
  const { rows } = await pool.query<{ value: Buffer }>("select value from vault_meta where name = 'site-secret'");
  if (rows[0] === undefined) throw new Error('vault_meta has no site-secret');
  return crypto.open(rows[0].value, 'site-secret');
};

const withSubjectLock = async <T>(locks: pg.Pool, subjectRow: string, work: () => Promise<T>): Promise<T> => {
  const client = await guarded(() => locks.connect());
  try {
    await guarded(async () => {
      await client.query('select pg_advisory_lock_shared(hashtextextended($1, 1))', [subjectRow]);
      const { rowCount } = await client.query('select from patients where subject_row = $1', [subjectRow]);
      // Withdrawn between look-up and lock: tried again, the look-up answers 'denied'.
      if (rowCount === 0) throw new Fault('VAULT_UNAVAILABLE', true, "the patient's row went away after the look-up");
    });
    return await work();
  } finally {
    // Ending the session frees the lock whatever state the connection is in.
    const isFreed = await client.query('select pg_advisory_unlock_all()').then(
      () => true,
      () => false,
    );
    client.release(!isFreed);
  }
};

async function* lineages(pool: pg.Pool, crypto: VaultCrypto, signal?: AbortSignal): AsyncIterable<Lineage> {
  let after = '';
  for (;;) {
    signal?.throwIfAborted();
    const { rows } = await guarded(() =>
      pool.query<StudyRow & { study_digest: string; key_box: Buffer }>(
        'select * from studies where study_digest > $1 order by study_digest limit $2',
        [after, LINEAGE_PAGE],
      ),
    );
    for (const row of rows) {
      const [centre, studyInstanceUid] = JSON.parse(crypto.open(row.key_box, row.study_digest).toString()) as [CentreId, StudyInstanceUid];
      yield {
        centre,
        studyInstanceUid,
        token: row.token,
        lineageId: row.lineage_id,
        secret: crypto.open(row.secret_box, row.study_digest),
      };
    }
    const last = rows.at(-1);
    if (last === undefined || rows.length < LINEAGE_PAGE) return;
    after = last.study_digest;
  }
}
