// Withdrawals in the identity vault's PostgreSQL (tables: postgres-vault.sql). A source in the sense of the design: one
// transaction writes the state and the outbox row.
import type { Logger } from 'pino';
import type { ClinicalRevision, ResearchStudyId, StudyInstanceUid, CentreId, SubjectId } from '../kernel/ids.ts';
import { Fault } from '../kernel/fault.ts';
import type { EventIn } from '../kernel/stage.ts';
import type { QueuedEvent, Queryable, Transaction } from '../ports/database.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import type { OutboxRow } from '../ports/outbox.ts';
import type { PatientKey } from '../ports/identity-vault.ts';
import { ERASING_STAGES } from '../ports/withdrawals.ts';
import type { ErasingStage, Receipt, ToErase, Withdrawals } from '../ports/withdrawals.ts';
import { avroCodec } from './avro-codec.ts';
import { postgresDatabase } from './postgres-database.ts';
import type { OutboxTable } from './postgres-database.ts';
import { lockPatient, newPool, openTables } from './postgres-vault-session.ts';
import { newId } from './vault-crypto.ts';
import type { VaultCrypto } from './vault-crypto.ts';

export interface PostgresWithdrawalsOptions {
  /** The vault's: postgres://user:password@host:port/database */
  readonly connectionString: string;
  /** The 32 bytes of the vault's key file. */
  readonly key: Uint8Array;
  readonly codec: EventCodec;
  readonly log: Logger;
  /** What the stages call the owner of a secret. */
  readonly ids: ResearchIds;
}

export interface ResearchIds {
  subjectId(subjectSecret: Uint8Array): SubjectId;
  studyId(studySecret: Uint8Array): ResearchStudyId;
  /** Of a stored revision of the study, when it is held back. */
  heldId(studySecret: Uint8Array, revision: ClinicalRevision): string;
}

const SUBJECT_PAGE = 1000;

export interface WithdrawalsSource extends Withdrawals, OutboxTable {
  /**
   * Puts the event of every withdrawal that is not complete into the outbox once more, with the id that it had: the log may
   * have lost it, or the restored vault its row, and nobody else would tell it again. Answers how many there are.
   */
  tellOpenAgain(): Promise<number>;
}

/** @throws Fault VAULT_UNAVAILABLE or DATABASE_UNAVAILABLE; BAD_CONFIG when the key is another one */
export const openPostgresWithdrawals = async (o: PostgresWithdrawalsOptions): Promise<WithdrawalsSource> => {
  const crypto = await openCrypto(o);
  const db = await postgresDatabase({ url: o.connectionString, codec: o.codec, source: 'withdraw', log: o.log, poolSize: 3 });
  const made: Making = { crypto, ids: o.ids };
  return {
    withdrawPatient: (key, by, signal) => db.transaction((tx) => withdrawPatient(tx, made, key, by), signal),
    withdrawSubject: async (subjectId, by, signal) => {
      const known = await requestOf(db, crypto, subjectId);
      // A pseudonym that a merge or split retired is nobody's: the person must not be shown its receipt as theirs.
      if (known !== undefined && (await isRetired(db, known))) return undefined;
      const receipt = known === undefined ? undefined : await receiptOf(db, known);
      if (receipt?.kind === 'withdrawal') return receipt;
      const subjectRow = await findSubject(db, made, subjectId, signal);
      if (subjectRow === undefined) return undefined;
      return db.transaction((tx) => withdraw(tx, made, subjectRow, by), signal);
    },
    receipt: (requestId) => receiptOf(db, requestId),
    requestOf: (subjectId) => requestOf(db, crypto, subjectId),
    toErase: async (requestId) => {
      const [row] = await db.query<{ box: Buffer | null }>('select box from withdrawals where request_id = $1', [requestId]);
      return row?.box ? (JSON.parse(crypto.open(row.box, requestId).toString()) as ToErase) : undefined;
    },
    note: (requestId, stage, erased, isDone) => db.transaction((tx) => note(tx, requestId, { stage, ...erased, isDone })),
    tellOpenAgain: () => db.transaction(tellOpenAgain),
    next: async (limit) => (await db.next(limit)).map((row) => underIdsOf(o.codec, row)),
    markSent: db.markSent,
    depth: db.depth,
    highest: db.highest,
    close: () => db.close(),
  };
};

/** Ids of schemas/ids.json, which a command writes that was not told of the deployment's registry. */
const plainCodec = avroCodec();

/**
 * The row as the stages can read it. Who withdraws by the vault's two files alone knows no registry: under a foreign schema id
 * the event would wait for ever, with the patient denied and nothing erased.
 */
const underIdsOf = (codec: EventCodec, row: OutboxRow): OutboxRow => {
  if (readBy(codec, row) !== undefined) return row;
  const event = readBy(plainCodec, row);
  return event === undefined ? row : { ...row, value: codec.encode(event, event).value };
};

const readBy = (codec: EventCodec, row: OutboxRow): EventIn | undefined => {
  try {
    return codec.decode({ ...row, partition: 0, offset: 0n, timestampMs: 0 });
  } catch (error) {
    if (error instanceof Fault) return undefined;
    throw error;
  }
};

const openCrypto = async (o: PostgresWithdrawalsOptions): Promise<VaultCrypto> => {
  const pool = newPool(o.connectionString, 1);
  try {
    return await openTables(pool, o.key);
  } finally {
    await pool.end();
  }
};

interface Making {
  readonly crypto: VaultCrypto;
  readonly ids: ResearchIds;
}

const subjectDigest = (crypto: VaultCrypto, subjectId: SubjectId): string => crypto.digest('subject', subjectId);

const withdrawPatient = async (tx: Transaction, made: Making, key: PatientKey, by: string): Promise<Receipt | 'denied'> => {
  const digest = made.crypto.digest('patient', key.namespace, key.patientId);
  // As the first sight of an identifier does, so that it is not seen for the first time meanwhile.
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [digest]);
  const [denied] = await tx.query<{ request_id: string | null }>('select request_id from deny where id_digest = $1', [digest]);
  if (denied !== undefined) return (denied.request_id === null ? undefined : await receiptOf(tx, denied.request_id)) ?? 'denied';
  const subjectRow = await rowOf(tx, digest);
  if (subjectRow === undefined) {
    await tx.query('insert into deny (id_digest) values ($1)', [digest]);
    await tx.query("insert into audit (action, detail) values ('denied', $1)", [JSON.stringify({ by, what: 'an id that was not known' })]);
    return 'denied';
  }
  const receipt = await withdraw(tx, made, subjectRow, by);
  if (receipt === undefined || (await rowOf(tx, digest)) !== undefined)
    throw new Fault('VAULT_UNAVAILABLE', true, 'the patient was merged or split meanwhile: withdraw again');
  return receipt;
};

const rowOf = async (on: Queryable, digest: string): Promise<string | undefined> =>
  (await on.query<{ subject_row: string }>('select subject_row from identifiers where id_digest = $1', [digest]))[0]?.subject_row;

/** The row of the subject with this pseudonym: it is derived, so every patient's is. */
const findSubject = async (
  db: Queryable,
  { crypto, ids }: Making,
  wanted: SubjectId,
  signal?: AbortSignal,
): Promise<string | undefined> => {
  for (let after = ''; ;) {
    signal?.throwIfAborted();
    const page = await db.query<{ subject_row: string; secret_box: Buffer }>(
      'select subject_row, secret_box from patients where subject_row > $1 order by subject_row limit $2',
      [after, SUBJECT_PAGE],
    );
    const found = page.find((row) => ids.subjectId(crypto.open(row.secret_box, row.subject_row)) === wanted);
    const last = page.at(-1);
    if (found !== undefined || last === undefined) return found?.subject_row;
    after = last.subject_row;
  }
};

const tellOpenAgain = async (tx: Transaction): Promise<number> => {
  const open = await tx.query<{ request_id: string }>(
    'select request_id from withdrawals where completed_at is null order by requested_at, request_id',
  );
  // The patient's row stands in the event that is there. Where that is gone too, nobody knows it, and it is a key only.
  await tx.enqueue(open.map(({ request_id }) => ({ ...withdrawnEvent(request_id, request_id), again: true })));
  return open.length;
};

/** One of a request: whoever tells it, and however often, its id is the same. */
export const withdrawnEvent = (requestId: string, subjectRow: string): QueuedEvent => ({
  type: 'ctstream.clinical.v1.PatientWithdrawn',
  value: { requestId, subjectRow },
  cause: requestId,
});

/** Undefined when the patient's row is gone. */
const withdraw = async (tx: Transaction, made: Making, subjectRow: string, by: string): Promise<Receipt | undefined> => {
  await lockPatient(tx, subjectRow);
  const toErase = await whatIsKnown(tx, made, subjectRow);
  if (toErase === undefined) return undefined;
  const requestId = newId();
  const box = made.crypto.seal(Buffer.from(JSON.stringify(toErase)), requestId);
  await tx.query('insert into withdrawals (request_id, subject_digest, box) values ($1, $2, $3)', [
    requestId,
    subjectDigest(made.crypto, toErase.subjectId),
    box,
  ]);
  await tx.query(
    `insert into deny (id_digest, request_id)
     select id_digest, $2 from identifiers where subject_row = $1 union select study_digest, $2 from studies where subject_row = $1
     on conflict do nothing`,
    [subjectRow, requestId],
  );
  const rows = await deletePatient(tx, subjectRow);
  await note(tx, requestId, { stage: 'anonymise', objects: 0, rows, isDone: false });
  await tx.query("insert into audit (action, detail) values ('withdrawn', $1)", [JSON.stringify({ by, request: requestId })]);
  await tx.enqueue(withdrawnEvent(requestId, subjectRow));
  return receiptOf(tx, requestId);
};

interface StudyFound {
  readonly study_digest: string;
  readonly key_box: Buffer;
  readonly secret_box: Buffer;
  readonly revision: ClinicalRevision | null;
}

const whatIsKnown = async (tx: Transaction, { crypto, ids }: Making, subjectRow: string): Promise<ToErase | undefined> => {
  const [patient] = await tx.query<{ secret_box: Buffer }>('select secret_box from patients where subject_row = $1 for update', [
    subjectRow,
  ]);
  if (patient === undefined) return undefined;
  // Locked: a study whose corrected id makes it another patient's moves before, or finds itself denied.
  const studies = await tx.query<StudyFound>(
    `select study_digest, key_box, secret_box,
       (select revision from revisions where revisions.study_digest = studies.study_digest order by ordinal desc limit 1) as revision
     from studies where subject_row = $1 order by study_digest for update`,
    [subjectRow],
  );
  const held = await tx.query<{ held_id: string }>('select held_id from held join studies using (token) where subject_row = $1', [
    subjectRow,
  ]);
  return {
    subjectId: ids.subjectId(crypto.open(patient.secret_box, subjectRow)),
    studies: studies.map((row) => {
      const [centre, studyInstanceUid] = JSON.parse(crypto.open(row.key_box, row.study_digest).toString()) as [CentreId, StudyInstanceUid];
      const studyId = ids.studyId(crypto.open(row.secret_box, row.study_digest));
      return { centre, studyInstanceUid, revision: row.revision ?? ('' as ClinicalRevision), studyId };
    }),
    heldIds: held.map((row) => row.held_id),
  };
};

/** Deletes the patient and all that hangs on it; how many rows of patients, identifiers and studies. */
const deletePatient = async (tx: Transaction, subjectRow: string): Promise<number> => {
  const [before] = await tx.query<{ n: string }>(
    `select 1 + (select count(*) from identifiers where subject_row = $1) + (select count(*) from studies where subject_row = $1) as n`,
    [subjectRow],
  );
  await tx.query('delete from patients where subject_row = $1', [subjectRow]);
  return Number(before?.n ?? 0);
};

const requestOf = async (on: Queryable, crypto: VaultCrypto, subjectId: SubjectId): Promise<string | undefined> =>
  (
    await on.query<{ request_id: string }>('select request_id from withdrawals where subject_digest = $1', [
      subjectDigest(crypto, subjectId),
    ])
  )[0]?.request_id;

const isRetired = async (on: Queryable, requestId: string): Promise<boolean> =>
  (await on.query("select 1 from withdrawals where request_id = $1 and kind = 'correction'", [requestId])).length > 0;

interface Noted {
  readonly stage: ErasingStage;
  readonly objects: number;
  readonly rows: number;
  readonly isDone: boolean;
}

const note = async (tx: Transaction, requestId: string, noted: Noted): Promise<void> => {
  const [open] = await tx.query('select 1 from withdrawals where request_id = $1 and completed_at is null for update', [requestId]);
  if (open === undefined) return;
  await tx.query(
    `insert into withdrawal_reports (request_id, stage, object_count, row_count, reported_at)
     values ($1, $2, $3, $4, case when $5::boolean then now() end)
     on conflict (request_id, stage) do update set
       object_count = withdrawal_reports.object_count + excluded.object_count,
       row_count = withdrawal_reports.row_count + excluded.row_count,
       reported_at = excluded.reported_at
     where withdrawal_reports.reported_at is null`,
    [requestId, noted.stage, noted.objects, noted.rows, noted.isDone],
  );
  const done = await tx.query<{ stage: string }>('select stage from withdrawal_reports where request_id = $1 and reported_at is not null', [
    requestId,
  ]);
  if (ERASING_STAGES.every((stage) => done.some((row) => row.stage === stage))) await complete(tx, requestId);
};

/** Cuts what still leads from an identifier to a pseudonym. */
const complete = async (tx: Transaction, requestId: string): Promise<void> => {
  await tx.query('update withdrawals set completed_at = now(), box = null where request_id = $1', [requestId]);
  await tx.query('update deny set request_id = null where request_id = $1', [requestId]);
  // Of an archiver that drew a token between the look at the deny table and the withdrawal.
  await tx.query('delete from studies where study_digest in (select id_digest from deny)');
  await tx.query("insert into audit (action, detail) values ('withdrawal-complete', $1)", [requestId]);
};

const receiptOf = async (on: Queryable, requestId: string): Promise<Receipt | undefined> => {
  const [row] = await on.query<{ kind: Receipt['kind']; requested_at: Date; completed_at: Date | null }>(
    'select kind, requested_at, completed_at from withdrawals where request_id = $1',
    [requestId],
  );
  if (row === undefined) return undefined;
  const reports = await on.query<{ stage: string; reported_at: Date | null; object_count: number; row_count: number }>(
    'select stage, reported_at, object_count, row_count from withdrawal_reports where request_id = $1',
    [requestId],
  );
  return {
    requestId,
    kind: row.kind,
    requestedAtMs: row.requested_at.getTime(),
    completedAtMs: row.completed_at?.getTime(),
    reports: ERASING_STAGES.map((stage) => {
      const found = reports.find((r) => r.stage === stage);
      return { stage, doneAtMs: found?.reported_at?.getTime(), objects: found?.object_count ?? 0, rows: found?.row_count ?? 0 };
    }),
  };
};
