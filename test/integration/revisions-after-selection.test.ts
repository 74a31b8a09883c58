// Rows of docs/revisions.md after a study was selected, on the real databases and store: what select makes of a newer
// revision, and what the reading room does with its tasks and readings.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createHmac } from 'node:crypto';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { EventRecord, StudyAssessed, StudySelected, SubjectWithdrawn } from '../../schemas/events.gen.ts';
import type { ResearchRevision, ResearchStudyId, SubjectId } from '../../services/kernel/ids.ts';
import type { EventIn } from '../../services/kernel/stage.ts';
import { AUDIT_LOCK } from '../../services/label-queue/audit.ts';
import { claim } from '../../services/label-queue/leases.ts';
import { type Reader, registerReaders } from '../../services/label-queue/readers.ts';
import { queueState } from '../../services/label-queue/state.ts';
import { labelQueueStage } from '../../services/label-queue/stage.ts';
import { submit } from '../../services/label-queue/submit.ts';
import { approveRelease } from '../../services/release/approve.ts';
import { type BuildDeps, buildRelease } from '../../services/release/build.ts';
import { contentsOf, type Fact } from '../../services/release/facts.ts';
import { releaseStage } from '../../services/release/stage.ts';
import { verifyRelease } from '../../services/release/verify.ts';
import { systemClock, systemRandom } from '../../services/runtime/system.ts';
import { type CohortFile, parseCohort } from '../../services/select/cohort.ts';
import { closeRound } from '../../services/select/round.ts';
import { selectStage } from '../../services/select/stage.ts';
import { assessed, codec, eventually, type Kit, openKit, type StageDatabase, takenByNobody } from './research-kit.ts';
import { sha256Hex } from '../../services/kernel/digest.ts';

const COHORT: CohortFile = {
  cohort: parseCohort('{format: ctstream-cohort/1, name: test, version: 1, size: 100, perCentreCap: 100, seed: s}'),
  sha256: 'c'.repeat(64),
};
const RULES = { leaseMs: 3_600_000, maxLeasesPerReader: 100 };
const NAMES = ['anna', 'boris', 'clara', 'dmitri', 'elena'] as const;

let kit: Kit;
let queue: StageDatabase;
let select: StageDatabase;
let release: BuildDeps & { readonly database: StageDatabase };
let outDir: string;
let readers: Map<string, Reader>;
let offset = 0;

beforeAll(async () => {
  kit = await openKit('revisions');
  queue = await kit.database('label_queue');
  select = await kit.database('select');
  const database = await kit.database('release');
  outDir = join(kit.dir, 'out');
  const secret = Buffer.alloc(32, 7);
  release = {
    database,
    store: kit.store('release'),
    secret,
    codeVersion: 'test',
    stagingDir: join(kit.dir, 'staging'),
    takenUntil: takenByNobody,
  };
  const entries = NAMES.map((id) => ({ id, token: sha256Hex(id), simulated: false, lead: id === 'elena' }));
  readers = new Map((await registerReaders(entries, queue, systemRandom)).map((r) => [r.id, r]));
});

afterAll(async () => await kit?.end());

const signal = (): AbortSignal => AbortSignal.timeout(30_000);

function reader(name: (typeof NAMES)[number]): Reader {
  const found = readers.get(name);
  if (found === undefined) throw new Error(`no reader ${name}`);
  return found;
}

function eventIn<E extends EventRecord>(record: E, topic: string): E & Omit<EventIn, 'type' | 'value'> {
  offset += 1;
  const place = { topic, partition: 0, offset: BigInt(offset), key: 'k' };
  return { ...record, ...place, id: `event-${offset}`, source: 'test', timeMs: 0 };
}

type Sql = readonly [text: string, params?: readonly unknown[]];
const rowsOf = async <R extends object>(database: StageDatabase, ...[text, params]: Sql): Promise<readonly R[]> =>
  await database.query<R>(text, params);

/** Events of a study in a database's outbox, decoded, in order. */
async function outboxOf(database: StageDatabase, studyId: string): Promise<EventRecord[]> {
  const rows = await rowsOf<{ topic: string; key: string; value: Buffer; headers: Record<string, string> }>(
    database,
    'SELECT topic, key, value, headers FROM outbox WHERE key = $1 ORDER BY sequence',
    [studyId],
  );
  return rows.map((r) => codec.decode({ ...r, partition: 0, offset: 0n, timestampMs: 0 }));
}

/** Revision `ordinal` of study `n` with a volume of these bytes is assessed: a candidate. */
async function waits(n: number, ordinal: number, volume: string, subject?: string): Promise<StudyAssessed> {
  const names = { revision: `revision-${n}-${ordinal}` as ResearchRevision, volumeKey: `study-${n}/${ordinal}/volume.nii.gz` };
  // As assess does: the event's digest of equal volumes is another one in each revision.
  const salt = sha256Hex(`${n}|${ordinal}`);
  const record = assessed(n, {
    ordinal,
    ...names,
    ...(subject === undefined ? {} : { subjectId: subject as SubjectId }),
    volumeDigest: createHmac('sha256', Buffer.from(salt, 'hex')).update(volume).digest('hex'),
  });
  const assessment = { format: 'ctstream-assessment/1', volumeSha256: sha256Hex(volume), volumeSalt: salt };
  await kit.store('assess').put('ct-research', names.volumeKey, gzipSync(volume));
  await kit.store('assess').put('ct-research', `study-${n}/${names.revision}/assessment.json`, Buffer.from(JSON.stringify(assessment)));
  await selectStage.handle(eventIn(record, 'ct.research.study-assessed.v1'), { database: select, eraseAgainAfterMs: 1000 }, signal());
  return record.value;
}

/** As `waits`, and a round is closed. What select tells of it. */
async function chosen(
  ...of: Parameters<typeof waits>
): Promise<{ readonly assessed: StudyAssessed; readonly selected: readonly StudySelected[] }> {
  const value = await waits(...of);
  await closeRound(select, COHORT, 0);
  const selected = (await outboxOf(select, value.studyId)).flatMap((told) =>
    told.type === 'ctstream.research.v1.StudySelected' && told.value.revision === value.revision ? [told.value] : [],
  );
  return { assessed: value, selected };
}

/** As `chosen`, and what select tells goes on to the reading room. */
async function comes(...of: Parameters<typeof chosen>): Promise<StudyAssessed> {
  const told = await chosen(...of);
  for (const value of told.selected) await enters(value);
  return told.assessed;
}

async function enters(value: StudySelected): Promise<void> {
  await labelQueueStage.handle(
    eventIn({ type: 'ctstream.research.v1.StudySelected', value }, 'ct.research.study-selected.v1'),
    { database: queue, store: kit.store('label-queue'), random: systemRandom, eraseAgainAfterMs: 0 },
    signal(),
  );
}

/** The reader claims a task; that of the study, since every test finishes or cancels its own. */
async function claims(name: (typeof NAMES)[number]) {
  const task = await claim(queue, reader(name), RULES);
  if (task === undefined) throw new Error(`nothing to claim for ${name}`);
  return task;
}

async function grades(name: (typeof NAMES)[number], grade: number, task?: Awaited<ReturnType<typeof claims>>): Promise<string> {
  const { taskId, token, volumeDigest } = task ?? (await claims(name));
  const answer = { grade, volumeDigest, seconds: 1, windows: [], slicesVisited: null, pageVersion: null };
  return await submit(queue, systemRandom, reader(name), taskId, token, answer);
}

const studiesOf = async (n: number): Promise<string[]> =>
  (
    await rowsOf<{ revision: string; state: string; stale_by: string | null }>(
      queue,
      'SELECT revision, state, stale_by FROM study WHERE study_id = $1 ORDER BY ordinal',
      [`study-${n}`],
    )
  ).map((r) => `${r.revision} ${r.state}${r.stale_by === null ? '' : ` stale by ${r.stale_by}`}`);

const tasksOf = async (n: number): Promise<string[]> =>
  (
    await rowsOf<{ revision: string; kind: string; state: string }>(
      queue,
      'SELECT revision, kind, state FROM task WHERE study_id = $1 ORDER BY revision, kind',
      [`study-${n}`],
    )
  ).map((r) => `${r.revision} ${r.kind} ${r.state}`);

/** Codes of what the reading room said of the study's revisions. */
const toldOf = async (n: number): Promise<string[]> =>
  (await outboxOf(queue, `study-${n}`)).map((e) =>
    e.type === 'ctstream.research.v1.StudySkipped' ? `${e.value.revision} ${e.value.code}` : (e.type.split('.').at(-1) ?? ''),
  );

/** The study's members of a version that is built from everything that select and the reading room have told. */
async function memberOf(n: number): Promise<string | undefined> {
  const told = [...(await outboxOf(select, `study-${n}`)), ...(await outboxOf(queue, `study-${n}`))];
  const { members } = contentsOf(told.filter((e): e is Fact => /Study(?:Selected|Labelled|Excluded|Rejected)$/.test(e.type)));
  return members[0]?.selected.revision;
}

async function close(n: number): Promise<void> {
  await queue.query("UPDATE task SET state = 'cancelled' WHERE study_id = $1 AND state IN ('open', 'leased')", [`study-${n}`]);
}

test('selected and claimed by nobody, another volume: the tasks move to it', async () => {
  await comes(1, 1, 'one');
  const before = await rowsOf<{ task_id: string }>(queue, "SELECT task_id FROM task WHERE study_id = 'study-1' ORDER BY 1");
  // A lease that ran out is nobody's, and whoever had it is fenced off.
  const late = await claims('anna');
  await queue.query("UPDATE task SET lease_until = clock_timestamp() - interval '1 minute' WHERE task_id = $1", [late.taskId]);
  await comes(1, 2, 'two');
  expect(await studiesOf(1)).toEqual(['revision-1-2 reading']);
  expect(await tasksOf(1)).toEqual(['revision-1-2 grade-1 open', 'revision-1-2 grade-2 open']);
  expect(await rowsOf(queue, "SELECT task_id FROM task WHERE study_id = 'study-1' ORDER BY 1")).toEqual(before);
  expect(await toldOf(1)).toEqual(['revision-1-1 SUPERSEDED']);
  await expect(grades('anna', 1, late)).rejects.toMatchObject({ code: 'LEASE_LOST' });
  expect(await grades('anna', 1)).toBe('read');
  expect(await grades('boris', 1)).toBe('accept');
  expect(await memberOf(1)).toBe('revision-1-2');
});

test('selected, the same volume: only the lineage is noted, and what is read counts for the study', async () => {
  await comes(2, 1, 'one');
  await comes(2, 2, 'one');
  expect(await studiesOf(2)).toEqual(['revision-2-1 reading']);
  expect(await tasksOf(2)).toEqual(['revision-2-1 grade-1 open', 'revision-2-1 grade-2 open']);
  expect(await toldOf(2)).toEqual(['revision-2-2 SAME_VOLUME']);
  expect(await grades('anna', 3)).toBe('read');
  expect(await grades('boris', 3)).toBe('accept');
  await comes(2, 3, 'one');
  expect(await studiesOf(2)).toEqual(['revision-2-1 labelled']);
  expect(await memberOf(2)).toBe('revision-2-1');
});

test('claimed, another volume: the task stays with its reader, is stale, and new tasks open', async () => {
  await comes(3, 1, 'one');
  const held = await claims('anna');
  await comes(3, 2, 'two');
  expect(await studiesOf(3)).toEqual(['revision-3-1 reading stale by revision-3-2', 'revision-3-2 reading']);
  expect(await tasksOf(3)).toEqual([
    expect.stringMatching(/^revision-3-1 grade-[12] (?:leased|cancelled)$/),
    expect.stringMatching(/^revision-3-1 grade-[12] (?:leased|cancelled)$/),
    'revision-3-2 grade-1 open',
    'revision-3-2 grade-2 open',
  ]);
  expect((await queueState(queue)).studies).toMatchObject({ stale: 1 });
  // Their reading is kept; nobody else is asked for the stale one.
  expect(await grades('anna', 2, held)).toBe('read');
  expect((await tasksOf(3)).filter((t) => t.startsWith('revision-3-1') && !/done|cancelled/.test(t))).toEqual([]);
  expect(await toldOf(3)).toEqual(['revision-3-1 READING_STALE']);
  // Also who read the stale one may read the other volume.
  expect(await grades('anna', 4)).toBe('read');
  expect(await grades('boris', 4)).toBe('accept');
  expect(await memberOf(3)).toBe('revision-3-2');
});

test('graded, another volume: grade and readings stay, are stale, and the next version takes the newer one once it is read', async () => {
  await comes(4, 1, 'one');
  expect(await grades('anna', 1)).toBe('read');
  expect(await grades('boris', 1)).toBe('accept');
  await comes(4, 2, 'two');
  expect(await studiesOf(4)).toEqual(['revision-4-1 labelled stale by revision-4-2', 'revision-4-2 reading']);
  expect(await memberOf(4)).toBe('revision-4-1');
  expect(await grades('clara', 3)).toBe('read');
  expect(await memberOf(4)).toBe('revision-4-1');
  expect(await grades('dmitri', 3)).toBe('accept');
  expect(await memberOf(4)).toBe('revision-4-2');
  expect(await toldOf(4)).toEqual(['StudyLabelled', 'revision-4-1 READING_STALE', 'StudyLabelled']);
  expect(await rowsOf(queue, "SELECT 1 FROM reading r JOIN task t USING (task_id) WHERE t.study_id = 'study-4'")).toHaveLength(4);
});

test('a newer revision of what was graded waits for the outbox before it takes the audit, as a submission does', async () => {
  await comes(8, 1, 'one');
  await grades('anna', 1);
  await grades('boris', 1);
  const { selected } = await chosen(8, 2, 'two');
  let entering: Promise<unknown> = Promise.resolve();
  await queue.transaction(async (outbox) => {
    await outbox.query('SELECT last FROM outbox_counter FOR UPDATE');
    entering = Promise.all(selected.map(enters));
    const waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    await eventually('the selection to wait', async () => (await rowsOf(queue, waiting)).length > 0);
    const audit = `SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                   WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objid = ${AUDIT_LOCK}`;
    expect(await rowsOf(queue, audit)).toEqual([]);
  });
  await entering;
  expect(await studiesOf(8)).toEqual(['revision-8-1 labelled stale by revision-8-2', 'revision-8-2 reading']);
  await close(8);
});

test('a selection that comes back late does not move the task back', async () => {
  const first = await comes(5, 1, 'one');
  const [told] = await outboxOf(select, first.studyId);
  if (told?.type !== 'ctstream.research.v1.StudySelected') throw new Error('not selected');
  await comes(5, 3, 'three');
  // What waited: the first again under its own id, and one that had never come.
  await enters(told.value);
  await enters({ ...told.value, revision: 'revision-5-2' as ResearchRevision, ordinal: 2 });
  expect(await studiesOf(5)).toEqual(['revision-5-3 reading']);
  expect(await toldOf(5)).toEqual(['revision-5-1 SUPERSEDED', 'revision-5-2 SUPERSEDED']);
  await close(5);
});

test('a candidate that comes back late is superseded at select, and reaches no reader', async () => {
  await comes(6, 2, 'two');
  await comes(6, 1, 'one');
  expect((await outboxOf(select, 'study-6')).map((e) => ('code' in e.value ? e.value.code : e.type))).toEqual([
    'ctstream.research.v1.StudySelected',
    'SUPERSEDED',
  ]);
  expect(await studiesOf(6)).toEqual(['revision-6-2 reading']);
  await close(6);
});

test('a withdrawal erases what is known of every revision', async () => {
  await comes(7, 1, 'one');
  await comes(7, 2, 'two');
  const gone = { type: 'ctstream.research.v1.SubjectWithdrawn' as const, value: { subjectId: assessed(7).value.subjectId, studies: null } };
  await labelQueueStage
    .handle(
      eventIn(gone, 'ct.research.subject-withdrawn.v1'),
      { database: queue, store: kit.store('label-queue'), random: systemRandom, eraseAgainAfterMs: 0 },
      signal(),
    )
    // What the outbox still holds is not published: no publisher runs here.
    .catch((error: unknown) => expect(error).toMatchObject({ code: 'ERASURE_PENDING' }));
  for (const table of ['study', 'task', 'lineage'])
    expect(await rowsOf(queue, `SELECT 1 FROM ${table} WHERE study_id = 'study-7'`)).toEqual([]);
});

// A patient is merged in the PACS: the files name another, and the volume is the same.

/** Release learns what select and the reading room have told of the study since it last did. */
const learned = new Set<string>();
async function releaseLearns(n: number): Promise<void> {
  for (const event of [...(await outboxOf(select, `study-${n}`)), ...(await outboxOf(queue, `study-${n}`))]) {
    const name = `${event.type} ${n} ${'revision' in event.value ? event.value.revision : ''}`;
    if (/Study(?:Selected|Labelled|Excluded|Rejected) /.test(name) && !learned.has(name)) await inRelease(event);
    learned.add(name);
  }
}

async function inRelease(record: EventRecord): Promise<void> {
  const event = eventIn(record, record.type) as Parameters<typeof releaseStage.handle>[0];
  await releaseStage.handle(event, { ...release, outDir, clock: systemClock, eraseAgainAfterMs: 0 }, signal());
}

const withdrawalOf = (subject: string, named: readonly number[] | null): SubjectWithdrawn => ({
  subjectId: subject as SubjectId,
  studies: named === null ? null : named.map((n) => `study-${n}` as ResearchStudyId),
});

/**
 * The subject withdraws: at the reading room and release. What the outboxes hold counts as published. `named` are the studies
 * that the withdrawal names; one of an earlier version names none.
 */
async function withdraws(subject: string, named: readonly number[] | null = null): Promise<void> {
  const value = withdrawalOf(subject, named);
  for (const database of [queue, release.database])
    await database.query('UPDATE outbox SET sent_at = clock_timestamp() WHERE sent_at IS NULL');
  await labelQueueStage.handle(
    eventIn({ type: 'ctstream.research.v1.SubjectWithdrawn' as const, value }, 'ct.research.subject-withdrawn.v1'),
    { database: queue, store: kit.store('label-queue'), random: systemRandom, eraseAgainAfterMs: 0 },
    signal(),
  );
  await inRelease({ type: 'ctstream.research.v1.SubjectWithdrawn', value });
}

/** The subject withdraws: at select. What it still has of the study, and of which revisions it tells so. */
async function withdrawsFromSelect(
  subject: string,
  n: number,
  named: readonly number[] | null = null,
): Promise<{ candidates: string[]; decisions: string[]; told: string[] }> {
  await select.query('UPDATE outbox SET sent_at = clock_timestamp() WHERE sent_at IS NULL');
  const value = withdrawalOf(subject, named);
  await selectStage
    .handle(
      eventIn({ type: 'ctstream.research.v1.SubjectWithdrawn' as const, value }, 'ct.research.subject-withdrawn.v1'),
      { database: select, eraseAgainAfterMs: 0 },
      signal(),
    )
    // What it tells is not published here.
    .catch((error: unknown) => expect(error).toMatchObject({ code: 'ERASURE_PENDING' }));
  const of = async (table: 'candidate' | 'decision'): Promise<string[]> =>
    (await rowsOf<{ revision: string }>(select, `SELECT revision FROM ${table} WHERE study_id = $1 ORDER BY 1`, [`study-${n}`])).map(
      (r) => r.revision,
    );
  const told = (await outboxOf(select, `study-${n}`)).flatMap((e) =>
    e.type === 'ctstream.research.v1.StudyRejected' && e.value.code === 'PATIENT_WITHDRAWN' ? [e.value.revision] : [],
  );
  return { candidates: await of('candidate'), decisions: await of('decision'), told: told.sort() };
}

/** A stage tells that it has erased the revision; whose it was, when the withdrawal named its studies. */
async function tellsWithdrawn(n: number, ordinal: number, stage: string, subject: string | null = null): Promise<void> {
  const ids = { studyId: `study-${n}` as ResearchStudyId, revision: `revision-${n}-${ordinal}` as ResearchRevision };
  const value = { ...ids, stage, code: 'PATIENT_WITHDRAWN' as const, detail: 'erased', subjectId: subject as SubjectId | null };
  await inRelease({ type: 'ctstream.research.v1.StudyRejected', value });
}

const factsOf = async (n: number): Promise<string[]> =>
  (
    await rowsOf<{ fact: string }>(
      release.database,
      "SELECT concat_ws(' ', type, value ->> 'revision', value ->> 'subjectId') AS fact FROM fact WHERE value ->> 'studyId' = $1 ORDER BY 1",
      [`study-${n}`],
    )
  ).map((r) => r.fact.replace('ctstream.research.v1.', ''));

const rowsOfQueue = async (n: number): Promise<number> => {
  let rows = 0;
  for (const table of ['study', 'task', 'lineage'])
    rows += (await rowsOf(queue, `SELECT 1 FROM ${table} WHERE study_id = $1`, [`study-${n}`])).length;
  return rows;
};

const gradedBy = async (grade: number): Promise<void> => {
  expect(await grades('anna', grade)).toBe('read');
  expect(await grades('boris', grade)).toBe('accept');
};

async function publishes(version: string): Promise<void> {
  await buildRelease(release, { version, outDir, acceptHoles: true });
  await approveRelease(release, { version, approvers: ['A', 'B'], simulated: true, outDir });
}

test('merged patient after selection, claimed by nobody: the tasks move to the other subject', async () => {
  await comes(11, 1, 'one');
  await comes(11, 2, 'one', 'other-11');
  expect(await studiesOf(11)).toEqual(['revision-11-2 reading']);
  expect(await tasksOf(11)).toEqual(['revision-11-2 grade-1 open', 'revision-11-2 grade-2 open']);
  expect(await toldOf(11)).toEqual(['revision-11-1 SUPERSEDED']);
  await gradedBy(1);
  const labelled = (await outboxOf(queue, 'study-11')).find((e) => e.type === 'ctstream.research.v1.StudyLabelled');
  expect(labelled?.value).toMatchObject({ revision: 'revision-11-2', subjectId: 'other-11' });
  expect(await memberOf(11)).toBe('revision-11-2');
});

test('merged patient, graded: nothing is released under the former, and the study comes back under the other once it is read', async () => {
  await comes(12, 1, 'one');
  await gradedBy(1);
  await comes(12, 2, 'one', 'other-12');
  expect(await studiesOf(12)).toEqual(['revision-12-1 labelled stale by revision-12-2', 'revision-12-2 reading']);
  expect(await toldOf(12)).toEqual(['StudyLabelled', 'revision-12-1 READING_STALE']);
  expect(await memberOf(12)).toBeUndefined();
  await gradedBy(2);
  expect(await memberOf(12)).toBe('revision-12-2');
});

test('merged patient, both revisions at once, one of them from a retry topic: the newer one alone is read', async () => {
  const numbers = Array.from({ length: 8 }, (_, i) => 40 + i);
  for (const n of numbers) {
    const before = await chosen(n, 1, 'one');
    const after = await chosen(n, 2, 'one', `other-${n}`);
    await Promise.all([...before.selected, ...after.selected].map(enters));
  }
  for (const n of numbers) {
    expect(await studiesOf(n)).toEqual([`revision-${n}-2 reading`]);
    expect(await tasksOf(n)).toEqual([`revision-${n}-2 grade-1 open`, `revision-${n}-2 grade-2 open`]);
    await close(n);
  }
});

test("the former subject withdraws after a merge: the other's study goes on, and what was released as the former's is withdrawn", async () => {
  await comes(13, 1, 'one');
  await comes(14, 1, 'one');
  for (let n = 0; n < 4; n += 1) await grades(n % 2 === 0 ? 'anna' : 'boris', 1);
  for (const n of [13, 14]) await releaseLearns(n);
  await publishes('v1.0.0');
  await comes(13, 2, 'one', 'other-13');
  await releaseLearns(13);
  // Select and assess tell it of the former's revision, before and after release knows who withdrew.
  expect(await withdrawsFromSelect('subject-13', 13)).toEqual({
    candidates: ['revision-13-2'],
    decisions: ['revision-13-2'],
    told: ['revision-13-1'],
  });
  await tellsWithdrawn(13, 1, 'select');
  await withdraws('subject-13');
  await tellsWithdrawn(13, 1, 'assess');
  expect(await studiesOf(13)).toEqual(['revision-13-2 reading']);
  expect(await tasksOf(13)).toEqual(['revision-13-2 grade-1 open', 'revision-13-2 grade-2 open']);
  expect(await factsOf(13)).toEqual(['StudySelected revision-13-2 other-13']);
  expect(await verifyRelease(join(outDir, 'v1.0.0'))).toMatchObject({ ok: true, studies: 1, withdrawn: 1 });
  await gradedBy(3);
  await releaseLearns(13);
  await publishes('v2.0.0');
  expect(await verifyRelease(join(outDir, 'v2.0.0'))).toMatchObject({ ok: true, studies: 2, withdrawn: 0 });
  // A later withdrawal writes both versions anew, each with what it has.
  await withdraws('subject-14');
  expect(await verifyRelease(join(outDir, 'v1.0.0'))).toMatchObject({ ok: true, studies: 0, withdrawn: 2 });
  expect(await verifyRelease(join(outDir, 'v2.0.0'))).toMatchObject({ ok: true, studies: 1, withdrawn: 1 });
});

test("the former subject withdraws, and assess had refused a revision that nobody selected: what was released as the former's is withdrawn", async () => {
  await comes(31, 1, 'one');
  await comes(32, 1, 'one');
  for (let n = 0; n < 4; n += 1) await grades(n % 2 === 0 ? 'anna' : 'boris', 1);
  for (const n of [31, 32]) await releaseLearns(n);
  // It names no subject: whose it was nobody can tell.
  const refused = { studyId: 'study-31' as ResearchStudyId, revision: 'revision-31-2' as ResearchRevision };
  const value = { ...refused, stage: 'assess', code: 'MISSING_SLICE' as const, detail: '', subjectId: null };
  await inRelease({ type: 'ctstream.research.v1.StudyRejected', value });
  await publishes('v2.1.0');
  await comes(31, 3, 'three', 'other-31');
  await releaseLearns(31);
  await withdraws('subject-31');
  expect(await verifyRelease(join(outDir, 'v2.1.0'))).toMatchObject({ ok: true, withdrawn: 1 });
  // Refused if it had other bytes.
  expect(await buildRelease(release, { version: 'v2.1.0' })).toMatchObject({ state: 'released' });
  await gradedBy(2);
  await releaseLearns(31);
  await publishes('v2.2.0');
  expect(await verifyRelease(join(outDir, 'v2.2.0'))).toMatchObject({ ok: true, withdrawn: 0 });
  await withdraws('subject-32');
  expect(await verifyRelease(join(outDir, 'v2.1.0'))).toMatchObject({ ok: true, withdrawn: 2 });
  expect(await verifyRelease(join(outDir, 'v2.2.0'))).toMatchObject({ ok: true, withdrawn: 1 });
});

test("the other subject withdraws, whose revision showed an identity, and the study is the former's again: the older images stay out", async () => {
  await comes(33, 1, 'one');
  await gradedBy(1);
  await comes(33, 2, 'two', 'other-33');
  await releaseLearns(33);
  const refused = { studyId: 'study-33' as ResearchStudyId, revision: 'revision-33-2' as ResearchRevision };
  const value = { ...refused, stage: 'label-queue', code: 'IDENTITY_VISIBLE' as const, detail: '', subjectId: null };
  await inRelease({ type: 'ctstream.research.v1.StudyRejected', value });
  await comes(33, 3, 'three');
  await releaseLearns(33);
  await withdraws('other-33');
  expect(await factsOf(33)).toEqual(['StudySelected revision-33-3 subject-33']);
  await close(33);
});

test('the former subject withdraws before the merged revision is selected: it is read and kept all the same', async () => {
  await comes(15, 1, 'one');
  await releaseLearns(15);
  await withdraws('subject-15');
  expect([await rowsOfQueue(15), await factsOf(15)]).toEqual([0, []]);
  await comes(15, 2, 'one', 'other-15');
  await releaseLearns(15);
  expect(await tasksOf(15)).toEqual(['revision-15-2 grade-1 open', 'revision-15-2 grade-2 open']);
  expect(await factsOf(15)).toEqual(['StudySelected revision-15-2 other-15']);
  await close(15);
});

test('the other subject withdraws after a merge: nothing of the images stays, and nothing that comes late brings it back', async () => {
  const first = await comes(16, 1, 'one');
  await gradedBy(1);
  await releaseLearns(16);
  const late = await outboxOf(queue, 'study-16');
  await comes(16, 2, 'one', 'other-16');
  await releaseLearns(16);
  expect(await factsOf(16)).toHaveLength(3);
  await withdraws('other-16');
  expect([await rowsOfQueue(16), await factsOf(16)]).toEqual([0, []]);
  const [done] = (await outboxOf(queue, 'other-16')).filter((e) => e.type === 'ctstream.research.v1.ErasureDone');
  // Two revisions with two tasks each, and two readings.
  expect(done?.value).toMatchObject({ stage: 'label-queue', rows: 2 + 4 + 2 });
  const [selection] = await outboxOf(select, first.studyId);
  expect(await withdrawsFromSelect('other-16', 16)).toEqual({
    candidates: [],
    decisions: [],
    told: ['revision-16-1', 'revision-16-2'],
  });
  for (const event of [...(selection === undefined ? [] : [selection]), ...late]) await inRelease(event);
  expect(await factsOf(16)).toEqual([]);
});

/** What anonymise does first when a study's patient withdraws. */
async function erasesImages(n: number): Promise<void> {
  const store = kit.store('anonymise');
  const keys: string[] = [];
  for await (const { key } of store.list('ct-research', `study-${n}/`)) keys.push(key);
  expect(keys.length).toBeGreaterThan(0);
  await store.remove('ct-research', keys);
}

test('the other subject withdraws, whose revision never left anonymise: the study goes whole, from what was released too', async () => {
  const first = await comes(17, 1, 'one');
  await comes(18, 1, 'one');
  for (let n = 0; n < 4; n += 1) await grades(n % 2 === 0 ? 'anna' : 'boris', 1);
  for (const n of [17, 18]) await releaseLearns(n);
  const told = await outboxOf(queue, 'study-17');
  const [selection] = await outboxOf(select, 'study-17');
  if (selection?.type !== 'ctstream.research.v1.StudySelected') throw new Error('not selected');
  await publishes('v3.0.0');
  const { studies } = await verifyRelease(join(outDir, 'v3.0.0'));
  await erasesImages(17);
  expect(await withdrawsFromSelect('other-17', 17, [17])).toEqual({ candidates: [], decisions: [], told: ['revision-17-1'] });
  await withdraws('other-17', [17]);
  expect([await rowsOfQueue(17), await factsOf(17)]).toEqual([0, []]);
  expect(await verifyRelease(join(outDir, 'v3.0.0'))).toMatchObject({ ok: true, studies: studies - 1, withdrawn: 1 });
  await publishes('v4.0.0');
  expect(await verifyRelease(join(outDir, 'v4.0.0'))).toMatchObject({ ok: true, studies: studies - 1, withdrawn: 0 });
  // What comes late, of the former subject or of anybody: a candidate, a selection by another cohort, and what release keeps.
  for (const [ordinal, subjectId] of [
    [1, first.subjectId],
    [2, 'other-17'],
    [3, 'third-17'],
  ] as const) {
    const names = { subjectId: subjectId as SubjectId, revision: `revision-17-${ordinal}` as ResearchRevision };
    const late = { ...names, ordinal };
    await enters({ ...selection.value, ...late });
    const record = assessed(17, late);
    await selectStage.handle(eventIn(record, 'ct.research.study-assessed.v1'), { database: select, eraseAgainAfterMs: 1000 }, signal());
    for (const event of [selection, ...told])
      await inRelease({ ...event, value: { ...event.value, ...('ordinal' in event.value ? late : names) } } as EventRecord);
  }
  expect([await rowsOfQueue(17), await factsOf(17)]).toEqual([0, []]);
  expect(await rowsOf(select, "SELECT 1 FROM candidate WHERE study_id = 'study-17'")).toEqual([]);
});

test("the other subject's withdrawal overtakes the former's revision: it opens nothing and is no candidate", async () => {
  // With the studies named, and of an earlier version that names none: then by the revisions that went.
  for (const [n, named] of [
    [19, [19]],
    [20, null],
  ] as const) {
    const before = await chosen(n, 1, 'one');
    const after = await chosen(n, 2, 'one', `other-${n}`);
    for (const value of after.selected) await enters(value);
    await withdraws(`other-${n}`, named);
    await withdrawsFromSelect(`other-${n}`, n, named);
    for (const value of before.selected) await enters(value);
    expect([n, await rowsOfQueue(n)]).toEqual([n, 0]);
    const record = { type: 'ctstream.research.v1.StudyAssessed' as const, value: before.assessed };
    await selectStage.handle(eventIn(record, 'ct.research.study-assessed.v1'), { database: select, eraseAgainAfterMs: 1000 }, signal());
    expect([n, await rowsOf(select, 'SELECT 1 FROM candidate WHERE study_id = $1', [`study-${n}`])]).toEqual([n, []]);
  }
});

test("the former subject withdraws, whose revision was never selected: that revision alone goes, and the other's stays published", async () => {
  await waits(21, 1, 'one');
  await comes(21, 2, 'one', 'other-21');
  await gradedBy(1);
  await releaseLearns(21);
  const facts = ['StudyLabelled revision-21-2 other-21', 'StudySelected revision-21-2 other-21'];
  expect(await factsOf(21)).toEqual(facts);
  await publishes('v5.0.0');
  const { studies } = await verifyRelease(join(outDir, 'v5.0.0'));
  expect(await withdrawsFromSelect('subject-21', 21, [])).toMatchObject({ candidates: ['revision-21-2'], told: ['revision-21-1'] });
  // Select's word comes before the withdrawal, assess's after it.
  await releaseLearns(21);
  expect(await factsOf(21)).toEqual(facts);
  await withdraws('subject-21', []);
  await tellsWithdrawn(21, 1, 'assess', 'subject-21');
  expect(await factsOf(21)).toEqual(facts);
  expect(await studiesOf(21)).toEqual(['revision-21-2 labelled']);
  expect(await verifyRelease(join(outDir, 'v5.0.0'))).toMatchObject({ ok: true, studies, withdrawn: 0 });
  await publishes('v6.0.0');
  expect(await verifyRelease(join(outDir, 'v6.0.0'))).toMatchObject({ ok: true, studies, withdrawn: 0 });
  // An event of an earlier version does not say whose the revision was: then it may be the newest, of the one who withdrew.
  await tellsWithdrawn(21, 3, 'assess');
  expect(await factsOf(21)).toEqual([]);
  expect(await verifyRelease(join(outDir, 'v6.0.0'))).toMatchObject({ ok: true, studies: studies - 1, withdrawn: 1 });
});

test('of exclusions, which name no subject, those of the revision that was told go', async () => {
  for (const ordinal of [1, 2])
    await inRelease({
      type: 'ctstream.research.v1.StudyExcluded',
      value: {
        studyId: 'study-22' as ResearchStudyId,
        revision: `revision-22-${ordinal}` as ResearchRevision,
        cohort: 'test',
        round: ordinal,
        code: 'COHORT_FULL',
        detail: '',
      },
    });
  await tellsWithdrawn(22, 1, 'select', 'subject-22');
  expect(await factsOf(22)).toEqual(['StudyExcluded revision-22-2']);
});
