// What a record of the log becomes in the archive: a typed row of its topic's files, in the clinical zone without identities.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import schemaIds from '../../schemas/ids.json' with { type: 'json' };
import { isCode, type Code } from '../kernel/codes.ts';
import { centreOfTopic, typeOfTopic } from '../kernel/route.ts';
import type { EventIn, Zone } from '../kernel/stage.ts';
import type { BusRecord } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import { ENVELOPE, PARKED, snakeRow, valueColumns, type AvroField, type Column } from './columns.ts';
import { judge } from './judge.ts';
import { LINE_BYTES, rowLine, type LastRow } from './parquet.ts';
import { RAW, rawRow } from './raw-record.ts';
import { redactClinical, type RedactedEvent, type TokenSource } from './redact.ts';

export interface RowPorts {
  readonly codec: EventCodec;
  /** Only the clinical archiver has it. */
  readonly tokens?: TokenSource;
}

export interface RowOptions {
  readonly zone: Zone;
  /** Unreadable records, by place as the archiver tells it (`<topic>/<partition>/<offset>`), that are not waited for. */
  readonly asBad?: ReadonlySet<string>;
  /** Longest row, bytes of its line; what a file takes by default. */
  readonly rowBytes?: number;
}

export const place = (topic: string, partition: number): string => `${topic}/${partition}`;

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

/** Columns of a topic's files: those of the research zone hold the record itself too, the clinical ones must not. */
export function fileColumns(topic: string, zone: Zone): readonly Column[] {
  const columns = columnsOfTopic(topic);
  return zone === 'research' && typeOfTopic(topic) !== undefined ? [...columns, ...RAW] : columns;
}

function envelope(e: EventIn): RedactedEvent {
  return { value: { ...e.value }, id: e.id, key: e.key, source: e.source, topic: e.topic };
}

const isoTime = (ms: number): string => new Date(ms).toISOString().replace('T', ' ').replace('Z', '');

/** Row of a record that is no good event: where it lies and why. Nothing else of it can be believed, or shown. */
function badRow(record: BusRecord, topic: string, code: Code): Record<string, unknown> {
  return {
    topic,
    partition: record.partition,
    record_offset: record.offset,
    event_time: isoTime(Math.max(0, record.timestampMs)),
    bad_code: code,
  };
}

async function eventRow(record: BusRecord, ports: RowPorts, { zone, asBad }: RowOptions): Promise<Record<string, unknown>> {
  const event = judge(record, ports.codec, asBad?.has(shownPlace(record, ports)));
  if (typeof event === 'string') return badRow(record, shownTopic(record.topic, ports), event);
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
    // In the clinical zone the gateway's database holds it beside the study's UID.
    event_sequence: zone === 'clinical' ? null : (event.sequence ?? null),
    bad_code: null,
    ...(snakeRow(kept.value) as Record<string, unknown>),
  };
}

/** A record's place as it is told and as an operator names it: with the centre's pseudonym. */
export const shownPlace = (r: BusRecord, ports: RowPorts): string => `${place(shownTopic(r.topic, ports), r.partition)}/${r.offset}`;

/** A parked record's metadata; in the clinical zone neither its key nor its id, which name a study. */
function parkedRow(record: BusRecord, zone: Zone): Record<string, unknown> {
  const h = record.headers;
  const research = zone === 'research';
  const code = h['ct-code'] ?? '';
  const type = h['ce_type'] ?? '';
  const attempts = Number(h['ct-attempt'] ?? 0);
  return {
    topic: record.topic,
    partition: record.partition,
    record_offset: record.offset,
    record_key: research ? record.key : null,
    event_id: research ? (h['ce_id'] ?? null) : null,
    // A bad event is parked with the headers that its writer gave it: only what is known is shown.
    event_type: schemas.has(type) ? type : null,
    event_source: null,
    event_time: isoTime(Math.max(0, record.timestampMs)),
    event_sequence: null,
    bad_code: null,
    stage: record.topic.split('.')[2] ?? null,
    code: isCode(code) ? code : null,
    attempts: Number.isInteger(attempts) && attempts >= 0 && attempts < 2 ** 31 ? attempts : null,
    origin_topic: research ? (h['ct-origin-topic'] ?? null) : null,
  };
}

/** The topic's name with the centre's pseudonym in it. */
export function shownTopic(topic: string, ports: RowPorts): string {
  const centre = centreOfTopic(topic);
  return centre === undefined || ports.tokens === undefined ? topic : topic.replace(`.${centre}.`, `.${ports.tokens.site(centre)}.`);
}

/** A row as it goes into the file. As objects the rows would take several times the room, and none could say how much. */
export interface Held {
  readonly offset: bigint;
  readonly line: string;
  readonly bad: Code | undefined;
}

/** The row's line; undefined when it is too long. */
function shortLine(row: Readonly<Record<string, unknown>>, bytes: number): string | undefined {
  try {
    const line = rowLine(row);
    return Buffer.byteLength(line) <= bytes ? line : undefined;
  } catch (error) {
    // Longer than any string.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/**
 * A record whose row no file takes is a bad one: packed, a few bytes may say any number of lines of a census.
 * @throws Fault of the vault, or one that `waitsForReader`
 */
export async function heldRow(record: BusRecord, ports: RowPorts, options: RowOptions): Promise<Held> {
  const parked = typeOfTopic(record.topic) === undefined;
  const raw = options.zone === 'research' && !parked ? rawRow(record) : {};
  const row = parked ? parkedRow(record, options.zone) : { ...(await eventRow(record, ports, options)), ...raw };
  const { rowBytes = LINE_BYTES } = options;
  const line = shortLine(row, rowBytes);
  if (line === undefined) {
    const code = 'BAD_EVENT';
    const short = badRow(record, shownTopic(record.topic, ports), code);
    return { offset: record.offset, line: shortLine({ ...short, ...raw }, rowBytes) ?? rowLine(short), bad: code };
  }
  const bad = row['bad_code'];
  return { offset: record.offset, line, bad: typeof bad === 'string' && isCode(bad) ? bad : undefined };
}

/** What the archive tells of its last row. */
export function lastRow({ offset, line }: Held): LastRow {
  const { event_id: id, event_time: time } = JSON.parse(line) as { event_id: string | null; event_time: string };
  return { offset, id, timeMs: Date.parse(`${time.replace(' ', 'T')}Z`) };
}

/**
 * Whether the record is the one of the row: by its id, and by its time, which another telling of the same event does not share.
 * Headers only: whether it is a good event another version may judge otherwise.
 */
export function isOfRow(record: BusRecord, row: LastRow, { tokens }: RowPorts, zone: Zone): boolean {
  const { ce_id: id, ce_time: time } = record.headers;
  const shownId = zone === 'research' || id === undefined ? id : tokens?.eventId(id);
  const isEvent = typeOfTopic(record.topic) !== undefined && row.id !== null;
  const timeMs = isEvent ? Date.parse(time ?? '') : Math.max(0, record.timestampMs);
  return (row.id === null || row.id === shownId) && row.timeMs === timeMs;
}
