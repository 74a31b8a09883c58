// SQL over the archived log: the Parquet files, mirrored into a folder, behind typed views.
import { mkdir, readdir, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import { Fault } from '../kernel/fault.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { LOG_BUCKET } from './archive.ts';
import { columnsOfTopic } from './archived-row.ts';
import { ENVELOPE, PARKED, snakeCase } from './columns.ts';

const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** Copies files that are not there yet; they never change, so a name is enough. Returns how many came. */
export async function mirrorLog(store: ObjectStore, dir: string, signal?: AbortSignal): Promise<number> {
  let copied = 0;
  for await (const object of store.list(LOG_BUCKET, '', signal)) {
    const path = join(dir, object.key);
    const there = await stat(path).catch(() => undefined);
    if (there?.size === object.sizeBytes) continue;
    const bytes = await store.getBytes(LOG_BUCKET, object.key, 1 << 30, signal);
    if (bytes === undefined) continue;
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.part`, bytes);
    await rename(`${path}.part`, path);
    copied += 1;
  }
  return copied;
}

/** @throws Fault BAD_CONFIG when the folder has no topic of the zone: a mistyped path must not answer as an empty log does. */
export async function ensureLog(dir: string, zone: 'clinical' | 'research' | '' = ''): Promise<void> {
  const topics = await readdir(dir).catch(() => undefined);
  if (topics?.some((topic) => tableOfTopic(topic)?.startsWith(zone)) === true) return;
  const what = topics === undefined ? 'there is no such folder' : `it has no folder ct.${zone === '' ? '*' : zone}...`;
  throw new Fault('BAD_CONFIG', false, `${dir}: ${what}; the Parquet files of the log lie in <topic>/<partition>/`);
}

async function topicFolders(dir: string): Promise<Map<string, string[]>> {
  const byTable = new Map<string, string[]>();
  for (const topic of await readdir(dir).catch(() => [])) {
    const table = tableOfTopic(topic);
    if (table !== undefined) byTable.set(table, [...(byTable.get(table) ?? []), topic]);
  }
  return byTable;
}

/** `ct.clinical.<site>.study-available.v1` -> `clinical.study_available`; retry and dead topics -> `<zone>.parked`. */
export function tableOfTopic(topic: string): string | undefined {
  const parts = topic.split('.');
  const zone = parts[1];
  if (parts[0] !== 'ct' || (zone !== 'clinical' && zone !== 'research')) return undefined;
  if (parts.includes('retry') || parts.includes('dead')) return `${zone}.parked`;
  const name = parts.at(-2);
  return name === undefined ? undefined : `${zone}.${snakeCase(name.replaceAll('-', '_'))}`;
}

interface Table {
  readonly name: string;
  readonly topic: string | undefined;
}

function allTables(): Table[] {
  const events = topicsFile.topics.map((t) => ({ name: tableOfTopic(t.name) ?? '', topic: t.name as string | undefined }));
  return [...events, { name: 'clinical.parked', topic: undefined }, { name: 'research.parked', topic: undefined }];
}

/** Tables that a query may name, whether they have rows or not. */
export function tableNames(): string[] {
  return [...allTables().map((t) => t.name), 'records', 'events'].sort();
}

function tableSql(table: Table, dir: string, folders: readonly string[]): string {
  const columns = table.topic === undefined ? [...ENVELOPE, ...PARKED] : columnsOfTopic(table.topic.replace('<centre>', 'centre'));
  const empty = `SELECT ${columns.map((c) => `NULL::${c.type} AS "${c.name}"`).join(', ')} WHERE false`;
  if (folders.length === 0) return empty;
  const files = folders.map((f) => quote(join(dir, f, '*', '*.parquet'))).join(', ');
  // The empty part names every column, also those that came after the oldest files.
  const all = `(${empty} UNION ALL BY NAME SELECT * FROM read_parquet([${files}], union_by_name=true))`;
  const rows = `SELECT ${columns.map((c) => `"${c.name}"::${c.type} AS "${c.name}"`).join(', ')} FROM ${all}`;
  // Kafka may hold an event twice: a row per id; a bad record is no event. Parked records have no id of their own. As in the
  // account an id belongs to one topic: a gateway that writes a foreign id does not hide the event that has it.
  return table.topic === undefined
    ? rows
    : `${rows} WHERE event_id IS NOT NULL QUALIFY row_number() OVER (PARTITION BY topic, event_id ORDER BY record_offset) = 1`;
}

/** Makes the views: one per event type, `records` (a row per offset) and `events` (a row per topic and id). */
export async function createViews(db: DuckDBConnection, dir: string): Promise<void> {
  const folders = await topicFolders(dir);
  await db.run('CREATE SCHEMA IF NOT EXISTS clinical; CREATE SCHEMA IF NOT EXISTS research;');
  for (const table of allTables()) {
    await db.run(`CREATE OR REPLACE VIEW ${table.name} AS ${tableSql(table, dir, folders.get(table.name) ?? [])}`);
  }
  const names = ENVELOPE.map((c) => `"${c.name}"`).join(', ');
  const any = [...folders.values()].flat().map((f) => quote(join(dir, f, '*', '*.parquet')));
  const empty = `SELECT ${ENVELOPE.map((c) => `NULL::${c.type} AS "${c.name}"`).join(', ')} WHERE false`;
  const records =
    any.length === 0
      ? empty
      : `SELECT ${names} FROM (${empty} UNION ALL BY NAME SELECT * FROM read_parquet([${any.join(', ')}], union_by_name=true))`;
  await db.run(`CREATE OR REPLACE VIEW records AS ${records}`);
  await db.run(
    `CREATE OR REPLACE VIEW events AS SELECT * FROM records WHERE event_id IS NOT NULL AND topic NOT LIKE '%.retry.%' AND topic NOT LIKE '%.dead' QUALIFY row_number() OVER (PARTITION BY topic, event_id ORDER BY event_time, record_offset) = 1`,
  );
}

export interface QueryResult {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  /** Values as JSON has them; BIGINT as a decimal string. */
  readonly rows: readonly Readonly<Record<string, unknown>>[];
}

/** Runs one statement. @throws the engine's error, which names the place in the SQL. */
export async function runQuery(db: DuckDBConnection, sql: string): Promise<QueryResult> {
  const result = await db.runAndReadAll(sql);
  const types = result.columnTypes();
  // Of a join two columns may have one name: rows are objects, so the second has another one (`x:1`).
  return {
    columns: result.deduplicatedColumnNames().map((name, i) => ({ name, type: String(types[i]) })),
    rows: result.getRowObjectsJson(),
  };
}
