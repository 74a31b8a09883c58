// What the archive claims it holds: one bad record, one lost race or one broken partition takes nothing else with it.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { DuckDBConnection } from '@duckdb/node-api';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Code } from '../kernel/codes.ts';
import { Fault } from '../kernel/fault.ts';
import type { EventIn } from '../kernel/stage.ts';
import type { BusRecord, EventBus, TopicEnd } from '../ports/event-bus.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { archiveOnce, LOG_BUCKET, newState as fresh, type ArchivePorts } from './archive.ts';
import { runArchiver, type ArchiverContext } from './archiver.ts';
import { endOfFile, openDuckDb, rowLine, toParquet } from './parquet.ts';
import { runQuery } from './query.ts';

const EXCLUDED = 'ct.research.study-excluded.v1';
const LABELLED = 'ct.research.study-labelled.v1';
const AVAILABLE = 'ct.clinical.c01.study-available.v1';

let db: DuckDBConnection;
let dir: string;
beforeAll(async () => {
  db = await openDuckDb();
  dir = await mkdtemp(join(tmpdir(), 'ctstream-archive-'));
});
afterAll(async () => {
  db.closeSync();
  await rm(dir, { recursive: true, force: true });
});

function record(topic: string, offset: number, headers: Record<string, string> = {}): BusRecord {
  const own = { ce_id: `${topic}-${offset}`, ce_time: '1970-01-01T00:00:00.000Z', ...headers };
  return { topic, partition: 0, offset: BigInt(offset), key: 'k', value: new Uint8Array(), headers: own, timestampMs: 1000 };
}
const records = (topic: string, count: number): BusRecord[] => Array.from({ length: count }, (_, i) => record(topic, i));

interface World {
  log: BusRecord[];
  ends: TopicEnd[];
  objects: Map<string, Uint8Array>;
  /** When what is put now is written. */
  nowMs: number;
  ports: ArchivePorts;
  /** Runs before each put. */
  beforePut: (key: string) => Promise<void> | void;
}

const end = (topic: string, first: number, last: number): TopicEnd => ({ topic, partition: 0, first: BigInt(first), end: BigInt(last) });

/** A log and a bucket in memory. A record with the header `bad` is refused by the codec with that code. */
function world(log: BusRecord[], ends: TopicEnd[]): World {
  const objects = new Map<string, Uint8Array>();
  const written = new Map<string, number>();
  const bus: Pick<EventBus, 'topics' | 'ends' | 'read'> = {
    topics: async () => [],
    ends: async () => w.ends,
    async *read(ranges) {
      for (const r of ranges) {
        if (w.ends.some((e) => e.topic === r.topic && r.first < e.first)) throw new Fault('LOG_TRUNCATED', false, 'out of range');
        yield* w.log.filter((x) => x.topic === r.topic && x.offset >= r.first && x.offset < r.end);
      }
    },
  };
  const store: Pick<ObjectStore, 'put' | 'list' | 'getBytes'> = {
    async put(_bucket, key, body) {
      await w.beforePut(key);
      if (objects.has(key)) return 'exists';
      objects.set(key, body as Uint8Array);
      written.set(key, w.nowMs);
      return 'created';
    },
    async *list(_bucket, prefix) {
      for (const key of [...objects.keys()].sort())
        if (key.startsWith(prefix)) yield { key, sizeBytes: 1, lastModifiedMs: written.get(key) ?? 0 };
    },
    getBytes: async (_bucket, key) => objects.get(key),
  };
  const decode = (r: BusRecord): EventIn => {
    const bad = r.headers['bad'];
    if (bad !== undefined) throw new Fault(bad as Code, false, 'refused');
    const type = r.headers['type'] ?? (r.topic === EXCLUDED ? 'ctstream.research.v1.StudyExcluded' : 'ctstream.research.v1.StudyLabelled');
    const sequence = BigInt(r.headers['sequence'] ?? r.offset);
    const value: Record<string, unknown> =
      r.headers['centre'] === undefined ? {} : { centre: r.headers['centre'], studyInstanceUid: '1.2.3' };
    if (r.headers['long'] !== undefined) value['detail'] = 'x'.repeat(Number(r.headers['long']));
    const timeMs = Number(r.headers['time'] ?? 0);
    return { ...r, type, value, id: r.headers['ce_id'], source: 'centre-gateway/c01', timeMs, sequence } as unknown as EventIn;
  };
  const tokens = {
    studies: async (_: string, uids: readonly string[]) => new Map(uids.map((uid) => [uid, { token: 'tok', secret: new Uint8Array(32) }])),
    site: () => 'site-x',
    eventId: () => 'keyed',
  };
  const ports = {
    bus: bus as EventBus,
    store: store as ObjectStore,
    codec: { decode, encode: () => Promise.reject(new Error()) as never },
    db,
  };
  const w: World = { log, ends, objects, nowMs: 0, ports: { ...ports, tokens }, beforePut: () => undefined };
  return w;
}

const never = new AbortController().signal;
const research = { zone: 'research' as const, maxRecords: 4 };

async function rowsOf(w: World, topic: string): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = [];
  for (const [key, bytes] of [...w.objects].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!key.startsWith(`${topic}/`)) continue;
    // A name of its own: the engine keeps what it has read of a file.
    const file = join(dir, `${randomUUID()}.parquet`);
    await writeFile(file, bytes);
    rows.push(...(await runQuery(db, `SELECT * FROM read_parquet('${file}') ORDER BY record_offset`)).rows);
  }
  return rows;
}
const offsetsOf = async (w: World, topic: string): Promise<number[]> => (await rowsOf(w, topic)).map((r) => Number(r['record_offset']));

test('records that are no good events become rows that say so, and the rest is archived', async () => {
  const w = world(
    [
      record(EXCLUDED, 0),
      record(EXCLUDED, 1, { bad: 'BAD_EVENT' }),
      record(EXCLUDED, 2, { bad: 'SCHEMA_ID_MISMATCH', ce_type: 'ctstream.research.v1.StudyLabelled' }),
      record(EXCLUDED, 3, { type: 'ctstream.research.v1.StudyLabelled' }),
      record(EXCLUDED, 4, { sequence: '9999999999999999999' }),
      record(EXCLUDED, 5, { time: '8640000000000000' }),
      record(EXCLUDED, 6),
    ],
    [end(EXCLUDED, 0, 7)],
  );
  const { written, bad } = await archiveOnce(w.ports, research, fresh(), never);
  expect([written, bad]).toEqual([7, { BAD_EVENT: 5 }]);
  const rows = await rowsOf(w, EXCLUDED);
  expect(rows.map((r) => r['bad_code'])).toEqual([null, ...Array<string>(5).fill('BAD_EVENT'), null]);
  expect(rows[1]).toMatchObject({ record_offset: '1', record_key: null, event_id: null, event_type: null, event_source: null });
});

test('a record whose row is longer than a file takes is a bad one, and keeps its bytes where they are short enough', async () => {
  const log = [
    record(EXCLUDED, 0),
    record(EXCLUDED, 1, { long: '2000' }),
    record(EXCLUDED, 2, { long: '1', much: 'x'.repeat(2000) }),
    record(EXCLUDED, 3),
  ];
  const w = world(log, [end(EXCLUDED, 0, 4)]);
  expect(await archiveOnce(w.ports, { ...research, rowBytes: 2000 }, fresh(), never)).toEqual({ written: 4, bad: { BAD_EVENT: 2 } });
  const rows = await rowsOf(w, EXCLUDED);
  expect(rows.map((r) => [r['bad_code'], r['event_id'], r['raw_key']])).toEqual([
    [null, `${EXCLUDED}-0`, 'k'],
    ['BAD_EVENT', null, 'k'],
    ['BAD_EVENT', null, null],
    [null, `${EXCLUDED}-3`, 'k'],
  ]);
});

describe('a record that only another reader can judge', () => {
  const ce_type = 'ctstream.research.v1.StudyExcluded';
  const ahead = (bad: string): World =>
    world(
      [...records(EXCLUDED, 3), record(EXCLUDED, 3, { bad, ce_type }), record(EXCLUDED, 4), ...records(LABELLED, 3)],
      [end(EXCLUDED, 0, 5), end(LABELLED, 0, 3)],
    );

  test.each(['SCHEMA_AHEAD', 'SCHEMA_ID_MISMATCH'])('%s: its partition alone waits, is told, and loses nothing', async (code) => {
    const w = ahead(code);
    const state = fresh();
    expect(await archiveOnce(w.ports, research, state, never)).toEqual({ written: 6, bad: {} });
    w.log.push(record(LABELLED, 3));
    w.ends = [end(EXCLUDED, 0, 5), end(LABELLED, 0, 4)];
    const { bus } = w.ports;
    const asked: string[] = [];
    const watched: EventBus = { ...bus, read: (ranges, s) => (asked.push(...ranges.map((r) => r.topic)), bus.read(ranges, s)) };
    expect(await archiveOnce({ ...w.ports, bus: watched }, research, state, never)).toEqual({ written: 1, bad: {} });
    // Not read over and over, with all that lies behind it.
    expect(asked).toEqual([LABELLED]);
    expect([...state.failed].map(([at, f]) => [at, f.code, f.message])).toEqual([
      [`${EXCLUDED}/0`, code, expect.stringContaining(`${EXCLUDED}/0/3 can't be read yet`)],
    ]);
    expect(await offsetsOf(w, EXCLUDED)).toEqual([0, 1, 2]);
    expect(await offsetsOf(w, LABELLED)).toEqual([0, 1, 2, 3]);
    // Upgraded, or the registry has its ids again.
    w.log = w.log.map((r) => (r.topic === EXCLUDED ? record(EXCLUDED, Number(r.offset)) : r));
    const after = fresh();
    expect(await archiveOnce(w.ports, research, after, never)).toEqual({ written: 2, bad: {} });
    expect(after.failed.size).toBe(0);
    expect((await rowsOf(w, EXCLUDED)).map((r) => [Number(r['record_offset']), r['bad_code']])).toEqual(
      [0, 1, 2, 3, 4].map((n) => [n, null]),
    );
  });

  test('is archived as a bad one when an operator names its place', async () => {
    const w = ahead('SCHEMA_AHEAD');
    const asBad = new Set([`${EXCLUDED}/0/3`]);
    expect(await archiveOnce(w.ports, { ...research, asBad }, fresh(), never)).toEqual({ written: 8, bad: { SCHEMA_AHEAD: 1 } });
    expect(await offsetsOf(w, EXCLUDED)).toEqual([0, 1, 2, 3, 4]);
  });

  test('of a centre is told under its pseudonym', async () => {
    const type = 'ctstream.clinical.v1.StudyAvailable';
    const w = world([record(AVAILABLE, 0, { bad: 'SCHEMA_AHEAD', ce_type: type })], [end(AVAILABLE, 0, 1)]);
    const state = fresh();
    await archiveOnce(w.ports, { zone: 'clinical', maxRecords: 10 }, state, never);
    expect([...state.failed.values()].map((f) => f.message)).toEqual([
      expect.stringContaining(' ct.clinical.site-x.study-available.v1/0/0 '),
    ]);
  });

  test('a topic of a newer version waits whole, and its centre is not told', async () => {
    const topic = 'ct.clinical.c01.study-later.v1';
    const w = world(
      [record(topic, 0), record(AVAILABLE, 0, { centre: 'c01', type: 'ctstream.clinical.v1.StudyAvailable' })],
      [end(topic, 0, 1), end(AVAILABLE, 0, 1)],
    );
    const state = fresh();
    expect((await archiveOnce(w.ports, { zone: 'clinical', maxRecords: 10 }, state, never)).written).toBe(1);
    expect([...state.failed.values()].map((f) => [f.code, f.message.includes('c01')])).toEqual([['SCHEMA_AHEAD', false]]);
    expect([...w.objects.keys()].some((key) => key.includes('study-later'))).toBe(false);
  });
});

test('the clinical archive holds no outbox number, and no row of a centre in the name of another', async () => {
  const type = 'ctstream.clinical.v1.StudyAvailable';
  const w = world([record(AVAILABLE, 0, { type, centre: 'c01' }), record(AVAILABLE, 1, { type, centre: 'c02' })], [end(AVAILABLE, 0, 2)]);
  await archiveOnce(w.ports, { zone: 'clinical', maxRecords: 10 }, fresh(), never);
  const rows = await rowsOf(w, 'ct.clinical.site-x.study-available.v1');
  expect(rows.map((r) => [r['topic'], r['event_sequence'], r['bad_code']])).toEqual([
    ['ct.clinical.site-x.study-available.v1', null, null],
    ['ct.clinical.site-x.study-available.v1', null, 'CENTRE_MISMATCH'],
  ]);
});

test('forged headers of a parked record end nothing and are not shown', async () => {
  const topic = 'ct.research.assess.retry.30s';
  const w = world([record(topic, 0, { 'ct-attempt': '1e300', 'ct-code': 'Ivanov', ce_type: 'Ivanov' })], [end(topic, 0, 1)]);
  await archiveOnce(w.ports, research, fresh(), never);
  expect((await rowsOf(w, topic))[0]).toMatchObject({ stage: 'assess', code: null, event_type: null, attempts: null });
});

test('who loses a race in mid-read goes on at the end of the winner, so that no record is left out', async () => {
  const w = world(records(EXCLUDED, 10), [end(EXCLUDED, 0, 10)]);
  const winner = await toParquet(db, {
    columns: [{ name: 'record_offset', type: 'BIGINT' }],
    lines: [0, 1].map((n) => rowLine({ record_offset: n })),
    firstOffset: 0n,
    nextOffset: 2n,
  });
  // Another archiver with smaller files was first: its file ends before the place where this one's read has come to.
  w.beforePut = (key) => void (w.objects.has(key) || key.endsWith('0'.repeat(20) + '.parquet') ? w.objects.set(key, winner) : undefined);
  const state = fresh();
  expect((await archiveOnce(w.ports, research, state, never)).written).toBe(0);
  expect((await archiveOnce(w.ports, research, state, never)).written).toBe(8);
  expect(await offsetsOf(w, EXCLUDED)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  let next = 0n;
  for (const [key, bytes] of [...w.objects].sort(([a], [b]) => (a < b ? -1 : 1))) {
    expect(key).toBe(`${EXCLUDED}/0/${next.toString().padStart(20, '0')}.parquet`);
    ({ next } = await endOfFile(db, bytes, next));
  }
  expect(next).toBe(10n);
});

test('a partition is written when its end is reached, whatever others are yet to be read', async () => {
  const w = world([...records(EXCLUDED, 3), ...records(LABELLED, 3)], [end(EXCLUDED, 0, 3), end(LABELLED, 0, 3)]);
  const { bus } = w.ports;
  const broken: EventBus = {
    ...bus,
    async *read(ranges, signal) {
      for await (const r of bus.read(ranges, signal)) {
        if (r.topic === LABELLED && r.offset === 2n) throw new Fault('BUS_UNAVAILABLE', true, 'killed');
        yield r;
      }
    },
  };
  await expect(archiveOnce({ ...w.ports, bus: broken }, research, fresh(), never)).rejects.toThrow('killed');
  expect(await offsetsOf(w, EXCLUDED)).toEqual([0, 1, 2]);
  expect((await archiveOnce(w.ports, research, fresh(), never)).written).toBe(3);
});

describe('what is held is bounded by its size, not only by the number of its records', () => {
  const names = (w: World): [string, number][] =>
    [...w.objects.keys()].map((key) => [key.split('/')[0] ?? '', Number(/(\d{20})\.parquet$/.exec(key)?.[1])]);
  const many = { zone: 'research' as const, maxRecords: 1000 };
  /** Characters of a row; every row of these tests has about as many. */
  const rowSize = 500;

  test('of a partition', async () => {
    const w = world(records(EXCLUDED, 10), [end(EXCLUDED, 0, 10)]);
    await archiveOnce(w.ports, { ...many, held: { ofPartition: 3 * rowSize, ofAll: 1e9 } }, fresh(), never);
    expect(w.objects.size).toBeGreaterThan(1);
    expect(await offsetsOf(w, EXCLUDED)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test('of all partitions: the largest is written, and the others gather on', async () => {
    const log = [...records(LABELLED, 2), ...records(EXCLUDED, 8), record(LABELLED, 2)];
    const w = world(log, [end(EXCLUDED, 0, 8), end(LABELLED, 0, 3)]);
    const { bus } = w.ports;
    const mixed: EventBus = {
      ...bus,
      async *read() {
        yield* log;
      },
    };
    const { written } = await archiveOnce(
      { ...w.ports, bus: mixed },
      { ...many, held: { ofPartition: 1e9, ofAll: 5 * rowSize } },
      fresh(),
      never,
    );
    expect(written).toBe(11);
    expect(names(w).filter(([topic]) => topic === EXCLUDED).length).toBeGreaterThan(1);
    expect(names(w).filter(([topic]) => topic === LABELLED)).toEqual([[LABELLED, 0]]);
    expect(await offsetsOf(w, EXCLUDED)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(await offsetsOf(w, LABELLED)).toEqual([0, 1, 2]);
  });
});

test('records out of order never become a file', async () => {
  const w = world([record(EXCLUDED, 1), record(EXCLUDED, 0)], [end(EXCLUDED, 0, 2)]);
  await expect(archiveOnce(w.ports, research, fresh(), never)).rejects.toThrow('must begin where the last ended');
  expect(w.objects.size).toBe(0);
});

test('a partition that lost records, or was made anew, fails alone', async () => {
  const w = world([...records(EXCLUDED, 3), ...records(LABELLED, 3)], [end(EXCLUDED, 0, 3), end(LABELLED, 0, 3)]);
  const state = fresh();
  await archiveOnce(w.ports, research, state, never);
  w.log.push(record(LABELLED, 3));
  for (const broken of [end(EXCLUDED, 5, 9), end(EXCLUDED, 0, 1), end(EXCLUDED, 0, 0)]) {
    w.ends = [broken, end(LABELLED, 0, 4)];
    // Also for an archiver that has just started and knows the bucket only.
    for (const s of broken.end === 0n ? [state] : [state, fresh()]) {
      await archiveOnce(w.ports, research, s, never);
      expect([...s.failed].map(([at, f]) => [at, f.code])).toEqual([[`${EXCLUDED}/0`, 'LOG_TRUNCATED']]);
    }
  }
  expect(await offsetsOf(w, LABELLED)).toEqual([0, 1, 2, 3]);
});

describe('a topic that was made anew and has grown past the end of its archive', () => {
  const clinical = { zone: 'clinical' as const, maxRecords: 4 };
  const told = { type: 'ctstream.clinical.v1.StudyAvailable', centre: 'c01' };
  const RETRY = 'ct.research.assess.retry.30s';
  /** The same events told again, at another time. */
  const later = (r: BusRecord): BusRecord => ({
    ...r,
    headers: { ...r.headers, ce_time: '1970-01-02T00:00:00.000Z', time: '86400000' },
    timestampMs: 86_401_000,
  });
  const as = (headers: Record<string, string>) => (r: BusRecord) => ({ ...r, headers: { ...r.headers, ...headers } });
  const same = (r: BusRecord): BusRecord => r;

  test.each([
    ['events with other ids', EXCLUDED, research, same, as({ ce_id: 'other' })],
    ['the same events, told again', EXCLUDED, research, same, later],
    ['bad records', EXCLUDED, research, as({ bad: 'BAD_EVENT' }), later],
    ['parked records', RETRY, research, same, later],
    ['events of a centre', AVAILABLE, clinical, as(told), (r: BusRecord) => later(as(told)(r))],
  ] as const)('%s: fails alone, and keeps failing', async (_, topic, options, before, after) => {
    for (const restarted of [false, true]) {
      const beside = options === research ? LABELLED : 'ct.clinical.c01.census.v1';
      const own = options === research ? same : as({ ...told, type: 'ctstream.clinical.v1.Census' });
      const others = records(beside, 4).map(own);
      const w = world([...records(topic, 3).map(before), ...others], [end(topic, 0, 3), end(beside, 0, 3)]);
      let state = fresh();
      expect((await archiveOnce(w.ports, options, state, never)).written).toBe(6);
      const files = w.objects.size;
      w.log = [...records(topic, 6).map(after), ...others];
      // At first it is too short; then it has grown, also to just the old end, and nobody saw it short.
      const passes = restarted ? [3, 6, 6] : [2, 3, 6, 6];
      for (const grown of passes) {
        if (restarted) state = fresh();
        w.ends = [end(topic, 0, grown), end(beside, 0, 4)];
        await archiveOnce(w.ports, options, state, never);
        expect([...state.failed].map(([at, f]) => [at, f.code])).toEqual([[`${topic}/0`, 'LOG_TRUNCATED']]);
      }
      expect([...state.failed.values()][0]?.message).toMatch(/\/0\/2 is not the record that was archived: the topic was made anew$/);
      expect([...state.failed.values()][0]?.message.includes('c01')).toBe(false);
      // The other partition went on, and of this one nothing was written.
      expect(w.objects.size).toBe(files + 1);
    }
  });

  test.each([
    ['longer', 6],
    ['as long, and longer later', 3],
  ])('also between two passes that saw nothing wrong, being %s: no file holds records of both', async (_, first) => {
    const w = world(records(EXCLUDED, 3), [end(EXCLUDED, 0, 3)]);
    const state = fresh();
    await archiveOnce(w.ports, research, state, never);
    w.log = records(EXCLUDED, 6).map(later);
    for (const grown of [first, 6, 6]) {
      w.ends = [end(EXCLUDED, 0, grown)];
      await archiveOnce(w.ports, research, state, never);
    }
    expect([...state.failed.values()].map((f) => f.message)).toEqual([expect.stringMatching(/the topic was made anew$/)]);
    // The topic is made anew once more, and is just as long as the archive: it is no less another one.
    w.ends = [end(EXCLUDED, 0, 3)];
    await archiveOnce(w.ports, research, state, never);
    expect(state.failed.size).toBe(1);
    expect(await offsetsOf(w, EXCLUDED)).toEqual([0, 1, 2]);
  });

  test('what is not new is not asked for again, and before what is new only the last record', async () => {
    const w = world(records(EXCLUDED, 5), [end(EXCLUDED, 0, 3)]);
    const { bus } = w.ports;
    const asked: TopicEnd[] = [];
    const ports = { ...w.ports, bus: { ...bus, read: (ranges, s) => (asked.push(...ranges), bus.read(ranges, s)) } as EventBus };
    const state = fresh();
    for (const last of [3, 3, 5, 5]) {
      w.ends = [end(EXCLUDED, 0, last)];
      await archiveOnce(ports, research, state, never);
    }
    expect(asked).toEqual([end(EXCLUDED, 0, 3), end(EXCLUDED, 2, 5)]);
    expect(await offsetsOf(w, EXCLUDED)).toEqual([0, 1, 2, 3, 4]);
  });

  test('a log that was only too short for a while, or restored, goes on; it is ready again only when it has shown so', async () => {
    const w = world(records(EXCLUDED, 6), [end(EXCLUDED, 0, 3)]);
    const state = fresh();
    await archiveOnce(w.ports, research, state, never);
    w.ends = [end(EXCLUDED, 0, 1)];
    await archiveOnce(w.ports, research, state, never);
    expect(state.failed.size).toBe(1);
    w.ends = [end(EXCLUDED, 0, 6)];
    const { bus } = w.ports;
    const asked: TopicEnd[] = [];
    const failing: number[] = [];
    const watched: EventBus = {
      ...bus,
      read: (ranges, s) => (asked.push(...ranges), failing.push(state.failed.size), bus.read(ranges, s)),
    };
    await archiveOnce({ ...w.ports, bus: watched }, research, state, never);
    // Not with all that lies behind it: were it another, that would be read over and over.
    expect(asked).toEqual([end(EXCLUDED, 2, 3)]);
    expect([failing, state.failed.size]).toEqual([[1], 0]);
    expect((await archiveOnce(w.ports, research, state, never)).written).toBe(3);
    expect(await offsetsOf(w, EXCLUDED)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test.each([
    ['retention took the last archived record', 4],
    ['compaction took it', 0],
  ])('%s: nothing tells, so the archive goes on', async (_, first) => {
    const w = world(records(EXCLUDED, 4), [end(EXCLUDED, 0, 4)]);
    await archiveOnce(w.ports, research, fresh(), never);
    w.log = [4, 5].map((n) => record(EXCLUDED, n, { ce_id: `new-${n}` }));
    w.ends = [end(EXCLUDED, first, 6)];
    const state = fresh();
    expect((await archiveOnce(w.ports, research, state, never)).written).toBe(2);
    expect(state.failed.size).toBe(0);
  });

  test('what other versions make of the last record is no sign of another log', async () => {
    const ce_type = 'ctstream.research.v1.StudyExcluded';
    const w = world([record(EXCLUDED, 0), record(EXCLUDED, 1)], [end(EXCLUDED, 0, 2)]);
    await archiveOnce(w.ports, research, fresh(), never);
    w.log = [record(EXCLUDED, 0), record(EXCLUDED, 1, { bad: 'SCHEMA_ID_MISMATCH', ce_type }), record(EXCLUDED, 2)];
    w.ends = [end(EXCLUDED, 0, 3)];
    expect((await archiveOnce(w.ports, research, fresh(), never)).written).toBe(1);
  });
});

interface PassOptions {
  readonly zone?: 'research' | 'clinical';
  readonly anewBeforeMs?: number;
  readonly error?: (fields: unknown) => void;
}

/** Runs the loop so many passes: the pause after each, and whether it was ready then. */
async function passesOf(
  ports: ArchivePorts,
  count: number,
  { zone = 'research', anewBeforeMs = 0, error = (_: unknown): void => undefined }: PassOptions = {},
): Promise<[number, boolean][]> {
  const stop = new AbortController();
  const checks: (() => true | string)[] = [];
  const seen: [number, boolean][] = [];
  const ignore = (): void => undefined;
  const ctx: ArchiverContext = {
    signal: stop.signal,
    clock: {
      nowMs: () => 0,
      sleep: async (ms) => {
        seen.push([ms, checks.every((c) => c() === true)]);
        if (seen.length === count) stop.abort();
      },
    },
    log: { info: ignore, warn: ignore, error },
    telemetry: { counter: ignore, gauge: ignore },
    health: { ready: (check) => void checks.push(check) },
  };
  await runArchiver(ports, { ...research, zone, anewBeforeMs }, { ctx, everyMs: 10 });
  return seen;
}

describe('a partition whose log is lost begins anew where an operator says so', () => {
  const anew = { ...research, anewBeforeMs: 1000 };
  const old = `${EXCLUDED}/0/${'0'.repeat(20)}.parquet`;
  const lost = async (): Promise<World> => {
    const w = world(records(EXCLUDED, 3), [end(EXCLUDED, 0, 3)]);
    await archiveOnce(w.ports, research, fresh(), never);
    w.nowMs = 2000;
    w.log = Array.from({ length: 6 }, (_, n) => record(EXCLUDED, n, { ce_id: `new-${n}` }));
    return w;
  };
  const idsOf = async (w: World): Promise<unknown[]> => (await rowsOf(w, EXCLUDED)).map((r) => r['event_id']);
  const had = [0, 1, 2].map((n) => `${EXCLUDED}-${n}`);
  const news = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, n) => `new-${from + n}`);

  test.each([
    ['shorter than the archive', 0, 2],
    ['as long', 0, 3],
    ['longer', 0, 6],
    ['beginning behind it', 4, 6],
  ])('the new log being %s: it is archived whole, beside the lost one, once', async (_, first, last) => {
    const w = await lost();
    const before = w.objects.get(old);
    w.ends = [end(EXCLUDED, first, last)];
    const state = fresh();
    for (const __ of [1, 2, 3]) await archiveOnce(w.ports, anew, state, never);
    for (const __ of [1, 2]) expect((await archiveOnce(w.ports, anew, fresh(), never)).written).toBe(0);
    expect(state.failed.size).toBe(0);
    expect(await idsOf(w)).toEqual([...had, ...news(first, last)]);
    expect(w.objects.get(old)).toBe(before);
    // It goes on there, also without being told.
    w.log.push(record(EXCLUDED, 6, { ce_id: 'new-6' }));
    w.ends = [end(EXCLUDED, first, 7)];
    await archiveOnce(w.ports, research, fresh(), never);
    expect(await idsOf(w)).toEqual([...had, ...news(first, 7)]);
  });

  test('not one whose last file is younger, nor one whose log is there', async () => {
    const w = await lost();
    w.ends = [end(EXCLUDED, 0, 6)];
    const state = fresh();
    await archiveOnce(w.ports, { ...research, anewBeforeMs: 0 }, state, never);
    expect([...state.failed.values()].map((f) => f.code)).toEqual(['LOG_TRUNCATED']);
    const whole = world(records(EXCLUDED, 5), [end(EXCLUDED, 0, 3)]);
    await archiveOnce(whole.ports, research, fresh(), never);
    whole.ends = [end(EXCLUDED, 0, 5)];
    await archiveOnce(whole.ports, anew, fresh(), never);
    expect([...whole.objects.keys()].some((key) => key.includes('anew'))).toBe(false);
    expect(await offsetsOf(whole, EXCLUDED)).toEqual([0, 1, 2, 3, 4]);
  });

  test.each([
    ['shown to be the archived one', 0],
    ['gone on with, its last archived record being gone', 3],
  ])('a log that was %s is not begun anew: records that it loses later are a gap, and told', async (_, first) => {
    const w = world(records(EXCLUDED, 3), [end(EXCLUDED, 0, 3)]);
    await archiveOnce(w.ports, research, fresh(), never);
    w.nowMs = 2000;
    w.ends = [end(EXCLUDED, first, 3)];
    const state = fresh();
    await archiveOnce(w.ports, anew, state, never);
    w.log = records(EXCLUDED, 9);
    w.ends = [end(EXCLUDED, 6, 9)];
    await archiveOnce(w.ports, anew, state, never);
    expect([...state.failed.values()].map((f) => f.code)).toEqual(['LOG_TRUNCATED']);
    expect(await offsetsOf(w, EXCLUDED)).toEqual([0, 1, 2]);
  });

  test('nor one that waits for a reader', async () => {
    const w = world(records(EXCLUDED, 3), [end(EXCLUDED, 0, 3)]);
    await archiveOnce(w.ports, research, fresh(), never);
    w.nowMs = 2000;
    w.log.push(record(EXCLUDED, 3, { bad: 'SCHEMA_AHEAD', ce_type: 'ctstream.research.v1.StudyExcluded' }));
    w.ends = [end(EXCLUDED, 0, 4)];
    const state = fresh();
    await archiveOnce(w.ports, anew, state, never);
    w.ends = [end(EXCLUDED, 6, 9)];
    await archiveOnce(w.ports, anew, state, never);
    expect([...state.failed.values()].map((f) => f.code)).toEqual(['LOG_TRUNCATED']);
  });

  test('what has begun anew and is lost again fails until it is told again', async () => {
    const w = await lost();
    w.ends = [end(EXCLUDED, 0, 6)];
    const state = fresh();
    for (const __ of [1, 2]) await archiveOnce(w.ports, anew, state, never);
    w.log = records(EXCLUDED, 2).map((r) => ({ ...r, headers: { ...r.headers, ce_id: `third-${r.offset}` } }));
    w.ends = [end(EXCLUDED, 0, 2)];
    for (const s of [state, fresh()]) {
      await archiveOnce(w.ports, anew, s, never);
      expect([...s.failed.values()].map((f) => f.code)).toEqual(['LOG_TRUNCATED']);
    }
    await archiveOnce(w.ports, { ...research, anewBeforeMs: 3000 }, fresh(), never);
    expect(await idsOf(w)).toEqual([...had, ...news(0, 6), 'third-0', 'third-1']);
  });
});

test('a partition that is begun anew is told once as an error, by its pseudonym, also when the pass fails then', async () => {
  const told = { type: 'ctstream.clinical.v1.StudyAvailable', centre: 'c01' };
  const w = world(
    [0, 1, 2].map((n) => record(AVAILABLE, n, told)),
    [end(AVAILABLE, 0, 3)],
  );
  await archiveOnce(w.ports, { zone: 'clinical', maxRecords: 4 }, fresh(), never);
  w.log = [4, 5].map((n) => record(AVAILABLE, n, { ...told, ce_id: `new-${n}` }));
  w.ends = [end(AVAILABLE, 4, 6)];
  w.nowMs = 2000;
  let away = 1;
  w.beforePut = () => {
    if (away-- > 0) throw new Fault('STORE_UNAVAILABLE', true, 'away');
  };
  const lines: unknown[] = [];
  await passesOf(w.ports, 3, { zone: 'clinical', anewBeforeMs: 1000, error: (fields) => void lines.push(fields) });
  expect(lines).toEqual([{ topic: 'ct.clinical.site-x.study-available.v1', partition: 0, from: '4', earlierEnd: '3' }]);
});

test('after Kafka was away the archiver asks again whether the log is the archived one', async () => {
  const w = world(records(EXCLUDED, 3), [end(EXCLUDED, 0, 3)]);
  const { bus } = w.ports;
  let pass = 0;
  const away: EventBus = {
    ...bus,
    ends: async (topics) => {
      pass += 1;
      if (pass === 2) throw new Fault('BUS_UNAVAILABLE', true, 'away');
      if (pass === 3) {
        w.log = records(EXCLUDED, 6).map((r) => ({ ...r, headers: { ...r.headers, ce_id: 'other' } }));
        w.ends = [end(EXCLUDED, 0, 6)];
      }
      return await bus.ends(topics);
    },
  };
  const seen = await passesOf({ ...w.ports, bus: away }, 3);
  expect(seen.map(([, ready]) => ready)).toEqual([true, false, false]);
  expect(await offsetsOf(w, EXCLUDED)).toEqual([0, 1, 2]);
});

test('a last file that can not be read fails its partition alone', async () => {
  const w = world([...records(EXCLUDED, 3), ...records(LABELLED, 3)], [end(EXCLUDED, 0, 3), end(LABELLED, 0, 3)]);
  w.objects.set(`${EXCLUDED}/0/${'0'.repeat(20)}.parquet`, new Uint8Array([1, 2, 3]));
  const state = fresh();
  expect((await archiveOnce(w.ports, research, state, never)).written).toBe(3);
  expect([...state.failed.values()].map((f) => f.code)).toEqual(['OBJECT_CORRUPT']);
});

test('the loop waits longer and longer for a store that is away, says so, and goes on', async () => {
  const w = world(records(EXCLUDED, 3), [end(EXCLUDED, 0, 3)]);
  let away = 3;
  w.beforePut = () => {
    if (away-- > 0) throw new Fault('STORE_UNAVAILABLE', true, `${LOG_BUCKET} does not answer`);
  };
  expect(await passesOf(w.ports, 4)).toEqual([
    [1000, false],
    [2000, false],
    [4000, false],
    [10, true],
  ]);
  expect(await offsetsOf(w, EXCLUDED)).toEqual([0, 1, 2]);
});
