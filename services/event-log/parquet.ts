// Rows to a Parquet file (zstd) and its metadata back, by DuckDB in process.
import { randomUUID } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api';
import type { Column } from './columns.ts';

export interface Batch {
  readonly columns: readonly Column[];
  /** A row each, as `rowLine` makes them. */
  readonly lines: readonly string[];
  readonly firstOffset: bigint;
  /** First offset that is not in the file. */
  readonly nextOffset: bigint;
}

/** Longest line of a batch, bytes: DuckDB refuses what is much longer, and with it the batch. */
export const LINE_BYTES = 64 * 1024 * 1024;

const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** A connection of its own, in memory. */
export async function openDuckDb(): Promise<DuckDBConnection> {
  return (await DuckDBInstance.create(':memory:')).connect();
}

async function withTempFiles<T>(work: (path: (ending: string) => string) => Promise<T>): Promise<T> {
  const base = join(tmpdir(), `ctstream-parquet-${randomUUID()}`);
  const used: string[] = [];
  try {
    return await work((ending) => {
      used.push(`${base}.${ending}`);
      return `${base}.${ending}`;
    });
  } finally {
    await Promise.all(used.map((path) => rm(path, { force: true })));
  }
}

/** A row as a line of JSON, which `toParquet` takes. */
export const rowLine = (row: Readonly<Record<string, unknown>>): string =>
  JSON.stringify(row, (_, v: unknown) => (typeof v === 'bigint' ? v.toString() : v));

/** Bytes of a Parquet file with exactly these columns and types; a BLOB column's rows hold base64. */
export async function toParquet(db: DuckDBConnection, batch: Batch): Promise<Uint8Array> {
  return withTempFiles(async (path) => {
    const json = path('ndjson');
    const parquet = path('parquet');
    await writeFile(json, batch.lines.join('\n'), { mode: 0o600 });
    const columns = batch.columns.map((c) => `${quote(c.name)}: ${quote(c.type === 'BLOB' ? 'VARCHAR' : c.type)}`).join(', ');
    const blobs = batch.columns.filter((c) => c.type === 'BLOB').map((c) => `from_base64("${c.name}") AS "${c.name}"`);
    await db.run(
      `COPY (SELECT *${blobs.length === 0 ? '' : ` REPLACE (${blobs.join(', ')})`} FROM read_json(${quote(json)}, format='newline_delimited', maximum_object_size=${LINE_BYTES}, columns={${columns}}))
       TO ${quote(parquet)} (FORMAT parquet, COMPRESSION zstd, KV_METADATA {first_offset: '${batch.firstOffset}', next_offset: '${batch.nextOffset}'})`,
    );
    return readFile(parquet);
  });
}

/** The last row of a file: what its record is known by when the log is asked for it again. */
export interface LastRow {
  readonly offset: bigint;
  /** As archived; null of a bad record, and of a parked one of the clinical zone. */
  readonly id: string | null;
  readonly timeMs: number;
}

export interface FileEnd {
  /** First offset after those in the file. */
  readonly next: bigint;
  readonly last?: LastRow;
}

async function lastRowOf(db: DuckDBConnection, file: string): Promise<LastRow | undefined> {
  // The empty part stands for columns that a file lacks.
  const empty = 'SELECT NULL::BIGINT AS record_offset, NULL::VARCHAR AS event_id, NULL::TIMESTAMP AS event_time WHERE false';
  const result = await db.runAndReadAll(
    `SELECT record_offset, event_id, epoch_ms(event_time) AS time_ms FROM (${empty} UNION ALL BY NAME SELECT * FROM read_parquet(${quote(file)}))
     ORDER BY record_offset DESC LIMIT 1`,
  );
  const { record_offset: offset, event_id: id, time_ms: timeMs } = result.getRowObjectsJson()[0] ?? {};
  if (typeof offset !== 'string' || timeMs === null) return undefined;
  return { offset: BigInt(offset), id: typeof id === 'string' ? id : null, timeMs: Number(timeMs) };
}

/** Where the file ends. @throws Error when it is not one of ours, or begins elsewhere than its name says. */
export async function endOfFile(db: DuckDBConnection, bytes: Uint8Array, expectedFirst?: bigint): Promise<FileEnd> {
  return withTempFiles(async (path) => {
    const file = path('parquet');
    await writeFile(file, bytes, { mode: 0o600 });
    const result = await db.runAndReadAll(`SELECT key::VARCHAR AS key, value::VARCHAR AS value FROM parquet_kv_metadata(${quote(file)})`);
    const values = new Map(result.getRowObjectsJson().map((row) => [row['key'], row['value']]));
    const [first, next] = [values.get('first_offset'), values.get('next_offset')];
    if (typeof first !== 'string' || typeof next !== 'string') throw new Error('the Parquet file does not say its offsets');
    if (expectedFirst !== undefined && BigInt(first) !== expectedFirst)
      throw new Error(`the Parquet file begins at ${first}, its name says ${expectedFirst}`);
    const last = await lastRowOf(db, file);
    return { next: BigInt(next), ...(last === undefined ? {} : { last }) };
  });
}
