// A relational database with transactions, and the outbox that lives in the same transaction.
import type { NewEvent } from '../kernel/outcome.ts';

export interface Queryable {
  /** Positional parameters ($1, $2). Rows come as plain objects; bigint columns as strings. */
  query<Row extends object = Record<string, unknown>>(sql: string, params?: readonly unknown[]): Promise<readonly Row[]>;
}

export type QueuedEvent = NewEvent & {
  cause: string;
  ordinal?: number;
  /** Publish it once more where it was published before, with its id and number: whoever waits for it may have lost it. */
  again?: boolean;
};

/**
 * Statements run in the order in which they were called. Those that need nothing of each other's answers are called
 * together (Promise.all of single statements) and take one round trip; each sees what the ones before it did, and what
 * others had committed when a lock before it was given.
 */
export interface Transaction extends Queryable {
  /** True when this event id was not seen before (inserted into `inbox` now). */
  firstSight(eventId: string): Promise<boolean>;
  /** Adds events to the outbox; they are published after the commit, in order per key. One call at a time. */
  enqueue(events: QueuedEvent | readonly QueuedEvent[]): Promise<void>;
  /** Blanks the outbox rows of the keys that are sent, for an erasure; their ids and numbers stay. Answers how many are not
   * sent yet: those go out first, and must be forgotten later. */
  forget(keys: readonly string[]): Promise<{ readonly blanked: number; readonly unsent: number }>;
}

/** Every method throws Fault('DATABASE_UNAVAILABLE', true) when the server does not answer. */
export interface Database extends Queryable {
  transaction<T>(work: (tx: Transaction) => Promise<T>, signal?: AbortSignal): Promise<T>;
  close(): Promise<void>;
}
