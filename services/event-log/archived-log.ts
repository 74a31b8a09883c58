// The archived research log as a folder of Parquet files: which partitions it has, and their records in order.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { typeOfTopic } from '../kernel/route.ts';
import { parsedName } from './file-name.ts';
import { RAW, archivedRecord, type ArchivedRecord } from './raw-record.ts';

export interface ArchivedPartition {
  readonly topic: string;
  readonly partition: number;
  /** False for a retry or dead topic: metadata only, so there is nothing to put back. */
  readonly isEvents: boolean;
  /** Files of the newest log, in the order of their offsets. */
  readonly files: readonly string[];
  /** Files of logs before it, where the partition was begun anew: what they hold may be in no later file. */
  readonly earlierFiles: readonly string[];
  readonly records: number;
  /** Rows without the record's bytes. */
  readonly withoutBytes: number;
  /** First offset that the archive does not have. */
  readonly end: bigint;
  /** True when record number n has offset n, up to the end. */
  readonly isWhole: boolean;
}

const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** The files' rows; columns that old files lack are null. */
function rowsSql(files: readonly string[]): string {
  const columns = [{ name: 'record_offset', type: 'BIGINT' }, ...RAW];
  const empty = `SELECT ${columns.map((c) => `NULL::${c.type} AS "${c.name}"`).join(', ')} WHERE false`;
  const read = `SELECT * FROM read_parquet([${files.map(quote).join(', ')}], union_by_name=true)`;
  return `(SELECT ${columns.map((c) => `"${c.name}"`).join(', ')} FROM (${empty} UNION ALL BY NAME ${read}))`;
}

async function partitionOf(db: DuckDBConnection, dir: string, topic: string, partition: number): Promise<ArchivedPartition | undefined> {
  const folder = join(dir, topic, String(partition));
  const names = (await readdir(folder)).filter((name) => parsedName(name) !== undefined).sort();
  // Of a partition that was begun anew the last log: the earlier ones are another's offsets.
  const log = parsedName(names.at(-1) ?? '')?.log;
  const isNewest = (name: string): boolean => parsedName(name)?.log === log;
  const paths = (some: readonly string[]): string[] => some.map((name) => join(folder, name));
  const files = paths(names.filter(isNewest));
  const earlierFiles = paths(names.filter((name) => !isNewest(name)));
  const last = files.at(-1);
  if (last === undefined) return undefined;
  const [row] = (
    await db.runAndReadAll(
      `SELECT count(*) AS records, count(DISTINCT record_offset) AS offsets, min(record_offset) AS first, max(record_offset) AS last,
              count(*) - count(raw_value) AS without_bytes,
              (SELECT decode(value) FROM parquet_kv_metadata(${quote(last)}) WHERE decode(key) = 'next_offset') AS next
       FROM ${rowsSql(files)}`,
    )
  ).getRowObjectsJson();
  const number = (name: string): number => Number(row?.[name] ?? -1);
  const [records, end] = [number('records'), number('next')];
  return {
    topic,
    partition,
    isEvents: typeOfTopic(topic) !== undefined,
    files,
    earlierFiles,
    records,
    withoutBytes: number('without_bytes'),
    end: BigInt(end),
    isWhole: number('first') === 0 && number('last') === records - 1 && number('offsets') === records && end === records,
  };
}

/** How many records the files hold. */
export async function countRecords(db: DuckDBConnection, files: readonly string[]): Promise<number> {
  const result = await db.runAndReadAll(`SELECT count(*) AS records FROM ${rowsSql(files)}`);
  return Number(result.getRowObjectsJson()[0]?.['records']);
}

/** Every partition of the research zone in the folder (as `mirrorLog` makes it), by topic and number. */
export async function archivedPartitions(db: DuckDBConnection, dir: string): Promise<ArchivedPartition[]> {
  const found: ArchivedPartition[] = [];
  for (const topic of (await readdir(dir)).filter((name) => name.startsWith('ct.research.')).sort())
    for (const number of (await readdir(join(dir, topic))).map(Number).sort((a, b) => a - b)) {
      const partition = await partitionOf(db, dir, topic, number);
      if (partition !== undefined) found.push(partition);
    }
  return found;
}

const PAGE = 1000;

/** The records of a partition from number `skip` on, in the order of their offsets. */
export async function* recordsOf(db: DuckDBConnection, p: ArchivedPartition, skip = 0): AsyncGenerator<ArchivedRecord> {
  const page = async (tail: string): Promise<ArchivedRecord[]> => {
    const result = await db.runAndReadAll(
      `SELECT record_offset, raw_key, to_base64(raw_value) AS raw_value, raw_headers, raw_timestamp_ms FROM ${rowsSql(p.files)} ${tail}`,
    );
    return result.getRowObjectsJson().map(archivedRecord);
  };
  let records = await page(`ORDER BY record_offset LIMIT ${PAGE} OFFSET ${skip}`);
  for (;;) {
    yield* records;
    const last = records.at(-1);
    if (last === undefined || records.length < PAGE) return;
    records = await page(`WHERE record_offset > ${last.offset} ORDER BY record_offset LIMIT ${PAGE}`);
  }
}
