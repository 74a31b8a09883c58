// The identity vault in one SQLite file, for `ctstream deid` on a centre's own machine. Its key lies in
// a file beside it (mode 0600); keep both, and away from the de-identified folder.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { randomBytes } from 'node:crypto';
import { Fault } from '../kernel/fault.ts';
import { parseClinicalKey } from '../kernel/ids.ts';
import type { CentreId, ClinicalKey, ClinicalRevision, StudyInstanceUid } from '../kernel/ids.ts';
import { WITHDRAWN_TOKEN } from '../ports/identity-vault.ts';
import type { IdentityVault, Lineage, PatientKey, StudyKeys, StudyToken, SubjectKeys, SubjectLock } from '../ports/identity-vault.ts';
import { isSameKey, newId, newSecret, vaultCrypto, VAULT_KEY_BYTES } from './vault-crypto.ts';
import type { VaultCrypto } from './vault-crypto.ts';

export interface SqliteVault extends IdentityVault {
  /** What was answered so far outlasts a loss of power from now on. */
  settle(): Promise<void>;
}

/**
 * When an answer outlasts a loss of power: with each answer, or `whenTold`, for a caller that shows nothing made of the
 * answers before `settle`. A process that is killed loses nothing in either case.
 */
export type Syncs = 'each' | 'whenTold';

/** Opens or makes the vault `file` and its key `file.key`. Throws Fault BAD_CONFIG, VAULT_UNAVAILABLE. */
export const openSqliteVault = (file: string, syncs: Syncs = 'each'): SqliteVault => {
  const { db, crypto } = openVaultFile(file);
  // https://sqlite.org/pragma.html#pragma_synchronous: in WAL mode commits are not synced then, checkpoints are.
  if (syncs === 'whenTold') db.exec('pragma synchronous = normal');
  const run = <T>(work: () => T): Promise<T> => new Promise((resolve) => resolve(guarded(work)));
  return {
    subject: (patient, signal) => run(() => (signal?.throwIfAborted(), subject(db, crypto, patient))),
    study: (seen, centre, study, revision, signal) =>
      run(() => (signal?.throwIfAborted(), studyKeys(db, crypto, { subjectRow: seen.subjectRow, centre, study, revision }))),
    token: (centre, study, signal) => run(() => (signal?.throwIfAborted(), transaction(db, () => studyToken(db, crypto, centre, study)))),
    tokens: (centre, studies, signal) =>
      run(() => {
        signal?.throwIfAborted();
        return transaction(db, () => new Map(studies.map((study) => [study, studyToken(db, crypto, centre, study)])));
      }),
    siteSecret: () =>
      run(() => crypto.open(blobOf(db.prepare("select value from vault_meta where name = 'site-secret'").get(), 'value'), 'site-secret')),
    // One command at a time works with the file: nobody withdraws meanwhile.
    subjectLock: () => Promise.resolve(lockOfNothing()),
    denied: (studies) => run(() => new Set(studies.filter((key) => isDenied(db, studyDigest(crypto, key))))),
    denyStudy: (centre, study) => run(() => transaction(db, () => denyStudy(db, crypto.digest('study', centre, study)))),
    lineages: (signal) => lineages(db, crypto, signal),
    settle: () => run(() => settle(db)),
    close: () => run(() => db.close()),
  };
};

const settle = (db: DatabaseSync): void => {
  const result = db.prepare('pragma wal_checkpoint(full)').get();
  if (result?.['busy'] !== 0) throw new Fault('VAULT_UNAVAILABLE', true, 'the vault is being read by another command for too long');
};

/** The file itself, for what else is done to it. Throws as `openSqliteVault` does. */
export const openVaultFile = (file: string): { db: DatabaseSync; crypto: VaultCrypto; transaction: <T>(work: () => T) => T } => {
  const crypto = vaultCrypto(readOrMakeKey(file));
  const db = guarded(() => open(file, crypto));
  return { db, crypto, transaction: (work) => guarded(() => transaction(db, work)) };
};

const readOrMakeKey = (file: string): Uint8Array => {
  const keyFile = `${file}.key`;
  if (existsSync(keyFile)) {
    const key = Buffer.from(readFileSync(keyFile, 'utf8').trim(), 'hex');
    if (key.length !== VAULT_KEY_BYTES) throw new Fault('BAD_CONFIG', false, `${keyFile}: not ${VAULT_KEY_BYTES} bytes in hex`);
    return key;
  }
  if (existsSync(file)) throw new Fault('BAD_CONFIG', false, `${keyFile} is missing: without it the vault can't be read`);
  makeFolder(dirname(resolve(file)));
  const key = randomBytes(VAULT_KEY_BYTES);
  writeFileSync(keyFile, `${key.toString('hex')}\n`, { mode: 0o600, flag: 'wx' });
  return key;
};

/** One after the other: where none can be made, as under /proc, mkdir's own `recursive` tries for ever. */
const makeFolder = (folder: string): void => {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder));
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if (!existsSync(folder)) throw new Fault('BAD_CONFIG', false, `${folder} can not be made`, { cause: error });
  }
};

const guarded = <T>(work: () => T): T => {
  try {
    return work();
  } catch (error) {
    if (error instanceof Fault || (error instanceof Error && error.name === 'AbortError')) throw error;
    throw new Fault('VAULT_UNAVAILABLE', true, "the vault's file failed", { cause: error });
  }
};

const open = (file: string, crypto: VaultCrypto): DatabaseSync => {
  const db = new DatabaseSync(file);
  db.exec('pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 10000; pragma foreign_keys = on;');
  transaction(db, () => {
    db.exec(readFileSync(new URL('sqlite-vault.sql', import.meta.url), 'utf8'));
    db.prepare("insert into vault_meta values ('key-check', ?), ('site-secret', ?) on conflict do nothing").run(
      Buffer.from(crypto.keyCheck),
      crypto.seal(newSecret(), 'site-secret'),
    );
  });
  const stored = blobOf(db.prepare("select value from vault_meta where name = 'key-check'").get(), 'value').toString();
  if (!isSameKey(crypto, stored)) {
    db.close();
    throw new Fault('BAD_CONFIG', false, `${file}.key is not the key that this vault was made with`);
  }
  return db;
};

const transaction = <T>(db: DatabaseSync, work: () => T): T => {
  db.exec('begin immediate');
  try {
    const result = work();
    db.exec('commit');
    return result;
  } catch (error) {
    db.exec('rollback');
    throw error;
  }
};

type Row = Record<string, unknown> | undefined;

const blobOf = (row: Row, name: string): Buffer => {
  const value = row?.[name];
  if (!(value instanceof Uint8Array)) throw new Error(`the vault has no ${name}`);
  return Buffer.from(value);
};

const textOf = (row: Row, name: string): string => {
  const value = row?.[name];
  if (typeof value !== 'string') throw new Error(`the vault has no ${name}`);
  return value;
};

const lockOfNothing = (): SubjectLock => {
  let isHeld = true;
  return {
    confirm: () => (isHeld ? Promise.resolve() : Promise.reject(new Fault('VAULT_UNAVAILABLE', true, 'the lock was released'))),
    release: () => Promise.resolve(void (isHeld = false)),
  };
};

const isDenied = (db: DatabaseSync, digest: string): boolean =>
  db.prepare('select 1 from deny where id_digest = ?').get(digest) !== undefined;

const studyDigest = (crypto: VaultCrypto, key: ClinicalKey): string => {
  const { centre, studyInstanceUid } = parseClinicalKey(key);
  return crypto.digest('study', centre, studyInstanceUid);
};

const denyStudy = (db: DatabaseSync, digest: string): void => {
  db.prepare('insert into deny values (?) on conflict do nothing').run(digest);
  db.prepare('delete from studies where study_digest = ?').run(digest);
};

const subject = (db: DatabaseSync, crypto: VaultCrypto, key: PatientKey): SubjectKeys | 'denied' => {
  const digest = crypto.digest('patient', key.namespace, key.patientId);
  return transaction(db, () => {
    if (isDenied(db, digest)) return 'denied';
    const row = db
      .prepare('select subject_row, secret_box from identifiers join patients using (subject_row) where id_digest = ?')
      .get(digest);
    if (row !== undefined) {
      const subjectRow = textOf(row, 'subject_row');
      return { subjectRow, secret: crypto.open(blobOf(row, 'secret_box'), subjectRow), idDigest: digest };
    }
    const [subjectRow, secret] = [newId(), newSecret()];
    db.prepare('insert into patients values (?, ?)').run(subjectRow, crypto.seal(secret, subjectRow));
    db.prepare('insert into identifiers values (?, ?)').run(digest, subjectRow);
    db.prepare("insert into audit (action, subject_row, detail) values ('first-sight', ?, '')").run(subjectRow);
    return { subjectRow, secret, idDigest: digest };
  });
};

interface StudyAsked {
  subjectRow: string;
  centre: CentreId;
  study: StudyInstanceUid;
  revision: ClinicalRevision;
}

interface StudyRow {
  digest: string;
  subjectRow: string | undefined;
  lineageId: string;
  token: string;
  secretBox: Buffer;
}

const studyRow = (db: DatabaseSync, crypto: VaultCrypto, centre: CentreId, study: StudyInstanceUid): StudyRow => {
  const digest = crypto.digest('study', centre, study);
  if (isDenied(db, digest)) throw new Fault('VAULT_UNAVAILABLE', true, 'the study was withdrawn after the look-up');
  db.prepare(
    `insert into studies (study_digest, key_box, lineage_id, token, secret_box)
     values (?, ?, ?, ?, ?) on conflict (study_digest) do nothing`,
  ).run(digest, crypto.seal(Buffer.from(JSON.stringify([centre, study])), digest), newId(), newId(), crypto.seal(newSecret(), digest));
  const row = db.prepare('select * from studies where study_digest = ?').get(digest);
  const subjectRow = row?.['subject_row'];
  return {
    digest,
    subjectRow: typeof subjectRow === 'string' ? subjectRow : undefined,
    lineageId: textOf(row, 'lineage_id'),
    token: textOf(row, 'token'),
    secretBox: blobOf(row, 'secret_box'),
  };
};

const studyToken = (db: DatabaseSync, crypto: VaultCrypto, centre: CentreId, study: StudyInstanceUid): StudyToken => {
  if (isDenied(db, crypto.digest('study', centre, study))) return { token: WITHDRAWN_TOKEN, secret: newSecret() };
  const row = studyRow(db, crypto, centre, study);
  return { token: row.token, secret: crypto.open(row.secretBox, row.digest) };
};

const studyKeys = (db: DatabaseSync, crypto: VaultCrypto, asked: StudyAsked): StudyKeys =>
  transaction(db, () => {
    const row = studyRow(db, crypto, asked.centre, asked.study);
    const { digest } = row;
    if (row.subjectRow !== asked.subjectRow) {
      db.prepare('update studies set subject_row = ? where study_digest = ?').run(asked.subjectRow, digest);
      if (row.subjectRow !== undefined) {
        db.prepare("insert into audit (action, subject_row, detail) values ('study-moved', ?, ?)").run(
          asked.subjectRow,
          `from ${row.subjectRow}`,
        );
      }
    }
    db.prepare(
      `insert into revisions select ?1, ?2, coalesce(max(ordinal), 0) + 1 from revisions where study_digest = ?1
       on conflict (study_digest, revision) do nothing`,
    ).run(digest, asked.revision);
    const ordinal = db.prepare('select ordinal from revisions where study_digest = ? and revision = ?').get(digest, asked.revision);
    return {
      lineageId: row.lineageId,
      token: row.token,
      secret: crypto.open(row.secretBox, digest),
      ordinal: Number(ordinal?.['ordinal'] ?? 1),
    };
  });

async function* lineages(db: DatabaseSync, crypto: VaultCrypto, signal?: AbortSignal): AsyncIterable<Lineage> {
  for (const row of db.prepare('select * from studies order by study_digest').all()) {
    signal?.throwIfAborted();
    const digest = textOf(row, 'study_digest');
    const [centre, studyInstanceUid] = JSON.parse(crypto.open(blobOf(row, 'key_box'), digest).toString()) as [CentreId, StudyInstanceUid];
    yield {
      centre,
      studyInstanceUid,
      token: textOf(row, 'token'),
      lineageId: textOf(row, 'lineage_id'),
      secret: crypto.open(blobOf(row, 'secret_box'), digest),
    };
  }
}
