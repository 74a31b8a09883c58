// The archiver: every partition of its zone's topics, as Parquet files that follow each other without a gap.
import type { DuckDBConnection } from '@duckdb/node-api';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import schemaIds from '../../schemas/ids.json' with { type: 'json' };
import { Fault } from '../kernel/fault.ts';
import { centreOfTopic, typeOfTopic } from '../kernel/route.ts';
import type { EventIn, Zone } from '../kernel/stage.ts';
import type { BusRecord, EventBus, TopicEnd } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { ENVELOPE, PARKED, snakeRow, valueColumns, type AvroField, type Column } from './columns.ts';
import { nextOffsetOf, toParquet } from './parquet.ts';
import { redactClinical, type RedactedEvent, type TokenSource } from './redact.ts';

export const LOG_BUCKET = 'ct-event-log';

export interface ArchivePorts {
  readonly bus: EventBus;
  readonly codec: EventCodec;
  readonly store: ObjectStore;
  readonly db: DuckDBConnection;
  /** Only the clinical archiver has it. */
  readonly tokens?: TokenSource;
}

export interface ArchiveOptions {
  readonly zone: Zone;
  /** Most records of one file. */
  readonly maxRecords: number;
}

const schemas = new Map<string, { fields: AvroField[] }>();
for (const file of Object.keys(schemaIds)) {
  const record = JSON.parse(readFileSync(join(import.meta.dirname, '../../schemas', file), 'utf8')) as {
    namespace: string;
    name: string;
    fields: AvroField[];
  };
  schemas.set(`${record.namespace}.${record.name}`, record);
}

/** Typed columns of a topic's files; retry and dead topics have metadata only. */
export function columnsOfTopic(topic: string): readonly Column[] {
  const type = typeOfTopic(topic);
  if (type === undefined) return [...ENVELOPE, ...PARKED];
  const schema = schemas.get(type);
  if (schema === undefined) throw new Error(`no schema for ${type}`);
  return [...ENVELOPE, ...valueColumns(schema.fields)];
}

function envelope(e: EventIn): RedactedEvent {
  return { value: { ...e.value }, id: e.id, key: e.key, source: e.source, topic: e.topic };
}

const isoTime = (ms: number): string => new Date(ms).toISOString().replace('T', ' ').replace('Z', '');

async function eventRow(record: BusRecord, ports: ArchivePorts, zone: Zone): Promise<Record<string, unknown>> {
  const event = ports.codec.decode(record);
  let kept = envelope(event);
  if (zone === 'clinical') {
    if (ports.tokens === undefined) throw new Error("the clinical archiver needs the vault's tokens");
    kept = await redactClinical(event, ports.tokens);
  }
  return {
    topic: kept.topic,
    partition: record.partition,
    record_offset: record.offset,
    record_key: kept.key,
    event_id: kept.id,
    event_type: event.type,
    event_source: kept.source,
    event_time: isoTime(event.timeMs),
    event_sequence: event.sequence ?? null,
    ...(snakeRow(kept.value) as Record<string, unknown>),
  };
}

/** A parked record's metadata; in the clinical zone neither its key nor its id, which name a study. */
function parkedRow(record: BusRecord, zone: Zone): Record<string, unknown> {
  const h = record.headers;
  const research = zone === 'research';
  return {
    topic: record.topic,
    partition: record.partition,
    record_offset: record.offset,
    record_key: research ? record.key : null,
    event_id: research ? (h['ce_id'] ?? null) : null,
    event_type: h['ce_type'] ?? null,
    event_source: null,
    event_time: isoTime(record.timestampMs),
    event_sequence: null,
    stage: h['ct-stage'] ?? null,
    code: h['ct-code'] ?? null,
    attempts: Number(h['ct-attempt'] ?? 0),
    origin_topic: research ? (h['ct-origin-topic'] ?? null) : null,
  };
}

function objectPrefix(topic: string, partition: number, ports: ArchivePorts): string {
  const centre = centreOfTopic(topic);
  const shown = centre === undefined || ports.tokens === undefined ? topic : topic.replace(`.${centre}.`, `.${ports.tokens.site(centre)}.`);
  return `${shown}/${partition}/`;
}

const fileName = (first: bigint): string => `${first.toString().padStart(20, '0')}.parquet`;

/** Where the archive of a partition ends: read from the bucket's own listing. */
async function resumeAt(ports: ArchivePorts, prefix: string, signal: AbortSignal): Promise<bigint | undefined> {
  let last: string | undefined;
  for await (const object of ports.store.list(LOG_BUCKET, prefix, signal)) {
    if (object.key.endsWith('.parquet') && (last === undefined || object.key > last)) last = object.key;
  }
  if (last === undefined) return undefined;
  const bytes = await ports.store.getBytes(LOG_BUCKET, last, 1 << 30, signal);
  if (bytes === undefined) throw new Fault('OBJECT_CORRUPT', true, `${last} is listed and can't be read`);
  return nextOffsetOf(ports.db, bytes);
}

export interface ArchiveState {
  /** Next offset of each partition, filled from the bucket at first sight. */
  readonly next: Map<string, bigint>;
}

async function startOf(ports: ArchivePorts, state: ArchiveState, end: TopicEnd, prefix: string, signal: AbortSignal): Promise<bigint> {
  const at = `${end.topic}/${end.partition}`;
  const known = state.next.get(at) ?? (await resumeAt(ports, prefix, signal)) ?? end.first;
  if (known < end.first) {
    throw new Fault(
      'LOG_TRUNCATED',
      false,
      `${at}: the archive ends at ${known}, the log now starts at ${end.first}: records between were never archived`,
    );
  }
  state.next.set(at, known);
  return known;
}

interface Pending {
  readonly end: TopicEnd;
  readonly prefix: string;
  readonly columns: readonly Column[];
  first: bigint;
  rows: Record<string, unknown>[];
}

const place = (topic: string, partition: number): string => `${topic}/${partition}`;

/** Writes the rows gathered so far. On 412 another archiver was first: the batch is dropped, we go on after the winner's. */
async function flush(ports: ArchivePorts, state: ArchiveState, p: Pending, next: bigint, signal: AbortSignal): Promise<number> {
  if (p.rows.length === 0) return 0;
  const bytes = await toParquet(ports.db, { columns: p.columns, rows: p.rows, firstOffset: p.first, nextOffset: next });
  const result = await ports.store.put(LOG_BUCKET, p.prefix + fileName(p.first), bytes, {
    ifNoneMatch: true,
    contentType: 'application/vnd.apache.parquet',
    signal,
  });
  const at = place(p.end.topic, p.end.partition);
  const count = result === 'created' ? p.rows.length : 0;
  if (result === 'created') state.next.set(at, next);
  else state.next.delete(at);
  p.first = result === 'created' ? next : await startOf(ports, state, p.end, p.prefix, signal);
  p.rows = [];
  return count;
}

async function findPending(
  ports: ArchivePorts,
  options: ArchiveOptions,
  state: ArchiveState,
  signal: AbortSignal,
): Promise<Map<string, Pending>> {
  const found = new Map<string, Pending>();
  for (const end of await ports.bus.ends(await ports.bus.topics([`ct.${options.zone}.*`]))) {
    if (end.end === 0n) continue;
    const prefix = objectPrefix(end.topic, end.partition, ports);
    const first = await startOf(ports, state, end, prefix, signal);
    if (first < end.end) found.set(place(end.topic, end.partition), { end, prefix, columns: columnsOfTopic(end.topic), first, rows: [] });
  }
  return found;
}

/** Archives everything up to the ends at its start. Returns how many records were written. */
export async function archiveOnce(ports: ArchivePorts, options: ArchiveOptions, state: ArchiveState, signal: AbortSignal): Promise<number> {
  const pending = await findPending(ports, options, state, signal);
  if (pending.size === 0) return 0;
  let written = 0;
  const ranges = [...pending.values()].map((p) => ({ ...p.end, first: p.first }));
  for await (const record of ports.bus.read(ranges, signal)) {
    const p = pending.get(place(record.topic, record.partition));
    if (p === undefined || record.offset < p.first) continue;
    const parked = typeOfTopic(record.topic) === undefined;
    p.rows.push(parked ? parkedRow(record, options.zone) : await eventRow(record, ports, options.zone));
    if (p.rows.length >= options.maxRecords) written += await flush(ports, state, p, record.offset + 1n, signal);
  }
  for (const p of pending.values()) written += await flush(ports, state, p, p.end.end, signal);
  return written;
}
