// What a consumer group has committed, looked at and set by an operator's hand. A stage commits through its leases alone.
import type { TopicEnd } from './event-bus.ts';

export interface GroupPoint {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
}

/** Logical names of groups and topics. Everything throws Fault. */
export interface GroupOffsets {
  /** Topics that exist and match (`<centre>` and a trailing `*` are wild). */
  topics(patterns: readonly string[]): Promise<readonly string[]>;
  ends(topics: readonly string[]): Promise<readonly TopicEnd[]>;
  /** As they stand: -1 for nothing, -2 after kafkajs' own reset. */
  committed(group: string, topics: readonly string[]): Promise<readonly GroupPoint[]>;
  /** How many members the broker counts now. */
  members(group: string): Promise<number>;
  /**
   * Sets these partitions and no others.
   * @throws Fault GROUP_ACTIVE when the group has a member: the broker itself refuses, so none can come in between.
   */
  set(group: string, points: readonly GroupPoint[]): Promise<void>;
  close(): Promise<void>;
}
