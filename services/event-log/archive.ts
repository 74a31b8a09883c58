// The archiver: every partition of its zone's topics, as Parquet files that follow each other without a gap.
import type { DuckDBConnection } from '@duckdb/node-api';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import schemaIds from '../../schemas/ids.json' with { type: 'json' };
import { isCode, type Code } from '../kernel/codes.ts';
import { Fault } from '../kernel/fault.ts';
import { centreOfTopic, typeOfTopic } from '../kernel/route.ts';
import type { EventIn, Zone } from '../kernel/stage.ts';
import type { BusRecord, EventBus, TopicEnd } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import type { ObjectInfo, ObjectStore } from '../ports/object-store.ts';
import { ENVELOPE, PARKED, snakeRow, valueColumns, type AvroField, type Column } from './columns.ts';
import { fileName, logAfter, parsedName } from './file-name.ts';
import { judge, waitsForReader } from './judge.ts';
import { endOfFile, rowLine, toParquet, type FileEnd, type LastRow } from './parquet.ts';
import { RAW, rawRow } from './raw-record.ts';
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
  /** What is held in memory, in characters of its rows; see `HELD_LIMITS`. */
  readonly held?: HeldLimits;
  /** Unreadable records, by place as the archiver tells it (`<topic>/<partition>/<offset>`), that are not waited for. */
  readonly asBad?: ReadonlySet<string>;
  /** A partition whose log is lost begins anew when the last of its files is older. */
  readonly anewBeforeMs?: number;
}

export interface HeldLimits {
  /** Of one partition: then its file is written. */
  readonly ofPartition: number;
  /** Of all partitions together: then the largest is written. */
  readonly ofAll: number;
}

/** A census page is one record and may have any number of lines: counting records does not bound the heap. */
const HELD_LIMITS: HeldLimits = { ofPartition: 64e6, ofAll: 256e6 };

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
function fileColumns(topic: string, zone: Zone): readonly Column[] {
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

async function eventRow(record: BusRecord, ports: ArchivePorts, { zone, asBad }: ArchiveOptions): Promise<Record<string, unknown>> {
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
const shownPlace = (r: BusRecord, ports: ArchivePorts): string => `${place(shownTopic(r.topic, ports), r.partition)}/${r.offset}`;

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
function shownTopic(topic: string, ports: ArchivePorts): string {
  const centre = centreOfTopic(topic);
  return centre === undefined || ports.tokens === undefined ? topic : topic.replace(`.${centre}.`, `.${ports.tokens.site(centre)}.`);
}

interface ArchiveEnd extends FileEnd {
  /** What the names of the last log's files begin with. */
  readonly log: string;
  readonly writtenMs: number;
}

/** Where the archive of a partition ends: read from the bucket's own listing. */
async function resumeAt(ports: ArchivePorts, prefix: string, signal: AbortSignal): Promise<ArchiveEnd | undefined> {
  let last: ObjectInfo | undefined;
  for await (const object of ports.store.list(LOG_BUCKET, prefix, signal)) {
    if (object.key.endsWith('.parquet') && (last === undefined || object.key > last.key)) last = object;
  }
  if (last === undefined) return undefined;
  const { key, lastModifiedMs: writtenMs } = last;
  const bytes = await ports.store.getBytes(LOG_BUCKET, key, 1 << 30, signal);
  if (bytes === undefined) throw new Fault('OBJECT_CORRUPT', true, `${key} is listed and can't be read`);
  const name = parsedName(key);
  const end = await endOfFile(ports.db, bytes, name?.first).catch((error: unknown) => {
    throw new Fault('OBJECT_CORRUPT', false, `${key} can't be followed by another file`, { cause: error });
  });
  return { ...end, log: name?.log ?? '', writtenMs };
}

export interface ArchiveState {
  /** Next offset of each partition, filled from the bucket at first sight. */
  readonly next: Map<string, bigint>;
  /** What the names of each partition's files begin with, where its log was begun anew. */
  readonly log: Map<string, string>;
  /** Partitions that may begin anew. */
  readonly mayBeginAnew: Set<string>;
  /** Last archived row of each partition. */
  readonly last: Map<string, LastRow>;
  /** Partitions whose log still had that row's record, or nothing at its place, since the bus or they last failed. */
  readonly proven: Set<string>;
  /** Partitions (`<topic>/<partition>`) that the last pass could not archive, and why. */
  readonly failed: Map<string, Fault>;
}

export const newState = (): ArchiveState => ({
  next: new Map(),
  log: new Map(),
  mayBeginAnew: new Set(),
  last: new Map(),
  proven: new Set(),
  failed: new Map(),
});

/** What a pass wrote: records, and how many of them are no good events, by code. */
export interface Archived {
  readonly written: number;
  readonly bad: Readonly<Partial<Record<Code, number>>>;
}

const place = (topic: string, partition: number): string => `${topic}/${partition}`;

/** Retry and dead-letter topics. */
const PARKED_TOPIC = /^ct\.(?:clinical|research)\.[a-z-]+\.(?:retry\.[0-9a-z]+|dead)$/;

const madeAnew = (what: string): Fault => new Fault('LOG_TRUNCATED', false, `${what}: the topic was made anew`);

/** @throws Fault LOG_TRUNCATED, OBJECT_CORRUPT or SCHEMA_AHEAD, which concern this partition alone. */
async function startOf(
  ports: ArchivePorts,
  { anewBeforeMs = 0 }: ArchiveOptions,
  state: ArchiveState,
  end: TopicEnd,
  signal: AbortSignal,
): Promise<bigint> {
  const at = place(end.topic, end.partition);
  // Its columns, and in the clinical zone which of them name somebody, are known to a newer version. Nor is its centre told here.
  if (typeOfTopic(end.topic) === undefined && !PARKED_TOPIC.test(end.topic))
    throw new Fault('SCHEMA_AHEAD', true, `a topic that this version does not know: ${end.topic.split('.').slice(-2).join('.')}`);
  const shown = place(shownTopic(end.topic, ports), end.partition);
  let known = state.next.get(at);
  if (known === undefined) {
    const archived = await resumeAt(ports, `${shown}/`, signal);
    if (archived?.last !== undefined) state.last.set(at, archived.last);
    if (archived !== undefined) state.log.set(at, archived.log);
    if (archived !== undefined && archived.writtenMs < anewBeforeMs) state.mayBeginAnew.add(at);
    known = archived?.next ?? end.first;
  }
  if (known >= end.first && known <= end.end) {
    state.next.set(at, known);
    return known;
  }
  if (state.mayBeginAnew.has(at)) return beginAnew(state, end);
  if (known > end.end) throw madeAnew(`${shown}: the archive ends at ${known}, the log already at ${end.end}`);
  throw new Fault(
    'LOG_TRUNCATED',
    false,
    `${shown}: the archive ends at ${known}, the log now starts at ${end.first}: records between were never archived`,
  );
}

/** The log is archived from its start, in files of its own, and what is archived of the lost one stays. */
function beginAnew(state: ArchiveState, { topic, partition, first }: TopicEnd): bigint {
  const at = place(topic, partition);
  state.log.set(at, logAfter(state.log.get(at) ?? ''));
  state.mayBeginAnew.delete(at);
  state.last.delete(at);
  state.failed.delete(at);
  state.next.set(at, first);
  return first;
}

/**
 * Whether the record is the one of the row: by its id, and by its time, which another telling of the same event does not share.
 * Headers only: whether it is a good event another version may judge otherwise.
 */
function isOfRow(record: BusRecord, row: LastRow, { tokens }: ArchivePorts, zone: Zone): boolean {
  const { ce_id: id, ce_time: time } = record.headers;
  const shownId = zone === 'research' || id === undefined ? id : tokens?.eventId(id);
  const isEvent = typeOfTopic(record.topic) !== undefined && row.id !== null;
  const timeMs = isEvent ? Date.parse(time ?? '') : Math.max(0, record.timestampMs);
  return (row.id === null || row.id === shownId) && row.timeMs === timeMs;
}

interface Pending {
  readonly end: TopicEnd;
  readonly prefix: string;
  readonly columns: readonly Column[];
  first: bigint;
  /** The log has to show this row's record before anything of it is archived. */
  readonly proof: LastRow | undefined;
  rows: Held[];
  /** Characters of the rows. */
  size: number;
}

/** A row as it goes into the file. As objects the rows would take several times the room, and none could say how much. */
interface Held {
  readonly offset: bigint;
  readonly line: string;
  readonly bad: Code | undefined;
}

function heldRow(record: BusRecord, row: Readonly<Record<string, unknown>>): Held {
  const bad = row['bad_code'];
  return { offset: record.offset, line: rowLine(row), bad: typeof bad === 'string' && isCode(bad) ? bad : undefined };
}

function lastRow({ offset, line }: Held): LastRow {
  const { event_id: id, event_time: time } = JSON.parse(line) as { event_id: string | null; event_time: string };
  return { offset, id, timeMs: Date.parse(`${time.replace(' ', 'T')}Z`) };
}

/** Every file begins where the one before it ended, and holds the offsets that its name and metadata claim, in order. */
function assertFollows(state: ArchiveState, p: Pending, next: bigint): void {
  let after = p.first;
  const wrong = state.next.get(place(p.end.topic, p.end.partition)) !== p.first;
  const unordered = p.rows.some(({ offset }) => {
    if (offset < after) return true;
    after = offset + 1n;
    return false;
  });
  if (wrong || unordered || after > next)
    throw new Error('the archive would have a gap or an overlap: a file must begin where the last ended');
}

/** Writes the rows gathered so far; undefined on 412: another archiver was first, so the batch is dropped and the
 * partition left to the next pass, which reads on from the end of the winner's file. */
async function flush(ports: ArchivePorts, state: ArchiveState, p: Pending, next: bigint, signal: AbortSignal): Promise<number | undefined> {
  if (p.rows.length === 0) return 0;
  assertFollows(state, p, next);
  const bytes = await toParquet(ports.db, {
    columns: p.columns,
    lines: p.rows.map((row) => row.line),
    firstOffset: p.first,
    nextOffset: next,
  });
  const at = place(p.end.topic, p.end.partition);
  const result = await ports.store.put(LOG_BUCKET, p.prefix + fileName({ log: state.log.get(at) ?? '', first: p.first }), bytes, {
    ifNoneMatch: true,
    contentType: 'application/vnd.apache.parquet',
    signal,
  });
  state.mayBeginAnew.delete(at);
  if (result !== 'created') {
    state.next.delete(at);
    state.last.delete(at);
    state.proven.delete(at);
    return undefined;
  }
  const last = p.rows.at(-1);
  if (last !== undefined) state.last.set(at, lastRow(last));
  const count = p.rows.length;
  state.next.set(at, next);
  p.first = next;
  p.rows = [];
  p.size = 0;
  return count;
}

/** What is to be read of a partition; undefined when there is nothing. */
function pendingOf(state: ArchiveState, end: TopicEnd, first: bigint): Pick<Pending, 'end' | 'first' | 'proof'> | undefined {
  const at = place(end.topic, end.partition);
  const last = state.proven.has(at) ? undefined : state.last.get(at);
  // Retention or compaction may have taken it: then nothing tells one log from another.
  const proof = last === undefined || last.offset < end.first ? undefined : last;
  if (proof === undefined) return first < end.end ? { end, first, proof } : undefined;
  // One that failed shows itself first: else all behind it would be read over and over.
  return { end: state.failed.has(at) ? { ...end, end: proof.offset + 1n } : end, first, proof };
}

async function findPending(
  ports: ArchivePorts,
  options: ArchiveOptions,
  state: ArchiveState,
  signal: AbortSignal,
): Promise<Map<string, Pending>> {
  const found = new Map<string, Pending>();
  const failed = new Map<string, Fault>();
  for (const end of await ports.bus.ends(await ports.bus.topics([`ct.${options.zone}.*`]))) {
    const at = place(end.topic, end.partition);
    if (end.end === 0n && (state.next.get(at) ?? 0n) === 0n) continue;
    try {
      const first = await startOf(ports, options, state, end, signal);
      // What this process can't read it never will: its schemas and ids are those of its start.
      const before = state.failed.get(at);
      if (waitsForReader(before)) {
        failed.set(at, before);
        continue;
      }
      const part = pendingOf(state, end, first);
      if (part === undefined) continue;
      const prefix = `${place(shownTopic(end.topic, ports), end.partition)}/`;
      found.set(at, { ...part, prefix, columns: fileColumns(end.topic, options.zone), rows: [], size: 0 });
      if (before !== undefined && part.proof !== undefined) failed.set(at, before);
    } catch (error) {
      // One partition's hole is no reason to let the others' records expire too.
      const isOfPartition = error instanceof Fault && (error.code === 'LOG_TRUNCATED' || error.code === 'OBJECT_CORRUPT');
      if (!isOfPartition && !waitsForReader(error)) throw error;
      failed.set(at, error);
      state.proven.delete(at);
    }
  }
  // At once: /readyz may ask at any time.
  state.failed.clear();
  for (const [at, fault] of failed) state.failed.set(at, fault);
  return found;
}

/** End of the rows held: what a file of them may claim. */
function endOfRows({ rows, first }: Pending): bigint {
  const last = rows.at(-1);
  return last === undefined ? first : last.offset + 1n;
}

/** Archives everything up to the ends at its start. @throws Fault of bus, store or vault; what was written stands. */
export async function archiveOnce(
  ports: ArchivePorts,
  options: ArchiveOptions,
  state: ArchiveState,
  signal: AbortSignal,
): Promise<Archived> {
  const pending = await findPending(ports, options, state, signal);
  const bad: Partial<Record<Code, number>> = {};
  const limits = options.held ?? HELD_LIMITS;
  let written = 0;
  let held = 0;
  const write = async (p: Pending, next: bigint): Promise<void> => {
    const { rows } = p;
    held -= p.size;
    const count = await flush(ports, state, p, next, signal);
    if (count === undefined) {
      pending.delete(place(p.end.topic, p.end.partition));
      return;
    }
    written += count;
    for (const { bad: code } of rows) if (code !== undefined) bad[code] = (bad[code] ?? 0) + 1;
  };
  /** A file is progress that outlives this process, so none waits for the end of the pass that need not. */
  const writeIfDue = async (p: Pending): Promise<void> => {
    const next = endOfRows(p);
    // With a hole it waits: only the end of the pass shows that what is missing was compacted away and comes no more.
    const isWhole = next === p.end.end && BigInt(p.rows.length) === next - p.first;
    if (isWhole || p.rows.length >= options.maxRecords || p.size >= limits.ofPartition) await write(p, next);
    if (held < limits.ofAll) return;
    const largest = [...pending.values()].reduce((a, b) => (b.size > a.size ? b : a));
    await write(largest, endOfRows(largest));
  };
  /** Everything before the record is archived, nothing behind it: the next archiver goes on with it. */
  const stopAt = async (at: string, p: Pending, record: BusRecord, fault: Fault): Promise<void> => {
    await write(p, record.offset);
    // Lost to another archiver: the next pass sees how far that one came.
    if (!pending.delete(at)) return;
    state.failed.set(
      at,
      new Fault(fault.code, true, `${shownPlace(record, ports)} can't be read yet, and its partition waits`, { cause: fault }),
    );
  };
  if (pending.size === 0) return { written, bad };
  const ranges = [...pending.values()].map((p) => ({ ...p.end, first: p.proof?.offset ?? p.first }));
  for await (const record of ports.bus.read(ranges, signal)) {
    const at = place(record.topic, record.partition);
    const p = pending.get(at);
    if (p === undefined) continue;
    if (record.offset < p.first) {
      if (record.offset !== p.proof?.offset || isOfRow(record, p.proof, ports, options.zone)) continue;
      pending.delete(at);
      if (state.mayBeginAnew.has(at)) beginAnew(state, p.end);
      else state.failed.set(at, madeAnew(`${shownPlace(record, ports)} is not the record that was archived`));
      continue;
    }
    const parked = typeOfTopic(record.topic) === undefined;
    const raw = options.zone === 'research' && !parked ? rawRow(record) : {};
    let row: Held;
    try {
      row = heldRow(record, parked ? parkedRow(record, options.zone) : { ...(await eventRow(record, ports, options)), ...raw });
    } catch (error) {
      if (!waitsForReader(error)) throw error;
      await stopAt(at, p, record, error);
      continue;
    }
    p.rows.push(row);
    p.size += row.line.length;
    held += row.line.length;
    await writeIfDue(p);
  }
  for (const [at, p] of pending) {
    await write(p, p.end.end);
    // Lost to another archiver: the bucket is asked again, and so is the log.
    if (!pending.has(at)) continue;
    state.proven.add(at);
    state.failed.delete(at);
  }
  return { written, bad };
}
