// Whether a consumer group can go on in a partition where it was, and what it has lost when it can't: what a stage refuses
// (LOG_TRUNCATED) and what an operator accepts is one rule.

/** First record that a partition has, and the offset of the next one to come. */
export interface LogSpan {
  readonly first: bigint;
  readonly end: bigint;
}

/**
 * - `DELETED`: retention, or a hand, was faster than the group;
 * - `MADE_ANEW`: the log ends before the group's place: the topic was deleted and made again, or the log lost its end;
 * - `RESET`: kafkajs' own reset, which forgets the place.
 */
export type LossReason = 'DELETED' | 'MADE_ANEW' | 'RESET';

export interface Loss {
  readonly reason: LossReason;
  /** Offsets that the group had not read, both included; undefined where nothing says which they were. */
  readonly lost?: { readonly first: bigint; readonly last: bigint; readonly records: bigint };
  /** First offset that is left. */
  readonly goesOnAt: bigint;
}

/** What kafkajs commits when it resets a group to the start of a log by itself. */
const KAFKAJS_RESET = -2n;

/**
 * What a group that has committed `committed` (-1: nothing, it starts with the log) has lost; undefined when its next record
 * is there. A topic that was made anew and has grown past the old place can't be told from one that was not.
 */
export function lossOf(committed: bigint, { first, end }: LogSpan): Loss | undefined {
  if (committed === KAFKAJS_RESET) return { reason: 'RESET', goesOnAt: first };
  if (committed < 0n) return undefined;
  if (committed > end) return { reason: 'MADE_ANEW', goesOnAt: first };
  if (committed >= first) return undefined;
  return { reason: 'DELETED', lost: { first: committed, last: first - 1n, records: first - committed }, goesOnAt: first };
}
