// Reading a log from one offset to another, without commits: for accounts, rounds and archives.
import type { Consumer, EachBatchPayload } from 'kafkajs';
import { randomBytes } from 'node:crypto';
import { Fault } from '../kernel/fault.ts';
import type { BusRecord, TopicEnd } from '../ports/event-bus.ts';
import { askGroup } from './group-patience.ts';
import { busFault } from './kafka-client.ts';
import { fetchedOffsetOf, groupFault, partitionId, recordOf, type KafkaParts } from './kafka-offsets.ts';
import { truncation } from './kafkajs-truncation.ts';

/** Partitions are read side by side in groups of about so many records, then given one by one. */
const GROUP_RECORDS = 20_000n;
/** Records of one partition that wait for the reader before it is paused. */
const PARTITION_HIGH = 5000;
/** Bytes of theirs: a page of a census has 500 lines, and a group may have thousands of pages. */
const PARTITION_HIGH_BYTES = 4 * 1024 * 1024;
/** Longest wait for the group to be joined. */
const JOIN_MS = 60_000;
/** Longest wait without any record. */
const STALL_MS = 30_000;

interface Open {
  readonly want: TopicEnd;
  readonly records: BusRecord[];
  /** Of the values in `records`. */
  bytes: number;
  /** Where it goes on. */
  next: bigint;
  done: boolean;
  /** Ends the partition behind its `records`: the log no longer has what comes next. */
  lost: Fault | undefined;
}

type Parts = Pick<KafkaParts, 'kafka' | 'options' | 'about'>;

/** Milliseconds; shorter in tests. */
interface Limits {
  readonly joinMs: number;
  readonly stallMs: number;
}

/** Every record from `first` up to (not including) `end` of each partition. kafkajs can't read without a group: it is a random one that commits nothing and vanishes. */
export async function* readRecords(parts: KafkaParts, ends: readonly TopicEnd[], signal?: AbortSignal): AsyncIterable<BusRecord> {
  const wanted = ends.filter((e) => e.end > e.first);
  if (wanted.length === 0) return;
  const reader = await askGroup(
    'opening a reader',
    async () => {
      signal?.throwIfAborted();
      return await openReader(parts, wanted, signal);
    },
    (error, what) => {
      signal?.throwIfAborted();
      return groupFault(parts, error, what);
    },
  );
  try {
    for (const group of groups(wanted)) yield* reader.read(group, signal);
  } finally {
    await reader.close();
  }
}

function* groups(ends: readonly TopicEnd[]): Iterable<TopicEnd[]> {
  let group: TopicEnd[] = [];
  let size = 0n;
  for (const e of ends) {
    if (group.length > 0 && size + (e.end - e.first) > GROUP_RECORDS) {
      yield group;
      group = [];
      size = 0n;
    }
    group.push(e);
    size += e.end - e.first;
  }
  if (group.length > 0) yield group;
}

interface Reader {
  read(group: readonly TopicEnd[], signal?: AbortSignal): AsyncIterable<BusRecord>;
  close(): Promise<void>;
}

export async function openReader(
  parts: Parts,
  wanted: readonly TopicEnd[],
  signal?: AbortSignal,
  limits: Limits = { joinMs: JOIN_MS, stallMs: STALL_MS },
): Promise<Reader> {
  const { prefix } = parts.options;
  const consumer = parts.kafka.consumer({
    groupId: `${prefix}${parts.options.username}.read.${randomBytes(6).toString('hex')}`,
    sessionTimeout: 30_000,
    maxWaitTimeInMs: 50,
    allowAutoTopicCreation: false,
    retry: { initialRetryTime: 200, maxRetryTime: 5000, factor: 0.2, multiplier: 2, retries: 7 },
  });
  const open = new Map<string, Open>();
  const wake = makeBell();
  let crash: unknown;
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    crash = payload.error;
    wake.ring();
  });
  const topics = [...new Set(wanted.map((e) => e.topic))];
  const everything = topics.map((topic) => ({ topic: prefix + topic }));
  const join = async (ended: AbortSignal): Promise<void> => {
    await consumer.connect();
    if (ended.aborted) return;
    await consumer.subscribe({ topics: everything.map((t) => t.topic), fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: 1,
      eachBatch: async (payload) => collect(payload, parts, open, consumer, wake.ring),
    });
  };
  consumer.on(consumer.events.GROUP_JOIN, () => consumer.pause(everything));
  await joinInTime(consumer, join, limits.joinMs, signal);
  return {
    read: (group, signal) => readGroup({ parts, consumer, open, wake, stallMs: limits.stallMs, crashed: () => crash }, group, signal),
    close: async () => await consumer.disconnect().catch(() => undefined),
  };
}

/** Resolves with the join. kafkajs' `run` resolves also when the group could not be joined, and says it as a crash, if at all. */
async function joinInTime(
  consumer: Consumer,
  join: (ended: AbortSignal) => Promise<void>,
  limitMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const ended = new AbortController();
  let joining = Promise.resolve();
  const joined = new Promise<void>((resolve, reject) => {
    const limit = setTimeout(() => reject(new Fault('BUS_UNAVAILABLE', true, `a reader did not join its group in ${limitMs} ms`)), limitMs);
    ended.signal.addEventListener('abort', () => clearTimeout(limit), { once: true });
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true, signal: ended.signal });
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    consumer.on(consumer.events.GROUP_JOIN, () => resolve());
    joining = join(ended.signal);
    joining.catch(reject);
  });
  try {
    await joined;
  } catch (error) {
    const leave = async (): Promise<void> => await consumer.disconnect().catch(() => undefined);
    // Again at the end: what was under way may have connected it anew.
    void leave().then(async () => await joining.then(leave, leave));
    throw error;
  } finally {
    ended.abort();
  }
}

function makeBell(): { ring: () => void; wait: (ms: number) => Promise<void> } {
  let ring = (): void => undefined;
  return {
    ring: () => ring(),
    wait: (ms) =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, ms);
        ring = () => {
          clearTimeout(timer);
          resolve();
        };
      }),
  };
}

async function collect(
  payload: EachBatchPayload,
  parts: Parts,
  open: ReadonlyMap<string, Open>,
  consumer: Consumer,
  ring: () => void,
): Promise<void> {
  const { batch } = payload;
  const topic = batch.topic.slice(parts.options.prefix.length);
  const target = open.get(partitionId({ topic, partition: batch.partition }));
  if (target === undefined || payload.isStale()) return;
  const pause = (): void => consumer.pause([{ topic: batch.topic, partitions: [batch.partition] }]);
  // When its place is gone kafkajs goes on at the start of the log. Markers and compaction make holes too, behind that start.
  if (!target.done && fetchedOffsetOf(batch) > target.next) {
    target.lost = await lostAt(parts, target);
    target.done = target.lost !== undefined;
  }
  for (const message of batch.messages) {
    const offset = BigInt(message.offset);
    if (offset >= target.want.end) break;
    if (offset >= target.next && !target.done) {
      const record = recordOf(target.want, message);
      target.records.push(record);
      target.bytes += record.value.byteLength;
    }
    payload.resolveOffset(message.offset);
  }
  const behind = BigInt(batch.lastOffset()) + 1n;
  if (!target.done && behind > target.next) target.next = behind;
  if (target.done || behind >= target.want.end) {
    target.done = true;
    pause();
  } else if (target.records.length >= PARTITION_HIGH || target.bytes >= PARTITION_HIGH_BYTES) pause();
  ring();
  await payload.heartbeat();
}

/** The fault when the log no longer has what comes next of a partition. */
const lostAt = (parts: Parts, { want: { topic, partition }, next }: Open): Promise<Fault | undefined> =>
  truncation(parts, { topic, partition, offset: next }, 'reading at');

interface Reading {
  readonly parts: Parts;
  readonly consumer: Consumer;
  readonly open: Map<string, Open>;
  readonly wake: ReturnType<typeof makeBell>;
  readonly stallMs: number;
  crashed(): unknown;
}

async function* readGroup(r: Reading, group: readonly TopicEnd[], signal?: AbortSignal): AsyncIterable<BusRecord> {
  const { prefix } = r.parts.options;
  r.open.clear();
  for (const want of group) {
    r.open.set(partitionId(want), { want, records: [], bytes: 0, next: want.first, done: false, lost: undefined });
    r.consumer.seek({ topic: prefix + want.topic, partition: want.partition, offset: want.first.toString() });
    r.consumer.resume([{ topic: prefix + want.topic, partitions: [want.partition] }]);
  }
  for (const part of r.open.values()) {
    while (!part.done || part.records.length > 0) {
      signal?.throwIfAborted();
      const crash = r.crashed();
      if (crash !== undefined) throw busFault(crash, `reading ${part.want.topic}`);
      const records = part.records.splice(0);
      part.bytes = 0;
      if (records.length === 0) await waitForMore(r, part, signal);
      else {
        yield* records;
        if (!part.done) r.consumer.resume([{ topic: prefix + part.want.topic, partitions: [part.want.partition] }]);
      }
    }
    if (part.lost !== undefined) throw part.lost;
  }
}

async function waitForMore(r: Reading, part: Open, signal?: AbortSignal): Promise<void> {
  const until = Date.now() + r.stallMs;
  const stalled = new Fault('BUS_UNAVAILABLE', true, `${part.want.topic}/${part.want.partition} can't be read up to ${part.want.end}`);
  while (part.records.length === 0 && !part.done && r.crashed() === undefined && signal?.aborted !== true) {
    // Where the log has lost all that was left no batch comes that could show it.
    if (Date.now() > until) throw (await lostAt(r.parts, part)) ?? stalled;
    await r.wake.wait(500);
  }
}
