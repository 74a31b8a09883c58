// The research half on its real parts: a subject with a study in every state withdraws. Nothing of it is left in buckets,
// tables and APIs, everything of the others is, all four stages report, and what comes late changes nothing.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { FastifyInstance } from 'fastify';
import { cp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { EventRecord, StudyAnonymised } from '../../schemas/events.gen.ts';
import { DEFAULT_LIMITS } from '../../services/assess/limits.ts';
import { assess } from '../../services/assess/stage.ts';
import { syntheticSeries } from '../../services/assess/synthetic-series.ts';
import { TAG } from '../../services/dicom/dictionary.ts';
import { element } from '../../services/dicom/values.ts';
import { writeDicom } from '../../services/dicom/write.ts';
import { sha256Hex } from '../../services/kernel/digest.ts';
import type { ResearchRevision, ResearchStudyId, SiteId, SubjectId } from '../../services/kernel/ids.ts';
import { canonicalJson } from '../../services/kernel/manifest.ts';
import { labelServer } from '../../services/label-queue/server.ts';
import { registerReaders } from '../../services/label-queue/readers.ts';
import { labelQueueStage } from '../../services/label-queue/stage.ts';
import { firstBrokenEntry } from '../../services/label-queue/audit.ts';
import { approveRelease } from '../../services/release/approve.ts';
import { type BuildDeps, buildRelease } from '../../services/release/build.ts';
import { fromCsv } from '../../services/release/delimited.ts';
import { ownIds } from '../../services/release/own-ids.ts';
import { releaseStage, takenUntil } from '../../services/release/stage.ts';
import { filesUnder } from '../../services/release/sums.ts';
import { diffReleases, verifyRelease } from '../../services/release/verify.ts';
import { runOutbox } from '../../services/runtime/outbox.ts';
import { runStage } from '../../services/runtime/stage-loop.ts';
import { systemClock, systemRandom } from '../../services/runtime/system.ts';
import { parseCohort } from '../../services/select/cohort.ts';
import { closeRound } from '../../services/select/round.ts';
import { selectStage } from '../../services/select/stage.ts';
import { assessed, codec, eventually, type Kit, openKit, processContext, selected, type StageDatabase } from './research-kit.ts';

const ERASE_AGAIN_AFTER_MS = 2500;
const GONE = 'subjectgone' as SubjectId;
const STAYS = 'subjectstays' as SubjectId;
const SECRET = Buffer.alloc(32, 7);
const COHORT = {
  cohort: parseCohort(
    '{format: ctstream-cohort/1, name: test, version: 1, size: 100, perCentreCap: 100, seed: s, onePerPatient: false, contrast: none}',
  ),
  sha256: 'c'.repeat(64),
};
const READERS = ['anna', 'boris', 'clara'].map((id) => ({
  id,
  token: sha256Hex(`token-of-${id}`),
  simulated: false,
  lead: id === 'clara',
}));

let kit: Kit;
let databases: { select: StageDatabase; label_queue: StageDatabase; release: StageDatabase };
let deps: BuildDeps & { outDir: string };
let server: FastifyInstance;
const running: { stop: () => void; done: Promise<void> }[] = [];

type Kind = 'good' | 'contrast' | 'tilted';
const studyOf = (name: string): ResearchStudyId => `study${name}` as ResearchStudyId;
const revisionOf = (name: string): ResearchRevision => `revision${name}` as ResearchRevision;
const series = (kind: Kind): Buffer[] =>
  syntheticSeries({
    columns: 24,
    rows: 20,
    pixelMm: 16,
    change: () =>
      kind === 'tilted'
        ? [element(TAG.GantryDetectorTilt, 'DS', 14)]
        : kind === 'contrast'
          ? [element(TAG.ContrastBolusAgent, 'LO', 'IODINE')]
          : [],
  }).map((file) => Buffer.from(writeDicom(file)));

/** Puts a study as anonymise leaves it and gives its event. */
async function anonymised(name: string, subjectId: SubjectId, kind: Kind = 'good'): Promise<EventRecord & { id: string }> {
  const [studyId, revision] = [studyOf(name), revisionOf(name)];
  const object = `${studyId}/${revision}/attempt0/1.tar`;
  let offset = 0;
  const parts: Buffer[] = [];
  const instances = series(kind).map((bytes, at) => {
    parts.push(Buffer.alloc(512), bytes);
    const one = { sopInstanceUid: `1.${at}`, sopClassUid: '', transferSyntaxUid: '', offset: offset + 512, sizeBytes: bytes.length };
    offset += 512 + bytes.length;
    return { ...one, sha256: sha256Hex(bytes) };
  });
  const manifest = canonicalJson({
    format: 'ctstream-manifest/1',
    study: studyId,
    revision,
    attempt: 'attempt0',
    series: [{ seriesInstanceUid: '1', modality: 'CT', object, sizeBytes: offset, instances }],
    facts: {},
  });
  const store = kit.store('anonymise');
  await store.put('ct-research', object, Buffer.concat(parts));
  const manifestKey = `${studyId}/${revision}/manifest.json`;
  await store.put('ct-research', manifestKey, manifest);
  const value: StudyAnonymised = {
    studyId,
    subjectId,
    site: 'site-1' as SiteId,
    revision,
    ordinal: 1,
    manifestKey,
    manifestSha256: sha256Hex(manifest),
    instanceCount: instances.length,
    dropped: [],
    sizeBytes: offset,
    ageBand: '050-059',
    sex: 'F',
    manufacturer: 'ACME',
  };
  return { type: 'ctstream.research.v1.StudyAnonymised', value, id: `anonymised-${name}` };
}

function runStages(): void {
  const start = (name: string, work: (ctx: ReturnType<typeof processContext>['ctx']) => Promise<unknown>): void => {
    const { ctx, stop } = processContext(name);
    running.push({ stop, done: work(ctx).then(() => undefined) });
  };
  const loop = (name: string, ctx: ReturnType<typeof processContext>['ctx']) => ({
    bus: kit.bus(name),
    codec,
    ctx,
    concurrency: 4,
    window: 64,
    retryDelaysMs: [400, 400, 400],
  });
  const common = { clock: systemClock, random: systemRandom, eraseAgainAfterMs: ERASE_AGAIN_AFTER_MS };
  start('assess', (ctx) => runStage(assess, { ...common, store: kit.store('assess'), limits: DEFAULT_LIMITS }, loop('assess', ctx)));
  start('select', (ctx) => runStage(selectStage, { ...common, database: databases.select }, loop('select', ctx)));
  const queuePorts = { ...common, database: databases.label_queue, store: kit.store('label-queue') };
  start('label-queue', (ctx) => runStage(labelQueueStage, queuePorts, loop('label-queue', ctx)));
  start('release', (ctx) => runStage(releaseStage, { ...common, ...deps }, loop('release', ctx)));
  for (const [name, database] of [
    ['select', databases.select],
    ['label-queue', databases.label_queue],
    ['release', databases.release],
  ] as const)
    start(name, (ctx) => runOutbox(database, { bus: kit.bus(name), codec, ctx, sourceName: name, pollMs: 20 }));
}

beforeAll(async () => {
  kit = await openKit('withdrawn');
  databases = {
    select: await kit.database('select'),
    label_queue: await kit.database('label_queue'),
    release: await kit.database('release'),
  };
  deps = {
    database: databases.release,
    store: kit.store('release'),
    secret: SECRET,
    codeVersion: '0.1.0-test',
    stagingDir: join(kit.dir, 'staging'),
    outDir: join(kit.dir, 'dataset'),
    takenUntil: async () => await takenUntil(kit.bus('release')),
  };
  server = labelServer({
    database: databases.label_queue,
    store: kit.store('label-queue'),
    random: systemRandom,
    readers: await registerReaders(READERS, databases.label_queue, systemRandom),
    rules: { leaseMs: 600_000, maxLeasesPerReader: 10 },
    failed: (error) => {
      throw error;
    },
  });
  runStages();
});

afterAll(async () => {
  for (const r of running) r.stop();
  await Promise.all(running.map((r) => r.done));
  await server?.close();
  await kit?.end();
});

interface Task {
  taskId: string;
  token: number;
  volumeDigest: string;
}

async function call(reader: string, method: 'GET' | 'POST', url: string, payload?: object): Promise<{ status: number; body: unknown }> {
  const headers = { authorization: `Bearer token-of-${reader}` };
  const r = await server.inject({ method, url, headers, ...(payload === undefined ? {} : { payload }) });
  return { status: r.statusCode, body: r.body === '' ? undefined : (JSON.parse(r.body) as unknown) };
}

const grade = async (reader: string, task: Task): Promise<{ status: number; body: unknown }> =>
  await call(reader, 'POST', `/tasks/${task.taskId}/readings`, {
    token: task.token,
    grade: 1,
    seconds: 10,
    volumeDigest: task.volumeDigest,
  });

async function claimAll(reader: string): Promise<Task[]> {
  const tasks: Task[] = [];
  for (;;) {
    const { status, body } = await call(reader, 'POST', '/tasks/claim');
    if (status === 204) return tasks;
    tasks.push(body as Task);
  }
}

const countOf = async (database: StageDatabase, sql: string, params: readonly unknown[] = []): Promise<number> =>
  Number((await database.query<{ n: string }>(`SELECT count(*) AS n FROM ${sql}`, params))[0]?.n);

/** Sends the studies through assess, select and the opening of their tasks. */
async function select(...studies: readonly [string, SubjectId, Kind?][]): Promise<void> {
  const events = [];
  for (const [name, subject, kind] of studies) events.push(await anonymised(name, subject, kind));
  await kit.publish('anonymise', events);
  const good = studies.filter(([, , kind = 'good']) => kind === 'good').map(([name]) => studyOf(name));
  const eligible = studies.filter(([, , kind]) => kind !== 'tilted').length;
  const before = await countOf(databases.select, 'decision');
  const waits = `candidate c WHERE NOT EXISTS (SELECT FROM decision d WHERE d.study_id = c.study_id)`;
  await eventually('candidates', async () => (await countOf(databases.select, waits)) === eligible);
  await closeRound(databases.select, COHORT, 3_600_000);
  expect(await countOf(databases.select, 'decision')).toBe(before + eligible);
  await eventually(
    'tasks',
    async () => (await countOf(databases.label_queue, 'study WHERE study_id = ANY ($1::text[])', [good])) === good.length,
  );
}

async function gradeAll(studies: number): Promise<void> {
  for (const reader of ['anna', 'boris']) for (const task of await claimAll(reader)) expect((await grade(reader, task)).status).toBe(201);
  await eventually(
    'labels in release',
    async () => (await countOf(databases.release, "fact WHERE type = 'ctstream.research.v1.StudyLabelled'")) === studies,
  );
}

const own = ownIds(SECRET);
const RELEASED = join('dataset', 'v1.0.0');

/** Every object of a bucket by name, with the bytes where they are text. */
async function objects(bucket: string, user: string): Promise<Map<string, string>> {
  const store = kit.store(user);
  const found = new Map<string, string>();
  for await (const { key } of store.list(bucket, ''))
    found.set(key, sha256Hex((await store.getBytes(bucket, key, 100_000_000)) ?? Buffer.alloc(0)));
  return found;
}

/** Every row of every table, bytes too, as text. */
async function rowsOf(database: StageDatabase): Promise<{ table: string; text: string }[]> {
  const tables = await database.query<{ tablename: string }>("SELECT tablename FROM pg_tables WHERE schemaname = 'public'");
  const found: { table: string; text: string }[] = [];
  for (const { tablename: table } of tables) {
    const rows = await database.query<{ text: string }>(
      table === 'outbox'
        ? `SELECT concat(key, ' ', headers, ' ', encode(value, 'escape')) AS text FROM outbox`
        : `SELECT row_to_json(t)::text AS text FROM ${table} t`,
    );
    for (const { text } of rows) found.push({ table, text });
  }
  return found;
}

/** All stages have finished all records, those that waited too. */
async function settled(): Promise<void> {
  await eventually('all records handled', async () => {
    for (const stage of ['assess', 'select', 'label-queue', 'release']) {
      const bus = kit.bus(stage);
      for (const [group, patterns] of [
        [stage, { assess, select: selectStage, 'label-queue': labelQueueStage, release: releaseStage }[stage]?.consumes ?? []],
        [`${stage}.retry`, ['30s', '5m', '1h'].map((d) => `ct.research.${stage}.retry.${d}`)],
      ] as const) {
        const done = await bus.committed(group, patterns);
        for (const { topic, partition, end } of await bus.ends(patterns))
          if (end > 0n && (done.find((d) => d.topic === topic && d.partition === partition)?.offset ?? 0n) < end) return false;
      }
    }
    return true;
  });
}

const NAMES = ['g1', 'g2', 'g3', 'g4', 'g5', 'g6', 'g7', 'g8'] as const;
let held: Task[];
let openOfOthers: string[];
let researchBefore: Map<string, string>;
let exported: string;

test('the world before: a study of the subject in every state', async () => {
  // g6 is released, and s1; g7 was refused by assess, g8 excluded by select: both stand in exclusions.csv.
  await select(['g6', GONE], ['s1', STAYS], ['g7', GONE, 'tilted'], ['g8', GONE, 'contrast'], ['s8', STAYS, 'contrast']);
  await gradeAll(2);
  await eventually('exclusions', async () => (await countOf(databases.release, 'fact')) === 7);
  await buildRelease(deps, { version: 'v1.0.0', outDir: deps.outDir });
  await approveRelease(deps, { version: 'v1.0.0', approvers: ['Anna', 'Boris'], simulated: false, outDir: deps.outDir });
  exported = join(kit.dir, 'copy-of-a-researcher');
  await cp(join(kit.dir, RELEASED), exported, { recursive: true });
  // g5 is in a candidate, g4 graded after it.
  await select(['g5', GONE], ['s5', STAYS]);
  await gradeAll(4);
  expect(await buildRelease(deps, { version: 'v1.1.0', outDir: deps.outDir })).toMatchObject({ studies: 4, state: 'candidate' });
  await select(['g4', GONE]);
  await gradeAll(5);
  // Anna holds a task of each; the second tasks are open.
  await select(['g2', GONE], ['g3', GONE], ['s3', STAYS]);
  held = await claimAll('anna');
  expect(held).toHaveLength(3);
  openOfOthers = (
    await databases.label_queue.query<{ task_id: string }>('SELECT task_id FROM task WHERE study_id = $1', [studyOf('s3')])
  ).map((t) => t.task_id);
  // g1 is assessed only.
  await kit.publish('anonymise', [await anonymised('g1', GONE)]);
  await eventually('g1', async () => (await countOf(databases.select, 'candidate WHERE study_id = $1', [studyOf('g1')])) === 1);
  await settled();
  researchBefore = await objects('ct-research', 'assess');
  const registry = fromCsv(await readFile(join(exported, 'registry.csv'), 'utf8')).map((r) => String(r['study_id']));
  expect(registry.sort()).toEqual([own.study(studyOf('g6')), own.study(studyOf('s1'))].sort());
  const exclusions = fromCsv(await readFile(join(exported, 'exclusions.csv'), 'utf8')).map((r) => String(r['study_id']));
  expect(exclusions.sort()).toEqual(['g7', 'g8', 's8'].map((n) => own.study(studyOf(n))).sort());
});

test('all four stages erase, erase again after the longest job, and report once with what they removed', async () => {
  const began = Date.now();
  await kit.publish('anonymise', [
    { type: 'ctstream.research.v1.SubjectWithdrawn', value: { subjectId: GONE, studies: null }, id: 'withdrawn-1' },
  ]);
  const ofHeld = held.filter((t) => !openOfOthers.includes(t.taskId));
  await eventually('the tasks to vanish', async () => (await countOf(databases.label_queue, 'withdrawn')) === 1);
  // The reader presses a grade while it is pending.
  for (const task of ofHeld) {
    expect(await grade('anna', task)).toMatchObject({ status: 410, body: { error: 'SUBJECT_WITHDRAWN' } });
    expect((await call('anna', 'POST', `/tasks/${task.taskId}/heartbeat`, { token: task.token })).status).toBe(410);
    expect((await call('anna', 'GET', `/tasks/${task.taskId}/volume?token=${task.token}`)).status).toBe(410);
    expect((await call('anna', 'POST', `/tasks/${task.taskId}/skip`, { token: task.token, code: 'UNGRADABLE' })).status).toBe(410);
  }
  expect(ofHeld).toHaveLength(2);
  expect(await kit.events('ctstream.research.v1.ErasureDone')).toEqual([]);
  const done = await eventually('four reports', async () => {
    const events = await kit.events('ctstream.research.v1.ErasureDone');
    return events.length >= 4 && events;
  });
  expect(Date.now() - began).toBeGreaterThan(ERASE_AGAIN_AFTER_MS);
  await settled();
  expect(done.map((e) => [e.value.stage, e.value.subjectId, e.key]).sort()).toEqual(
    ['assess', 'label-queue', 'release', 'select'].map((stage) => [stage, GONE, GONE]),
  );
  const countsOf = (stage: string): { objects: number; rows: number } | undefined => done.find((e) => e.value.stage === stage)?.value;
  // Each of the eight: manifest and tar; the seven that passed: volume and assessment.
  expect(countsOf('assess')?.objects).toBe(8 * 2 + 7 * 2);
  // Seven candidates, six decisions.
  expect(countsOf('select')).toMatchObject({ rows: 13 });
  // Five studies with two tasks each, and two readings of three of them.
  expect(countsOf('label-queue')).toMatchObject({ rows: 5 + 10 + 6 });
  expect(countsOf('release')?.rows).toBeGreaterThan(0);
  expect(await kit.events('ctstream.research.v1.ErasureDone')).toHaveLength(4);
});

test('nothing of the subject is left in buckets and tables, and everything of the others is', async () => {
  const ids = NAMES.flatMap((n) => [studyOf(n), revisionOf(n)]);
  const ownIdsGone = NAMES.map((n) => own.study(studyOf(n)));
  const research = await objects('ct-research', 'assess');
  expect([...research.keys()].filter((key) => ids.some((id) => key.includes(id)) || key.includes(GONE))).toEqual([`withdrawn/${GONE}`]);
  const others = (all: Map<string, string>): [string, string][] => [...all].filter(([key]) => /studys\d\/|subjectstays\//.test(key)).sort();
  expect(others(research)).toEqual(others(researchBefore));
  expect(others(research).length).toBeGreaterThan(10);

  const store = kit.store('release');
  for (const bucket of ['ct-releases', 'ct-release-candidates'])
    for await (const { key } of store.list(bucket, '')) {
      const text = Buffer.from((await store.getBytes(bucket, key, 100_000_000)) ?? []).toString('latin1');
      const found = [...ids, ...ownIdsGone, own.subject(GONE)].filter((id) => key.includes(id) || text.includes(id));
      expect([key, found.sort()]).toEqual([
        key,
        key === 'v1.0.0/tombstones.csv' ? ['g6', 'g7', 'g8'].map((n) => own.study(studyOf(n))).sort() : [],
      ]);
    }
  // The withdrawn sets, and the words of what was reported, are all that names it.
  for (const [name, database] of Object.entries(databases)) {
    const rows = await rowsOf(database);
    expect([name, rows.length > 5]).toEqual([name, true]);
    const naming = rows.filter(({ text }) => [...ids, GONE, ...ownIdsGone].some((id) => text.includes(id)));
    const where = naming.filter(({ table, text }) => !(table === 'outbox' && text.includes('ErasureDone')));
    expect([name, [...new Set(where.map((w) => w.table))].sort()]).toEqual([name, ['withdrawn', 'withdrawn_study']]);
    for (const { table, text } of where.filter((w) => w.table === 'withdrawn'))
      expect([table, ids.filter((id) => text.includes(id))]).toEqual([table, []]);
    expect(rows.some(({ text }) => text.includes(STAYS))).toBe(true);
  }
});

test('the APIs show nothing of it, the other tasks go on, and the audit is whole', async () => {
  const mine = (await call('anna', 'GET', '/tasks/mine')).body as { tasks: Task[] };
  expect(mine.tasks.map((t) => openOfOthers.includes(t.taskId))).toEqual([true]);
  const boris = await claimAll('boris');
  expect(boris.map((t) => openOfOthers.includes(t.taskId))).toEqual([true]);
  const [task] = mine.tasks;
  if (task === undefined) throw new Error('anna holds nothing');
  expect((await grade('anna', task)).status).toBe(201);
  expect((await grade('boris', boris[0] ?? task)).status).toBe(201);
  expect(await firstBrokenEntry(databases.label_queue)).toBeUndefined();
  expect((await call('anna', 'POST', `/tasks/${'0'.repeat(32)}/heartbeat`, { token: 1 })).status).toBe(404);
});

test('the published version has tombstones, verifies, and fails when a file of another subject is missing', async () => {
  const dir = join(kit.dir, RELEASED);
  expect(await verifyRelease(dir)).toMatchObject({ ok: true, studies: 1, withdrawn: 3, problems: [] });
  const tombstones = fromCsv(await readFile(join(dir, 'tombstones.csv'), 'utf8'));
  expect(tombstones.map((t) => t['study_id'])).toEqual(['g6', 'g7', 'g8'].map((n) => own.study(studyOf(n))).sort());
  for (const t of tombstones) expect([t['reason'], /^\d{4}-\d\d-\d\d$/.test(t['date'] ?? '')]).toEqual(['PATIENT_WITHDRAWN', true]);
  // What lies in the bucket is what lies on the disk.
  const bucket = await objects('ct-releases', 'release');
  const disk = new Map<string, string>();
  for (const file of await filesUnder(dir)) disk.set(`v1.0.0/${file}`, sha256Hex(await readFile(join(dir, file))));
  expect(new Map([...bucket].sort())).toEqual(new Map([...disk].sort()));
  // The other subject's image is the one that was published; the withdrawn are no change between the two.
  const image = `images/${own.study(studyOf('s1'))}.nii.gz`;
  expect(await readFile(join(dir, image))).toEqual(await readFile(join(exported, image)));
  expect(await diffReleases(exported, dir)).toEqual({
    added: [],
    removed: [],
    relabelled: [],
    changed: [],
    withdrawn: tombstones.map((t) => t['study_id']),
  });
  const broken = join(kit.dir, 'broken');
  await cp(dir, broken, { recursive: true });
  await rm(join(broken, image));
  expect((await verifyRelease(broken)).problems.map((p) => `${p.code} ${p.file}`)).toContain(`MISSING_FILE ${image}`);
  // Somebody puts the withdrawn image back.
  await cp(dir, broken, { recursive: true });
  await cp(join(exported, `images/${own.study(studyOf('g6'))}.nii.gz`), join(broken, `images/${own.study(studyOf('g6'))}.nii.gz`));
  expect((await verifyRelease(broken)).problems.map((p) => p.code)).toContain('TOMBSTONED_PRESENT');
});

test('a rebuild gives the tombstoned version byte for byte; the candidate that held it is refused, and built anew without it', async () => {
  const rebuilt = await buildRelease(deps, { version: 'v1.0.0', outDir: join(kit.dir, 'rebuilt') });
  const dir = rebuilt.dir ?? '';
  for (const file of await filesUnder(join(kit.dir, RELEASED)))
    expect([file, sha256Hex(await readFile(join(dir, file)))]).toEqual([file, sha256Hex(await readFile(join(kit.dir, RELEASED, file)))]);
  await expect(approveRelease(deps, { version: 'v1.1.0', approvers: ['Anna', 'Boris'], simulated: false })).rejects.toMatchObject({
    code: 'SUBJECT_WITHDRAWN',
  });
  expect(await filesUnder(join(deps.outDir, 'candidates')).catch(() => [])).toEqual([]);
  expect(await buildRelease(deps, { version: 'v1.1.0', outDir: deps.outDir })).toMatchObject({ studies: 2 });
  const approved = await approveRelease(deps, { version: 'v1.1.0', approvers: ['Anna', 'Boris'], simulated: false, outDir: deps.outDir });
  expect(await verifyRelease(approved.dir ?? '')).toMatchObject({ ok: true, studies: 2, withdrawn: 0 });
  const { problems } = await verifyRelease(approved.dir ?? '');
  expect(problems).toEqual([]);
});

test('what comes late, from a retry or a replay, yields nothing', async () => {
  // The label of s3 is still on its way.
  await eventually('an empty outbox', async () => (await databases.label_queue.depth()) === 0);
  await settled();
  const before = await Promise.all([
    countOf(databases.select, 'candidate'),
    countOf(databases.label_queue, 'study'),
    countOf(databases.release, 'fact'),
  ]);
  const late = { studyId: studyOf('g9'), revision: revisionOf('g9'), subjectId: GONE };
  await kit.publish('anonymise', [await anonymised('g9', GONE), { ...(await anonymised('g6', GONE)), id: 'replayed' }]);
  await kit.publish('assess', [assessed(1, late)]);
  await kit.publish('select', [
    selected(1, late),
    {
      type: 'ctstream.research.v1.StudyExcluded',
      value: { studyId: studyOf('g8'), revision: revisionOf('g8'), cohort: 'late', round: 1, code: 'COHORT_FULL', detail: '' },
    },
  ]);
  await kit.publish('label-queue', [
    {
      type: 'ctstream.research.v1.StudyLabelled',
      value: { ...late, volumeDigest: 'b'.repeat(64), grade: 1, adjudicated: false, simulated: false, readings: [] },
    },
  ]);
  await settled();
  expect(
    await Promise.all([
      countOf(databases.select, 'candidate'),
      countOf(databases.label_queue, 'study'),
      countOf(databases.release, 'fact'),
    ]),
  ).toEqual(before);
  const skips = (await kit.events('ctstream.research.v1.StudySkipped')).map((e) => `${e.value.studyId} ${e.value.stage} ${e.value.code}`);
  expect(skips.sort()).toEqual(['studyg6 assess PATIENT_WITHDRAWN', 'studyg9 assess PATIENT_WITHDRAWN']);
  const research = await objects('ct-research', 'assess');
  expect([...research.keys()].filter((key) => /studyg\d/.test(key) || key.includes(GONE))).toEqual([`withdrawn/${GONE}`]);
  expect(await closeRound(databases.select, COHORT, 3_600_000)).toBeUndefined();
  expect(await claimAll('clara')).toEqual([]);
});

test('a withdrawal that is told again, since the reports of it were lost, is reported again by every stage under the same id', async () => {
  const idsOf = (events: readonly { id: string; value: { stage: string } }[]): string[] =>
    events.map(({ id, value }) => `${value.stage} ${id}`).sort();
  const before = idsOf(await kit.events('ctstream.research.v1.ErasureDone'));
  await kit.publish('anonymise', [
    { type: 'ctstream.research.v1.SubjectWithdrawn', value: { subjectId: GONE, studies: null }, id: 'withdrawn-1' },
  ]);
  const after = await eventually('four reports more', async () => {
    const events = await kit.events('ctstream.research.v1.ErasureDone');
    return events.length >= before.length + 4 && events;
  });
  expect(idsOf(after)).toEqual([...before, ...before].sort());
});
