// A withdrawal in the middle of a build, an approval, a rewrite of what is published, or a submission: what was under way
// is refused or undone, and an erasure that was cut short ends the next time.
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { access, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { EventRecord } from '../../schemas/events.gen.ts';
import { sha256Hex } from '../../services/kernel/digest.ts';
import { Fault } from '../../services/kernel/fault.ts';
import type { ResearchRevision, SubjectId } from '../../services/kernel/ids.ts';
import type { EventIn } from '../../services/kernel/stage.ts';
import { claim, heldTasks } from '../../services/label-queue/leases.ts';
import { ApiProblem } from '../../services/label-queue/problem.ts';
import { registerReaders } from '../../services/label-queue/readers.ts';
import { labelQueueStage } from '../../services/label-queue/stage.ts';
import { submit } from '../../services/label-queue/submit.ts';
import type { ObjectStore } from '../../services/ports/object-store.ts';
import { approveRelease } from '../../services/release/approve.ts';
import { type BuildDeps, buildRelease } from '../../services/release/build.ts';
import type { FactType } from '../../services/release/facts.ts';
import { releaseStage } from '../../services/release/stage.ts';
import { verifyRelease } from '../../services/release/verify.ts';
import { systemClock, systemRandom } from '../../services/runtime/system.ts';
import { digestOf, type Kit, openKit, putAssessed, selected, type StageDatabase, releaseDeps } from './research-kit.ts';

let kit: Kit;
let database: StageDatabase;
let deps: BuildDeps;
let outDir: string;
let offset = 0;

const signal = (): AbortSignal => AbortSignal.timeout(60_000);
const volumeOf = (n: number): Buffer => Buffer.from(`volume ${n} `.repeat(500));
const select = (n: number): EventRecord & { type: 'ctstream.research.v1.StudySelected' } =>
  selected(n, { volumeDigest: digestOf(volumeOf(n)) });

function label(n: number): EventRecord {
  const { studyId, subjectId, revision, volumeDigest } = select(n).value;
  const readings = ['first', 'second'].map((role) => ({ reader: role, grade: 1, seconds: 30, simulated: false, role }));
  return {
    type: 'ctstream.research.v1.StudyLabelled',
    value: { studyId, subjectId, revision, volumeDigest, grade: 1, adjudicated: false, simulated: false, readings },
  };
}

const NEWER = { revision: 'revision-1-2' as ResearchRevision, ordinal: 2 };

type Event = Parameters<typeof releaseStage.handle>[0];
const eventOf = (event: EventRecord, topic: string): Event =>
  ({ ...event, id: `event-${++offset}`, source: 's', timeMs: 0, topic, partition: 0, offset: BigInt(offset), key: 'k' }) as Event;
const handle = async (event: Event, store: ObjectStore = deps.store, eraseAgainAfterMs = 0): Promise<unknown> =>
  await releaseStage.handle(event, { ...deps, store, outDir, clock: systemClock, eraseAgainAfterMs }, signal());
const withdrawal = (n: number): Event =>
  eventOf({ type: 'ctstream.research.v1.SubjectWithdrawn', value: { subjectId: `subject-${n}` as SubjectId, studies: null } }, 'w');

beforeAll(async () => {
  kit = await openKit('underway');
  database = await kit.database('release');
  outDir = join(kit.dir, 'out');
  deps = releaseDeps(kit, database, { codeVersion: 'test' });
  for (let n = 1; n <= 6; n += 1) await putAssessed(kit.store('assess'), select(n).value, volumeOf(n));
});

afterAll(async () => await kit?.end());

beforeEach(async () => {
  await database.query('TRUNCATE fact, seen, inbox, outbox, version, withdrawn, withdrawn_study');
  await emptyBuckets();
  await threeStudies();
});

async function emptyBuckets(): Promise<void> {
  for (const bucket of ['ct-releases', 'ct-release-candidates'])
    for await (const { key } of deps.store.list(bucket, '')) await deps.store.remove(bucket, [key]);
}

async function threeStudies(): Promise<void> {
  offset = -1;
  for (let n = 1; n <= 3; n += 1) {
    await handle(eventOf(select(n), 't'));
    await handle(eventOf(label(n), 't'));
  }
}

async function keysOf(bucket: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of deps.store.list(bucket, '')) keys.push(key);
  return keys;
}

/** The store, with something happening once before an object of that name is written. */
function before(bucket: string, name: RegExp, happen: () => Promise<unknown>): ObjectStore {
  let isDone = false;
  return {
    ...deps.store,
    put: async (into, key, body, options) => {
      if (into === bucket && name.test(key) && !isDone) {
        isDone = true;
        await happen();
      }
      return await deps.store.put(into, key, body, options);
    },
  };
}

/** Builds and approves; no publisher runs here, so what is told counts as sent. */
async function publish(version: string): Promise<void> {
  await buildRelease(deps, { version, outDir });
  await approveRelease(deps, { version, approvers: ['A', 'B'], simulated: true, outDir });
  await database.query('UPDATE outbox SET sent_at = clock_timestamp() WHERE sent_at IS NULL');
}

const sumsOf = async (version: string): Promise<string> =>
  sha256Hex((await deps.store.getBytes('ct-releases', `${version}/SHA256SUMS`, 1_000_000)) ?? '');

const isThere = async (path: string): Promise<boolean> =>
  await access(path).then(
    () => true,
    () => false,
  );

test('a build that began before is refused at its end, and what it uploaded goes', async () => {
  const store = before('ct-release-candidates', /registry\.csv$/, async () => await handle(withdrawal(1)));
  await expect(buildRelease({ ...deps, store }, { version: 'v1.0.0', outDir })).rejects.toMatchObject({ code: 'SUBJECT_WITHDRAWN' });
  expect(await keysOf('ct-release-candidates')).toEqual([]);
  expect(await isThere(join(outDir, 'candidates', 'v1.0.0'))).toBe(false);
  await expect(approveRelease(deps, { version: 'v1.0.0', approvers: ['A', 'B'], simulated: true })).rejects.toMatchObject({
    code: 'SUBJECT_WITHDRAWN',
  });
  expect(await buildRelease(deps, { version: 'v1.0.0', outDir })).toMatchObject({ studies: 2 });
});

test('a build that died after its upload leaves nothing behind the erasure', async () => {
  const store = before('ct-release-candidates', /SHA256SUMS$/, () => Promise.reject(new Error('killed')));
  await expect(buildRelease({ ...deps, store }, { version: 'v1.0.0', outDir })).rejects.toThrow('killed');
  expect((await keysOf('ct-release-candidates')).length).toBeGreaterThan(5);
  await handle(withdrawal(1));
  expect(await keysOf('ct-release-candidates')).toEqual([]);
});

test.each([
  ['of a candidate', /^UPDATE version SET state = 'candidate'/],
  ['of a released version', /FROM version WHERE version = /],
])(
  'a withdrawal while the folder %s is put in its place: it does not stay there',
  async (which, lastAsked) => {
    if (which === 'of a released version') await publish('v1.0.0');
    let isCopied = false;
    let isDone = false;
    const store: ObjectStore = {
      ...deps.store,
      get: async (...args) => {
        isCopied = true;
        return await deps.store.get(...args);
      },
    };
    // After the last that the build asks the database before it puts the folder there.
    const query = async <Row extends object>(sql: string, params?: readonly unknown[]): Promise<readonly Row[]> => {
      const rows = await database.query<Row>(sql, params);
      const happens = isCopied && !isDone && lastAsked.test(sql.trim());
      isDone ||= happens;
      // The first erasure only: the second one comes when no build of before can be running.
      if (happens) await expect(handle(withdrawal(1), deps.store, 60_000)).rejects.toMatchObject({ code: 'ERASURE_PENDING' });
      return rows;
    };
    const build = buildRelease({ ...deps, store, database: { ...database, query } }, { version: 'v1.0.0', outDir });
    await expect(build).rejects.toMatchObject({ code: 'SUBJECT_WITHDRAWN' });
    expect([isDone, await isThere(join(outDir, 'candidates', 'v1.0.0'))]).toEqual([true, false]);
  },
  60_000,
);

test('what killed builds and approvals left is gone, also where the refusal of the study came before the withdrawal', async () => {
  await publish('v1.0.0');
  const left = [join(deps.stagingDir, 'v1.1.0-abc123'), join(outDir, 'v1.1.0.abc123'), join(outDir, 'candidates', 'v1.1.0.abc123')];
  for (const dir of left) await mkdir(dir, { recursive: true });
  const { studyId, revision } = select(1).value;
  const refused = { studyId, revision, stage: 'assess', code: 'PATIENT_WITHDRAWN' as const, detail: 'erased', subjectId: null };
  await handle(eventOf({ type: 'ctstream.research.v1.StudyRejected', value: refused }, 't'));
  await handle(withdrawal(1));
  for (const dir of left) expect([dir, await isThere(dir)]).toEqual([dir, false]);
  expect(await verifyRelease(join(outDir, 'v1.0.0'))).toMatchObject({ ok: true, studies: 2, withdrawn: 1 });
  const told = await database.query("SELECT key FROM outbox WHERE topic LIKE '%dataset-released%'");
  expect(told).toEqual([{ key: '' }]);
});

test('an approval that is copying is refused, and what it copied goes', async () => {
  await buildRelease(deps, { version: 'v1.0.0', outDir });
  const store = before('ct-releases', /SHA256SUMS$/, async () => await handle(withdrawal(1)));
  const approval = approveRelease({ ...deps, store }, { version: 'v1.0.0', approvers: ['A', 'B'], simulated: true, outDir });
  await expect(approval).rejects.toMatchObject({ code: 'SUBJECT_WITHDRAWN' });
  expect([await keysOf('ct-releases'), await keysOf('ct-release-candidates')]).toEqual([[], []]);
  expect(await isThere(join(outDir, 'v1.0.0'))).toBe(false);
  expect((await database.query<{ n: string }>("SELECT count(*) AS n FROM outbox WHERE topic LIKE '%dataset-released%'"))[0]?.n).toBe('0');
});

test('an erasure of a published version that is cut short at any file ends whole the next time', async () => {
  for (const [n, name] of [/tombstones\.csv$/, /registry\.csv$/, /release\.json$/, /SHA256SUMS$/].entries()) {
    const version = `v1.${n}.0`;
    const subject = 1 + (n % 3);
    await database.query('TRUNCATE fact, seen, inbox, withdrawn, withdrawn_study');
    await threeStudies();
    await database.query('DELETE FROM version');
    await emptyBuckets();
    await publish(version);
    const event = withdrawal(subject);
    const store = before('ct-releases', name, () => Promise.reject(new Fault('STORE_UNAVAILABLE', true, 'away')));
    await expect(handle(event, store)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    await handle(event);
    const dir = join(outDir, version);
    expect(await verifyRelease(dir)).toMatchObject({ ok: true, studies: 2, withdrawn: 1, problems: [] });
    const rebuilt = await buildRelease(deps, { version, outDir: join(kit.dir, 'rebuilt') });
    expect(rebuilt.sumsSha256).toBe(await sumsOf(version));
  }
});

test('a late selection of a withdrawn subject, cut short while it erases, ends the erasure when it comes again', async () => {
  await handle(withdrawal(4));
  await publish('v1.0.0');
  // It was subject 1's; a newer revision is 4's, so the study goes whole.
  const { value } = select(1);
  const late = eventOf(
    { type: 'ctstream.research.v1.StudySelected', value: { ...value, ...NEWER, subjectId: 'subject-4' as SubjectId } },
    't',
  );
  const store = before('ct-releases', /registry\.csv$/, () => Promise.reject(new Fault('STORE_UNAVAILABLE', true, 'away')));
  await expect(handle(late, store)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  await handle(late);
  expect(await verifyRelease(join(outDir, 'v1.0.0'))).toMatchObject({ ok: true, studies: 2, withdrawn: 1, problems: [] });
});

test('two subjects at once: both are gone, and the version is whole', async () => {
  await publish('v1.0.0');
  await Promise.all([handle(withdrawal(1)), handle(withdrawal(2))]);
  expect(await verifyRelease(join(outDir, 'v1.0.0'))).toMatchObject({ ok: true, studies: 1, withdrawn: 2 });
});

test('another secret does not rewrite what is published', async () => {
  await publish('v1.0.0');
  const before = await sumsOf('v1.0.0');
  const other = { ...deps, secret: Buffer.alloc(32, 8), outDir, clock: systemClock, eraseAgainAfterMs: 0 };
  await expect(releaseStage.handle(withdrawal(1), other, signal())).rejects.toMatchObject({ code: 'UNEXPECTED' });
  expect(await sumsOf('v1.0.0')).toBe(before);
  expect(await verifyRelease(join(outDir, 'v1.0.0'))).toMatchObject({ ok: true, studies: 3 });
});

test('a version that can not be written anew keeps nobody in the next one, and both are whole once it can', async () => {
  await publish('v1.0.0');
  await publish('v1.1.0');
  const registry = (await deps.store.getBytes('ct-releases', 'v1.0.0/registry.csv', 1_000_000)) ?? '';
  await deps.store.remove('ct-releases', ['v1.0.0/registry.csv']);
  const event = withdrawal(1);
  await expect(handle(event)).rejects.toMatchObject({ code: 'MANIFEST_MISSING' });
  expect(await verifyRelease(join(outDir, 'v1.1.0'))).toMatchObject({ ok: true, studies: 2, withdrawn: 1, problems: [] });
  await deps.store.put('ct-releases', 'v1.0.0/registry.csv', Buffer.from(registry));
  await handle(event);
  for (const version of ['v1.0.0', 'v1.1.0']) {
    expect(await verifyRelease(join(outDir, version))).toMatchObject({ ok: true, studies: 2, withdrawn: 1 });
    expect((await buildRelease(deps, { version })).sumsSha256).toBe(await sumsOf(version));
  }
});

test('a fact that comes while its subject is erased is either erased or refused', async () => {
  await database.query('TRUNCATE fact, seen, inbox, withdrawn, withdrawn_study');
  offset = -1;
  const facts = Array.from({ length: 40 }, (_, n): Event => {
    const { value } = select(1);
    return eventOf(
      { type: 'ctstream.research.v1.StudySelected', value: { ...value, studyId: `${value.studyId}-${n}` as typeof value.studyId } },
      't',
    );
  });
  const all = [...facts.slice(0, 20), withdrawal(1), ...facts.slice(20)];
  await Promise.all(all.map(async (event) => await handle(event as EventIn<FactType>)));
  expect((await database.query<{ n: string }>('SELECT count(*) AS n FROM fact'))[0]?.n).toBe('0');
});

test('submissions that race a withdrawal count or are told so; afterwards nothing of the subject is left', async () => {
  const queue = await kit.database('label_queue');
  const entries = ['anna', 'boris'].map((id) => ({ id, token: sha256Hex(id), simulated: false }));
  const readers = await registerReaders(entries, queue, systemRandom);
  const ports = { database: queue, store: kit.store('label-queue'), random: systemRandom, eraseAgainAfterMs: 0 };
  for (let n = 10; n < 20; n += 1) {
    const event = eventOf(selected(n, { subjectId: 'subject-q' as SubjectId, site: 'site-9' as never }), 'ct.research.study-selected.v1');
    await labelQueueStage.handle(event as EventIn<'ctstream.research.v1.StudySelected'>, ports, signal());
  }
  const rules = { leaseMs: 600_000, maxLeasesPerReader: 100 };
  for (const reader of readers) while ((await claim(queue, reader, rules)) !== undefined);
  const held = await Promise.all(readers.map(async (reader) => ({ reader, tasks: await heldTasks(queue, reader) })));
  const outcomes: string[] = [];
  const answer = { grade: 1, volumeDigest: 'b'.repeat(64), seconds: 1, windows: [], slicesVisited: null, pageVersion: null };
  const submissions = held.flatMap(({ reader, tasks }) =>
    tasks.map(async (task) => {
      const outcome = await submit(queue, systemRandom, reader, task.taskId, task.token, answer).catch((error: unknown) => {
        if (error instanceof ApiProblem) return error.code;
        throw error;
      });
      outcomes.push(outcome);
    }),
  );
  const gone = eventOf(
    { type: 'ctstream.research.v1.SubjectWithdrawn', value: { subjectId: 'subject-q' as SubjectId, studies: null } },
    'w',
  );
  const erase = labelQueueStage
    .handle(gone as EventIn<'ctstream.research.v1.SubjectWithdrawn'>, ports, signal())
    // Labels that have just been written are not published: no publisher runs here.
    .catch((error: unknown) => expect(error).toMatchObject({ code: 'ERASURE_PENDING' }));
  await Promise.all([...submissions, erase]);
  expect(outcomes).toHaveLength(20);
  expect(outcomes.filter((o) => !['read', 'accept', 'SUBJECT_WITHDRAWN'].includes(o))).toEqual([]);
  for (const table of ['study', 'task', 'reading'])
    expect([table, (await queue.query<{ n: string }>(`SELECT count(*) AS n FROM ${table}`))[0]?.n]).toEqual([table, '0']);
});
