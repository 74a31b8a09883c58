// Rows of docs/revisions.md after a study was selected, on the real databases and store: what select makes of a newer
// revision, and what the reading room does with its tasks and readings.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { EventRecord, StudyAssessed, StudySelected } from '../../schemas/events.gen.ts';
import type { ResearchRevision } from '../../services/kernel/ids.ts';
import type { EventIn } from '../../services/kernel/stage.ts';
import { claim } from '../../services/label-queue/leases.ts';
import { type Reader, registerReaders } from '../../services/label-queue/readers.ts';
import { queueState } from '../../services/label-queue/state.ts';
import { labelQueueStage } from '../../services/label-queue/stage.ts';
import { submit } from '../../services/label-queue/submit.ts';
import { contentsOf, type Fact } from '../../services/release/facts.ts';
import { systemRandom } from '../../services/runtime/system.ts';
import { type CohortFile, parseCohort } from '../../services/select/cohort.ts';
import { closeRound } from '../../services/select/round.ts';
import { selectStage } from '../../services/select/stage.ts';
import { assessed, codec, type Kit, openKit, putAssessed, type StageDatabase } from './research-kit.ts';
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
let readers: Map<string, Reader>;
let offset = 0;

beforeAll(async () => {
  kit = await openKit('revisions');
  queue = await kit.database('label_queue');
  select = await kit.database('select');
  const entries = NAMES.map((id) => ({ id, token: sha256Hex(id), simulated: false, lead: id === 'elena' }));
  readers = new Map((await registerReaders(entries, queue, systemRandom)).map((r) => [r.id, r]));
}, 300_000);

afterAll(async () => await kit?.end(), 60_000);

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

/**
 * Revision `ordinal` of study `n` with a volume of these bytes is assessed, and a round is closed. What select tells of
 * the study goes on to the reading room.
 */
async function comes(n: number, ordinal: number, volume: string): Promise<StudyAssessed> {
  const names = { revision: `revision-${n}-${ordinal}` as ResearchRevision, volumeKey: `study-${n}/${ordinal}/volume.nii.gz` };
  const record = assessed(n, { ordinal, ...names, volumeDigest: sha256Hex(`${n}|${ordinal}|${volume}`) });
  await putAssessed(kit.store('assess'), record.value, Buffer.from(volume));
  await selectStage.handle(eventIn(record, 'ct.research.study-assessed.v1'), { database: select, eraseAgainAfterMs: 1000 }, signal());
  await closeRound(select, COHORT, 0);
  for (const told of await outboxOf(select, record.value.studyId))
    if (told.type === 'ctstream.research.v1.StudySelected' && told.value.revision === record.value.revision) await enters(told.value);
  return record.value;
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
}, 60_000);

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
}, 60_000);

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
}, 60_000);

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
}, 60_000);

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
}, 60_000);

test('a candidate that comes back late is superseded at select, and reaches no reader', async () => {
  await comes(6, 2, 'two');
  await comes(6, 1, 'one');
  expect((await outboxOf(select, 'study-6')).map((e) => ('code' in e.value ? e.value.code : e.type))).toEqual([
    'ctstream.research.v1.StudySelected',
    'SUPERSEDED',
  ]);
  expect(await studiesOf(6)).toEqual(['revision-6-2 reading']);
  await close(6);
}, 60_000);

test('a withdrawal erases what is known of every revision', async () => {
  await comes(7, 1, 'one');
  await comes(7, 2, 'two');
  const gone = { type: 'ctstream.research.v1.SubjectWithdrawn' as const, value: { subjectId: assessed(7).value.subjectId } };
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
}, 60_000);
