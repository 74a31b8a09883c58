// Leases over a kafkajs consumer group. kafkajs hands records over and returns; jobs run as long as they like
// while its loop goes on sending heartbeats. Offsets are committed by generation, from the lease board only.
import kafkajs from 'kafkajs';
import type { Consumer, EachBatchPayload, PartitionAssigner } from 'kafkajs';
import { Fault } from '../kernel/fault.ts';
import type { BusRecord, PartitionLag, SubscribeOptions, Subscription } from '../ports/event-bus.ts';
import { busFault, isPattern } from './kafka-client.ts';
import { committedBy, endsOf, inSteps, type KafkaParts } from './kafka-offsets.ts';
import { leaseBoard, type CommitPoint, type LeaseBoard, type PartitionName } from './lease-board.ts';

type Commit = EachBatchPayload['commitOffsetsIfNecessary'];

interface State {
  readonly parts: KafkaParts;
  readonly options: SubscribeOptions;
  readonly consumer: Consumer;
  readonly board: LeaseBoard;
  /** kafkajs' commit without its retries: one that is retried after a rejoin would carry the new generation and could commit a lost partition. */
  commit: Commit | undefined;
  /** True from the moment a join begins until the assignment is known: nothing is committed. */
  joining: boolean;
  /** Resolves once the assignment was compared with what the group had committed. */
  checked: Promise<void>;
  committing: Promise<void> | undefined;
  running: boolean;
  stopped: boolean;
  stopping: Promise<void> | undefined;
  failure: Fault | undefined;
  topics: readonly string[];
}

/** How long a fetch waits for records: also the longest pause between two heartbeats, so well under the session timeout. */
const FETCH_WAIT_MS = 500;
const COMMIT_EVERY_MS = 100;

/** Joins the group and gives leases. Centre topics that come later are found by polling. */
export async function openSubscription(parts: KafkaParts, options: SubscribeOptions): Promise<Subscription> {
  const groupId = parts.options.prefix + options.group;
  const sessionTimeout = parts.options.sessionTimeoutMs ?? 10_000;
  const hook = { onJoin: (): void => undefined };
  const consumer = parts.kafka.consumer({
    groupId,
    sessionTimeout,
    rebalanceTimeout: Math.max(sessionTimeout, 15_000),
    heartbeatInterval: Math.floor(sessionTimeout / 5),
    maxWaitTimeInMs: FETCH_WAIT_MS,
    maxBytesPerPartition: 1_048_576,
    maxBytes: 8_388_608,
    allowAutoTopicCreation: false,
    partitionAssigners: [watchedAssigner(kafkajs.PartitionAssigners.roundRobin, () => hook.onJoin())],
    retry: { initialRetryTime: 200, maxRetryTime: 5000, factor: 0.2, multiplier: 2, retries: 7 },
  });
  const board = leaseBoard({
    window: options.window,
    onFull: (p) => setPaused(state, p, true),
    onRoom: (p) => setPaused(state, p, false),
    onProgress: () => commitSoon(state),
  });
  const state: State = { parts, options, consumer, board, commit: undefined, joining: true, checked: Promise.resolve(), committing: undefined, running: false, stopped: false, stopping: undefined, failure: undefined, topics: [] };
  hook.onJoin = () => {
    state.joining = true;
  };
  watchEvents(state);
  try {
    await start(state);
  } catch (error) {
    fail(state, busFault(error, `joining the group ${options.group}`));
  }
  // kafkajs' `run` resolves also when the group could not be joined.
  if (state.failure !== undefined) throw state.failure;
  const poll = options.topics.some(isPattern) ? setInterval(() => void follow(state), parts.options.metadataPollMs ?? 10_000) : undefined;
  poll?.unref();
  return {
    take: (signal) => board.take(signal),
    lag: () => lagOf(state),
    stop: async () => {
      clearInterval(poll);
      await stop(state);
    },
  };
}

/** The place of the sticky assigner to come. Today's use: `protocol` is called at the start of every join. */
function watchedAssigner(inner: PartitionAssigner, onJoin: () => void): PartitionAssigner {
  return (config) => {
    const assigner = inner(config);
    return {
      name: assigner.name,
      version: assigner.version,
      assign: (group) => assigner.assign(group),
      protocol: (subscription) => {
        onJoin();
        return assigner.protocol(subscription);
      },
    };
  };
}

function watchEvents(state: State): void {
  const { consumer, board, parts } = state;
  const { prefix } = parts.options;
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    const ours = Object.entries(payload.memberAssignment).flatMap(([topic, partitions]) => partitions.map((partition) => ({ topic: topic.slice(prefix.length), partition })));
    board.assign(ours);
    // A pause outlives a rebalance in kafkajs, the reason for it may not.
    for (const p of ours) setPaused(state, p, board.isFull(p));
    state.checked = checkCommitted(state, ours).then(
      () => {
        state.joining = false;
        commitSoon(state);
      },
      (error: unknown) => fail(state, busFault(error, 'comparing committed offsets with the log')),
    );
  });
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    state.joining = true;
    if (!payload.restart) fail(state, crashFault(state, payload.error));
  });
}

function crashFault(state: State, error: Error): Fault {
  const what = `consuming as group ${state.options.group}`;
  const denied = state.parts.denied();
  if (denied !== undefined && error.name === 'KafkaJSGroupCoordinatorNotFound') return new Fault('DENIED_BY_BROKER', false, `${what}: ${denied}`, { cause: error });
  return busFault(error, what);
}

function fail(state: State, fault: Fault): void {
  if (state.stopped) return;
  state.failure ??= fault;
  state.board.close(fault);
  state.board.abortAll();
  void stop(state);
}

function setPaused(state: State, p: PartitionName, paused: boolean): void {
  if (!state.running) return;
  const where = [{ topic: state.parts.options.prefix + p.topic, partitions: [p.partition] }];
  if (paused) state.consumer.pause(where);
  else state.consumer.resume(where);
}

/** Subscribes to the topics that exist now and runs; without any it waits for `follow` to find one. */
async function start(state: State): Promise<void> {
  const { options, parts, consumer } = state;
  const found = options.topics.some(isPattern) ? await parts.find(options.topics.filter(isPattern)) : [];
  const topics = [...new Set([...options.topics.filter((t) => !isPattern(t)), ...found])].sort();
  if (topics.length === 0 || state.stopped) return;
  await consumer.connect();
  await consumer.subscribe({ topics: topics.map((t) => parts.options.prefix + t), fromBeginning: true });
  state.topics = topics;
  state.running = true;
  await consumer.run({ autoCommit: false, eachBatchAutoResolve: false, partitionsConsumedConcurrently: 4, eachBatch: (payload) => handOver(state, payload) });
}

/** kafkajs resolves patterns once. Jobs in hand stay ours if the next assignment says so. */
async function follow(state: State): Promise<void> {
  try {
    const found = await state.parts.find(state.options.topics.filter(isPattern));
    if (state.stopped || found.every((t) => state.topics.includes(t))) return;
    state.parts.options.log.info({ group: state.options.group, topics: found.length }, 'new topics: subscribing again');
    state.joining = true;
    await state.committing;
    if (state.running) {
      state.running = false;
      await state.consumer.stop();
    }
    await start(state);
  } catch (error) {
    state.parts.options.log.warn({ err: busFault(error, 'looking for new topics') }, 'looking for new topics failed');
    // A consumer that was stopped and not started again would be silent for ever.
    if (!state.running) fail(state, busFault(error, `joining the group ${state.options.group} again`));
  }
}

async function handOver(state: State, payload: EachBatchPayload): Promise<void> {
  const { batch } = payload;
  const name = { topic: batch.topic.slice(state.parts.options.prefix.length), partition: batch.partition };
  await state.checked;
  if (state.stopped || !payload.isRunning() || payload.isStale()) return;
  state.commit = payload.commitOffsetsIfNecessary;
  await checkContinuity(state, name, BigInt(batch.firstOffset() ?? batch.lastOffset()), BigInt(batch.highWatermark));
  for (const message of batch.messages) {
    if (state.stopped || !payload.isRunning() || payload.isStale()) return;
    state.board.offer({
      ...name,
      offset: BigInt(message.offset),
      key: message.key?.toString('utf8') ?? '',
      value: message.value ?? new Uint8Array(),
      headers: headersOf(message.headers),
      timestampMs: Number(message.timestamp),
    });
    payload.resolveOffset(message.offset);
  }
  await payload.heartbeat();
}

export function headersOf(headers: Record<string, Buffer | string | (Buffer | string)[] | undefined> | undefined): BusRecord['headers'] {
  const entries = Object.entries(headers ?? {}).map(([name, value]) => {
    const first = Array.isArray(value) ? value[0] : value;
    return [name, first === undefined ? '' : first.toString()] as const;
  });
  return Object.fromEntries(entries);
}

// LOG_TRUNCATED. kafkajs jumps in silence: on an offset out of range it commits -2 (the earliest there is) and goes
// on. So before the first record of an assignment is taken, what the group had committed is compared with the log.

async function checkCommitted(state: State, ours: readonly PartitionName[]): Promise<void> {
  const committed = await committedOf(state, ours);
  for (const point of committed) if (point.offset === -2n) throw truncated(point, 'the group was reset to the start of the log');
  const known = committed.filter((p) => p.offset >= 0n);
  const ends = await endsOf(state.parts, [...new Set(known.map((p) => p.topic))]);
  for (const point of known) {
    const end = ends.find((e) => e.topic === point.topic && e.partition === point.partition);
    if (end !== undefined && (point.offset < end.first || point.offset > end.end)) throw truncated(point, `the log has ${end.first} to ${end.end}`);
    state.board.committedBefore(point);
  }
}

function truncated(point: CommitPoint, why: string): Fault {
  return new Fault('LOG_TRUNCATED', false, `${point.topic}/${point.partition}: committed ${point.offset}, ${why}`);
}

/** Committed offsets of the partitions: -1 for none. */
async function committedOf(state: State, ours: readonly PartitionName[]): Promise<CommitPoint[]> {
  const all = await committedBy(state.parts, state.options.group, [...new Set(ours.map((p) => p.topic))]);
  return all.filter((p) => ours.some((o) => o.topic === p.topic && o.partition === p.partition));
}

/** A step over offsets is normal in a compacted log and fatal when the records were deleted before we read them. */
async function checkContinuity(state: State, name: PartitionName, first: bigint, highWatermark: bigint): Promise<void> {
  const next = state.board.nextOffset(name);
  if (next === undefined || (first <= next && highWatermark >= next)) return;
  const end = (await endsOf(state.parts, [name.topic])).find((e) => e.partition === name.partition);
  if (end !== undefined && end.first <= next && end.end >= next) return;
  const fault = truncated({ ...name, offset: next }, `the log has ${end?.first} to ${end?.end}`);
  fail(state, fault);
  throw fault;
}

function commitSoon(state: State): void {
  if (state.committing !== undefined || state.stopped) return;
  state.committing = new Promise<void>((resolve) => setTimeout(resolve, COMMIT_EVERY_MS).unref())
    .then(() => commitNow(state))
    .finally(() => {
      state.committing = undefined;
    })
    .then((complete) => {
      if (!complete) commitSoon(state);
    });
}

/** Commits what moved; true when nothing is left that could be committed now. */
async function commitNow(state: State): Promise<boolean> {
  // Points and generation are read in the same tick: the commit carries the generation that owns the points.
  const points = state.board.commits();
  if (state.joining || state.commit === undefined || points.length === 0) return true;
  const { prefix } = state.parts.options;
  const topics = [...Map.groupBy(points, (p) => p.topic)].map(([topic, list]) => ({ topic: prefix + topic, partitions: list.map((p) => ({ partition: p.partition, offset: p.offset.toString() })) }));
  try {
    await state.commit({ topics });
    state.board.noteCommitted(points);
    return state.board.commits().length === 0;
  } catch (error) {
    // A rebalance, or the coordinator moved: the join to come, or the next try, settles it.
    state.parts.options.log.debug({ err: busFault(error, 'committing') }, 'not committed yet');
    return state.joining;
  }
}

async function lagOf(state: State): Promise<PartitionLag[]> {
  const ends = await endsOf(state.parts, state.topics);
  const committed = await committedOf(state, ends);
  return ends.map((e) => {
    const point = committed.find((c) => c.topic === e.topic && c.partition === e.partition);
    return { topic: e.topic, partition: e.partition, committed: point === undefined || point.offset < 0n ? e.first : point.offset, end: e.end };
  });
}

function stop(state: State): Promise<void> {
  state.stopping ??= leave(state);
  return state.stopping;
}

/** Longest wait for kafkajs to leave the group: after that the session timeout does it. */
const LEAVE_MS = 5000;

async function leave(state: State): Promise<void> {
  state.board.close();
  state.board.abortAll();
  await state.committing;
  if (state.failure === undefined) await inSteps([1, 2, 3], 1, async () => void (await commitNow(state)));
  state.stopped = true;
  state.running = false;
  const limit = new Promise<void>((resolve) => setTimeout(resolve, LEAVE_MS).unref());
  await Promise.race([state.consumer.disconnect().catch(() => undefined), limit]);
}
