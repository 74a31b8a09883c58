// A record as it lay in its topic, as columns of the archive: what a restore puts back.
import type { BusRecord } from '../ports/event-bus.ts';
import type { LogRecord } from '../ports/log-writer.ts';
import type { Column } from './columns.ts';

/**
 * In the files of the research zone's event topics only, and in none of the views. The clinical archive must not have
 * them. `raw_headers` is a JSON object in the order of the headers.
 */
export const RAW: readonly Column[] = [
  { name: 'raw_key', type: 'VARCHAR' },
  { name: 'raw_value', type: 'BLOB' },
  { name: 'raw_headers', type: 'VARCHAR' },
  { name: 'raw_timestamp_ms', type: 'BIGINT' },
];

/** The columns of a record; `raw_value` in base64, as `toParquet` takes it. Of bad records too: without them a restore would
 * move the offsets behind them, and one that was given up as SCHEMA_AHEAD may yet be read. */
export function rawRow(record: BusRecord): Record<string, unknown> {
  return {
    raw_key: record.key,
    raw_value: Buffer.from(record.value).toString('base64'),
    raw_headers: JSON.stringify(record.headers),
    raw_timestamp_ms: record.timestampMs,
  };
}

/** An archived record and the offset that it had. */
export interface ArchivedRecord extends LogRecord {
  readonly offset: bigint;
}

/** What `restore.ts` selects: the columns above, with `raw_value` in base64. @throws Error for a row that has none. */
export function archivedRecord(row: Readonly<Record<string, unknown>>): ArchivedRecord {
  const { record_offset: offset, raw_key: key, raw_value: value, raw_headers: headers, raw_timestamp_ms: timestampMs } = row;
  if (typeof key !== 'string' || typeof value !== 'string' || typeof headers !== 'string') throw new Error('an archived row has no bytes');
  return {
    offset: BigInt(String(offset)),
    key,
    value: Buffer.from(value, 'base64'),
    headers: JSON.parse(headers) as Record<string, string>,
    timestampMs: Number(timestampMs),
  };
}
