// The archiver: every partition of its zone's topics, as Parquet files that follow each other without a gap.
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Code } from '../kernel/codes.ts';
import { Fault } from '../kernel/fault.ts';
import { typeOfTopic } from '../kernel/route.ts';
import type { EventBus, BusRecord, TopicEnd } from '../ports/event-bus.ts';
import type { ObjectInfo, ObjectStore } from '../ports/object-store.ts';
import {
  fileColumns,
  heldRow,
  isOfRow,
  lastRow,
  place,
  shownPlace,
  shownTopic,
  type Held,
  type RowOptions,
  type RowPorts,
} from './archived-row.ts';
import type { Column } from './columns.ts';
import { fileName, logAfter, parsedName } from './file-name.ts';
import { waitsForReader } from './judge.ts';
import { endOfFile, toParquet, type FileEnd, type LastRow } from './parquet.ts';

export const LOG_BUCKET = 'ct-event-log';

export interface ArchivePorts extends RowPorts {
  readonly bus: EventBus;
  readonly store: ObjectStore;
  readonly db: DuckDBConnection;
}

export interface ArchiveOptions extends RowOptions {
  /** Most records of one file. */
  readonly maxRecords: number;
  /** What is held in memory, in characters of its rows; see `HELD_LIMITS`. */
  readonly held?: HeldLimits;
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

export interface BegunAnew {
  /** As it is told. */
  readonly topic: string;
  readonly partition: number;
  /** First offset of the log that is archived now. */
  readonly from: bigint;
  /** Where the archive of the log before it ends. */
  readonly earlierEnd: bigint;
}

export interface ArchiveState {
  /** Next offset of each partition, filled from the bucket at first sight. */
  readonly next: Map<string, bigint>;
  /** What the names of each partition's files begin with, where its log was begun anew. */
  readonly log: Map<string, string>;
  /** Partitions that may begin anew; none whose log has once been gone on with. */
  readonly mayBeginAnew: Set<string>;
  /** Partitions that were begun anew and are not told yet. */
  readonly begunAnew: BegunAnew[];
  /** Last archived row of each partition. */
  readonly last: Map<string, LastRow>;
  /** Partitions that need not show that row's record while nothing new is in them: they did since the bus or they last failed, or
   * had nothing at its place. */
  readonly proven: Set<string>;
  /** Partitions (`<topic>/<partition>`) that the last pass could not archive, and why. */
  readonly failed: Map<string, Fault>;
}

export const newState = (): ArchiveState => ({
  next: new Map(),
  log: new Map(),
  mayBeginAnew: new Set(),
  begunAnew: [],
  last: new Map(),
  proven: new Set(),
  failed: new Map(),
});

/** What a pass wrote: records, and how many of them are no good events, by code. */
export interface Archived {
  readonly written: number;
  readonly bad: Readonly<Partial<Record<Code, number>>>;
}

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
  // Also where the log begins behind the archive, and nothing tells a lost log from lost records: there is no other way on.
  if (state.mayBeginAnew.has(at)) return beginAnew(ports, state, end, known);
  if (known > end.end) throw madeAnew(`${shown}: the archive ends at ${known}, the log already at ${end.end}`);
  throw new Fault(
    'LOG_TRUNCATED',
    false,
    `${shown}: the archive ends at ${known}, the log now starts at ${end.first}: records between were never archived`,
  );
}

/** The log is archived from its start, in files of its own, and what is archived of the lost one stays. */
function beginAnew(ports: ArchivePorts, state: ArchiveState, { topic, partition, first }: TopicEnd, earlierEnd: bigint): bigint {
  const at = place(topic, partition);
  state.begunAnew.push({ topic: shownTopic(topic, ports), partition, from: first, earlierEnd });
  state.log.set(at, logAfter(state.log.get(at) ?? ''));
  state.mayBeginAnew.delete(at);
  state.last.delete(at);
  state.failed.delete(at);
  state.next.set(at, first);
  return first;
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
  const last = state.last.get(at);
  // Retention or compaction may have taken it: then nothing tells one log from another.
  const proof = last === undefined || last.offset < end.first ? undefined : last;
  // Whatever was shown before: a topic may be made anew between two passes.
  const hasNew = first < end.end;
  if (proof === undefined) return hasNew ? { end, first, proof } : undefined;
  if (!hasNew && state.proven.has(at)) return undefined;
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
      if (part === undefined) {
        // Nothing tells it from the archived log, so it is that one from now on.
        state.mayBeginAnew.delete(at);
        continue;
      }
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
    state.mayBeginAnew.delete(at);
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
      state.proven.delete(at);
      if (state.mayBeginAnew.has(at)) beginAnew(ports, state, p.end, p.first);
      else state.failed.set(at, madeAnew(`${shownPlace(record, ports)} is not the record that was archived`));
      continue;
    }
    let row: Held;
    try {
      row = await heldRow(record, ports, options);
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
    // It is the archived log: what it loses from now on is lost records, and to be told.
    state.mayBeginAnew.delete(at);
    state.failed.delete(at);
  }
  return { written, bad };
}
