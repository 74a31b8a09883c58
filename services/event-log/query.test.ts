// Archived rows come back typed, once per id, from files that follow each other.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import { columnsOfTopic } from './archived-row.ts';
import { snakeCase } from './columns.ts';
import { csvText, tableText } from '../cli/table-text.ts';
import { endOfFile, openDuckDb, rowLine, toParquet } from './parquet.ts';
import { createViews, ensureLog, runQuery, tableNames, tableOfTopic } from './query.ts';

let dir: string;
let db: DuckDBConnection;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ctstream-query-'));
  db = await openDuckDb();
});
afterAll(async () => {
  db.closeSync();
  await rm(dir, { recursive: true, force: true });
});

const row = (offset: number, id: string): Record<string, unknown> => ({
  topic: 'ct.research.study-excluded.v1',
  partition: 0,
  record_offset: offset,
  record_key: 'k',
  event_id: id,
  event_type: 'ctstream.research.v1.StudyExcluded',
  event_source: 'select',
  event_time: '2026-01-02 03:04:05.678',
  event_sequence: offset + 1,
  study_id: `s${id}`,
  revision: 'r',
  cohort: "o'clock",
  round: 1,
  code: 'COHORT_FULL',
  detail: '',
});

test('names become snake_case', () => {
  expect(snakeCase('studyInstanceUid')).toBe('study_instance_uid');
  expect(snakeCase('manifestSha256')).toBe('manifest_sha256');
  expect(tableOfTopic('ct.clinical.c01.study-available.v1')).toBe('clinical.study_available');
  expect(tableOfTopic('ct.clinical.ingest.retry.30s')).toBe('clinical.parked');
});

test('an empty log has every table, with typed columns and no rows', async () => {
  await createViews(db, join(dir, 'nowhere'));
  for (const table of tableNames()) expect((await runQuery(db, `SELECT count(*)::INTEGER AS n FROM ${table}`)).rows).toEqual([{ n: 0 }]);
});

test("the statement that docs/vault.md gives for a restore's net is one that the log answers", async () => {
  const page = await readFile(join(import.meta.dirname, '../../docs/vault.md'), 'utf8');
  const sql = /ctstream query --csv "([^"]+)"/.exec(page)?.[1] ?? '';
  await createViews(db, join(dir, 'nowhere'));
  expect((await runQuery(db, sql)).columns.map(({ name }) => name)).toEqual(['subject_id']);
});

test('typed rows, a row per id, and the offset where the next file starts', async () => {
  const topic = 'ct.research.study-excluded.v1';
  const columns = columnsOfTopic(topic);
  const first = await toParquet(db, { columns, lines: [row(0, 'a'), row(1, 'b')].map(rowLine), firstOffset: 0n, nextOffset: 2n });
  const second = await toParquet(db, {
    columns,
    lines: [row(2, 'b'), row(3, 'c')].map(rowLine),
    firstOffset: 2n,
    nextOffset: 9_007_199_254_740_993n,
  });
  expect((await endOfFile(db, first)).next).toBe(2n);
  expect((await endOfFile(db, second)).next).toBe(9_007_199_254_740_993n);
  await mkdir(join(dir, topic, '0'), { recursive: true });
  await writeFile(join(dir, topic, '0', `${'0'.repeat(20)}.parquet`), first);
  await writeFile(join(dir, topic, '0', `${'2'.padStart(20, '0')}.parquet`), second);
  await createViews(db, dir);
  const result = await runQuery(db, 'SELECT study_id, round, event_time FROM research.study_excluded ORDER BY study_id');
  expect(result.columns.map((c) => c.type)).toEqual(['VARCHAR', 'INTEGER', 'TIMESTAMP']);
  expect(result.rows.map((r) => r['study_id'])).toEqual(['sa', 'sb', 'sc']);
  expect(
    (await runQuery(db, 'SELECT (SELECT count(*)::INTEGER FROM records) AS r, (SELECT count(*)::INTEGER FROM events) AS e')).rows,
  ).toEqual([{ r: 4, e: 3 }]);
});

test('bad records stand in `records` alone, and files from before a column still answer', async () => {
  const topic = 'ct.research.study-labelled.v1';
  const columns = columnsOfTopic(topic);
  const badRow = { topic, partition: 0, record_offset: 1, event_time: '2026-01-02 03:04:05', bad_code: 'BAD_EVENT' };
  const write = async (offset: number, bytes: Uint8Array): Promise<void> => {
    await mkdir(join(dir, 'more', topic, '0'), { recursive: true });
    await writeFile(join(dir, 'more', topic, '0', `${String(offset).padStart(20, '0')}.parquet`), bytes);
  };
  const old = columns.filter((c) => c.name !== 'bad_code');
  const first = { topic, partition: 0, record_offset: 0, event_id: 'a', event_time: '2026-01-02 03:04:05', study_id: 's' };
  await write(0, await toParquet(db, { columns: old, lines: [first].map(rowLine), firstOffset: 0n, nextOffset: 1n }));
  await createViews(db, join(dir, 'more'));
  expect((await runQuery(db, 'SELECT bad_code, study_id FROM research.study_labelled')).rows).toEqual([{ bad_code: null, study_id: 's' }]);
  await write(1, await toParquet(db, { columns, lines: [badRow].map(rowLine), firstOffset: 1n, nextOffset: 2n }));
  await createViews(db, join(dir, 'more'));
  expect((await runQuery(db, 'SELECT study_id FROM research.study_labelled')).rows).toEqual([{ study_id: 's' }]);
  expect((await runQuery(db, 'SELECT bad_code FROM records ORDER BY record_offset')).rows).toEqual([
    { bad_code: null },
    { bad_code: 'BAD_EVENT' },
  ]);
});

test("an id hides no event of another topic: a centre can't take a row from another by writing its id first", async () => {
  const topics = ['ct.clinical.site-a.study-available.v1', 'ct.clinical.site-b.study-available.v1'];
  for (const [i, topic] of topics.entries()) {
    const columns = columnsOfTopic(topic);
    // Written twice, as Kafka may hold it; the forged one is the older by its time and by its offset.
    const lines = [i, i + 1].map((offset) =>
      rowLine({ topic, partition: 0, record_offset: offset, event_id: 'one', event_time: `2026-01-0${i + 1} 03:04:05` }),
    );
    await mkdir(join(dir, 'two', topic, '0'), { recursive: true });
    const file = join(dir, 'two', topic, '0', `${String(i).padStart(20, '0')}.parquet`);
    await writeFile(file, await toParquet(db, { columns, lines, firstOffset: BigInt(i), nextOffset: BigInt(i + 2) }));
  }
  await createViews(db, join(dir, 'two'));
  for (const table of ['events', 'clinical.study_available'])
    expect((await runQuery(db, `SELECT topic FROM ${table} ORDER BY topic`)).rows).toEqual(topics.map((topic) => ({ topic })));
});

test('equal rows give equal bytes', async () => {
  const batch = {
    columns: columnsOfTopic('ct.research.study-excluded.v1'),
    lines: [row(0, 'a')].map(rowLine),
    firstOffset: 0n,
    nextOffset: 1n,
  };
  expect(Buffer.compare(await toParquet(db, batch), await toParquet(db, batch))).toBe(0);
});

/** A value that fits a column type. */
function sample(type: string): unknown {
  if (type.endsWith('[]')) return [sample(type.slice(0, -2))];
  if (type.startsWith('STRUCT'))
    return Object.fromEntries([...type.matchAll(/"(\w+)" ([A-Z]+(?:\[\])?)/g)].map((m) => [m[1], sample(m[2] ?? '')]));
  return { VARCHAR: 'x', INTEGER: 1, BIGINT: '9007199254740993', DOUBLE: 1.5, BOOLEAN: true, TIMESTAMP: '2026-01-02 03:04:05' }[type];
}

test('a row of every topic comes back as it went in', async () => {
  for (const { name } of topicsFile.topics) {
    const topic = name.replace('<centre>', 'c01');
    const columns = columnsOfTopic(topic);
    const written = Object.fromEntries(columns.map((c) => [c.name, sample(c.type)]));
    const bytes = await toParquet(db, { columns, lines: [written].map(rowLine), firstOffset: 0n, nextOffset: 1n });
    const file = join(dir, 'one.parquet');
    await writeFile(file, bytes);
    const back = (await runQuery(db, `SELECT * FROM read_parquet('${file}')`)).rows[0];
    expect([name, { ...back, event_time: written['event_time'] }]).toEqual([name, written]);
  }
});

test('columns of one name in a join keep their own values', async () => {
  const result = await runQuery(db, 'SELECT a.x, b.x FROM (SELECT 1 AS x) a, (SELECT 2 AS x) b');
  expect(csvText(result)).toBe('x,x:1\r\n1,2\r\n');
  expect(tableText(result)).toContain('2');
});

test('a folder that holds no log is refused, also one with the other zone only', async () => {
  await expect(ensureLog(join(dir, 'nowhere'))).rejects.toMatchObject({ code: 'BAD_CONFIG' });
  const wrong = join(dir, 'backup');
  await mkdir(join(wrong, 'event-log', 'ct.research.study-excluded.v1', '0'), { recursive: true });
  await expect(ensureLog(wrong)).rejects.toMatchObject({ code: 'BAD_CONFIG' });
  await ensureLog(join(wrong, 'event-log'), 'research');
  await expect(ensureLog(join(wrong, 'event-log'), 'clinical')).rejects.toThrow('ct.clinical');
});
