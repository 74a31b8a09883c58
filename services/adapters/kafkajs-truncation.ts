// LOG_TRUNCATED: kafkajs jumps in silence. On an offset out of range it commits -2 (the earliest there is) and goes on.
// So what a group had committed is compared with the log before the first record of an assignment is taken.
import { Fault } from '../kernel/fault.ts';
import { lossOf } from '../kernel/lost-place.ts';
import type { TopicEnd } from '../ports/event-bus.ts';
import { committedBy, endsOf, partitionId, type KafkaParts } from './kafka-offsets.ts';
import type { CommitPoint, PartitionName } from './lease-board.ts';

export function truncated(point: CommitPoint, why: string, what = 'committed'): Fault {
  return new Fault('LOG_TRUNCATED', false, `${point.topic}/${point.partition}: ${what} ${point.offset}, ${why}`);
}

export interface StartingPoint {
  readonly point: CommitPoint;
  /** False where the group has committed nothing and starts with the log. */
  readonly committed: boolean;
}

/** Where the group goes on in each partition. @throws Fault LOG_TRUNCATED when the log no longer has that place. */
export async function startingPoints(parts: KafkaParts, group: string, ours: readonly PartitionName[]): Promise<StartingPoint[]> {
  const topics = [...new Set(ours.map((p) => p.topic))];
  const committed = new Map((await committedBy(parts, group, topics)).map((p) => [partitionId(p), p.offset]));
  const ends = new Map((await endsOf(parts, topics)).map((e) => [partitionId(e), e]));
  return ours.flatMap((name) => {
    const end = ends.get(partitionId(name));
    return end === undefined ? [] : [startOf(name, committed.get(partitionId(name)) ?? -1n, end)];
  });
}

/** Where a group goes on that has committed `offset` (-1 for nothing). @throws Fault LOG_TRUNCATED when the log no longer has that place. */
export function startOf({ topic, partition }: PartitionName, offset: bigint, end: TopicEnd): StartingPoint {
  const loss = lossOf(offset, end);
  if (loss !== undefined)
    throw truncated(
      { topic, partition, offset },
      loss.reason === 'RESET' ? 'the group was reset to the start of the log' : `the log has ${end.first} to ${end.end}`,
    );
  return { point: { topic, partition, offset: offset < 0n ? end.first : offset }, committed: offset >= 0n };
}

/**
 * Looks at all partitions before a consumer joins: from its first fetch on, kafkajs commits its reset over a place that is
 * gone, and nobody could tell any more what was lost (`ctstream log accept-loss`). What else is wrong the join says itself.
 * @throws Fault LOG_TRUNCATED
 */
export async function refuseBeforeJoin(parts: KafkaParts, group: string, topics: readonly string[]): Promise<void> {
  try {
    // Before the ends: the group goes on meanwhile, and may commit more than was there when they were asked for.
    const committed = new Map((await committedBy(parts, group, topics)).map((p) => [partitionId(p), p.offset]));
    for (const end of await endsOf(parts, topics)) startOf(end, committed.get(partitionId(end)) ?? -1n, end);
  } catch (error) {
    if (error instanceof Fault && error.code === 'LOG_TRUNCATED') throw error;
  }
}

/** The fault when the log does not reach the place where we must go on; undefined when it does. */
export async function truncation(
  parts: Pick<KafkaParts, 'options' | 'about'>,
  next: CommitPoint,
  what?: string,
): Promise<Fault | undefined> {
  const end = (await endsOf(parts, [next.topic])).find((e) => e.partition === next.partition);
  if (end !== undefined && end.first <= next.offset && end.end >= next.offset) return undefined;
  return truncated(next, `the log has ${end?.first ?? '?'} to ${end?.end ?? '?'}`, what);
}
