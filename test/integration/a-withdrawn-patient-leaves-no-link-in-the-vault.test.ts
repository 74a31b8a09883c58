// The vault's part of a withdrawal on the real PostgreSQL: it waits for running jobs, cuts every link at once, refuses for
// ever, and its receipt is complete when all stages have reported.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import pino from 'pino';
import ids from '../../schemas/ids.json' with { type: 'json' };
import { createDatabase } from '../../deploy/local/postgres.ts';
import { avroCodec } from '../../services/adapters/avro-codec.ts';
import { postgresDatabase } from '../../services/adapters/postgres-database.ts';
import { lockPatient } from '../../services/adapters/postgres-vault-session.ts';
import { openPostgresVault } from '../../services/adapters/postgres-vault.ts';
import { openPostgresWithdrawals, type WithdrawalsSource } from '../../services/adapters/postgres-vault-withdraw.ts';
import { RESEARCH_IDS } from '../../services/anonymise/withdraw-ids.ts';
import { Fault } from '../../services/kernel/fault.ts';
import { centreId, clinicalKey, type ClinicalRevision, type StudyInstanceUid, type SubjectId } from '../../services/kernel/ids.ts';
import type { IdentityVault, SubjectKeys } from '../../services/ports/identity-vault.ts';
import type { OutboxRow } from '../../services/ports/outbox.ts';
import { ERASING_STAGES, type Receipt } from '../../services/ports/withdrawals.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

const key = randomBytes(32);
const codec = avroCodec();
const c01 = centreId('c01');
const uid = (n: number): StudyInstanceUid => `1.2.643.9.${n}` as StudyInstanceUid;
const revision = (name: string): ClinicalRevision => name as ClinicalRevision;
const person = (patientId: string) => ({ namespace: 'issuer:H', patientId });

let vault: IdentityVault;
let withdrawals: WithdrawalsSource;
let pool: pg.Pool;
let url: string;

beforeAll(async () => {
  const platform = await testPlatform();
  const name = testPrefix('withdraw').replaceAll('-', '_');
  url = await createDatabase(platform.postgres, name, { user: name, password: randomBytes(12).toString('hex') });
  vault = await openPostgresVault({ connectionString: url, key });
  withdrawals = await openPostgresWithdrawals({ connectionString: url, key, codec, log: pino({ level: 'silent' }), ids: RESEARCH_IDS });
  pool = new pg.Pool({ connectionString: url, max: 2 });
  // `end` does not wait for the sockets, and the platform's stop may come first.
  pool.on('error', () => undefined);
});

afterAll(async () => {
  await Promise.all([vault.close(), withdrawals.close(), pool.end()]);
  await releasePlatform();
});

const seen = async (patientId: string): Promise<SubjectKeys> => {
  const found = await vault.subject(person(patientId));
  if (found === 'denied') throw new Error('denied');
  return found;
};

const receiptOf = (found: Receipt | 'denied' | undefined): Receipt => {
  if (found === undefined || found === 'denied') throw new Error(`no receipt: ${found}`);
  return found;
};

/** Every value of every table, as text. */
const dump = async (): Promise<string> => {
  const tables = await pool.query<{ name: string }>(
    "select table_name as name from information_schema.tables where table_schema = 'public'",
  );
  const parts: string[] = [];
  for (const { name } of tables.rows) {
    for (const row of (await pool.query(`select * from "${name}"`)).rows as Record<string, unknown>[])
      for (const value of Object.values(row)) parts.push(Buffer.isBuffer(value) ? value.toString('hex') : JSON.stringify(value));
  }
  return parts.join('\n');
};

const events = async () => {
  const rows = await withdrawals.next(100);
  await withdrawals.markSent(rows.map((r) => r.sequence));
  return rows.map((row) => codec.decode({ ...row, partition: 0, offset: 0n, timestampMs: 0 }));
};

test('all rows of the patient go in one transaction with the denial, the request and its event; asked again, the same receipt', async () => {
  const subject = await seen('goes');
  const other = await seen('stays');
  const studies = [];
  for (const n of [1, 2]) studies.push(await vault.study(subject, c01, uid(n), revision(`r${n}`)));
  await vault.study(subject, c01, uid(2), revision('r3'));
  await vault.study(other, c01, uid(3), revision('r1'));
  const pseudonym = RESEARCH_IDS.subjectId(subject.secret);

  const receipt = receiptOf(await withdrawals.withdrawPatient(person('goes'), 'tester'));
  expect(receipt.completedAtMs).toBeUndefined();
  expect(receipt.reports.map((r) => [r.stage, r.doneAtMs])).toEqual(ERASING_STAGES.map((stage) => [stage, undefined]));
  expect(receipt.reports[0]).toMatchObject({ stage: 'anonymise', rows: 4 });
  expect(await withdrawals.withdrawPatient(person('goes'), 'tester')).toEqual(receipt);
  expect(await withdrawals.withdrawSubject(pseudonym, 'tester')).toEqual(receipt);
  expect(await withdrawals.receipt(receipt.requestId)).toEqual(receipt);

  expect(await vault.subject(person('goes'))).toBe('denied');
  expect(await seen('stays')).toEqual(other);
  const keys = [1, 2, 3].map((n) => clinicalKey(c01, uid(n)));
  expect(await vault.denied(keys)).toEqual(new Set(keys.slice(0, 2)));
  const [told, ...rest] = await events();
  expect(rest).toEqual([]);
  expect(told).toMatchObject({
    type: 'ctstream.clinical.v1.PatientWithdrawn',
    source: 'withdraw',
    value: { requestId: receipt.requestId, subjectRow: subject.subjectRow },
  });

  const toErase = await withdrawals.toErase(receipt.requestId);
  expect(toErase?.subjectId).toBe(pseudonym);
  expect(toErase?.heldIds).toEqual([]);
  expect(toErase?.studies.toSorted((a, b) => (a.studyInstanceUid < b.studyInstanceUid ? -1 : 1))).toEqual(
    studies.map(({ secret }, i) => ({
      centre: c01,
      studyInstanceUid: uid(i + 1),
      revision: ['r1', 'r3'][i],
      studyId: RESEARCH_IDS.studyId(secret),
    })),
  );
  const { rows: audit } = await pool.query("select detail from audit where action = 'withdrawn'");
  expect(audit.map(({ detail }: { detail: string }) => JSON.parse(detail))).toContainEqual({ by: 'tester', request: receipt.requestId });
  const stored = await dump();
  for (const link of [pseudonym, ...studies.flatMap(({ token, lineageId, secret }) => [token, lineageId, RESEARCH_IDS.studyId(secret)])])
    expect(stored).not.toContain(link);
});

test('a withdrawal waits for the jobs of the patient, new ones wait for it, and it sees what the last job added', async () => {
  const subject = await seen('busy');
  await vault.study(subject, c01, uid(10), revision('r1'));
  const locks = [await vault.subjectLock(subject.subjectRow), await vault.subjectLock(subject.subjectRow)];
  let isDone = false;
  const withdrawn = withdrawals.withdrawPatient(person('busy'), 'tester').finally(() => (isDone = true));
  const waits = async (): Promise<boolean> =>
    (await pool.query("select from pg_locks where locktype = 'advisory' and mode = 'ExclusiveLock' and not granted")).rowCount !== 0;
  while (!(await waits())) await sleep(20);
  await expect(vault.subjectLock(subject.subjectRow)).rejects.toMatchObject({ code: 'VAULT_UNAVAILABLE', retryable: true });
  await locks[0]?.release();
  await vault.study(subject, c01, uid(11), revision('r1'));
  await locks[1]?.confirm();
  expect(isDone).toBe(false);
  await locks[1]?.release();
  const { requestId } = receiptOf(await withdrawn);
  expect((await withdrawals.toErase(requestId))?.studies).toHaveLength(2);
  await expect(vault.subjectLock(subject.subjectRow)).rejects.toMatchObject({ code: 'VAULT_UNAVAILABLE', retryable: true });
});

test('a lock is waited for longer than a single query may take', async () => {
  const subject = await seen('long');
  const lock = await vault.subjectLock(subject.subjectRow);
  const db = await postgresDatabase({ url, codec, source: 'withdraw', log: pino({ level: 'silent' }), statementTimeoutMs: 500 });
  try {
    let isHeld = false;
    const held = db.transaction(async (tx) => {
      await lockPatient(tx, subject.subjectRow, 200);
      isHeld = true;
      return await tx.query<{ limit: string }>("select current_setting('lock_timeout') as limit");
    });
    await sleep(1500);
    expect(isHeld).toBe(false);
    await lock.release();
    expect(await held).toEqual([{ limit: '0' }]);
  } finally {
    await db.close();
  }
});

test('a job whose lock is lost may not publish', async () => {
  const subject = await seen('cut off');
  const lock = await vault.subjectLock(subject.subjectRow);
  await pool.query(
    "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and mode = 'ShareLock' and granted and database = (select oid from pg_database where datname = current_database())",
  );
  await expect(lock.confirm()).rejects.toMatchObject({ code: 'VAULT_UNAVAILABLE', retryable: true });
  await lock.release();
  receiptOf(await withdrawals.withdrawPatient(person('cut off'), 'tester'));
});

test('first sights while the withdrawal runs do not bring the patient back', async () => {
  await seen('at once');
  const sights = Array.from({ length: 10 }, () => vault.subject(person('at once')));
  const [receipt] = await Promise.all([withdrawals.withdrawPatient(person('at once'), 'tester'), Promise.allSettled(sights)]);
  receiptOf(receipt);
  expect(await vault.subject(person('at once'))).toBe('denied');
});

test('an identifier that nobody knew is refused from then on; a pseudonym that nobody has is not found', async () => {
  expect(await withdrawals.withdrawPatient(person('never seen'), 'tester')).toBe('denied');
  expect(await withdrawals.withdrawPatient(person('never seen'), 'tester')).toBe('denied');
  expect(await vault.subject(person('never seen'))).toBe('denied');
  expect(await withdrawals.withdrawSubject('SNOBODY' as SubjectId, 'tester')).toBeUndefined();
});

test('the receipt is complete when all have reported; then no identifier leads to the request any more', async () => {
  const subject = await seen('complete');
  await vault.study(subject, c01, uid(20), revision('r1'));
  const pseudonym = RESEARCH_IDS.subjectId(subject.secret);
  const { requestId } = receiptOf(await withdrawals.withdrawSubject(pseudonym, 'tester'));
  expect(await withdrawals.requestOf(pseudonym)).toBe(requestId);
  await withdrawals.note(requestId, 'anonymise', { objects: 5, rows: 0 }, false);
  for (const stage of ERASING_STAGES) {
    expect((await withdrawals.receipt(requestId))?.completedAtMs).toBeUndefined();
    await withdrawals.note(requestId, stage, { objects: 1, rows: 1 }, true);
    // A report that comes again changes nothing.
    await withdrawals.note(requestId, stage, { objects: 7, rows: 7 }, true);
  }
  const receipt = receiptOf(await withdrawals.receipt(requestId));
  expect(receipt.completedAtMs).toBeGreaterThanOrEqual(receipt.requestedAtMs);
  expect(receipt.reports.map((r) => [r.objects, r.rows])).toEqual([
    [6, 4],
    [1, 1],
    [1, 1],
    [1, 1],
    [1, 1],
  ]);
  expect(await withdrawals.toErase(requestId)).toBeUndefined();
  expect(await withdrawals.withdrawPatient(person('complete'), 'tester')).toBe('denied');
  expect(await withdrawals.withdrawSubject(pseudonym, 'tester')).toEqual(receipt);
  const left = await pool.query(
    'select from deny where request_id = $1 union all select from withdrawals where request_id = $1 and box is not null',
    [requestId],
  );
  expect(left.rowCount).toBe(0);

  // A merge or split writes the same, for a pseudonym that it retires: that is nobody's withdrawal.
  expect(receipt.kind).toBe('withdrawal');
  await pool.query("update withdrawals set kind = 'correction' where request_id = $1", [requestId]);
  expect(await withdrawals.withdrawSubject(pseudonym, 'tester')).toBeUndefined();
  expect((await withdrawals.receipt(requestId))?.kind).toBe('correction');
});

test('the event of a withdrawal that is not complete is told again with its id, also when its row is lost; of a complete one it is not', async () => {
  for (const { request_id } of (await pool.query<{ request_id: string }>('select request_id from withdrawals')).rows)
    for (const stage of ERASING_STAGES) await withdrawals.note(request_id, stage, { objects: 0, rows: 0 }, true);
  await events();
  const requests: string[] = [];
  for (const name of ['told', 'row lost', 'over']) {
    await seen(name);
    requests.push(receiptOf(await withdrawals.withdrawPatient(person(name), 'tester')).requestId);
  }
  const [told, rowLost, over] = await events();
  for (const stage of ERASING_STAGES) await withdrawals.note(requests[2] ?? '', stage, { objects: 0, rows: 0 }, true);
  await pool.query('delete from outbox where event_id = $1', [rowLost?.id]);
  expect(await withdrawals.next(10)).toEqual([]);

  expect(await withdrawals.tellOpenAgain()).toBe(2);
  const again = await events();
  expect(again.map(({ id, value }) => [id, 'requestId' in value ? value.requestId : undefined])).toEqual([
    [told?.id, requests[0]],
    [rowLost?.id, requests[1]],
  ]);
  expect(again[0]?.value).toEqual(told?.value);
  expect(over?.id).toBeDefined();
  for (const requestId of requests.slice(0, 2)) expect(await withdrawals.toErase(requestId)).toBeDefined();
});

test('a withdrawal by a command that knows no registry is published with the schema ids of the stages', async () => {
  await events();
  await seen('no registry');
  const { requestId } = receiptOf(await withdrawals.withdrawPatient(person('no registry'), 'tester'));
  // Of each schema another id, which schemas/ids.json gives to a schema of another type, or to none.
  const registryIds = new Map(Object.entries(ids).map(([file, id]) => [file, id + 1]));
  const ofStages = avroCodec({ registryIds });
  const [plain] = await withdrawals.next(1);
  const inStage = await openPostgresWithdrawals({
    connectionString: url,
    key,
    codec: ofStages,
    log: pino({ level: 'silent' }),
    ids: RESEARCH_IDS,
  });
  try {
    const read = (row: OutboxRow | undefined) => ofStages.decode({ ...row!, partition: 0, offset: 0n, timestampMs: 0 });
    expect(() => read(plain)).toThrow(Fault);
    const [row] = await inStage.next(1);
    expect(read(row)).toMatchObject({ id: plain?.eventId, sequence: plain?.sequence, value: { requestId } });
    expect({ ...row, value: null }).toEqual({ ...plain, value: null });
    // One of its own is as it was written.
    await seen('by a stage');
    await inStage.withdrawPatient(person('by a stage'), 'tester');
    const { rows } = await pool.query<{ value: Buffer }>('select value from outbox order by sequence desc limit 1');
    expect((await inStage.next(10)).at(-1)?.value).toEqual(rows[0]?.value);
  } finally {
    await inStage.close();
  }
});
