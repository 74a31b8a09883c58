// A restored log is the archived one, record for record and offset for offset, or the restore says why not.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { DuckDBConnection } from '@duckdb/node-api';
import fc from 'fast-check';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { memoryStore } from '../../test/shared/memory-store.ts';
import { avroCodec } from '../adapters/avro-codec.ts';
import { Fault } from '../kernel/fault.ts';
import type { BusRecord, EventBus, TopicEnd } from '../ports/event-bus.ts';
import type { LogWriter } from '../ports/log-writer.ts';
import { archiveOnce, newState } from './archive.ts';
import { openDuckDb, rowLine, toParquet } from './parquet.ts';
import { createViews, mirrorLog, runQuery } from './query.ts';
import { restoreLog, type RestoreOptions, type Restored } from './restore.ts';

const EXCLUDED = 'ct.research.study-excluded.v1';
const WITHDRAWN = 'ct.research.subject-withdrawn.v1';
const RETRY = 'ct.research.assess.retry.30s';

let db: DuckDBConnection;
let root: string;
beforeAll(async () => {
  db = await openDuckDb();
  root = await mkdtemp(join(tmpdir(), 'ctstream-restore-'));
});
afterAll(async () => {
  db.closeSync();
  await rm(root, { recursive: true, force: true });
});

interface Log {
  /** By `<topic>/<partition>`; the first offset is that of the first record. */
  readonly partitions: Map<string, BusRecord[]>;
  readonly starts: Map<string, bigint>;
  readonly bus: EventBus;
  readonly writer: LogWriter;
  /** Writes so many batches, then fails. */
  batches: number;
}

/** A log in memory with empty partitions 0 and 1 of the topics. */
function emptyLog(topics: readonly string[] = [EXCLUDED, WITHDRAWN, RETRY]): Log {
  const partitions = new Map(topics.flatMap((t) => [`${t}/0`, `${t}/1`]).map((at): [string, BusRecord[]] => [at, []]));
  const starts = new Map<string, bigint>();
  const bus: Pick<EventBus, 'topics' | 'ends' | 'read'> = {
    topics: async () => topics,
    ends: async (names) =>
      [...partitions].flatMap(([at, list]): TopicEnd[] => {
        const [topic = '', partition] = at.split('/');
        const first = starts.get(at) ?? 0n;
        return names.includes(topic)
          ? [{ topic, partition: Number(partition), first, end: list.at(-1) === undefined ? first : (list.at(-1)?.offset ?? 0n) + 1n }]
          : [];
      }),
    async *read(ranges) {
      for (const r of ranges)
        yield* (partitions.get(`${r.topic}/${r.partition}`) ?? []).filter((x) => x.offset >= r.first && x.offset < r.end);
    },
  };
  const kept = new Set<string>();
  const writer: LogWriter = {
    keepTimes: async (names) => names.forEach((topic) => kept.add(topic)),
    append: async (topic, partition, at, records) => {
      if (log.batches-- <= 0) throw new Fault('BUS_UNAVAILABLE', true, 'killed');
      const list = partitions.get(`${topic}/${partition}`) ?? [];
      const own = kept.has(topic) ? {} : { timestampMs: Date.now() };
      for (const [i, r] of records.entries()) list.push({ ...r, ...own, topic, partition, offset: at + BigInt(i) });
    },
    beginAt: async (topic, partition, offset) => {
      partitions.set(`${topic}/${partition}`, []);
      starts.set(`${topic}/${partition}`, offset);
    },
    close: async () => undefined,
  };
  const log: Log = { partitions, starts, bus: bus as EventBus, writer, batches: 1000 };
  return log;
}

function put(log: Log, topic: string, partition: number, ...records: Partial<BusRecord>[]): void {
  const list = log.partitions.get(`${topic}/${partition}`) ?? [];
  for (const r of records) {
    const offset = list.at(-1) === undefined ? 0n : (list.at(-1)?.offset ?? 0n) + 1n;
    list.push({ key: 'k', value: new Uint8Array(), headers: {}, timestampMs: 1000, offset, topic, partition, ...r });
  }
}

const never = new AbortController().signal;

/** The archive of the log as a folder. `maxRecords` makes several files. */
async function archiveOf(log: Log, maxRecords = 3): Promise<string> {
  const store = memoryStore();
  const ports = { bus: log.bus, codec: avroCodec(), store, db };
  await archiveOnce(ports, { zone: 'research', maxRecords }, newState(), never);
  const dir = await mkdtemp(join(root, 'log-'));
  await mirrorLog(store, dir);
  return dir;
}

const restore = async (to: Log, dir: string, chosen: Partial<RestoreOptions> = {}): Promise<Restored> =>
  await restoreLog({ bus: to.bus, writer: to.writer, db }, { dir, signal: never, ...chosen });

const excluded = (n: number): Partial<BusRecord> => {
  const value = { studyId: `s${n}`, revision: 'r', cohort: 'c', round: 1, code: 'COHORT_FULL', detail: '' };
  const event = { type: 'ctstream.research.v1.StudyExcluded', value } as unknown as Parameters<ReturnType<typeof avroCodec>['encode']>[0];
  const { key, value: bytes, headers } = avroCodec().encode(event, { id: `id-${n}`, source: 'select', timeMs: n, sequence: BigInt(n) });
  return { key, value: bytes, headers, timestampMs: 1_700_000_000_000 + n };
};

test('any bytes, headers, keys and times come back as they were, good events or not', async () => {
  const record = fc.record({
    key: fc.string({ unit: 'binary' }),
    value: fc.uint8Array({ maxLength: 40 }),
    headers: fc.dictionary(fc.stringMatching(/^[a-z_]{1,8}$/), fc.string({ unit: 'binary' }), { maxKeys: 4 }),
    timestampMs: fc.integer({ min: 0, max: 4e12 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(record, { minLength: 1, maxLength: 8 }), async (records) => {
      const log = emptyLog();
      put(log, EXCLUDED, 1, excluded(1), ...records, excluded(2));
      const to = emptyLog();
      await restore(to, await archiveOf(log));
      expect(to.partitions.get(`${EXCLUDED}/1`)?.map((r) => ({ ...r, value: Buffer.from(r.value) }))).toEqual(
        log.partitions.get(`${EXCLUDED}/1`)?.map((r) => ({ ...r, value: Buffer.from(r.value) })),
      );
    }),
    { numRuns: 15 },
  );
});

test('a restore that was killed goes on where it ended, and one that is whole writes nothing', async () => {
  const log = emptyLog();
  for (let n = 0; n < 1100; n += 1) put(log, EXCLUDED, n % 2, excluded(n));
  const dir = await archiveOf(log, 300);
  const to = emptyLog();
  to.batches = 1;
  await expect(restore(to, dir)).rejects.toThrow('killed');
  expect(to.partitions.get(`${EXCLUDED}/0`)).toHaveLength(500);
  to.batches = 1000;
  const second = await restore(to, dir);
  expect(second.partitions.map((p) => [p.partition, p.records, p.written])).toEqual([
    [0, 550, 50],
    [1, 550, 550],
  ]);
  const third = await restore(to, dir);
  expect(third.partitions.map((p) => [p.written, p.sha256])).toEqual(second.partitions.map((p) => [0, p.sha256]));
  expect(to.partitions).toEqual(log.partitions);
});

test('what is there and is not the archive stops the restore before it writes', async () => {
  const log = emptyLog();
  put(log, EXCLUDED, 0, excluded(1), excluded(2));
  put(log, EXCLUDED, 1, excluded(3));
  const dir = await archiveOf(log);
  for (const [wrong, what] of [
    [[excluded(9)], 'not what was archived'],
    [[excluded(1), excluded(2), excluded(4)], 'the archive 2'],
  ] as const) {
    const to = emptyLog();
    put(to, EXCLUDED, 0, ...wrong);
    await expect(restore(to, dir)).rejects.toThrow(what);
    expect(to.partitions.get(`${EXCLUDED}/1`)).toEqual([]);
  }
  await expect(restore(emptyLog([WITHDRAWN]), dir)).rejects.toThrow(`the log has no ${EXCLUDED}/0`);
});

test('an archive with a gap is refused, and with --allow-shift its moves are listed', async () => {
  const log = emptyLog();
  put(log, WITHDRAWN, 0, { key: 'a' }, { key: 'b' }, { key: 'c', offset: 5n }, { key: 'd' });
  const dir = await archiveOf(log);
  const to = emptyLog();
  await expect(restore(to, dir)).rejects.toMatchObject({ code: 'OFFSETS_WOULD_MOVE' });
  expect(to.partitions.get(`${WITHDRAWN}/0`)).toEqual([]);
  const { shifts } = await restore(to, dir, { allowShift: true });
  expect(shifts).toEqual([{ topic: WITHDRAWN, partition: 0, from: 5n, by: 3n }]);
  expect(to.partitions.get(`${WITHDRAWN}/0`)?.map((r) => [r.key, r.offset])).toEqual([
    ['a', 0n],
    ['b', 1n],
    ['c', 2n],
    ['d', 3n],
  ]);
});

test('a log that was restored with moved offsets is archived anew, and that archive can be restored without a move', async () => {
  const log = emptyLog();
  put(log, WITHDRAWN, 0, { key: 'a' }, { key: 'b', offset: 5n });
  put(log, EXCLUDED, 1, excluded(1));
  const store = memoryStore();
  const options = { zone: 'research' as const, maxRecords: 3 };
  const archive = async (bus: EventBus, anewBeforeMs: number, passes = 2): Promise<number> => {
    const state = newState();
    const ports = { bus, codec: avroCodec(), store, db };
    for (let n = 0; n < passes; n += 1) await archiveOnce(ports, { ...options, anewBeforeMs }, state, never);
    return state.failed.size;
  };
  await archive(log.bus, 0);
  const dir = await mkdtemp(join(root, 'log-'));
  await mirrorLog(store, dir);
  const moved = emptyLog();
  await restore(moved, dir, { allowShift: true });
  put(moved, WITHDRAWN, 0, ...['c', 'd', 'e', 'f', 'g'].map((key) => ({ key, timestampMs: 2000 })));
  expect(await archive(moved.bus, 0)).toBe(1);
  expect(await archive(moved.bus, Date.now() + 1000)).toBe(0);
  await mirrorLog(store, dir);
  const again = emptyLog();
  expect((await restore(again, dir, { newestLog: true })).shifts).toEqual([]);
  expect(again.partitions).toEqual(moved.partitions);
  await createViews(db, dir);
  const { rows } = await runQuery(db, 'select event_id from research.study_excluded');
  expect(rows).toEqual([{ event_id: 'id-1' }]);
});

test('a partition that was archived anew is not restored until it is said which of its logs', async () => {
  const store = memoryStore();
  const lost = emptyLog();
  put(lost, EXCLUDED, 0, ...[0, 1, 2, 3, 4].map(excluded));
  put(lost, EXCLUDED, 1, excluded(5));
  const archive = async (log: Log, anewBeforeMs: number): Promise<void> => {
    const ports = { bus: log.bus, codec: avroCodec(), store, db };
    await archiveOnce(ports, { zone: 'research', maxRecords: 3, anewBeforeMs }, newState(), never);
  };
  await archive(lost, 0);
  // Kafka is lost, and the archiver is told to begin anew before the restore, beside stages that run already.
  const hasty = emptyLog();
  put(hasty, EXCLUDED, 0, excluded(6), excluded(7));
  await archive(hasty, Date.now() + 1000);
  const dir = await mkdtemp(join(root, 'log-'));
  await mirrorLog(store, dir);

  const to = emptyLog();
  await expect(restore(to, dir)).rejects.toMatchObject({
    code: 'ARCHIVE_OF_SEVERAL_LOGS',
    message: expect.stringMatching(new RegExp(`${EXCLUDED}/0 \\(newest log 2 records, earlier 5\\)$`)),
  });
  expect(to.partitions).toEqual(emptyLog().partitions);

  await restore(to, dir, { newestLog: true });
  expect(to.partitions.get(`${EXCLUDED}/0`)).toEqual(hasty.partitions.get(`${EXCLUDED}/0`));

  const folder = join(dir, EXCLUDED, '0');
  for (const name of await readdir(folder)) if (name.startsWith('anew')) await rm(join(folder, name));
  const whole = emptyLog();
  await restore(whole, dir);
  expect(whole.partitions).toEqual(lost.partitions);
});

test('records that a topic keeps the newest of may be gone from what was restored', async () => {
  const log = emptyLog();
  put(log, WITHDRAWN, 0, { key: 'a' }, { key: 'a' }, { key: 'b' });
  const dir = await archiveOf(log);
  const to = emptyLog();
  await restore(to, dir);
  to.partitions.get(`${WITHDRAWN}/0`)?.splice(0, 1);
  expect((await restore(to, dir)).partitions[0]).toMatchObject({ records: 3, written: 0 });
});

test('files of an older version have no bytes to restore', async () => {
  const dir = await mkdtemp(join(root, 'old-'));
  const bytes = await toParquet(db, {
    columns: [{ name: 'record_offset', type: 'BIGINT' }],
    lines: [rowLine({ record_offset: 0 })],
    firstOffset: 0n,
    nextOffset: 1n,
  });
  const file = join(dir, EXCLUDED, '0', `${'0'.repeat(20)}.parquet`);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, bytes);
  await expect(restore(emptyLog(), dir)).rejects.toMatchObject({ code: 'ARCHIVE_WITHOUT_BYTES' });
});

test('a retry topic begins where it ended; what a stage has parked there meanwhile is not removed', async () => {
  const log = emptyLog();
  put(log, RETRY, 0, { headers: { 'ct-code': 'JOB_TIMEOUT' } }, {});
  const dir = await archiveOf(log);
  const to = emptyLog();
  expect((await restore(to, dir)).notRestored).toEqual([{ topic: RETRY, partition: 0, records: 2 }]);
  expect(to.starts.get(`${RETRY}/0`)).toBe(2n);
  const used = emptyLog();
  put(used, RETRY, 0, { key: 'parked' });
  await expect(restore(used, dir)).rejects.toMatchObject({ code: 'LOG_DIFFERS' });
});
