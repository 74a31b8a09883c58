// The event bus: publish, and take records as leases. Both Kafka adapters have this shape.

/** A record as it lies in a topic. `topic` is logical: adapters add and remove the deployment's prefix. */
export interface BusRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly key: string;
  readonly value: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  readonly timestampMs: number;
}

export interface OutgoingRecord {
  readonly topic: string;
  readonly key: string;
  readonly value: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
}

/** One record, ours until acknowledged or lost. */
export interface Lease {
  readonly record: BusRecord;
  /** Aborted when the partition is lost or the subscription stops: the job must end and may not commit. */
  readonly signal: AbortSignal;
  /** Done: the offset may be committed once every lower one of the partition is done too. No effect after a loss. */
  ack(): void;
  /** Not done and not ours to finish: the record will be delivered again. */
  release(): void;
}

export interface PartitionLag {
  readonly topic: string;
  readonly partition: number;
  readonly committed: bigint;
  readonly end: bigint;
}

export interface Subscription {
  /** Next record, at most one job per key of a partition at a time; undefined once stopped or `signal` aborts. */
  take(signal: AbortSignal): Promise<Lease | undefined>;
  lag(): Promise<readonly PartitionLag[]>;
  /** Waits for acknowledged work to be committed, then leaves the group. */
  stop(): Promise<void>;
}

export interface SubscribeOptions {
  readonly group: string;
  /** Logical names; `<centre>` is replaced by every centre that has such a topic, and found again as centres come. */
  readonly topics: readonly string[];
  /** Most records in flight per partition. */
  readonly window: number;
}

export interface TopicEnd {
  readonly topic: string;
  readonly partition: number;
  readonly first: bigint;
  readonly end: bigint;
}

export interface EventBus {
  /** Resolves when all in-sync replicas have the records (acks all). Throws Fault BUS_UNAVAILABLE or DENIED_BY_BROKER. */
  publish(records: readonly OutgoingRecord[], signal?: AbortSignal): Promise<void>;
  subscribe(options: SubscribeOptions): Promise<Subscription>;
  /** Logical topics that exist and match (`<centre>` and a trailing `*` are wild). */
  topics(patterns: readonly string[]): Promise<readonly string[]>;
  ends(topics: readonly string[]): Promise<readonly TopicEnd[]>;
  /** Every record from `first` (default the start) up to the given ends, partition by partition in offset order. No group, no commits. */
  read(ends: readonly TopicEnd[], signal?: AbortSignal): AsyncIterable<BusRecord>;
  /** Committed offsets of a group (a stage's name): the first offset of each partition that it has not finished.
   * A partition without a commit is left out. For `account` and `lag`. */
  committed(
    group: string,
    topics: readonly string[],
  ): Promise<readonly { readonly topic: string; readonly partition: number; readonly offset: bigint }[]>;
  close(): Promise<void>;
}

/** The libraries that carry the bus, as KAFKA_CLIENT names them: adapters/event-bus.ts. */
export const BUS_CLIENTS = ['kafkajs', 'platformatic'] as const;
export type BusClient = (typeof BUS_CLIENTS)[number];
export const DEFAULT_CLIENT: BusClient = 'kafkajs';
