// Leases over a kafkajs consumer group. kafkajs hands records over and returns; jobs run as long as they like
// while its loop goes on sending heartbeats. Offsets are committed by generation, from the lease board only.
import type { Consumer, EachBatchPayload, Offsets } from 'kafkajs';
import type { Fault } from '../kernel/fault.ts';
import type { PartitionLag, SubscribeOptions, Subscription } from '../ports/event-bus.ts';
import { clockWatch } from './clock-watch.ts';
import { busFault, isPattern } from './kafka-client.ts';
import { answered, within } from './answered.ts';
import { committedBy, endsOf, fetchedOffsetOf, groupFault, inSteps, partitionId, recordOf, type KafkaParts } from './kafka-offsets.ts';
import { stickyAssigner, type Holding } from './kafkajs-assigner.ts';
import { refuseBeforeJoin, startingPoints, truncation } from './kafkajs-truncation.ts';
import { leaseBoard, type LeaseBoard, type PartitionName } from './lease-board.ts';

type Commit = (offsets: Offsets) => Promise<void>;

interface State {
  readonly parts: KafkaParts;
  readonly options: SubscribeOptions;
  /** One for each time the group is joined by us: see `replaceConsumer`. */
  consumer: Consumer;
  readonly board: LeaseBoard;
  /** kafkajs' commit without its retries: one that is retried after a rejoin would carry the new generation and could commit a lost partition. */
  commit: Commit | undefined;
  /**
   * True from a new assignment until it was compared with the log, and while the consumer is begun anew: nothing is committed. Not
   * from the beginning of a join: one that ends with its connection is not tried again when the broker, started again, still
   * has this member, so no assignment follows. Until one does, commits carry the old generation and are refused where that is over.
   */
  joining: boolean;
  /** The last assignment, with prefixed names: what is kept at the next one, if it can be. */
  holding: Holding;
  /** Counts assignments. */
  assignment: number;
  /** Resolves once the assignment was compared with what the group had committed. */
  checked: Promise<void>;
  /** Where each partition of the assignment must go on. */
  readonly expected: Map<string, bigint>;
  committing: Promise<void> | undefined;
  /** The look for new topics, or the joining again, that is under way. */
  following: Promise<void> | undefined;
  running: boolean;
  stopped: boolean;
  stopping: Promise<void> | undefined;
  failure: Fault | undefined;
  topics: readonly string[];
}

/** How long a fetch waits for records: also the longest pause between two heartbeats, so well under the session timeout. */
const FETCH_WAIT_MS = 1000;
const COMMIT_EVERY_MS = 100;

/** Joins the group and gives leases. Centre topics that come later are found by polling. */
export async function openSubscription(parts: KafkaParts, options: SubscribeOptions): Promise<Subscription> {
  const sessionTimeout = sessionTimeoutOf(parts);
  const board = leaseBoard({
    window: options.window,
    onFull: (p) => setPaused(state, p, true),
    onRoom: (p) => setPaused(state, p, false),
    onProgress: () => commitSoon(state),
  });
  const state: State = {
    parts,
    options,
    consumer: newConsumer(parts, options, () => state),
    board,
    commit: undefined,
    joining: true,
    holding: { partitions: [], sinceMs: 0 },
    assignment: 0,
    checked: Promise.resolve(),
    expected: new Map(),
    committing: undefined,
    following: undefined,
    running: false,
    stopped: false,
    stopping: undefined,
    failure: undefined,
    topics: [],
  };
  watchEvents(state);
  try {
    await start(state);
  } catch (error) {
    fail(state, busFault(error, `joining the group ${options.group}`));
  }
  // kafkajs' `run` resolves also when the group could not be joined.
  if (state.failure !== undefined) throw state.failure;
  // One at a time: a second one would stop the consumer that the first is about to start.
  const alone = (work: (state: State) => Promise<void>): void => {
    state.following ??= work(state).finally(() => {
      state.following = undefined;
    });
  };
  const poll = options.topics.some(isPattern) ? setInterval(() => alone(follow), parts.options.metadataPollMs ?? 10_000) : undefined;
  poll?.unref();
  const wentBack = clockWatch();
  const clock = setInterval(() => {
    if (state.following === undefined && wentBack() > sessionTimeout / 5) alone(afterClockWentBack);
  }, 1000);
  clock.unref();
  return {
    take: (signal) => board.take(signal),
    lag: () => lagOf(state),
    stop: async () => {
      clearInterval(poll);
      clearInterval(clock);
      await stop(state);
    },
  };
}

const sessionTimeoutOf = (parts: KafkaParts): number => parts.options.sessionTimeoutMs ?? 10_000;

/** A consumer of the group that is not connected yet. */
function newConsumer(parts: KafkaParts, options: SubscribeOptions, stateNow: () => State): Consumer {
  const sessionTimeout = sessionTimeoutOf(parts);
  const consumer: Consumer = parts.kafka.consumer({
    groupId: parts.options.prefix + options.group,
    sessionTimeout,
    rebalanceTimeout: Math.max(sessionTimeout, 15_000),
    heartbeatInterval: Math.floor(sessionTimeout / 5),
    maxWaitTimeInMs: FETCH_WAIT_MS,
    maxBytesPerPartition: 1_048_576,
    maxBytes: 8_388_608,
    allowAutoTopicCreation: false,
    partitionAssigners: [stickyAssigner(() => stateNow().holding)],
    retry: {
      initialRetryTime: 200,
      maxRetryTime: 5000,
      factor: 0.2,
      multiplier: 2,
      retries: 7,
      restartOnFailure: async () => await Promise.resolve(isOurs(stateNow(), consumer)),
    },
  });
  return consumer;
}

/** Whether the consumer was neither replaced nor stopped. */
function isOurs(state: State, consumer: Consumer): boolean {
  return state.consumer === consumer && !state.stopped;
}

function watchEvents(state: State): void {
  const { consumer, board, parts } = state;
  const { prefix } = parts.options;
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    // kafkajs forgets a run that is stopped while it joins; it would hold its partitions for ever. What is thrown here ends it.
    if (!isOurs(state, consumer)) throw new Error('the consumer was stopped while it joined');
    const ours = Object.entries(payload.memberAssignment).flatMap(([topic, partitions]) =>
      partitions.map((partition) => ({ topic: topic.slice(prefix.length), partition })),
    );
    state.joining = true;
    board.assign(ours);
    state.holding = { partitions: ours.map((p) => ({ ...p, topic: prefix + p.topic })), sinceMs: Date.now() };
    // A pause outlives a rebalance in kafkajs, the reason for it may not.
    for (const p of ours) setPaused(state, p, board.isFull(p));
    state.assignment++;
    state.checked = check(state, ours, state.assignment);
  });
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    if (!isOurs(state, consumer)) return;
    state.joining = true;
    if (!payload.restart) fail(state, groupFault(parts, payload.error, `consuming as group ${state.options.group}`));
  });
}

/** Compares an assignment with the log; while Kafka is away, again and again. Nothing is committed before it is done. */
async function check(state: State, ours: readonly PartitionName[], assignment: number): Promise<void> {
  while (!state.stopped && assignment === state.assignment) {
    try {
      const points = await startingPoints(state.parts, state.options.group, ours);
      if (assignment !== state.assignment) return;
      for (const { point, committed } of points) {
        state.expected.set(partitionId(point), point.offset);
        if (committed) state.board.committedBefore(point);
      }
      state.joining = false;
      return commitSoon(state);
    } catch (error) {
      const fault = busFault(error, 'comparing committed offsets with the log');
      if (!fault.retryable) return fail(state, fault);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
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
  try {
    if (paused) state.consumer.pause(where);
    else state.consumer.resume(where);
  } catch {
    // Between a crash and kafkajs' own restart there is no group; the next assignment sets all pauses.
  }
}

/** Subscribes to the topics that exist now and runs; without any it waits for `follow` to find one. */
async function start(state: State): Promise<void> {
  const { options, parts } = state;
  const topics = await topicsNow(state);
  const { consumer } = state;
  state.topics = topics;
  if (topics.length === 0 || state.stopped) return;
  await refuseBeforeJoin(parts, options.group, topics);
  await consumer.connect();
  // Stopped meanwhile: a consumer that joins now would hold partitions that nobody works on.
  if (state.stopped) return await consumer.disconnect();
  await consumer.subscribe({ topics: topics.map((t) => parts.options.prefix + t), fromBeginning: true });
  state.running = true;
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    partitionsConsumedConcurrently: 4,
    eachBatch: (payload) => handOver(state, payload),
  });
}

async function topicsNow({ options, parts }: State): Promise<string[]> {
  const found = options.topics.some(isPattern) ? await parts.find(options.topics.filter(isPattern)) : [];
  return [...new Set([...options.topics.filter((t) => !isPattern(t)), ...found])].sort();
}

/**
 * A consumer can't be told that a topic is gone: it asks for it together with all others, takes no answer in which one is missing,
 * and fetches nothing any more. One that is stopped while it joins goes on by itself, and must not be taken for the next run.
 */
async function replaceConsumer(state: State): Promise<void> {
  const old = state.consumer;
  state.consumer = newConsumer(state.parts, state.options, () => state);
  watchEvents(state);
  await within(LEAVE_MS, old.disconnect());
}

/** kafkajs resolves patterns once. Jobs in hand stay ours if the next assignment says so. */
async function follow(state: State): Promise<void> {
  try {
    const topics = await topicsNow(state);
    if (state.stopped || topics.join() === state.topics.join()) return;
    state.parts.options.log.info({ group: state.options.group, topics: topics.length }, 'other topics: subscribing again');
    await startAgain(state);
  } catch (error) {
    state.parts.options.log.warn({ err: busFault(error, 'looking for new topics') }, 'looking for new topics failed');
    // A consumer that was stopped and not started again would be silent for ever.
    if (!state.running) fail(state, busFault(error, `joining the group ${state.options.group} again`));
  }
}

async function startAgain(state: State): Promise<void> {
  state.joining = true;
  await state.committing;
  state.running = false;
  await replaceConsumer(state);
  await start(state);
}

/** kafkajs sends its next heartbeat when the wall clock says so: after it went back an hour, in an hour. */
async function afterClockWentBack(state: State): Promise<void> {
  state.parts.options.log.warn({ group: state.options.group }, 'the clock went back: joining the group again');
  try {
    await startAgain(state);
  } catch (error) {
    fail(state, busFault(error, `joining the group ${state.options.group} again`));
  }
}

async function handOver(state: State, payload: EachBatchPayload): Promise<void> {
  const { batch } = payload;
  const name = { topic: batch.topic.slice(state.parts.options.prefix.length), partition: batch.partition };
  await state.checked;
  const over = (): boolean => state.stopped || !payload.isRunning() || payload.isStale();
  if (over() || !(await goesOn(state, name, payload)) || over()) return;
  state.commit = (offsets) => payload.commitOffsetsIfNecessary(offsets);
  for (const message of batch.messages) {
    state.board.offer(recordOf(name, message));
    payload.resolveOffset(message.offset);
  }
  await payload.heartbeat();
}

/**
 * Whether a batch was fetched from where the last one ended, so that what it steps over the log does not have. One from
 * further on (kafkajs may hand over a batch from before a rejoin) is not taken: the partition is sent back.
 */
async function goesOn(state: State, name: PartitionName, { batch }: EachBatchPayload): Promise<boolean> {
  const id = partitionId(name);
  const next = state.board.nextOffset(name) ?? state.expected.get(id);
  if (next === undefined || (fetchedOffsetOf(batch) <= next && BigInt(batch.highWatermark) >= next)) return true;
  const fault = await truncation(state.parts, { ...name, offset: next });
  if (fault !== undefined) {
    fail(state, fault);
    throw fault;
  }
  state.consumer.seek({ topic: batch.topic, partition: batch.partition, offset: next.toString() });
  return false;
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

/**
 * So many session timeouts a commit is waited for: kafkajs loses a request that is written while its connection ends, and nothing
 * would be committed any more. One that waited for its coordinator arrives late all the same, with less than what is committed by then.
 */
const COMMIT_SESSIONS = 3;

/** Commits what moved; true when nothing is left that could be committed now. */
async function commitNow(state: State): Promise<boolean> {
  // Points and generation are read in the same tick: the commit carries the generation that owns the points.
  const points = state.board.commits();
  if (state.joining || state.commit === undefined || points.length === 0) return true;
  const { prefix } = state.parts.options;
  const topics = [...Map.groupBy(points, (p) => p.topic)].map(([topic, list]) => ({
    topic: prefix + topic,
    partitions: list.map((p) => ({ partition: p.partition, offset: p.offset.toString() })),
  }));
  let isLate = false;
  try {
    const committed = state.commit({ topics });
    committed.then(
      () => isLate && state.board.setBack(points),
      () => undefined,
    );
    await answered(COMMIT_SESSIONS * sessionTimeoutOf(state.parts), committed);
    state.board.noteCommitted(points);
    return state.board.commits().length === 0;
  } catch (error) {
    isLate = true;
    // A rebalance, or the coordinator moved: the join to come, or the next try, settles it.
    state.parts.options.log.debug({ err: busFault(error, 'committing') }, 'not committed yet');
    return state.joining;
  }
}

async function lagOf(state: State): Promise<PartitionLag[]> {
  const ends = await endsOf(state.parts, state.topics);
  const committed = new Map((await committedBy(state.parts, state.options.group, state.topics)).map((p) => [partitionId(p), p.offset]));
  return ends.map((e) => {
    const offset = committed.get(partitionId(e)) ?? -1n;
    return { topic: e.topic, partition: e.partition, committed: offset < 0n ? e.first : offset, end: e.end };
  });
}

function stop(state: State): Promise<void> {
  state.stopping ??= leave(state);
  return state.stopping;
}

/** Longest wait for the last commits, and for kafkajs to leave the group: after that the session timeout does it. */
const LEAVE_MS = 5000;

async function leave(state: State): Promise<void> {
  state.board.close();
  state.board.abortAll();
  await within(LEAVE_MS, lastCommits(state));
  state.stopped = true;
  state.running = false;
  await within(LEAVE_MS, state.consumer.disconnect());
  // A look for new topics that was under way may have started the consumer again.
  if (state.following !== undefined)
    await within(
      LEAVE_MS,
      state.following.then(() => state.consumer.disconnect()),
    );
}

async function lastCommits(state: State): Promise<void> {
  await state.committing;
  if (state.failure === undefined) await inSteps([1, 2, 3], 1, async () => void (await commitNow(state)));
}
