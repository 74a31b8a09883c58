// Label-queue on the real database, store and log: leases expire and fence, two readers never hold one task, a study
// is read by different people of other centres, and a crash between transaction and publication loses nothing.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { FastifyInstance } from 'fastify';
import { gzipSync } from 'node:zlib';
import type { StudySelected } from '../../schemas/events.gen.ts';
import { sha256Hex } from '../../services/kernel/digest.ts';
import { audit, firstBrokenEntry } from '../../services/label-queue/audit.ts';
import { type ReaderEntry, registerReaders } from '../../services/label-queue/readers.ts';
import { labelServer } from '../../services/label-queue/server.ts';
import { runSimulatedReader } from '../../services/label-queue/simulated-reader.ts';
import { labelQueueStage } from '../../services/label-queue/stage.ts';
import { runOutbox } from '../../services/runtime/outbox.ts';
import { runStage } from '../../services/runtime/stage-loop.ts';
import { systemRandom } from '../../services/runtime/system.ts';
import { thoraxNifti } from '../../services/label-queue/synthetic-volume.ts';
import {
  codec,
  digestOf,
  eventually,
  type Kit,
  openKit,
  processContext,
  roundTrips,
  selected,
  type StageDatabase,
} from './research-kit.ts';

const LONG_MS = 3_600_000;
const READERS: ReaderEntry[] = [
  ...['anna', 'boris', 'clara', 'dmitri'].map((id) => ({ id, token: sha256Hex(`token-of-${id}`), simulated: false })),
  { id: 'lead', token: sha256Hex('token-of-lead'), simulated: false, lead: true },
  { id: 'local', token: sha256Hex('token-of-local'), simulated: false, site: 'site-9' },
  ...[1, 2, 3, 4, 5].map((n) => ({ id: `simulated-${n}`, token: sha256Hex(`token-of-simulated-${n}`), simulated: true, lead: n === 5 })),
];

let kit: Kit;
let database: StageDatabase;
let server: FastifyInstance;
let leaseMs = LONG_MS;
const running: { stop: () => void; done: Promise<unknown> }[] = [];
const volumes = new Map<number, { digest: string; gz: Buffer }>();

interface Task {
  taskId: string;
  token: number;
  volumeDigest: string;
}

beforeAll(async () => {
  kit = await openKit('label');
  database = await kit.database('label_queue');
  const readers = await registerReaders(READERS, database, systemRandom);
  const rules = {
    get leaseMs() {
      return leaseMs;
    },
    maxLeasesPerReader: 3,
  };
  server = labelServer({
    database,
    store: kit.store('label-queue'),
    random: systemRandom,
    readers,
    rules,
    failed: (error) => {
      throw error;
    },
  });
  await server.listen({ host: '127.0.0.1', port: 0 });
});

beforeEach(async () => {
  leaseMs = LONG_MS;
  // What an earlier test left open would be claimed first.
  await database.query("UPDATE task SET state = 'cancelled' WHERE state IN ('open', 'leased')");
});

afterEach(async () => {
  for (const r of running.splice(0)) {
    r.stop();
    await r.done;
  }
});

afterAll(async () => {
  await server?.close();
  await kit?.end();
});

async function call(
  reader: string,
  method: 'GET' | 'POST',
  url: string,
  payload?: object,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const r = await server.inject({
    method,
    url,
    headers: { authorization: `Bearer token-of-${reader}` },
    ...(payload === undefined ? {} : { payload }),
  });
  return { status: r.statusCode, body: r.body === '' ? {} : (JSON.parse(r.body) as Record<string, unknown>) };
}

const claim = async (reader: string): Promise<Task | undefined> => {
  const { status, body } = await call(reader, 'POST', '/tasks/claim');
  expect([200, 204]).toContain(status);
  return status === 204 ? undefined : (body as unknown as Task);
};

const grade = async (reader: string, task: Task, g: number): Promise<{ status: number; body: Record<string, unknown> }> =>
  await call(reader, 'POST', `/tasks/${task.taskId}/readings`, {
    token: task.token,
    grade: g,
    seconds: 12.5,
    volumeDigest: task.volumeDigest,
    windows: [{ width: 1500, level: -600 }],
    slicesVisited: 40,
  });

const skip = async (reader: string, task: Task, code: string): Promise<number> =>
  (await call(reader, 'POST', `/tasks/${task.taskId}/skip`, { token: task.token, code })).status;

async function open(n: number, over: Partial<StudySelected> = {}): Promise<void> {
  const e = selected(n, over);
  await labelQueueStage.handle(
    {
      ...e,
      id: `selected-${n}`,
      source: 'select',
      timeMs: 0,
      topic: 'ct.research.study-selected.v1',
      partition: 0,
      offset: BigInt(n),
      key: e.value.studyId,
    },
    { database, store: kit.store('label-queue'), random: systemRandom, eraseAgainAfterMs: 1000 },
    AbortSignal.timeout(30_000),
  );
}

async function claimed(reader: string): Promise<Task> {
  const task = await claim(reader);
  if (task === undefined) throw new Error(`nothing to claim for ${reader}`);
  return task;
}

/** What the outbox holds about a study. */
async function outcomesOf(n: number): Promise<{ type: string; value: unknown }[]> {
  const rows = await database.query<{ topic: string; value: Buffer; headers: Record<string, string> }>(
    'SELECT topic, value, headers FROM outbox WHERE key = $1 ORDER BY sequence',
    [`study-${n}`],
  );
  return rows.map((r) =>
    codec.decode({ topic: r.topic, partition: 0, offset: 0n, key: `study-${n}`, value: r.value, headers: r.headers, timestampMs: 0 }),
  );
}

describe('leases', () => {
  test('a lease that ran out goes to another reader, and the first one is fenced off', async () => {
    await open(1);
    leaseMs = 1;
    const late = await claimed('anna');
    // The database's clock decides: it is over as soon as another reader gets the same task.
    const taken = await eventually('the same task for boris', async () => {
      const task = await claimed('boris');
      return task.taskId === late.taskId ? task : undefined;
    });
    expect(taken.token).toBeGreaterThan(late.token);
    expect((await grade('anna', late, 2)).body).toMatchObject({ error: 'LEASE_LOST' });
    expect((await call('anna', 'POST', `/tasks/${late.taskId}/heartbeat`, { token: late.token })).status).toBe(409);
    expect((await call('anna', 'GET', `/tasks/${late.taskId}/volume?token=${late.token}`)).status).toBe(409);
    leaseMs = LONG_MS;
    expect((await call('boris', 'POST', `/tasks/${taken.taskId}/heartbeat`, { token: taken.token })).status).toBe(200);
    expect((await grade('boris', taken, 2)).status).toBe(201);
    // A second submission of the same answer (a lost connection) changes nothing, another answer is refused.
    expect((await grade('boris', taken, 2)).status).toBe(201);
    expect((await grade('boris', taken, 3)).body).toMatchObject({ error: 'ALREADY_READ' });
  });

  test('a lease that ran out and was taken by nobody still counts', async () => {
    await open(2);
    leaseMs = 1;
    const task = await claimed('anna');
    expect((await grade('anna', task, 1)).status).toBe(201);
  });

  test('readers who claim at the same time never hold the same task, nor one reader two of a study', async () => {
    // More than are claimed: with few left, the last one may belong to a study that the reader holds already.
    for (let n = 10; n < 20; n += 1) await open(n);
    const names = ['anna', 'boris', 'clara', 'dmitri'];
    const tasks = await Promise.all(names.flatMap((r) => [claim(r), claim(r), claim(r)]));
    const ids = tasks.flatMap((t) => (t === undefined ? [] : [t.taskId]));
    expect(ids).toHaveLength(12);
    expect(new Set(ids).size).toBe(12);
    const doubled = await database.query(
      "SELECT study_id, leased_to FROM task WHERE state = 'leased' GROUP BY study_id, leased_to HAVING count(*) > 1",
    );
    expect(doubled).toEqual([]);
    expect((await call('anna', 'POST', '/tasks/claim')).body).toMatchObject({ error: 'TOO_MANY_LEASES' });
    expect(((await call('anna', 'GET', '/tasks/mine')).body['tasks'] as unknown[]).length).toBe(3);
  });

  test('a reader never gets a study of their own centre, nor without a token', async () => {
    await open(20, { site: 'site-9' as StudySelected['site'] });
    expect(await claim('local')).toBeUndefined();
    expect((await server.inject({ method: 'POST', url: '/tasks/claim' })).statusCode).toBe(401);
    expect((await call('nobody', 'POST', '/tasks/claim')).status).toBe(401);
    expect(await claim('anna')).toBeDefined();
  });
});

describe('two blinded grades', () => {
  test('equal ones are the label; readers are named by pseudonyms', async () => {
    await open(30);
    expect((await grade('anna', await claimed('anna'), 3)).status).toBe(201);
    expect(await claim('anna')).toBeUndefined();
    expect((await grade('boris', await claimed('boris'), 3)).status).toBe(201);
    const [labelled, ...more] = await outcomesOf(30);
    expect(more).toEqual([]);
    expect(labelled).toMatchObject({
      type: 'ctstream.research.v1.StudyLabelled',
      value: {
        grade: 3,
        adjudicated: false,
        simulated: false,
        volumeDigest: 'b'.repeat(64),
        readings: [
          { grade: 3, role: 'first', seconds: 12.5 },
          { grade: 3, role: 'second' },
        ],
      },
    });
    expect(JSON.stringify(labelled, (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v))).not.toMatch(/anna|boris/);
  });

  test('far apart: an adjudicator who read neither, whose task looks like any other', async () => {
    await open(31);
    const first = await claimed('anna');
    await grade('anna', first, 0);
    await grade('boris', await claimed('boris'), 1);
    expect(await claim('anna')).toBeUndefined();
    expect(await claim('boris')).toBeUndefined();
    const task = await claimed('clara');
    expect(Object.keys(task).sort()).toEqual(Object.keys(first).sort());
    await grade('clara', task, 1);
    expect(await outcomesOf(31)).toMatchObject([
      { value: { grade: 1, adjudicated: true, readings: [{ role: 'first' }, { role: 'second' }, { role: 'adjudicator' }] } },
    ]);
  });

  test('adjacent: a third reader decides', async () => {
    await open(32);
    await grade('anna', await claimed('anna'), 2);
    await grade('boris', await claimed('boris'), 3);
    await grade('clara', await claimed('clara'), 3);
    expect(await outcomesOf(32)).toMatchObject([{ value: { grade: 3, adjudicated: false } }]);
  });

  test('two skips go to the lead; the lead may reject', async () => {
    await open(33);
    expect(await skip('anna', await claimed('anna'), 'UNGRADABLE')).toBe(201);
    expect(await skip('boris', await claimed('boris'), 'TECHNICAL')).toBe(201);
    expect(await claim('clara')).toBeUndefined();
    expect(await skip('lead', await claimed('lead'), 'UNGRADABLE')).toBe(201);
    expect(await outcomesOf(33)).toMatchObject([
      { type: 'ctstream.research.v1.StudyRejected', value: { code: 'READER_REJECTED', stage: 'label-queue' } },
    ]);
  });

  test('an identity seen ends the study at once, also for those who hold it', async () => {
    await open(34);
    const held = await claimed('anna');
    expect(await skip('boris', await claimed('boris'), 'IDENTITY_VISIBLE')).toBe(201);
    expect((await call('anna', 'GET', `/tasks/${held.taskId}/volume?token=${held.token}`)).body).toMatchObject({ error: 'TASK_CANCELLED' });
    expect((await grade('anna', held, 2)).body).toMatchObject({ error: 'TASK_CANCELLED' });
    expect(await outcomesOf(34)).toMatchObject([{ value: { code: 'IDENTITY_VISIBLE' } }]);
  });

  test('two who submit at the same moment make one label', async () => {
    for (let n = 40; n < 46; n += 1) {
      await open(n);
      const [a, b] = [await claimed('anna'), await claimed('boris')];
      const answers = await Promise.all([grade('anna', a, 2), grade('boris', b, 2)]);
      expect(answers.map((x) => x.status)).toEqual([201, 201]);
      expect(await outcomesOf(n)).toHaveLength(1);
    }
  });

  test('a grade for other bytes is refused', async () => {
    await open(35);
    const task = await claimed('anna');
    expect((await grade('anna', { ...task, volumeDigest: 'f'.repeat(64) }, 2)).body).toMatchObject({ error: 'WRONG_VOLUME' });
    expect(
      (
        await call('anna', 'POST', `/tasks/${task.taskId}/readings`, {
          token: task.token,
          grade: 5,
          seconds: 1,
          volumeDigest: task.volumeDigest,
        })
      ).status,
    ).toBe(400);
  });
});

describe('a database that is far away', () => {
  const most = async (trips: number, work: () => Promise<unknown>): Promise<void> =>
    expect(await roundTrips(work)).toBeLessThanOrEqual(trips);

  test('each step of a study waits for it a few times only', async () => {
    const gz = gzipSync(thoraxNifti({ seed: 36, affected: 0 }));
    await kit.store('assess').put('ct-research', selected(36).value.volumeKey, gz);
    await most(7, () => open(36));
    for (const [reader, trips] of [
      ['anna', 9],
      ['boris', 11],
    ] as const) {
      let held = { taskId: '', token: 0, volumeDigest: '' };
      await most(6, async () => (held = await claimed(reader)));
      const headers = { authorization: `Bearer token-of-${reader}` };
      await most(5, () => server.inject({ method: 'GET', url: `/tasks/${held.taskId}/volume?token=${held.token}`, headers }));
      await most(trips, () => grade(reader, held, 2));
    }
    expect(await outcomesOf(36)).toHaveLength(1);
  });
});

describe('the record', () => {
  test('readings and audit are append-only, and a forged audit entry shows', async () => {
    await expect(database.query('UPDATE reading SET grade = 0')).rejects.toThrow(/append-only/);
    await expect(database.query('DELETE FROM audit')).rejects.toThrow(/append-only/);
    expect(await firstBrokenEntry(database)).toBeUndefined();
    await database.query('ALTER TABLE audit DISABLE TRIGGER audit_append_only');
    const [entry] = await database.query<{ seq: string; detail: string }>(
      "SELECT seq, detail FROM audit WHERE action = 'graded' ORDER BY seq LIMIT 1",
    );
    await database.query('UPDATE audit SET detail = $2 WHERE seq = $1', [entry?.seq, '{"grade":4}']);
    expect(await firstBrokenEntry(database)).toBe(Number(entry?.seq));
    await database.query('UPDATE audit SET detail = $2 WHERE seq = $1', [entry?.seq, entry?.detail]);
    await database.query('ALTER TABLE audit ENABLE TRIGGER audit_append_only');
    await database.transaction(async (tx) => await audit(tx, 'test', 'after', {}));
    expect(await firstBrokenEntry(database)).toBeUndefined();
  });
});

describe('from the log to the log', () => {
  test('simulated readers read real volumes through the API; a killed outbox loses and doubles nothing', async () => {
    const store = kit.store('assess');
    const events = [60, 61, 62].map((n) => {
      const volume = thoraxNifti({ seed: n, affected: [0, 0.1, 0.6][n - 60] ?? 0 });
      const gz = gzipSync(volume);
      volumes.set(n, { digest: digestOf(volume), gz });
      return selected(n, { volumeDigest: digestOf(volume) });
    });
    for (const e of events)
      await store.put('ct-research', e.value.volumeKey, volumes.get(Number(e.value.studyId.slice(6)))?.gz ?? Buffer.alloc(0));
    await kit.publish('select', events);
    const { ctx, stop } = processContext('label-queue');
    running.push({
      stop,
      done: runStage(
        labelQueueStage,
        { database, store, random: systemRandom, eraseAgainAfterMs: 1000 },
        { bus: kit.bus('label-queue'), codec, ctx, concurrency: 4, window: 64 },
      ),
    });
    const address = server.server.address();
    const baseUrl = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
    const abort = new AbortController();
    const problems: string[] = [];
    running.push({
      stop: () => abort.abort(),
      done: Promise.all(
        [1, 2, 3, 4, 5].map((n) =>
          runSimulatedReader({
            baseUrl,
            readerId: `simulated-${n}`,
            token: `token-of-simulated-${n}`,
            seed: 7,
            signal: abort.signal,
            idleMs: 50,
            onProblem: (p) => void problems.push(p),
          }),
        ),
      ),
    });
    await eventually('three labels', async () => (await Promise.all([60, 61, 62].map(outcomesOf))).every((o) => o.length === 1));
    expect(problems).toEqual([]);
    expect(await kit.events('ctstream.research.v1.StudyLabelled')).toEqual([]);

    // The publisher dies after it published and before it could mark; the next one starts over.
    const rows = await database.next(500);
    await kit.bus('label-queue').publish(rows.map((r) => ({ topic: r.topic, key: r.key, value: r.value, headers: r.headers })));
    const outbox = processContext('label-queue');
    running.push({
      stop: outbox.stop,
      done: runOutbox(database, { bus: kit.bus('label-queue'), codec, ctx: outbox.ctx, sourceName: 'label-queue', pollMs: 20 }),
    });
    await eventually('an empty outbox', async () => (await database.depth()) === 0);
    const labels = new Map((await kit.events('ctstream.research.v1.StudyLabelled')).map((e) => [e.id, e.value]));
    const ours = [...labels.values()].filter((v) => Number(v.studyId.slice(6)) >= 60);
    expect(ours.map((v) => v.studyId).sort()).toEqual(['study-60', 'study-61', 'study-62']);
    for (const v of ours) {
      expect(v.simulated).toBe(true);
      expect(v.volumeDigest).toBe(volumes.get(Number(v.studyId.slice(6)))?.digest);
    }
    const state = (await server.inject({ method: 'GET', url: '/queue.json' })).json<{ simulatedReadings: number }>();
    expect(state.simulatedReadings).toBeGreaterThanOrEqual(6);
    expect((await server.inject({ method: 'GET', url: '/queue.json', headers: { 'x-forwarded-for': '192.0.2.1' } })).statusCode).toBe(401);
  });
});
