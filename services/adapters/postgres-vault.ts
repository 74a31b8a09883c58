// The identity vault in PostgreSQL. First sight is safe when two stages ask at once: the first insert
// wins and everybody reads the winner's row.
import type pg from 'pg';
import { Fault } from '../kernel/fault.ts';
import { parseClinicalKey } from '../kernel/ids.ts';
import type { CentreId, ClinicalKey, ClinicalRevision, StudyInstanceUid } from '../kernel/ids.ts';
import { WITHDRAWN_TOKEN } from '../ports/identity-vault.ts';
import type {
  IdentityVault,
  Lineage,
  PatientKey,
  SeenUnder,
  StudyKeys,
  StudyToken,
  SubjectKeys,
  SubjectLock,
} from '../ports/identity-vault.ts';
import { guarded, newPool, openTables, transaction } from './postgres-vault-session.ts';
import type { Client } from './postgres-vault-session.ts';
import { newId, newSecret } from './vault-crypto.ts';
import type { VaultCrypto } from './vault-crypto.ts';

export interface PostgresVaultOptions {
  /** postgres://user:password@host:port/database */
  connectionString: string;
  /** The 32 bytes of the vault's key file: they open the data key that the vault holds. */
  key: Uint8Array;
  /** Connections for look-ups. */
  maxConnections?: number;
  /** Most patients whose lock is held at once by this process; each holds a connection. */
  maxLocks?: number;
}

const LINEAGE_PAGE = 500;

/** Opens the vault, creating its tables. Throws Fault VAULT_UNAVAILABLE, BAD_CONFIG when the key is another one. */
export const openPostgresVault = async (options: PostgresVaultOptions): Promise<IdentityVault> => {
  const pool = newPool(options.connectionString, options.maxConnections ?? 4);
  // Locks are held while look-ups run: from one pool they could starve each other.
  const locks = newPool(options.connectionString, options.maxLocks ?? 16);
  const close = async (): Promise<void> => {
    await Promise.all([pool.end(), locks.end()]);
  };
  const crypto = await openTables(pool, options.key).catch(async (error: unknown) => {
    await close();
    throw error;
  });
  return {
    subject: (key, signal) => guarded(() => subject(pool, crypto, key, signal)),
    study: (seen, centre, study, revision, signal) => guarded(() => studyKeys(pool, crypto, { seen, centre, study, revision }, signal)),
    token: (centre, study, signal) => guarded(() => studyToken(pool, crypto, centre, study, signal)),
    tokens: (centre, studies, signal) => guarded(() => studyTokens(pool, crypto, centre, studies, signal)),
    siteSecret: () => guarded(() => siteSecret(pool, crypto)),
    subjectLock: (subjectRow) => guarded(() => subjectLock(locks, subjectRow)),
    denied: (studies, signal) => guarded(() => deniedStudies(pool, crypto, studies, signal)),
    denyStudy: (centre, study, signal) => guarded(() => denyStudy(pool, crypto.digest('study', centre, study), signal)),
    lineages: (signal) => lineages(pool, crypto, signal),
    close,
  };
};

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
      return { subjectRow, secret, idDigest: digest };
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
  return { subjectRow: row.subject_row, secret: crypto.open(row.secret_box, row.subject_row), idDigest: digest };
};

const isDenied = async (client: Client, digest: string): Promise<boolean> =>
  (await client.query('select from deny where id_digest = $1', [digest])).rowCount === 1;

interface StudyAsked {
  seen: SeenUnder;
  centre: CentreId;
  study: StudyInstanceUid;
  revision: ClinicalRevision;
}

interface StudyRow {
  lineage_id: string;
  token: string;
  secret_box: Buffer;
  subject_row: string | null;
  id_digest: string | null;
}

/** The study's row, drawn when it is not there, and locked until the transaction ends. */
const studyRow = async (
  client: Client,
  crypto: VaultCrypto,
  centre: CentreId,
  study: StudyInstanceUid,
): Promise<StudyRow & { study_digest: string }> => {
  const digest = crypto.digest('study', centre, study);
  if (await isDenied(client, digest)) throw new Fault('VAULT_UNAVAILABLE', true, 'the study was withdrawn after the look-up');
  await drawStudies(client, crypto, centre, new Map([[digest, study]]));
  const { rows } = await client.query<StudyRow & { study_digest: string }>('select * from studies where study_digest = $1 for update', [
    digest,
  ]);
  return isThere(rows[0]);
};

const isThere = <T>(row: T | undefined): T => {
  if (row === undefined) throw new Error("the study's row is gone");
  return row;
};

/** Rows for these studies, by digest, where none is there. In the order of the digests: two that draw at once must not wait
 * for each other. */
const drawStudies = async (
  client: Client,
  crypto: VaultCrypto,
  centre: CentreId,
  studies: ReadonlyMap<string, StudyInstanceUid>,
): Promise<void> => {
  const drawn = [...studies].sort(([a], [b]) => (a < b ? -1 : 1));
  await client.query(
    `insert into studies (study_digest, key_box, lineage_id, token, secret_box)
     select * from unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::bytea[]) on conflict (study_digest) do nothing`,
    [
      drawn.map(([digest]) => digest),
      drawn.map(([digest, study]) => crypto.seal(Buffer.from(JSON.stringify([centre, study])), digest)),
      drawn.map(() => newId()),
      drawn.map(() => newId()),
      drawn.map(([digest]) => crypto.seal(newSecret(), digest)),
    ],
  );
};

const studyToken = async (
  pool: pg.Pool,
  crypto: VaultCrypto,
  centre: CentreId,
  study: StudyInstanceUid,
  signal?: AbortSignal,
): Promise<StudyToken> => isThere((await studyTokens(pool, crypto, centre, [study], signal)).get(study));

/** No row is locked: a withdrawal that ends meanwhile deletes the rows, and with them what the tokens lead to. */
const studyTokens = async (
  pool: pg.Pool,
  crypto: VaultCrypto,
  centre: CentreId,
  studies: readonly StudyInstanceUid[],
  signal?: AbortSignal,
): Promise<ReadonlyMap<StudyInstanceUid, StudyToken>> => {
  signal?.throwIfAborted();
  const asked = new Map(studies.map((study) => [crypto.digest('study', centre, study), study]));
  const known = await findTokens(pool, crypto, [...asked.keys()]);
  const missing = new Map([...asked].filter(([digest]) => !known.has(digest)));
  if (missing.size > 0) {
    await drawStudies(pool, crypto, centre, missing);
    for (const [digest, found] of await findTokens(pool, crypto, [...missing.keys()])) known.set(digest, found);
  }
  return new Map([...asked].map(([digest, study]) => [study, isThere(known.get(digest))]));
};

/** By digest; a study that is not known is missing. */
const findTokens = async (pool: pg.Pool, crypto: VaultCrypto, digests: readonly string[]): Promise<Map<string, StudyToken>> => {
  const { rows } = await pool.query<{ digest: string; token: string | null; secret_box: Buffer | null }>(
    `select id_digest as digest, null as token, null::bytea as secret_box from deny where id_digest = any ($1)
     union all select study_digest, token, secret_box from studies
     where study_digest = any ($1) and not exists (select from deny where id_digest = study_digest)`,
    [digests],
  );
  return new Map(
    rows.map(({ digest, token, secret_box: box }) => [
      digest,
      token === null || box === null ? { token: WITHDRAWN_TOKEN, secret: newSecret() } : { token, secret: crypto.open(box, digest) },
    ]),
  );
};

const studyKeys = async (pool: pg.Pool, crypto: VaultCrypto, asked: StudyAsked, signal?: AbortSignal): Promise<StudyKeys> => {
  signal?.throwIfAborted();
  return transaction(pool, async (client) => {
    const row = await studyRow(client, crypto, asked.centre, asked.study);
    const digest = row.study_digest;
    // A corrected patient id moves the study, and with it its lineage, to the other patient.
    const isAsBefore = row.subject_row === asked.seen.subjectRow && row.id_digest === asked.seen.idDigest;
    if (!isAsBefore) await moveStudy(client, digest, row.subject_row, asked.seen);
    return {
      lineageId: row.lineage_id,
      token: row.token,
      secret: crypto.open(row.secret_box, digest),
      ordinal: await ordinalOf(client, digest, asked.revision),
    };
  });
};

const moveStudy = async (client: Client, digest: string, from: string | null, to: SeenUnder): Promise<void> => {
  await client.query('update studies set subject_row = $2, id_digest = $3 where study_digest = $1', [digest, to.subjectRow, to.idDigest]);
  if (from === null || from === to.subjectRow) return;
  await client.query("insert into audit (action, subject_row, detail) values ('study-moved', $1, $2)", [to.subjectRow, `from ${from}`]);
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

const subjectLock = async (locks: pg.Pool, subjectRow: string): Promise<SubjectLock> => {
  const client = await locks.connect();
  let isOver = false;
  // The session holds the lock: when its connection breaks, the lock is gone, and whoever confirms hears of it.
  const onError = (): void => void (isOver = true);
  client.on('error', onError);
  const confirm = async (): Promise<void> => {
    if (isOver) throw new Fault('VAULT_UNAVAILABLE', true, "the patient's lock was lost");
    await guarded(() => client.query('select 1'));
  };
  const release = async (): Promise<void> => {
    if (isOver) return client.release(true);
    isOver = true;
    const isFreed = await client.query('select pg_advisory_unlock_all()').then(
      () => true,
      () => false,
    );
    client.removeListener('error', onError);
    // Ending the session frees the lock whatever state the connection is in.
    client.release(!isFreed);
  };
  try {
    const { rows } = await client.query<{ held: boolean; known: boolean }>(
      `select held, exists (select from patients where subject_row = $1) as known
       from (select pg_try_advisory_lock_shared(hashtextextended($1, 1)) as held) as lock`,
      [subjectRow],
    );
    if (rows[0]?.held !== true) throw new Fault('VAULT_UNAVAILABLE', true, 'the patient is being withdrawn or merged');
    if (!rows[0].known) throw new Fault('VAULT_UNAVAILABLE', true, "the patient's row went away after the look-up");
    return { confirm, release };
  } catch (error) {
    await release();
    throw error;
  }
};

const deniedStudies = async (
  pool: pg.Pool,
  crypto: VaultCrypto,
  studies: readonly ClinicalKey[],
  signal?: AbortSignal,
): Promise<ReadonlySet<ClinicalKey>> => {
  signal?.throwIfAborted();
  const byDigest = new Map(
    studies.map((key) => {
      const { centre, studyInstanceUid } = parseClinicalKey(key);
      return [crypto.digest('study', centre, studyInstanceUid), key];
    }),
  );
  const { rows } = await pool.query<{ id_digest: string }>('select id_digest from deny where id_digest = any($1)', [[...byDigest.keys()]]);
  return new Set(rows.flatMap((row) => byDigest.get(row.id_digest) ?? []));
};

const denyStudy = async (pool: pg.Pool, digest: string, signal?: AbortSignal): Promise<void> => {
  signal?.throwIfAborted();
  await transaction(pool, async (client) => {
    await client.query('insert into deny (id_digest) values ($1) on conflict do nothing', [digest]);
    await client.query('delete from studies where study_digest = $1', [digest]);
  });
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
