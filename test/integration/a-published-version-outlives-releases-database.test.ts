// Release's database was lost, or comes from a backup: what stands in ct-releases is known again, a withdrawal reaches it, and
// nothing of it is removed or given another content.
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { EventRecord } from '../../schemas/events.gen.ts';
import { Fault } from '../../services/kernel/fault.ts';
import { approveRelease } from '../../services/release/approve.ts';
import { type BuildDeps, buildRelease, removePrefix } from '../../services/release/build.ts';
import type { ErasePorts } from '../../services/release/erase.ts';
import { releaseStage } from '../../services/release/stage.ts';
import { systemClock } from '../../services/runtime/system.ts';
import { digestOf, type Kit, openKit, putAssessed, selected, type StageDatabase, releaseDeps } from './research-kit.ts';

const APPROVED = { approvers: ['Ada Lovelace', 'Grace Hopper'], simulated: true };
const [FIRST, SECOND] = ['v1.0.0', 'v1.1.0'] as const;
let kit: Kit;
let database: StageDatabase;
let deps: BuildDeps;
/** SHA256SUMS of both versions as they were approved. */
let sums: string[];

const volumeOf = (n: number): Buffer => Buffer.from(`volume ${n} `.repeat(3000));
const select = (n: number): EventRecord => selected(n, { volumeDigest: digestOf(volumeOf(n)) });
function label(n: number): EventRecord {
  const { studyId, subjectId, revision, volumeDigest } = selected(n, { volumeDigest: digestOf(volumeOf(n)) }).value;
  const readings = ['first', 'second'].map((role) => ({ reader: role, grade: 2, seconds: 20, simulated: true, role }));
  const value = { studyId, subjectId, revision, volumeDigest, grade: 2, adjudicated: false, simulated: true, readings };
  return { type: 'ctstream.research.v1.StudyLabelled', value };
}
const withdrawal = (n: number): EventRecord & { type: 'ctstream.research.v1.SubjectWithdrawn' } => ({
  type: 'ctstream.research.v1.SubjectWithdrawn',
  value: { subjectId: selected(n).value.subjectId, studies: null },
});
/** The log: studies 1 and 2 are in the first version, 3 comes with the second. */
const LOG = [1, 2, 3].flatMap((n) => [select(n), label(n)]);

const ports = (): ErasePorts => ({ ...deps, clock: systemClock, eraseAgainAfterMs: 3_600_000 });
const handle = async (event: EventRecord, offset: number): Promise<unknown> => {
  const place = {
    topic: 'ct.research.study-labelled.v1',
    partition: 0,
    offset: BigInt(offset),
    id: `e-${offset}`,
    source: 'test',
    timeMs: 0,
    key: '',
  };
  return await releaseStage.handle(
    { ...event, ...place } as Parameters<typeof releaseStage.handle>[0],
    ports(),
    new AbortController().signal,
  );
};
const feed = async (from: number, to: number): Promise<void> => {
  for (let offset = from; offset < to; offset += 1) await handle(LOG[offset] as EventRecord, offset).catch(isPending);
};
/** A fact of who has withdrawn is tried again until the published versions are known. */
const isPending = (error: unknown): void => {
  if (!(error instanceof Fault) || error.code !== 'ERASURE_PENDING') throw error;
};
/** A withdrawal's first erasure; the second comes an hour later, so the event is tried again. */
const withdraw = async (n: number): Promise<unknown> => await handle(withdrawal(n), 100 + n).catch((error: unknown) => error);
const objects = async (version: string): Promise<string[]> => {
  const keys: string[] = [];
  for await (const { key } of deps.store.list('ct-releases', `${version}/`)) keys.push(key.slice(version.length + 1));
  return keys;
};
const textOf = async (name: string): Promise<string> => Buffer.from((await deps.store.getBytes('ct-releases', name, 1e6)) ?? []).toString();
const versions = async (): Promise<string[]> =>
  (await database.query<{ at: string }>("SELECT version || ' ' || state AS at FROM version ORDER BY version")).map((r) => r.at);
/** As after a start with an empty database. */
const forgetAll = async (): Promise<void> => {
  await database.query('TRUNCATE fact, seen, withdrawn, withdrawn_study, inbox, version CASCADE');
};

beforeAll(async () => {
  kit = await openKit('outlives');
  database = await kit.database('release');
  deps = releaseDeps(kit, database);
  for (const n of [1, 2, 3])
    await putAssessed(kit.store('assess'), selected(n, { volumeDigest: digestOf(volumeOf(n)) }).value, volumeOf(n));
});

afterAll(async () => await kit?.end());

beforeEach(async () => {
  await forgetAll();
  for (const version of [FIRST, SECOND]) await removePrefix(deps.store, 'ct-releases', version);
  await feed(0, 4);
  await buildRelease(deps, { version: FIRST });
  await approveRelease(deps, { version: FIRST, ...APPROVED });
  await feed(4, 6);
  await buildRelease(deps, { version: SECOND });
  await approveRelease(deps, { version: SECOND, ...APPROVED });
  sums = [await textOf(`${FIRST}/SHA256SUMS`), await textOf(`${SECOND}/SHA256SUMS`)];
});

const filesNow = async (): Promise<string[]> => [await textOf(`${FIRST}/SHA256SUMS`), await textOf(`${SECOND}/SHA256SUMS`)];

test('an empty database builds nothing before the log is read up to every published cut, and then knows them all', async () => {
  await forgetAll();
  await expect(buildRelease(deps, { version: 'v1.2.0' })).rejects.toMatchObject({ code: 'CUT_NOT_REACHED' });
  await feed(0, 4);
  await expect(buildRelease(deps, { version: 'v1.2.0' })).rejects.toMatchObject({ code: 'CUT_NOT_REACHED' });
  expect(await versions()).toEqual([`${FIRST} released`]);
  await feed(4, 6);
  // A name that is published gets its own content, whatever has come since.
  const again = await buildRelease(deps, { version: FIRST });
  expect([again.state, again.studies]).toEqual(['released', 2]);
  const next = await buildRelease(deps, { version: 'v1.2.0' });
  expect([next.state, next.studies]).toEqual(['candidate', 3]);
  expect(await textOf('v1.2.0/SHA256SUMS')).toBe('');
  expect(await versions()).toEqual([`${FIRST} released`, `${SECOND} released`, 'v1.2.0 candidate']);
  await expect(approveRelease(deps, { version: SECOND, ...APPROVED })).rejects.toMatchObject({ code: 'ALREADY_RELEASED' });
  expect(await filesNow()).toEqual(sums);
});

test('a withdrawal stays pending until the published versions are known, and then reaches them', async () => {
  const before = await objects(FIRST);
  await forgetAll();
  expect(await withdraw(1)).toMatchObject({ code: 'ERASURE_PENDING', message: expect.stringContaining(FIRST) });
  expect(await objects(FIRST)).toEqual(before);
  await feed(0, 6);
  expect(await withdraw(1)).toMatchObject({ code: 'ERASURE_PENDING', message: expect.stringContaining('rows erased') });
  for (const [version, left] of [
    [FIRST, 1],
    [SECOND, 2],
  ] as const) {
    const files = await objects(version);
    expect(files.filter((file) => file.startsWith('images/'))).toHaveLength(left);
    expect(files).toContain('tombstones.csv');
  }
});

test('what is withdrawn is known to be so when the version was written anew before the database was lost', async () => {
  await withdraw(1);
  const erased = await filesNow();
  expect(erased).not.toEqual(sums);
  await forgetAll();
  await feed(0, 6);
  // The withdrawal has not come yet: the facts make a version with the subject.
  await expect(buildRelease(deps, { version: 'v1.2.0' })).rejects.toMatchObject({ code: 'CUT_NOT_REACHED' });
  await withdraw(1);
  expect(await versions()).toEqual([`${FIRST} released`, `${SECOND} released`]);
  expect(await filesNow()).toEqual(erased);
});

test('a version that was approved after the backup of the database is not removed by a withdrawal of somebody else', async () => {
  await database.query("UPDATE version SET state = 'candidate' WHERE version = $1", [SECOND]);
  await withdraw(3);
  expect(await versions()).toEqual([`${FIRST} released`, `${SECOND} released`]);
  expect((await objects(SECOND)).filter((file) => file.startsWith('images/'))).toHaveLength(2);
});

test('copies of an approval that was killed are no version: a withdrawal removes them', async () => {
  await database.query("UPDATE version SET state = 'candidate', approving = true WHERE version = $1", [SECOND]);
  await withdraw(3);
  expect(await versions()).toEqual([`${FIRST} released`, `${SECOND} building`]);
  expect(await objects(SECOND)).toEqual([]);
});

test('a part of a version that nobody knows keeps withdrawals pending, and says what to remove', async () => {
  await deps.store.put('ct-releases', 'v9.0.0/images/x.nii.gz', Buffer.from('x'));
  expect(await withdraw(1)).toMatchObject({ code: 'ERASURE_PENDING', message: expect.stringContaining('v9.0.0') });
  await deps.store.remove('ct-releases', ['v9.0.0/images/x.nii.gz']);
  expect(await withdraw(1)).toMatchObject({ message: expect.stringContaining('rows erased') });
});
