// The shape of a stage: an event in, an outcome out.
import type { EventRecord, EventType } from '../../schemas/events.gen.ts';
import type { Outcome } from './outcome.ts';

export type Zone = 'clinical' | 'research';

/** A decoded event with what its envelope said. */
export type EventIn<T extends EventType = EventType> = Extract<EventRecord, { type: T }> & {
  readonly id: string;
  readonly source: string;
  readonly timeMs: number;
  /** Logical topic (without any prefix), partition and offset it was read from. */
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly key: string;
  /** CloudEvents `sequence` extension of a source's outbox, when there is one. */
  readonly sequence?: bigint;
};

/** The job that a handler runs in. */
export interface Job {
  /** The record comes from a retry topic. All centres share those and their windows, so what has to wait long for its turn makes
   * room for others (`onlyWaited` of a fault). */
  readonly isRetry: boolean;
  /** `release` runs once the record is settled (acknowledged, handed on or let go), however the job ended; at once when
   * it is settled already. For what must be held until the event is in the log, such as a lock. Its errors are logged. */
  untilSettled(release: () => Promise<void>): void;
  /**
   * The work begins that may end the process. The loop calls it before the handler, unless the stage has `beginsItself`.
   * @throws Fault PROCESS_DIED when it was begun and never ended too often
   */
  begin(): void;
}

export interface Stage<T extends EventType, Ports> {
  readonly name: string;
  /** Where the stage's retry and dead topics, rejections and skips go. */
  readonly zone: Zone;
  /** Logical topic names as in schemas/topics.json; `<centre>` stands for every centre. */
  readonly consumes: readonly string[];
  readonly produces: readonly string[];
  /** Longest time one job may take. */
  readonly jobTimeoutMs: number;
  /** The handler waits for its turn first, with many others, and says itself when its work begins. */
  readonly beginsItself?: true;
  /** The runtime always gives a job; a caller that settles nothing, such as a test, may leave it out. */
  handle(event: EventIn<T>, ports: Ports, signal: AbortSignal, job?: Job): Promise<Outcome>;
  /** Runs once the outcome's events are in the log, and before the record is acknowledged: for what may only be noted then.
   * It may run again for the same event; when it throws, the record is tried again. */
  told?(event: EventIn<T>, outcome: Outcome, ports: Ports, signal: AbortSignal): Promise<void>;
}
