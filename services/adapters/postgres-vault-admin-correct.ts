// Two patients of the identity vault become one, or one becomes two. Every study whose research identity changes gets a
// new secret, so that it is anonymised anew under other ids, and the pseudonym that is nobody's any more is erased in
// research, the way of a withdrawal (decision 0017). What people refused of it stays refused.
import type { Logger } from 'pino';
import type { ClinicalRevision, SubjectId } from '../kernel/ids.ts';
import type { Transaction } from '../ports/database.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import type { PatientKey } from '../ports/identity-vault.ts';
import type { ToErase } from '../ports/withdrawals.ts';
import { postgresDatabase } from './postgres-database.ts';
import { openVaultSession, patientOfPseudonym, studiesOf } from './postgres-vault-admin.ts';
import type { AffectedStudy, VaultAdminOptions, VaultReading, VaultStudy } from './postgres-vault-admin.ts';
import { lockPatient, VaultRefusal } from './postgres-vault-session.ts';
import { withdrawnEvent } from './postgres-vault-withdraw.ts';
import { newId, newSecret } from './vault-crypto.ts';

/** A patient by one of their ids, or by their pseudonym. */
export type PatientRef = { readonly key: PatientKey } | { readonly pseudonym: string };

/** What a merge or split changed. */
export interface Correction {
  /** Of the erasure in research: its receipt is asked for as a withdrawal's. */
  readonly requestId: string;
  readonly kind: 'merge' | 'split';
  /** The pseudonym that is nobody's any more. */
  readonly retired: SubjectId;
  /** Studies whose research identity changes, with their research ids until now: each has to be anonymised anew. */
  readonly studies: readonly AffectedStudy[];
}

/** Merges and splits. A source: the erasure's event goes into the vault's outbox, which anonymise publishes. */
export interface VaultCorrections {
  /**
   * B's ids and studies become A's, in one transaction, under both patients' exclusive locks.
   * @param by who did it, for the audit
   * @throws VaultRefusal when one is unknown, withdrawn, or both are one already
   */
  merge(a: PatientRef, b: PatientRef, by: string, signal?: AbortSignal): Promise<Correction>;
  /**
   * The id gets a patient of its own, with the studies that came by it. The others get a fresh row and secret too: dates
   * and UIDs of the two together must not go on under either.
   * @throws VaultRefusal when the id is unknown or the patient's only one
   */
  split(id: PatientKey, by: string, signal?: AbortSignal): Promise<Correction>;
  /** Studies that have yet to be handed to anonymise again. */
  waiting(): Promise<AffectedStudy[]>;
  /** They were handed over. */
  asked(studies: readonly AffectedStudy[]): Promise<void>;
  close(): Promise<void>;
}

/** @throws Fault VAULT_UNAVAILABLE or DATABASE_UNAVAILABLE; BAD_CONFIG when the key is another one */
export const openVaultCorrections = async (
  o: VaultAdminOptions & { readonly codec: EventCodec; readonly log: Logger },
): Promise<VaultCorrections> => {
  const { crypto, close } = await openVaultSession(o);
  await close();
  const db = await postgresDatabase({ url: o.connectionString, codec: o.codec, source: 'withdraw', log: o.log, poolSize: 2 });
  const vault: VaultReading = { crypto, ids: o.ids };
  return {
    merge: (a, b, by, signal) => db.transaction((tx) => merge(tx, vault, { a, b, by }), signal),
    split: (id, by, signal) => db.transaction((tx) => split(tx, vault, id, by), signal),
    waiting: () => db.transaction((tx) => waiting(tx, vault)),
    asked: (studies) => db.transaction((tx) => asked(tx, vault, studies)),
    close: () => db.close(),
  };
};

const merge = async (
  tx: Transaction,
  vault: VaultReading,
  { a, b, by }: { a: PatientRef; b: PatientRef; by: string },
): Promise<Correction> => {
  const [first, second] = [await rowOf(tx, vault, a, 'A'), await rowOf(tx, vault, b, 'B')];
  if (first === second) throw new VaultRefusal('A and B are the same patient already');
  await lockPatients(tx, [first, second]);
  const retired = await pseudonymOf(tx, vault, second);
  const studies = await studiesOf(tx, vault, second);
  await tx.query('update identifiers set subject_row = $2 where subject_row = $1', [second, first]);
  const heldIds = await giveStudies(tx, vault, studies, () => first);
  await tx.query('delete from patients where subject_row = $1', [second]);
  return retire(tx, vault, { kind: 'merge', retired, studies, heldIds, by, from: second, to: [first] });
};

const split = async (tx: Transaction, vault: VaultReading, id: PatientKey, by: string): Promise<Correction> => {
  const mixed = await rowOf(tx, vault, { key: id }, 'the id');
  const idDigest = digestOf(vault, id);
  await lockPatients(tx, [mixed]);
  const ids = await tx.query<{ id_digest: string }>('select id_digest from identifiers where subject_row = $1', [mixed]);
  if (!ids.some((row) => row.id_digest === idDigest)) throw new VaultRefusal('the id moved to another patient meanwhile: try again');
  if (ids.length === 1) throw new VaultRefusal("it is the patient's only id: there is nothing to split");
  const retired = await pseudonymOf(tx, vault, mixed);
  const studies = await studiesOf(tx, vault, mixed);
  const [own, others] = [await freshPatient(tx, vault), await freshPatient(tx, vault)];
  await tx.query('update identifiers set subject_row = case when id_digest = $2 then $3 else $4 end where subject_row = $1', [
    mixed,
    idDigest,
    own,
    others,
  ]);
  const heldIds = await giveStudies(tx, vault, studies, (study) => (study.idDigest === idDigest ? own : others));
  // Whoever looked the old row up and waits for its lock finds it gone, and looks up again.
  await tx.query('delete from patients where subject_row = $1', [mixed]);
  return retire(tx, vault, { kind: 'split', retired, studies, heldIds, by, from: mixed, to: [own, others] });
};

const digestOf = ({ crypto }: VaultReading, key: PatientKey): string => crypto.digest('patient', key.namespace, key.patientId);

const rowOf = async (tx: Transaction, vault: VaultReading, ref: PatientRef, what: string): Promise<string> => {
  if ('pseudonym' in ref) {
    const found = await patientOfPseudonym(tx, vault, ref.pseudonym);
    if (found === undefined) throw new VaultRefusal(`${what}: no patient in the vault has this pseudonym`);
    return found;
  }
  const digest = digestOf(vault, ref.key);
  const [row] = await tx.query<{ denied: boolean; subject_row: string | null }>(
    `select exists (select from deny where id_digest = $1) as denied, (select subject_row from identifiers where id_digest = $1) as subject_row`,
    [digest],
  );
  if (row?.denied) throw new VaultRefusal(`${what}: the patient withdrew; nothing of theirs is kept`);
  if (!row?.subject_row) throw new VaultRefusal(`${what}: the vault does not know this id; check issuer and id`);
  return row.subject_row;
};

/** Exclusive, against studies of the patients in work; in one order, so that two commands do not wait for each other. */
const lockPatients = async (tx: Transaction, subjectRows: readonly string[]): Promise<void> => {
  for (const row of subjectRows.toSorted()) await lockPatient(tx, row);
  const found = await tx.query('select 1 from patients where subject_row = any ($1) for update', [subjectRows]);
  if (found.length !== subjectRows.length) throw new VaultRefusal('the patient was merged, split or withdrawn meanwhile: look again');
  await tx.query('select 1 from studies where subject_row = any ($1) order by study_digest for update', [subjectRows]);
};

const pseudonymOf = async (tx: Transaction, { crypto, ids }: VaultReading, subjectRow: string): Promise<SubjectId> => {
  const [row] = await tx.query<{ secret_box: Buffer }>('select secret_box from patients where subject_row = $1', [subjectRow]);
  if (row === undefined) throw new Error('the locked patient is gone');
  return ids.subjectId(crypto.open(row.secret_box, subjectRow));
};

const freshPatient = async (tx: Transaction, { crypto }: VaultReading): Promise<string> => {
  const row = newId();
  await tx.query('insert into patients values ($1, $2)', [row, crypto.seal(newSecret(), row)]);
  return row;
};

/** The held ids of the studies until now: what lies in the quarantine under them is nobody's any more. */
const giveStudies = async (
  tx: Transaction,
  vault: VaultReading,
  studies: readonly VaultStudy[],
  rowOfStudy: (study: VaultStudy) => string,
): Promise<string[]> => {
  const heldIds: string[] = [];
  for (const study of studies) heldIds.push(...(await giveStudy(tx, vault, study.digest, rowOfStudy(study))));
  return heldIds;
};

/** The study goes under the row with a new secret: its research id, revisions and held ids are others from now on. */
const giveStudy = async (tx: Transaction, vault: VaultReading, digest: string, subjectRow: string): Promise<string[]> => {
  const secret = newSecret();
  const heldIds = await moveHolds(tx, vault, { digest, subjectRow, secret });
  await tx.query('update studies set subject_row = $2, secret_box = $3 where study_digest = $1', [
    digest,
    subjectRow,
    vault.crypto.seal(secret, digest),
  ]);
  return heldIds;
};

interface Given {
  digest: string;
  subjectRow: string;
  secret: Uint8Array;
}

/** Holds go on under the ids of the new secret: forgotten, a refused study would be judged as one that nobody has seen. */
const moveHolds = async (tx: Transaction, { crypto, ids }: VaultReading, { digest, subjectRow, secret }: Given): Promise<string[]> => {
  // Locked: whoever decides or looks meanwhile waits, and finds the old id gone.
  const held = await tx.query<{ held_id: string; secret_box: Buffer }>(
    'select held_id, secret_box from held join studies using (token) where study_digest = $1 order by held_id for update of held',
    [digest],
  );
  const [first] = held;
  if (first === undefined) return [];
  const old = crypto.open(first.secret_box, digest);
  const revisions = await tx.query<{ revision: ClinicalRevision }>('select revision from revisions where study_digest = $1', [digest]);
  for (const { revision } of revisions) {
    const [was, is] = [ids.heldId(old, revision), ids.heldId(secret, revision)];
    await tx.query('delete from held_looks where held_id = $1', [was]);
    await tx.query(MOVE, [was, is, subjectRow]);
  }
  return held.map((row) => row.held_id);
};

/**
 * A refusal is of the study, whatever is found. A release of text is of its pixels, which no secret changes; any other one
 * is of what the old secret made of the header, and a person looks again.
 */
const MOVE = `
  with changed as (
    update held set held_id = $2, decision = case when decision = 'refused' or checks = '["text"]' then decision end
    where held_id = $1 returning held_id, decision)
  insert into audit (action, subject_row, detail)
  select 'held-moved', $3, json_build_object('heldId', held_id, 'was', $1::text, 'decision', decision)::text from changed`;

interface Done {
  kind: Correction['kind'];
  retired: SubjectId;
  studies: readonly VaultStudy[];
  heldIds: readonly string[];
  by: string;
  from: string;
  to: readonly string[];
}

/** Has research erase the pseudonym, as after a withdrawal; nobody is denied, and the originals stay. */
const retire = async (tx: Transaction, { crypto }: VaultReading, done: Done): Promise<Correction> => {
  const { kind, retired, studies, heldIds, by, from, to } = done;
  const requestId = newId();
  const toErase: ToErase = { subjectId: retired, studies: [], heldIds, retiredStudies: studies.map((s) => s.researchStudy) };
  await tx.query("insert into withdrawals (request_id, subject_digest, box, kind) values ($1, $2, $3, 'correction')", [
    requestId,
    crypto.digest('subject', retired),
    crypto.seal(Buffer.from(JSON.stringify(toErase)), requestId),
  ]);
  await tx.query(
    `insert into reanonymise (study_digest) select unnest($1::text[]) on conflict (study_digest) do update set since = now()`,
    [studies.map(({ digest }) => digest)],
  );
  for (const row of to)
    await tx.query('insert into audit (action, subject_row, detail) values ($1, $2, $3)', [
      kind,
      row,
      JSON.stringify({ from, by, requestId, studies: studies.length }),
    ]);
  await tx.enqueue(withdrawnEvent(requestId, from));
  return { requestId, kind, retired, studies: studies.map(shown) };
};

const shown = ({ centre, studyInstanceUid, researchStudy }: VaultStudy): AffectedStudy => ({ centre, studyInstanceUid, researchStudy });

const waiting = async (tx: Transaction, vault: VaultReading): Promise<AffectedStudy[]> => {
  const rows = await tx.query<{ subject_row: string }>(
    'select distinct subject_row from studies join reanonymise using (study_digest) where subject_row is not null order by 1',
  );
  const due = new Set((await tx.query<{ study_digest: string }>('select study_digest from reanonymise')).map((row) => row.study_digest));
  const all: AffectedStudy[] = [];
  for (const { subject_row } of rows)
    all.push(...(await studiesOf(tx, vault, subject_row)).filter(({ digest }) => due.has(digest)).map(shown));
  return all;
};

const asked = async (tx: Transaction, { crypto }: VaultReading, studies: readonly AffectedStudy[]): Promise<void> => {
  const digests = studies.map(({ centre, studyInstanceUid }) => crypto.digest('study', centre, studyInstanceUid));
  await tx.query('delete from reanonymise where study_digest = any ($1)', [digests]);
};
