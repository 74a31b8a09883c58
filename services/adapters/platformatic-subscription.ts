// Leases over @platformatic/kafka: the group says what is ours, our own fetch loop feeds the lease board, and what is
// finished without a gap is committed.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from '../kernel/fault.ts';
import type { PartitionLag, SubscribeOptions, Subscription } from '../ports/event-bus.ts';
import { busFault, isPattern } from './kafka-client.ts';
import { within } from './answered.ts';
import { partitionId, type KafkaBusOptions } from './kafka-offsets.ts';
import { startOf } from './kafkajs-truncation.ts';
import { leaseBoard, type LeaseBoard, type PartitionName } from './lease-board.ts';
import type { Asking } from './platformatic-client.ts';
import { openFetcher } from './platformatic-fetch.ts';
import { openGroup, type Group } from './platformatic-group.ts';
import { fetchLoop, type FetchLoop } from './platformatic-pump.ts';

interface State {
  readonly parts: Parts;
  readonly options: SubscribeOptions;
  readonly group: Group;
  readonly board: LeaseBoard;
  readonly loop: FetchLoop;
  /** True from the moment a join begins until the assignment was compared with the log: nothing is committed. */
  joining: boolean;
  holding: { partitions: readonly PartitionName[]; sinceMs: number };
  /** Counts assignments. */
  assignment: number;
  committing: Promise<void> | undefined;
  following: Promise<void> | undefined;
  stopped: boolean;
  stopping: Promise<void> | undefined;
  failure: Fault | undefined;
}

interface Parts {
  readonly options: KafkaBusOptions;
  readonly asking: Asking;
}

const COMMIT_EVERY_MS = 100;
const LEAVE_MS = 5000;

/** Joins the group and gives leases. Centre topics that come later are found by polling. @throws Fault */
export async function openPlatformaticSubscription(parts: Parts, options: SubscribeOptions): Promise<Subscription> {
  const board = leaseBoard({
    window: options.window,
    onFull: () => undefined,
    onRoom: () => state.loop.ring(),
    onProgress: () => commitSoon(state),
  });
  const group = openGroup(parts.options, options.group, {
    onJoin: () => {
      state.joining = true;
      return state.holding;
    },
    onAssigned: (ours) => assigned(state, ours),
    onFault: (fault) => fail(state, fault),
  });
  const state: State = {
    parts,
    options,
    group,
    board,
    loop: fetchLoop({
      fetcher: openFetcher(parts.options),
      asking: parts.asking,
      board,
      log: parts.options.log,
      what: `consuming as group ${options.group}`,
      onFault: (fault) => fail(state, fault),
    }),
    joining: false,
    holding: { partitions: [], sinceMs: 0 },
    assignment: 0,
    committing: undefined,
    following: undefined,
    stopped: false,
    stopping: undefined,
    failure: undefined,
  };
  try {
    const topics = await topicsNow(state);
    if (topics.length > 0) await group.join(topics);
  } catch (error) {
    fail(state, busFault(error, `joining the group ${options.group}`));
  }
  if (state.failure !== undefined) throw state.failure;
  const look = (): void => {
    state.following ??= follow(state).finally(() => {
      state.following = undefined;
    });
  };
  const poll = options.topics.some(isPattern) ? setInterval(look, parts.options.metadataPollMs ?? 10_000) : undefined;
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

async function topicsNow({ options, parts }: State): Promise<string[]> {
  const patterns = options.topics.filter(isPattern);
  const found = patterns.length === 0 ? [] : await parts.asking.find(patterns);
  return [...new Set([...options.topics.filter((t) => !isPattern(t)), ...found])].sort();
}

/** Names the topics anew when some came or went since the last join. Jobs in hand stay ours if the next assignment says so. */
async function follow(state: State): Promise<void> {
  try {
    const topics = await topicsNow(state);
    state.group.forgetAllBut(topics);
    const joined = state.group.joined().toSorted();
    if (state.stopped || topics.join() === joined.join()) return;
    // During a join the library would make one of the two, with the old topics: the next look does it. But with a topic that is
    // gone no join succeeds, and no assignment can be compared with the log.
    if (state.joining && joined.every((t) => topics.includes(t))) return;
    state.parts.options.log.info({ group: state.options.group, topics: topics.length }, 'other topics: joining again');
    await state.group.join(topics);
  } catch (error) {
    const fault = busFault(error, 'looking for new topics');
    state.parts.options.log.warn({ err: fault }, 'looking for new topics failed');
    if (!fault.retryable) fail(state, fault);
  }
}

function assigned(state: State, ours: readonly PartitionName[]): void {
  state.board.assign(ours);
  state.loop.keep(ours);
  state.holding = { partitions: ours, sinceMs: Date.now() };
  state.assignment++;
  void check(state, ours, state.assignment);
}

/** Compares an assignment with the log; while Kafka is away, again and again. Nothing is committed before it is done. */
async function check(state: State, ours: readonly PartitionName[], assignment: number): Promise<void> {
  const { asking } = state.parts;
  const over = (): boolean => state.stopped || assignment !== state.assignment;
  while (!over()) {
    try {
      const topics = [...new Set(ours.map((p) => p.topic))];
      const [committed, ends] = await Promise.all([asking.committed(state.options.group, topics), asking.ends(topics)]);
      if (over()) return;
      const offsets = new Map(committed.map((p) => [partitionId(p), p.offset]));
      const endOf = new Map(ends.map((e) => [partitionId(e), e]));
      for (const name of ours) {
        const end = endOf.get(partitionId(name));
        if (end === undefined) continue;
        const start = startOf(name, offsets.get(partitionId(name)) ?? -1n, end);
        if (start.committed) state.board.committedBefore(start.point);
        state.loop.begin(start);
      }
      state.joining = false;
      state.loop.ring();
      commitSoon(state);
      return await state.loop.run();
    } catch (error) {
      const fault = busFault(error, 'comparing committed offsets with the log');
      if (!fault.retryable) return fail(state, fault);
      await sleep(500);
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
  if (state.joining || state.board.commits().length === 0) return true;
  try {
    // A join may begin before the request is sent.
    state.board.noteCommitted(await state.group.commit(() => (state.joining ? [] : state.board.commits())));
    return state.joining || state.board.commits().length === 0;
  } catch (error) {
    // A rebalance, or the coordinator moved: the join to come, or the next try, settles it.
    state.parts.options.log.debug({ err: busFault(error, 'committing') }, 'not committed yet');
    return state.joining;
  }
}

async function lagOf(state: State): Promise<PartitionLag[]> {
  const topics = state.group.joined();
  const [ends, points] = await Promise.all([state.parts.asking.ends(topics), state.parts.asking.committed(state.options.group, topics)]);
  const committed = new Map(points.map((p) => [partitionId(p), p.offset]));
  return ends.map((e) => {
    const offset = committed.get(partitionId(e)) ?? -1n;
    return { topic: e.topic, partition: e.partition, committed: offset < 0n ? e.first : offset, end: e.end };
  });
}

function stop(state: State): Promise<void> {
  state.stopping ??= leave(state);
  return state.stopping;
}

async function leave(state: State): Promise<void> {
  state.board.close();
  state.board.abortAll();
  await within(LEAVE_MS, lastCommits(state));
  state.stopped = true;
  await state.group.leave();
  await state.loop.stop();
}

async function lastCommits(state: State): Promise<void> {
  await state.committing;
  for (let i = 0; i < 3 && state.failure === undefined; i++) await commitNow(state);
}
