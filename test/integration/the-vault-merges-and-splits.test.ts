// Merge and split on the real PostgreSQL: links move whole, under the locks that studies in work hold, and nothing goes
// on under a pseudonym that was somebody else's.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openPostgresHeld } from '../../services/adapters/postgres-held.ts';
import type { VaultCorrections } from '../../services/adapters/postgres-vault-admin-correct.ts';
import { RESEARCH_IDS } from '../../services/anonymise/withdraw-ids.ts';
import { centreId, type ClinicalRevision } from '../../services/kernel/ids.ts';
import type { DecisionKind, HeldBook, HeldReview } from '../../services/ports/held-decisions.ts';
import type { IdentityVault, StudyKeys } from '../../services/ports/identity-vault.ts';
import type { Withdrawals } from '../../services/ports/withdrawals.ts';
import { releasePlatform } from './support.ts';
import { anna, emptyVault, eventually, idKey, study, subjectOf, type TestVault } from './vault-support.ts';

let under: TestVault;
let vault: IdentityVault;
let corrections: VaultCorrections;
let withdrawals: Withdrawals;
let held: HeldBook & HeldReview;

beforeAll(async () => {
  under = await emptyVault();
  vault = await under.open();
  corrections = await under.corrections();
  withdrawals = await under.withdrawals();
  held = openPostgresHeld(under.url);
});

afterAll(async () => {
  await Promise.allSettled([vault.close(), corrections.close(), withdrawals.close(), held.close()]);
  under.dispose();
  await releasePlatform();
});

const pseudonym = ({ secret }: { secret: Uint8Array }) => RESEARCH_IDS.subjectId(secret);
const researchId = ({ secret }: { secret: Uint8Array }) => RESEARCH_IDS.studyId(secret);

test('fifty first sights at once over five connections make one row', async () => {
  const vaults = await Promise.all(Array.from({ length: 5 }, () => under.open()));
  const all = await Promise.all(Array.from({ length: 50 }, (_, i) => subjectOf(vaults[i % 5] ?? vault, 'at once')));
  await Promise.all(vaults.map((v) => v.close()));
  expect(new Set(all.map(({ subjectRow }) => subjectRow)).size).toBe(1);
  const rows = await under.query('select count(*)::int as n from patients join identifiers using (subject_row) where id_digest = $1', [
    all[0]?.idDigest,
  ]);
  expect(rows).toEqual([{ n: 1 }]);
  expect(await under.query('select count(*)::int as n from patients')).toEqual([{ n: 1 }]);
});

test("a merge gives B's ids and studies to A, under other research ids, and retires B's pseudonym", async () => {
  const [a, b] = [await subjectOf(vault, 'A1'), await subjectOf(vault, 'B1')];
  const [ofA, ofB] = [await study(vault, a, '1.1'), await study(vault, b, '1.2')];
  const done = await corrections.merge({ key: idKey('A1') }, { pseudonym: pseudonym(b) }, 'tester');
  expect(done).toMatchObject({
    kind: 'merge',
    retired: pseudonym(b),
    studies: [{ centre: 'c01', studyInstanceUid: '1.2', researchStudy: researchId(ofB) }],
  });
  const merged = await subjectOf(vault, 'B1');
  expect(merged).toMatchObject({ subjectRow: a.subjectRow, secret: a.secret });
  const again = await study(vault, merged, '1.2');
  expect(again).toMatchObject({ token: ofB.token, lineageId: ofB.lineageId, ordinal: 1 });
  expect(researchId(again)).not.toBe(researchId(ofB));
  // A's own studies stay what they were.
  expect(await study(vault, a, '1.1')).toEqual(ofA);
  expect(await under.query('select 1 from patients where subject_row = $1', [b.subjectRow])).toEqual([]);
  expect(await under.query("select detail from audit where action = 'merge' and subject_row = $1", [a.subjectRow])).toEqual([
    { detail: expect.stringContaining('"by":"tester"') },
  ]);
  // Research erases by the retired pseudonym; the originals stay for the new anonymisation, and nobody is denied.
  expect(await withdrawals.toErase(done.requestId)).toEqual({
    subjectId: pseudonym(b),
    studies: [],
    heldIds: [],
    retiredStudies: [researchId(ofB)],
  });
  expect(await under.query('select topic from outbox')).toEqual([{ topic: 'ct.clinical.patient-withdrawn.v1' }]);
  expect(await under.query('select 1 from deny')).toEqual([]);
  // Whoever asks by the retired pseudonym is not shown its erasure as theirs.
  expect(await withdrawals.withdrawSubject(pseudonym(b), 'tester')).toBeUndefined();
  const waiting = await corrections.waiting();
  expect(waiting).toEqual([{ centre: 'c01', studyInstanceUid: '1.2', researchStudy: researchId(again) }]);
  await corrections.asked(waiting);
  expect(await corrections.waiting()).toEqual([]);
});

test('a merge waits for a study in work, and whoever looked the old row up before finds it gone', async () => {
  const [, b] = [await subjectOf(vault, 'A2'), await subjectOf(vault, 'B2')];
  const lock = await vault.subjectLock(b.subjectRow);
  let isDone = false;
  const merging = corrections.merge({ key: idKey('A2') }, { key: idKey('B2') }, 'tester').then(() => (isDone = true));
  try {
    await eventually(
      'the merge waits for the lock',
      async () => (await under.query("select 1 from pg_locks where locktype = 'advisory' and not granted")).length > 0,
    );
    expect(isDone).toBe(false);
    await lock.confirm();
  } finally {
    await lock.release();
  }
  await merging;
  await expect(vault.subjectLock(b.subjectRow)).rejects.toMatchObject({ code: 'VAULT_UNAVAILABLE', retryable: true });
});

test('two merges of the same patients at once: one is done, the other refused, and nobody hangs', async () => {
  await subjectOf(vault, 'A3');
  await subjectOf(vault, 'B3');
  const [x, y] = [{ key: idKey('A3') }, { key: idKey('B3') }];
  const other = await under.corrections();
  const results = await Promise.allSettled([corrections.merge(x, y, 'one'), other.merge(y, x, 'two')]);
  await other.close();
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  const [a, b] = [await subjectOf(vault, 'A3'), await subjectOf(vault, 'B3')];
  expect(a.subjectRow).toBe(b.subjectRow);
  await expect(corrections.merge(x, y, 'again')).rejects.toThrow('same patient already');
});

test('a merge that fails half way changes nothing', async () => {
  const [a, b] = [await subjectOf(vault, 'A4'), await subjectOf(vault, 'B4')];
  await study(vault, b, '4.1');
  await under.query('alter table reanonymise add constraint no_more check (false) not valid');
  await expect(corrections.merge({ key: idKey('A4') }, { key: idKey('B4') }, 'tester')).rejects.toThrow();
  await under.query('alter table reanonymise drop constraint no_more');
  expect(await subjectOf(vault, 'B4')).toEqual(b);
  expect(await subjectOf(vault, 'A4')).toEqual(a);
});

test('a split gives the id a patient of its own with the studies that came by it, and the others a fresh one', async () => {
  const [a, b] = [await subjectOf(vault, 'A5'), await subjectOf(vault, 'B5')];
  await corrections.merge({ key: idKey('A5') }, { key: idKey('B5') }, 'tester');
  const mixed = await subjectOf(vault, 'B5');
  const [byA, byB] = [await study(vault, await subjectOf(vault, 'A5'), '5.1'), await study(vault, mixed, '5.2')];
  const done = await corrections.split(idKey('B5'), 'tester');
  expect(done.studies.map((s) => s.researchStudy).sort()).toEqual([researchId(byA), researchId(byB)].sort());
  expect(done.retired).toBe(pseudonym(mixed));
  const [afterA, afterB] = [await subjectOf(vault, 'A5'), await subjectOf(vault, 'B5')];
  expect(new Set([a, b, afterA, afterB].map(pseudonym)).size).toBe(4);
  const rows = await under.query('select subject_row from studies where token = any ($1) order by token = $2', [
    [byA.token, byB.token],
    byB.token,
  ]);
  expect(rows).toEqual([{ subject_row: afterA.subjectRow }, { subject_row: afterB.subjectRow }]);
  await expect(vault.subjectLock(mixed.subjectRow)).rejects.toMatchObject({ code: 'VAULT_UNAVAILABLE' });
  await expect(corrections.split(idKey('B5'), 'tester')).rejects.toThrow('only id');
});

const heldId = ({ secret }: StudyKeys): string => RESEARCH_IDS.heldId(secret, 'r1' as ClinicalRevision);

/** Holds the study's revision, and has a person look and decide. */
const holdAndDecide = async (keys: StudyKeys, check: string, decision: DecisionKind | undefined, isEnded: boolean): Promise<void> => {
  const id = heldId(keys);
  const note = { heldId: id, token: keys.token, centre: centreId('c01'), digest: 'd', findings: 1, eventId: 'e' } as const;
  await held.hold({ ...note, code: 'HELD_BURNED_IN_TEXT', checks: [check], objects: [`${id}/x/findings.json`] });
  await held.noteLook(id, 'd', 'Anna');
  if (decision !== undefined) await held.decide({ heldId: id, digest: 'd', kind: decision, by: 'Anna', reason: 'none' });
  if (isEnded) await held.end(id, 'decided');
};

test.each([
  ['merge', () => corrections.merge({ key: idKey('A9') }, { key: idKey('B9') }, 'tester')],
  ['split', () => corrections.split(idKey('B9'), 'tester')],
])('after a %s a refused study stays refused, an open hold is one hold, and other than text is looked at again', async (_, correct) => {
  await subjectOf(vault, 'A9');
  const studies = async (): Promise<readonly [StudyKeys, StudyKeys, StudyKeys, StudyKeys, StudyKeys]> => {
    const b = await subjectOf(vault, 'B9');
    const of = (n: number): Promise<StudyKeys> => study(vault, b, `9.${n}`);
    return [await of(1), await of(2), await of(3), await of(4), await of(5)];
  };
  const before = await studies();
  const [refused, waits, undecided, text, element] = before;
  await holdAndDecide(refused, 'element', 'refused', true);
  await holdAndDecide(waits, 'element', 'refused', false);
  await holdAndDecide(undecided, 'text', undefined, false);
  await holdAndDecide(text, 'text', 'released', true);
  await holdAndDecide(element, 'element', 'released', true);

  const done = await correct();

  const after = await studies();
  const decisions = await Promise.all(after.map(async (keys) => (await held.standing(heldId(keys)))?.decision?.kind));
  expect(decisions).toEqual(['refused', 'refused', undefined, 'released', undefined]);
  expect((await held.list()).map((one) => one.heldId).sort()).toEqual([heldId(after[1]), heldId(after[2])].sort());
  for (const keys of before) expect(await held.standing(heldId(keys))).toBeUndefined();
  expect(await held.hasLooked(heldId(after[2]), 'd', 'Anna')).toBe(false);
  // What lies under the old ids in the quarantine is removed with what research erases.
  expect((await withdrawals.toErase(done.requestId))?.heldIds.toSorted()).toEqual(before.map(heldId).sort());
  const told = await under.query(
    "select subject_row from audit where action = 'held-moved' and detail::json ->> 'was' = $1 and detail::json ->> 'heldId' = $2",
    [heldId(refused), heldId(after[0])],
  );
  expect(told).toEqual([{ subject_row: (await subjectOf(vault, 'B9')).subjectRow }]);
});

test('unknown and withdrawn ids are refused, and no message names them', async () => {
  await subjectOf(vault, 'A6');
  await withdrawals.withdrawPatient(idKey('GONE-6'), 'tester');
  for (const id of ['NEVER-SEEN-6', 'GONE-6']) {
    const error = await corrections.merge({ key: idKey('A6') }, { key: idKey(id) }, 'tester').catch((e: unknown) => e);
    expect(error).toBeInstanceOf(Error);
    expect(String(error)).not.toContain(id);
  }
  await expect(corrections.merge({ key: idKey('A6') }, { pseudonym: 'SAAAAAAAAAAAAAAAA' }, 'tester')).rejects.toThrow('no patient');
});

test('the command takes ids from files and pipes, and refuses them as arguments', async () => {
  const [a] = [await subjectOf(vault, 'A7'), await subjectOf(vault, 'B7')];
  const by = anna(under, 'privacy');
  const typed = await under.cli(['merge', 'H:A7', 'H:B7', '--yes', ...by]);
  expect(typed).toMatchObject({ code: 2, stdout: '' });
  const asked = ['merge', `@${under.file('a', 'H:A7\n')}`, `@${under.file('b', 'H:B7\n')}`, '--yes'];
  const merged = await under.cli([...asked, ...by]);
  expect(merged.code).toBe(0);
  expect(JSON.parse(merged.stdout)).toMatchObject({ kind: 'merge', studies: [] });
  expect((await subjectOf(vault, 'B7')).subjectRow).toBe(a.subjectRow);
  for (const text of [merged.stdout, merged.stderr, typed.stderr]) expect(text).not.toContain('B7');
  const last = "select detail::json ->> 'by' as by from audit where action = 'merge' order by audit_id desc limit 1";
  expect(await under.query(last)).toEqual([{ by: 'anna' }]);
});

test('a merge or split is refused to who has no role, and where no people file says who has', async () => {
  const before = [await subjectOf(vault, 'A8'), await subjectOf(vault, 'B8')];
  const merge = ['merge', `@${under.file('a8', 'H:A8\n')}`, `@${under.file('b8', 'H:B8\n')}`, '--yes'];
  const split = ['split', `@${under.file('a8', 'H:A8\n')}`, '--yes'];
  for (const command of [merge, split]) {
    expect(await under.cli(command)).toMatchObject({ code: 2, stdout: '' });
    expect(await under.cli([...command, ...anna(under, 'security')])).toMatchObject({ code: 1, stdout: '' });
    const alone = await under.cli([...command, ...anna(under, 'privacy').slice(0, 2)]);
    expect(alone).toMatchObject({ code: 78, stdout: '', stderr: expect.stringContaining('tokenSha256') });
  }
  expect([await subjectOf(vault, 'A8'), await subjectOf(vault, 'B8')]).toEqual(before);
});
