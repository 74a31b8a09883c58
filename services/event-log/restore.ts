// Restores the research log from its archive: every record into its own partition, with its bytes, headers and time, at
// the offset that it had. Begun again after a kill, it first checks what is there and then goes on.
import { createHash } from 'node:crypto';
import type { DuckDBConnection } from '@duckdb/node-api';
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import { Fault } from '../kernel/fault.ts';
import type { BusRecord, EventBus, TopicEnd } from '../ports/event-bus.ts';
import type { LogRecord, LogWriter } from '../ports/log-writer.ts';
import { archivedPartitions, countRecords, recordsOf, type ArchivedPartition } from './archived-log.ts';
import type { ArchivedRecord } from './raw-record.ts';

export interface RestorePorts {
  /** Of the log to be restored; its topics are there. */
  readonly bus: Pick<EventBus, 'topics' | 'ends' | 'read'>;
  readonly writer: LogWriter;
  readonly db: DuckDBConnection;
}

export interface RestoreOptions {
  /** Folder with the archive (`mirrorLog`). */
  readonly dir: string;
  /** Restore a partition although its records get other offsets; the moves are in the answer. */
  readonly allowShift?: boolean;
  /** Restore the newest log of a partition although the archive has an earlier one, which stays out. */
  readonly newestLog?: boolean;
  readonly signal: AbortSignal;
  readonly progress?: (done: number, all: number) => void;
}

export interface RestoredPartition {
  readonly topic: string;
  readonly partition: number;
  readonly records: number;
  /** Of them, those that this run wrote; the others an earlier run had. */
  readonly written: number;
  /** SHA-256 over key, value, headers and time of each record, read back from the log; the archive's is the same. */
  readonly sha256: string;
}

/** From record `from` (its archived offset) on, the new offset is lower by `by`. */
export interface Shift {
  readonly topic: string;
  readonly partition: number;
  readonly from: bigint;
  readonly by: bigint;
}

export interface Restored {
  readonly partitions: readonly RestoredPartition[];
  readonly shifts: readonly Shift[];
  /** Retry and dead topics: archived as metadata, so their records are not there again; each begins where it ended. */
  readonly notRestored: readonly { readonly topic: string; readonly partition: number; readonly records: number }[];
}

const BATCH_RECORDS = 500;
const BATCH_BYTES = 512 * 1024;
const COMPACTED = new Set(topicsFile.topics.filter((t) => t.cleanup === 'compact').map((t) => t.name));

const place = (p: { readonly topic: string; readonly partition: number }): string => `${p.topic}/${p.partition}`;

const differs = (p: { readonly topic: string; readonly partition: number }, what: string): Fault =>
  new Fault('LOG_DIFFERS', false, `${place(p)}: ${what}`);

/** Everything that stands against the restore is told before a record is written. @throws Fault, and what bus and writer throw */
export async function restoreLog(ports: RestorePorts, o: RestoreOptions): Promise<Restored> {
  const all = await archivedPartitions(ports.db, o.dir);
  const events = all.filter((p) => p.isEvents);
  if (o.newestLog !== true) await assertOneLog(ports.db, events);
  checkArchive(events, o.allowShift === true);
  const ends = await endsOf(ports.bus, all);
  const before = new Map(events.map((p) => [place(p), beginning(p, ends)]));
  await compare(ports, events, before, o.signal);
  const parked = all.filter((p) => !p.isEvents && (ends.get(place(p))?.first ?? 0n) < p.end);
  await assertBlank(ports.bus, parked, ends, o.signal);

  await ports.writer.keepTimes([...new Set(events.map((p) => p.topic))]);
  const total = events.reduce((sum, p) => sum + p.records, 0);
  let done = [...before.values()].reduce((sum, n) => sum + n, 0);
  for (const p of events) {
    await fill(ports, p, before.get(place(p)) ?? 0, o.signal, (n) => o.progress?.((done += n), total));
  }
  for (const p of parked) await ports.writer.beginAt(p.topic, p.partition, p.end);

  const digests = await compare(ports, events, new Map(events.map((p) => [place(p), p.records])), o.signal);
  const partitions = events.map((p) => ({
    topic: p.topic,
    partition: p.partition,
    records: p.records,
    written: p.records - (before.get(place(p)) ?? 0),
    sha256: digests.get(place(p)) ?? '',
  }));
  const shifts = (await Promise.all(events.filter((p) => !p.isWhole).map((p) => shiftsOf(ports.db, p)))).flat();
  const notRestored = all.filter((p) => !p.isEvents).map(({ topic, partition, records }) => ({ topic, partition, records }));
  return { partitions, shifts, notRestored };
}

/** Which of its logs is wanted nobody but the operator knows: the newest may have a few records, and an earlier one all others. */
async function assertOneLog(db: DuckDBConnection, partitions: readonly ArchivedPartition[]): Promise<void> {
  const several = partitions.filter((p) => p.earlierFiles.length > 0);
  const counted = await Promise.all(
    several.map(async (p) => `${place(p)} (newest log ${p.records} records, earlier ${await countRecords(db, p.earlierFiles)})`),
  );
  if (counted.length > 0) throw new Fault('ARCHIVE_OF_SEVERAL_LOGS', false, counted.join(', '));
}

function checkArchive(partitions: readonly ArchivedPartition[], allowShift: boolean): void {
  const bare = partitions.filter((p) => p.withoutBytes > 0);
  if (bare.length > 0) throw new Fault('ARCHIVE_WITHOUT_BYTES', false, bare.map((p) => `${place(p)} (${p.withoutBytes})`).join(', '));
  const moved = partitions.filter((p) => !p.isWhole);
  if (moved.length > 0 && !allowShift) throw new Fault('OFFSETS_WOULD_MOVE', false, moved.map(place).join(', '));
}

async function endsOf(bus: RestorePorts['bus'], partitions: readonly ArchivedPartition[]): Promise<Map<string, TopicEnd>> {
  const wanted = [...new Set(partitions.map((p) => p.topic))];
  const there = await bus.topics(wanted);
  const ends = new Map((await bus.ends(there)).map((end) => [place(end), end]));
  const missing = partitions.filter((p) => !ends.has(place(p))).map(place);
  if (missing.length > 0)
    throw new Fault('BAD_CONFIG', false, `the log has no ${missing.join(', ')}: make the topics with as many partitions as they had`);
  return ends;
}

/** How many records of the partition an earlier run has restored. */
function beginning(p: ArchivedPartition, ends: ReadonlyMap<string, TopicEnd>): number {
  const end = ends.get(place(p));
  if (end === undefined || end.first > 0n) throw differs(p, `it begins at ${end?.first ?? 'nothing'}`);
  if (end.end > BigInt(p.records)) throw differs(p, `it has ${end.end} records, the archive ${p.records}`);
  return Number(end.end);
}

/** What `beginAt` is about to remove is nothing but its own blank records of a run that was killed. */
async function assertBlank(
  bus: RestorePorts['bus'],
  parked: readonly ArchivedPartition[],
  ends: ReadonlyMap<string, TopicEnd>,
  signal: AbortSignal,
): Promise<void> {
  const ranges = parked.flatMap((p) => ends.get(place(p)) ?? []).filter((end) => end.end > end.first);
  for await (const record of bus.read(ranges, signal))
    if (record.key !== '' || record.value.byteLength > 0) throw differs(record, 'it holds records, so a stage has run already');
}

async function fill(
  { db, writer }: RestorePorts,
  p: ArchivedPartition,
  from: number,
  signal: AbortSignal,
  wrote: (records: number) => void,
): Promise<void> {
  let at = from;
  let batch: LogRecord[] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    if (batch.length === 0) return;
    signal.throwIfAborted();
    await writer.append(p.topic, p.partition, BigInt(at), batch);
    at += batch.length;
    wrote(batch.length);
    [batch, bytes] = [[], 0];
  };
  if (from === p.records) return;
  for await (const record of recordsOf(db, p, from)) {
    if (batch.length === BATCH_RECORDS || bytes + record.value.byteLength > BATCH_BYTES) await flush();
    batch.push(record);
    bytes += record.value.byteLength;
  }
  await flush();
}

/** What a record is, apart from its place. */
const textOf = (r: LogRecord): string => JSON.stringify([r.key, Buffer.from(r.value).toString('base64'), r.headers, r.timestampMs]);

/**
 * Reads the first so many records of each partition back and compares them with the archive, one by one.
 * @returns SHA-256 of each partition's records @throws Fault LOG_DIFFERS at the first that is another
 */
async function compare(
  { bus, db }: RestorePorts,
  partitions: readonly ArchivedPartition[],
  counts: ReadonlyMap<string, number>,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const open = new Map(
    partitions.map((p) => {
      const length = counts.get(place(p)) ?? 0;
      return [place(p), { p, length, archived: recordsOf(db, p), next: 0, hash: createHash('sha256') }];
    }),
  );
  type Open = typeof open extends Map<string, infer V> ? V : never;
  /** The archived record number `next`; of a compacted topic older ones of a key may be gone from the log by now. */
  const advance = async (one: Open, record: BusRecord | undefined): Promise<void> => {
    for (;;) {
      const isAt = record !== undefined && record.offset === BigInt(one.next);
      if (record === undefined ? one.next >= one.length : record.offset < BigInt(one.next)) return;
      const { value: archived } = (await one.archived.next()) as { value: ArchivedRecord | undefined };
      if (archived === undefined) throw differs(one.p, `the archive has no record ${one.next}`);
      one.hash.update(textOf(archived));
      one.next += 1;
      if (isAt && textOf(archived) !== textOf(record)) throw differs(one.p, `offset ${record.offset} is not what was archived`);
      if (!isAt && !COMPACTED.has(one.p.topic)) throw differs(one.p, `record ${one.next - 1} is not there`);
    }
  };
  const ranges = partitions.map((p): TopicEnd => ({
    topic: p.topic,
    partition: p.partition,
    first: 0n,
    end: BigInt(counts.get(place(p)) ?? 0),
  }));
  for await (const record of bus.read(ranges, signal)) {
    const one = open.get(place(record));
    if (one !== undefined) await advance(one, record);
  }
  for (const one of open.values()) await advance(one, undefined);
  return new Map([...open].map(([at, one]) => [at, one.hash.digest('hex')]));
}

async function shiftsOf(db: DuckDBConnection, p: ArchivedPartition): Promise<Shift[]> {
  const shifts: Shift[] = [];
  let at = 0n;
  for await (const record of recordsOf(db, p)) {
    const by = record.offset - at;
    if (by !== (shifts.at(-1)?.by ?? 0n)) shifts.push({ topic: p.topic, partition: p.partition, from: record.offset, by });
    at += 1n;
  }
  return shifts;
}
