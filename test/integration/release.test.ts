// Release on the real database, store and log: the same cut gives the same bytes, gates hold, two people approve,
// and what is released is whole, immutable and told once.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { appendFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { EventRecord, Reading, StudySelected } from '../../schemas/events.gen.ts';
import { sha256Hex } from '../../services/kernel/digest.ts';
import { Fault } from '../../services/kernel/fault.ts';
import type { ResearchStudyId } from '../../services/kernel/ids.ts';
import type { EventIn } from '../../services/kernel/stage.ts';
import { approveRelease } from '../../services/release/approve.ts';
import { type BuildDeps, buildRelease, removePrefix } from '../../services/release/build.ts';
import { fromCsv } from '../../services/release/delimited.ts';
import { eraseSubject, type ErasePorts } from '../../services/release/erase.ts';
import type { FactType } from '../../services/release/facts.ts';
import { canBeTold } from '../../services/release/members.ts';
import { releaseServer } from '../../services/release/server.ts';
import { releaseStage, takenUntil } from '../../services/release/stage.ts';
import { filesUnder } from '../../services/release/sums.ts';
import { diffReleases, verifyRelease } from '../../services/release/verify.ts';
import { runOutbox } from '../../services/runtime/outbox.ts';
import { runStage } from '../../services/runtime/stage-loop.ts';
import { systemClock } from '../../services/runtime/system.ts';
import {
  codec,
  digestOf,
  eventually,
  type Kit,
  openKit,
  processContext,
  putAssessed,
  releaseDeps,
  selected,
  sharedWithLog,
  type StageDatabase,
  takenByNobody,
} from './research-kit.ts';

let kit: Kit;
let database: StageDatabase;
let deps: BuildDeps;
const running: { stop: () => void; done: Promise<void> }[] = [];
const TYPES = [
  'ctstream.research.v1.StudySelected',
  'ctstream.research.v1.StudyLabelled',
  'ctstream.research.v1.StudyExcluded',
  'ctstream.research.v1.StudyRejected',
] as const;

const volumeOf = (n: number): Buffer => Buffer.from(`volume ${n} `.repeat(5000 + n));
const select = (n: number, over: Partial<StudySelected> = {}): EventRecord & { type: 'ctstream.research.v1.StudySelected' } =>
  selected(n, { volumeDigest: digestOf(volumeOf(n)), ...over });

function label(n: number, grade: number, over: { volumeDigest?: string; second?: number } = {}): EventRecord {
  const { studyId, subjectId, revision } = select(n).value;
  const reading = (reader: string, g: number, role: string): Reading => ({ reader, grade: g, seconds: 30.25, simulated: true, role });
  return {
    type: 'ctstream.research.v1.StudyLabelled',
    value: {
      studyId,
      subjectId,
      revision,
      volumeDigest: over.volumeDigest ?? digestOf(volumeOf(n)),
      grade,
      adjudicated: false,
      simulated: true,
      readings: [reading('reader-a', grade, 'first'), reading('reader-b', over.second ?? grade, 'second')],
    },
  };
}

const exclude = (n: number): EventRecord => ({
  type: 'ctstream.research.v1.StudyExcluded',
  value: {
    studyId: select(n).value.studyId,
    revision: select(n).value.revision,
    cohort: 'test',
    round: 1,
    code: 'COHORT_FULL',
    detail: 'size 3',
  },
});
const refuse = (n: number, code: 'READER_REJECTED' | 'IDENTITY_VISIBLE' = 'READER_REJECTED'): EventRecord => ({
  type: 'ctstream.research.v1.StudyRejected',
  value: {
    studyId: select(n).value.studyId,
    revision: select(n).value.revision,
    stage: 'label-queue',
    code,
    detail: 'UNGRADABLE',
    subjectId: null,
  },
});

beforeAll(async () => {
  kit = await openKit('release');
  database = await kit.database('release');
  deps = releaseDeps(kit, database, { takenUntil: async () => await takenUntil(kit.bus('release')) });
  const store = kit.store('assess');
  for (let n = 1; n <= 9; n += 1) await putAssessed(store, select(n).value, volumeOf(n));
});

afterEach(async () => await stopAll());

afterAll(async () => await kit?.end());

const ports = (): ErasePorts => ({ ...deps, clock: systemClock, eraseAgainAfterMs: 1000 });

async function facts(n: number): Promise<void> {
  await eventually(`${n} facts`, async () => Number((await database.query<{ n: string }>('SELECT count(*) AS n FROM fact'))[0]?.n) === n);
}

/** Takes the event as if it came from the log. */
const handle = async (event: EventRecord, partition: number, offset: number): Promise<void> =>
  void (await releaseStage.handle(
    {
      ...event,
      id: `gate-${partition}-${offset}`,
      source: 'test',
      timeMs: 0,
      topic: 'ct.research.study-labelled.v1',
      partition,
      offset: BigInt(offset),
      key: 'k',
    } as EventIn<FactType>,
    ports(),
    AbortSignal.timeout(30_000),
  ));

function consume(stage: typeof releaseStage = releaseStage): void {
  const { ctx, stop } = processContext('release');
  const how = { bus: kit.bus('release'), codec, ctx, concurrency: 4, window: 64, retryDelaysMs: [200, 200, 200] };
  running.push({ stop, done: runStage(stage, ports(), how) });
}

async function stopAll(): Promise<void> {
  for (const r of running.splice(0)) {
    r.stop();
    await r.done;
  }
}

/** Names and bytes of a folder. */
async function contents(dir: string): Promise<string> {
  const parts: string[] = [];
  for (const file of await filesUnder(dir)) parts.push(`${file} ${sha256Hex(await readFile(join(dir, file)))}`);
  return parts.join('\n');
}

describe('a version', () => {
  let first: string;

  test('comes from the log as a whole folder: verified, readable by sha256sum, with what was left out', async () => {
    await kit.publish('select', [select(1), select(2), select(3), select(4), select(5)]);
    await kit.publish('label-queue', [label(1, 0), label(2, 1, { second: 2 }), label(3, 4), refuse(4)]);
    await kit.publish('select', [exclude(6)]);
    consume();
    await facts(10);
    const built = await buildRelease(deps, { version: 'v1.0.0', outDir: join(kit.dir, 'out') });
    expect(built).toMatchObject({ state: 'candidate', studies: 3, exclusions: 2, waiting: 1 });
    first = built.dir ?? '';
    expect(await verifyRelease(first)).toMatchObject({ ok: true, studies: 3, problems: [] });
    expect(execFileSync('sha256sum', ['-c', '--quiet', 'SHA256SUMS'], { cwd: first }).toString()).toBe('');
    const registry = fromCsv(await readFile(join(first, 'registry.csv'), 'utf8'));
    expect(Object.keys(registry[0] ?? {}).slice(0, 4)).toEqual(['study_id', 'category', 'study_file', 'mask_file']);
    expect(registry.map((r) => String(r['category'])).sort()).toEqual(['CT-0', 'CT-1', 'CT-4']);
    expect(registry[0]).toMatchObject({ manufacturer: 'Acme, Inc', simulated_readers: 'true' });
    for (const r of registry) expect(r['sha256']).toBe(sha256Hex(await readFile(join(first, String(r['study_file'])))));
    expect(fromCsv(await readFile(join(first, 'readings.csv'), 'utf8')).map((r) => r['seconds'])).toEqual(
      Array.from({ length: 6 }, () => '30'),
    );
    expect(
      fromCsv(await readFile(join(first, 'exclusions.csv'), 'utf8'))
        .map((r) => `${r['stage']} ${r['code']}`)
        .sort(),
    ).toEqual(['label-queue READER_REJECTED', 'select COHORT_FULL']);
    expect(JSON.parse(await readFile(join(first, 'release.json'), 'utf8'))).toMatchObject({
      missingClasses: ['CT-2', 'CT-3'],
      codeVersion: '0.1.0-test',
      simulatedReaders: true,
    });
    expect(await readFile(join(first, 'datasheet.md'), 'utf8')).toMatch(/Gap: no study of CT-2, CT-3[\s\S]*/);
  });

  test('holds no research id, no event id and no centre or reader of the log', async () => {
    const ids = (await kit.events(...TYPES)).flatMap((e) => [e.id, e.value.studyId, e.value.revision]);
    for (const file of (await filesUnder(first)).filter((f) => !f.endsWith('.gz'))) {
      const text = await readFile(join(first, file), 'utf8');
      // The ids of these tests are short words: as whole words, so that study-1 is not found in study-1a2b.
      for (const id of [...ids, 'subject-1', 'site-1', 'reader-a'])
        expect([file, id, new RegExp(`(?<![\\w-])${id.replaceAll('|', '\\|')}(?![\\w-])`).test(text)]).toEqual([file, id, false]);
      expect([file, /\d{4}-\d\d-\d\dT|traceparent/.test(text)]).toEqual([file, false]);
    }
  });

  test('shares no digest or id with the log: nothing in it, packed or not, leads to an event', async () => {
    const events = await kit.events(...TYPES);
    expect(await sharedWithLog(events, first)).toEqual([]);
    // What the log had before: the plain hash of a released volume. And a digest that somebody copied into a table.
    const [event] = events;
    if (event === undefined) throw new Error('the log is empty');
    const plain = { ...event, id: sha256Hex(volumeOf(1)) };
    expect(await sharedWithLog([plain], first)).toEqual([expect.stringMatching(/^images\/.*: [0-9a-f]{64}$/)]);
    const copied = { ...event, id: sha256Hex(await readFile(join(first, 'registry.csv'))) };
    expect(await sharedWithLog([copied], first)).toEqual(
      expect.arrayContaining([`SHA256SUMS: ${copied.id}`, `registry.csv: ${copied.id}`]),
    );
  });

  test('is the same, byte for byte, built again: here after more came, and from another database that got the events in another order', async () => {
    const before = await contents(first);
    await kit.publish('select', [select(7)]);
    await kit.publish('label-queue', [label(7, 2)]);
    consume();
    await facts(12);
    const again = await buildRelease(deps, { version: 'v1.0.0', outDir: join(kit.dir, 'again') });
    expect(await contents(again.dir ?? '')).toBe(before);

    const { cut } = JSON.parse(await readFile(join(first, 'release.json'), 'utf8')) as {
      cut: { topic: string; partition: number; endOffset: number }[];
    };
    const events: EventIn<FactType>[] = await kit.events(...TYPES);
    await database.query('TRUNCATE fact, seen, version, inbox');
    for (const e of events.toReversed()) await releaseStage.handle(e, ports(), AbortSignal.timeout(30_000));
    const rebuilt = await buildRelease(deps, { version: 'v1.0.0', cut, outDir: join(kit.dir, 'rebuilt') });
    expect(await contents(rebuilt.dir ?? '')).toBe(before);
  });

  test('is released by two different people only, once, and told once although the publisher was killed', async () => {
    await expect(approveRelease(deps, { version: 'v1.0.0', approvers: ['Anna', ' anna '], simulated: false })).rejects.toMatchObject({
      code: 'NEEDS_TWO_APPROVERS',
    });
    await expect(approveRelease(deps, { version: 'v9.0.0', approvers: ['Anna', 'Boris'], simulated: false })).rejects.toMatchObject({
      code: 'NO_CANDIDATE',
    });
    const approved = await approveRelease(deps, {
      version: 'v1.0.0',
      approvers: ['Simulated approver 1', 'Simulated approver 2'],
      simulated: true,
      outDir: join(kit.dir, 'released'),
    });
    expect(await contents(approved.dir ?? '')).toBe(await contents(first));
    expect((await verifyRelease(approved.dir ?? '')).ok).toBe(true);
    await expect(approveRelease(deps, { version: 'v1.0.0', approvers: ['Anna', 'Boris'], simulated: false })).rejects.toMatchObject({
      code: 'ALREADY_RELEASED',
    });
    expect(await kit.events('ctstream.research.v1.DatasetReleased')).toEqual([]);
    const { ctx, stop } = processContext('release');
    running.push({ stop, done: runOutbox(database, { bus: kit.bus('release'), codec, ctx, sourceName: 'release', pollMs: 20 }) });
    await eventually('an empty outbox', async () => (await database.depth()) === 0);
    const told = await kit.events('ctstream.research.v1.DatasetReleased');
    expect(told).toHaveLength(1);
    expect(told[0]?.value).toMatchObject({
      version: 'v1.0.0',
      simulatedApproval: true,
      studies: ['study-1', 'study-2', 'study-3'],
      sha256sumsSha256: approved.sumsSha256,
      codeVersion: '0.1.0-test',
    });
  });

  test('a later one keeps ids and splits, and says what changed', async () => {
    const next = await buildRelease(deps, { version: 'v1.1.0', outDir: join(kit.dir, 'out') });
    expect(next).toMatchObject({ studies: 4, waiting: 1 });
    const diff = await diffReleases(first, next.dir ?? '');
    expect([diff.added.length, diff.removed, diff.relabelled, diff.changed]).toEqual([1, [], [], []]);
    const splits = async (dir: string): Promise<Map<string, string>> =>
      new Map(fromCsv(await readFile(join(dir, 'registry.csv'), 'utf8')).map((r) => [r['study_id'] ?? '', r['split'] ?? '']));
    const [a, b] = [await splits(first), await splits(next.dir ?? '')];
    for (const [study, split] of a) expect(b.get(study)).toBe(split);
    expect(await readFile(join(next.dir ?? '', 'CHANGELOG.md'), 'utf8')).toContain(
      'Against v1.0.0: 1 added, 0 relabelled, 0 no longer in it.',
    );
  });

  test('waits for what is tried again, also where nothing came behind it', async () => {
    const away: typeof releaseStage = {
      ...releaseStage,
      handle: async () => await Promise.reject(new Fault('DATABASE_UNAVAILABLE', true, 'away')),
    };
    await kit.publish('label-queue', [refuse(7, 'IDENTITY_VISIBLE')]);
    consume(away);
    const log = kit.bus('release');
    await eventually('the record to be parked', async () => {
      const ends = await log.ends(releaseStage.consumes);
      const taken = await log.committed('release', releaseStage.consumes);
      return ends.every((e) => e.end === (taken.find((t) => t.topic === e.topic && t.partition === e.partition)?.offset ?? 0n));
    });
    await stopAll();
    await expect(buildRelease(deps, { version: 'v1.2.0' })).rejects.toMatchObject({
      code: 'INCOMPLETE_LOG',
      message: expect.stringMatching(/study-rejected/) as unknown,
    });
    consume();
    await facts(13);
    expect((await buildRelease(deps, { version: 'v1.2.0' })).studies).toBe(3);
  });
});

describe('gates', () => {
  beforeAll(() => {
    deps = { ...deps, takenUntil: takenByNobody };
  });
  const forget = async (): Promise<void> =>
    void (await database.query("TRUNCATE fact, seen, inbox; DELETE FROM version WHERE state <> 'released'"));

  test('a volume that is not the one that was read, or does not unpack, stops the build', async () => {
    await forget();
    await handle(select(8), 50, 0);
    await handle(label(8, 1, { volumeDigest: 'e'.repeat(64) }), 50, 1);
    await expect(buildRelease(deps, { version: 'v2.0.0' })).rejects.toMatchObject({ code: 'GATE_FAILED' });
    await forget();
    // Selected and read under one name, and the bytes have another: swapped after the readers saw them.
    await handle(select(8, { volumeDigest: 'e'.repeat(64) }), 50, 0);
    await handle(label(8, 1, { volumeDigest: 'e'.repeat(64) }), 50, 1);
    await expect(buildRelease(deps, { version: 'v2.0.0' })).rejects.toThrow(/not those that were read/);
    // The bytes are not those of the assessment.
    await kit.store('assess').put('ct-research', select(8).value.volumeKey, gzipSync(volumeOf(7)));
    await expect(buildRelease(deps, { version: 'v2.0.0' })).rejects.toThrow(/not those that were assessed/);
    await kit.store('assess').remove('ct-research', ['study-8/revision-8-1/assessment.json']);
    await expect(buildRelease(deps, { version: 'v2.0.0' })).rejects.toMatchObject({ code: 'VOLUME_MISSING' });
    await forget();
    await handle(select(9), 50, 0);
    await handle(label(9, 1), 50, 1);
    await kit.store('assess').put('ct-research', select(9).value.volumeKey, gzipSync(volumeOf(9)).subarray(0, 60));
    await expect(buildRelease(deps, { version: 'v2.0.0' })).rejects.toMatchObject({ code: 'GATE_FAILED' });
    await kit.store('assess').remove('ct-research', [select(9).value.volumeKey]);
    await expect(buildRelease(deps, { version: 'v2.0.0' })).rejects.toMatchObject({ code: 'VOLUME_MISSING' });
  });

  test('offsets that have not come stop the build, unless accepted and then named; what comes late changes nothing', async () => {
    await forget();
    await handle(select(1), 51, 0);
    await handle(label(1, 1), 51, 1);
    await handle(select(2), 51, 3);
    await expect(buildRelease(deps, { version: 'v2.1.0' })).rejects.toMatchObject({ code: 'INCOMPLETE_LOG' });
    const built = await buildRelease(deps, { version: 'v2.1.0', acceptHoles: true, outDir: join(kit.dir, 'holes') });
    expect(JSON.parse(await readFile(join(built.dir ?? '', 'release.json'), 'utf8'))).toMatchObject({
      holes: [['ct.research.study-labelled.v1', 51, 2, 2]],
      studies: 1,
    });
    await handle(label(2, 1), 51, 2);
    expect((await buildRelease(deps, { version: 'v2.1.0' })).sumsSha256).toBe(built.sumsSha256);
    expect((await buildRelease(deps, { version: 'v2.2.0' })).studies).toBe(2);
  });

  test('a version with more studies than one event can name is not built; fewer can be told', async () => {
    await forget();
    await handle(select(1), 54, 0);
    await handle(label(1, 1), 54, 1);
    // The event names the cut too: parts without a record in it make it as long.
    const empty = Array.from({ length: 250_000 }, (_, partition) => ({ topic: 'ct.research.study-excluded.v1', partition, endOffset: 0 }));
    const cut = [{ topic: 'ct.research.study-labelled.v1', partition: 54, endOffset: 2 }, ...empty];
    await expect(buildRelease(deps, { version: 'v2.3.0', cut })).rejects.toMatchObject({ code: 'GATE_FAILED' });
    await forget();
    const studies = Array.from({ length: 800_000 }, (_, n) => `${n}`.padStart(16, '0') as ResearchStudyId);
    expect(canBeTold(studies, [])).toBe(true);
    const told = {
      version: 'v2.3.0',
      prefix: 'v2.3.0',
      sha256sumsSha256: 'a'.repeat(64),
      studies,
      approvers: ['Anna', 'Boris'],
      simulatedApproval: true,
      codeVersion: 'test',
      cut: [],
    };
    await kit.publish('release', [{ type: 'ctstream.research.v1.DatasetReleased', value: told, id: 'a-large-one' }]);
    const events = await kit.events('ctstream.research.v1.DatasetReleased');
    expect(events.find((e) => e.id === 'a-large-one')?.value.studies).toHaveLength(800_000);
  });

  test('nothing graded: no version, and the name stays free', async () => {
    await forget();
    await handle(select(1), 52, 0);
    await expect(buildRelease(deps, { version: 'v3.0.0' })).rejects.toMatchObject({ code: 'NO_STUDIES' });
    await handle(label(1, 1), 52, 1);
    expect((await buildRelease(deps, { version: 'v3.0.0' })).studies).toBe(1);
    await expect(buildRelease(deps, { version: '../v3' })).rejects.toMatchObject({ code: 'BAD_VERSION' });
  });

  test('a candidate that somebody touched is not released', async () => {
    const store = kit.store('release');
    await store.put('ct-release-candidates', 'v3.0.0/registry.csv', Buffer.from('forged\n'));
    await expect(approveRelease(deps, { version: 'v3.0.0', approvers: ['Anna', 'Boris'], simulated: false })).rejects.toMatchObject({
      code: 'CANDIDATE_CHANGED',
    });
    expect(await store.head('ct-releases', 'v3.0.0/registry.csv')).toBeUndefined();
  });

  test('verify finds a changed byte, a missing and an extra file', async () => {
    const { dir = '' } = await buildRelease(deps, { version: 'v3.0.0', outDir: join(kit.dir, 'touched') });
    const [image = ''] = (await filesUnder(dir)).filter((f) => f.startsWith('images/'));
    await appendFile(join(dir, image), 'x');
    await rm(join(dir, 'datasheet.md'));
    await appendFile(join(dir, 'notes.txt'), 'x');
    const { problems } = await verifyRelease(dir);
    expect(problems.map((p) => `${p.code} ${p.file}`)).toEqual(
      expect.arrayContaining([`WRONG_SUM ${image}`, 'MISSING_FILE datasheet.md', 'UNLISTED_FILE notes.txt']),
    );
    // A whole volume, but another one.
    await writeFile(join(dir, image), gzipSync(volumeOf(2)));
    expect((await verifyRelease(dir)).problems.map((p) => `${p.code} ${p.file}`)).toContain(`WRONG_VOLUME ${image}`);
  });
});

test('over HTTP: build, approve, look; refusals have codes', async () => {
  const server = releaseServer({ ...deps, outDir: join(kit.dir, 'http'), token: 'the-token-of-operators', failed: () => undefined });
  const headers = { authorization: 'Bearer the-token-of-operators' };
  const post = async (url: string, payload: object): Promise<{ status: number; body: Record<string, unknown> }> => {
    const r = await server.inject({ method: 'POST', url, payload, headers });
    return { status: r.statusCode, body: r.json<Record<string, unknown>>() };
  };
  expect(await post('/releases', { version: 'v3.0.0' })).toMatchObject({ status: 200, body: { studies: 1 } });
  expect(await post('/releases/v3.0.0/approve', { approvers: ['Anna'], simulated: true })).toMatchObject({
    status: 400,
    body: { error: 'NEEDS_TWO_APPROVERS' },
  });
  const approved = await post('/releases/v3.0.0/approve', { approvers: ['Simulated approver 1', 'Simulated approver 2'], simulated: true });
  expect(approved).toMatchObject({ status: 200, body: { dir: join(kit.dir, 'http', 'v3.0.0') } });
  expect((await verifyRelease(String(approved.body['dir']))).ok).toBe(true);
  const state = (await server.inject({ method: 'GET', url: '/releases.json' })).json<{ versions: { version: string; state: string }[] }>();
  expect(state.versions.filter((v) => v.version === 'v3.0.0')).toMatchObject([{ state: 'released' }]);
  expect(
    (
      await server.inject({
        method: 'POST',
        url: '/releases',
        payload: { version: 'v4.0.0' },
        headers: { ...headers, origin: 'https://example.org' },
      })
    ).statusCode,
  ).toBe(403);
  await server.close();
});

test('a subject withdraws while the store does not remove: a build without studies leaves the row, and the files go later', async () => {
  await database.query('TRUNCATE fact, seen, inbox, version');
  for (const folder of await deps.store.folders('ct-releases')) await removePrefix(deps.store, 'ct-releases', folder);
  await handle(select(3), 53, 0);
  await handle(label(3, 1), 53, 1);
  await buildRelease(deps, { version: 'v3.1.0' });
  const files = async (): Promise<number> => {
    let n = 0;
    for await (const { key } of deps.store.list('ct-release-candidates', 'v3.1.0/')) n += key.length > 0 ? 1 : 0;
    return n;
  };
  expect(await files()).toBeGreaterThan(3);
  const away: ErasePorts['store'] = Object.assign(Object.create(deps.store) as ErasePorts['store'], {
    remove: async () => await Promise.reject(new Fault('STORE_UNAVAILABLE', true, 'away')),
  });
  const { subjectId } = select(3).value;
  const erase = async (over: Partial<ErasePorts>): Promise<void> =>
    await eraseSubject({ ...ports(), ...over }, { subjectId, studies: null }, 'withdrawal', AbortSignal.timeout(30_000));
  await expect(erase({ store: away })).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  await expect(buildRelease(deps, { version: 'v3.1.0' })).rejects.toMatchObject({ code: 'NO_STUDIES' });
  expect(await files()).toBeGreaterThan(3);
  await erase({ eraseAgainAfterMs: 0 });
  expect(await files()).toBe(0);
  await expect(buildRelease(deps, { version: 'v3.1.0' })).rejects.toMatchObject({ code: 'NO_STUDIES' });
  expect(await database.query("SELECT 1 FROM version WHERE version = 'v3.1.0'")).toEqual([]);
});
