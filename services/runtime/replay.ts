// A replay: the handler of a stage over recorded events, its objects into other buckets, its events kept for a comparison.
// Nothing is published, committed or changed in what it reads.
import type { EventType } from '../../schemas/events.gen.ts';
import { Fault } from '../kernel/fault.ts';
import { outgoingId } from '../kernel/event-ids.ts';
import { typeOfTopic } from '../kernel/route.ts';
import type { EventIn, Job, Stage } from '../kernel/stage.ts';
import type { EventBus, TopicEnd } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { encodeEvents, eventsOf } from './outgoing.ts';

export interface RecordedLog {
  /** Where the replay ends: taken before the first record was read. */
  readonly ends: readonly TopicEnd[];
  /** In offset order per partition. */
  readonly records: readonly EventIn[];
  /** Of an id that stands twice the first. */
  readonly events: readonly EventIn[];
  /** Records that are no good events: nobody handled them. */
  readonly bad: number;
}

export interface RecordedTopics {
  /** What the stage tells. Their ends are taken first: on a deployment that goes on, everything told has its cause in the log. */
  readonly told: readonly string[];
  /** What it is told from. */
  readonly taken: readonly string[];
}

/** Reads the topics from their start to the ends of now. @throws Fault of the bus */
export async function recordedLog(
  bus: Pick<EventBus, 'topics' | 'ends' | 'read'>,
  codec: Pick<EventCodec, 'decode'>,
  { told, taken }: RecordedTopics,
  signal: AbortSignal,
): Promise<RecordedLog> {
  const first = await bus.ends(await bus.topics(told.filter((topic) => !taken.includes(topic))));
  const ends = [...first, ...(await bus.ends(await bus.topics(taken)))];
  const records: EventIn[] = [];
  const events = new Map<string, EventIn>();
  let bad = 0;
  for await (const record of bus.read(ends, signal)) {
    try {
      const event = codec.decode(record);
      records.push(event);
      if (!events.has(event.id)) events.set(event.id, event);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      bad += 1;
    }
  }
  return { ends, records, events: [...events.values()], bad };
}

function isOf<T extends EventType>(event: EventIn, ...types: readonly T[]): event is EventIn<T> {
  return types.some((type) => type === event.type);
}

/** The recorded events of the types. */
export function eventsIn<T extends EventType>(log: Pick<RecordedLog, 'events'>, ...types: readonly T[]): EventIn<T>[] {
  return log.events.filter((event): event is EventIn<T> => isOf(event, ...types));
}

/** Ids that what the stage tells of an event can have, unless they hang on a manifest beyond the trust boundary. */
export function outcomeIds(stage: Pick<Stage<EventType, never>, 'name' | 'zone' | 'produces'>, event: EventIn): string[] {
  const verdicts = (['StudyRejected', 'StudySkipped'] as const).map((what) => `ctstream.${stage.zone}.v1.${what}` as const);
  const types = new Set([...stage.produces.flatMap((topic) => typeOfTopic(topic) ?? []), ...verdicts]);
  return [...types].map((type) => outgoingId(stage.name, event.id, type, 0));
}

export interface ReplayStoreOptions {
  /** What was there. Only read. */
  readonly source: ObjectStore;
  readonly target: ObjectStore;
  /** Whether the stage takes this object as it was; all others it makes itself. */
  isInput(bucket: string, key: string): boolean;
  /** Whether `list` answers from the source; the target's by default. */
  readonly listsSource?: (bucket: string, prefix: string) => boolean;
}

/** A store that reads inputs from the target, else from the source, and writes and removes in the target alone. */
export function replayStore({ source, target, isInput, listsSource }: ReplayStoreOptions): ObjectStore {
  return {
    put: (bucket, key, body, options) => target.put(bucket, key, body, options),
    get: async (bucket, key, options) =>
      (await target.get(bucket, key, options)) ?? (isInput(bucket, key) ? await source.get(bucket, key, options) : undefined),
    getBytes: async (bucket, key, limit, signal) =>
      (await target.getBytes(bucket, key, limit, signal)) ??
      (isInput(bucket, key) ? await source.getBytes(bucket, key, limit, signal) : undefined),
    head: async (bucket, key, signal) =>
      (await target.head(bucket, key, signal)) ?? (isInput(bucket, key) ? await source.head(bucket, key, signal) : undefined),
    list: (bucket, prefix, signal) => (listsSource?.(bucket, prefix) === true ? source : target).list(bucket, prefix, signal),
    folders: (bucket, signal) => target.folders(bucket, signal),
    remove: (bucket, keys, signal) => target.remove(bucket, keys, signal),
  };
}

/** A record that the replay could not handle; it told nothing. */
export interface ReplayFault {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly code: string;
}

export interface ReplayRun {
  readonly handled: number;
  /** What the stage told, with the ids that it would have had. */
  readonly told: readonly EventIn[];
  readonly faults: readonly ReplayFault[];
}

export interface ReplayOptions {
  readonly codec: EventCodec;
  readonly signal: AbortSignal;
  /** Keys at a time; events of one key go one after another, in the order given. */
  readonly concurrency: number;
  readonly progress?: (done: number, all: number) => void;
}

/** Not compared: traces are new in each run. */
const NO_TRACE = `00-${'1'.repeat(32)}-${'1'.repeat(16)}-00`;

/** Handles the events and gathers what was told. @throws what is no Fault: a replay must not go on with a broken invariant */
export async function replayEvents<T extends EventType, P>(
  stage: Stage<T, P>,
  events: readonly EventIn<T>[],
  portsOf: (event: EventIn<T>) => Promise<P>,
  o: ReplayOptions,
): Promise<ReplayRun> {
  const told: EventIn[] = [];
  const faults: ReplayFault[] = [];
  let handled = 0;
  const one = async (event: EventIn<T>): Promise<void> => {
    const releases: (() => Promise<void>)[] = [];
    const job: Job = { isRetry: false, untilSettled: (release) => void releases.push(release), begin: () => undefined };
    try {
      const outcome = await stage.handle(event, await portsOf(event), o.signal, job);
      told.push(...toldBy(stage, event, eventsOf(stage, event, outcome), o.codec));
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      faults.push({ topic: event.topic, partition: event.partition, offset: event.offset, code: error.code });
    } finally {
      for (const release of releases.toReversed()) await release();
    }
    handled += 1;
    o.progress?.(handled, events.length);
  };
  const keys = [...Map.groupBy(events, (event) => event.key).values()].values();
  const worker = async (): Promise<void> => {
    for (const list of keys)
      for (const event of list) {
        o.signal.throwIfAborted();
        await one(event);
      }
  };
  await Promise.all(Array.from({ length: o.concurrency }, worker));
  return { handled, told, faults };
}

/** Through the codec and back, so that values are compared as the log has them. */
function toldBy<T extends EventType, P>(
  stage: Stage<T, P>,
  event: EventIn,
  events: Parameters<typeof encodeEvents>[2],
  codec: EventCodec,
): EventIn[] {
  const records = encodeEvents(stage, event, events, { codec, timeMs: event.timeMs, traceparent: () => NO_TRACE });
  return records.map((r) => codec.decode({ ...r, partition: 0, offset: 0n, timestampMs: event.timeMs }));
}
