// Publishing for every Kafka client: who sends what when, and how often. The client only sends one request, once.
import { Fault } from '../kernel/fault.ts';
import type { EventBus, OutgoingRecord } from '../ports/event-bus.ts';
import { busFault, saysTopicMissing } from './kafka-client.ts';
import { within } from './kafka-offsets.ts';
import { memoryBytes } from './record-memory.ts';

export interface Sender {
  /** One request with all of these, tried once; rejects with the client's own error. */
  send(records: readonly OutgoingRecord[]): Promise<void>;
  /** Those of the topics that the broker has now. */
  existing(topics: readonly string[]): Promise<readonly string[]>;
  close(): Promise<void>;
}

export interface Publisher {
  readonly publish: EventBus['publish'];
  close(): Promise<void>;
}

/** Milliseconds; shorter in tests. */
export interface PublisherTimes {
  /** How long a request is tried again that may pass by itself, and how long one waits for a topic that is not there. */
  readonly tryingMs: number;
  /** Pause before the second try; doubled for each further one, up to 5 s. */
  readonly pauseMs: number;
  /** How often it is looked whether a missing topic has come. */
  readonly lookMs: number;
}

const TIMES: PublisherTimes = { tryingMs: 15_000, pauseMs: 200, lookMs: 1000 };
const LONGEST_PAUSE_MS = 5000;

/** The records of one caller (or as many as go into a request), until they are answered. */
interface Waiting {
  readonly records: readonly OutgoingRecord[];
  readonly bytes: number;
  /** Answered, or left by its caller: not to be sent any more. */
  settled: boolean;
  /** Set after a refusal together with others: goes in a request of its own, which is tried so long (0: once). */
  aloneMs: number | undefined;
  /** Ends the wait for a missing topic. */
  timer: NodeJS.Timeout | undefined;
  resolve(): void;
  reject(error: unknown): void;
}

/** Least size at which a request is sent without looking for more records. A larger record goes alone: its topic decides. */
const REQUEST_BYTES = 512 * 1024;

/** Longest wait for requests under way when the bus closes. */
const CLOSE_MS = 5000;

const topicsOf = (waiting: readonly Waiting[]): string[] => [...new Set(waiting.flatMap((w) => w.records.map((r) => r.topic)))];
const names = (w: Waiting, topic: string): boolean => w.records.some((r) => r.topic === topic);
const whatOf = (waiting: readonly Waiting[]): string => `publishing to ${topicsOf(waiting).join(', ')}`;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Takes from the queue what goes into the next request. */
function nextBatch(queue: Waiting[]): Waiting[] {
  const batch: Waiting[] = [];
  let bytes = 0;
  const fits = (next: Waiting): boolean => batch.length === 0 || (next.aloneMs === undefined && bytes + next.bytes <= REQUEST_BYTES);
  for (let next = queue[0]; next !== undefined && fits(next); next = queue[0]) {
    queue.shift();
    if (next.settled) continue;
    bytes += next.bytes;
    batch.push(next);
    if (next.aloneMs !== undefined) break;
  }
  return batch;
}

/**
 * One request at a time, with everything that came in meanwhile in the next one: fast under load, no wait when
 * idle, and a retried request can't overtake another, so records of a key keep their order.
 *
 * What names a topic that is not there steps aside, whole, and nothing is sent for it until the topic has come: else the
 * tries for one centre's topic would hold up all others. Each missing topic has a queue of its own and goes back to the
 * common one in order, so records of a topic still can't overtake each other. Only records that were handed over
 * together with those of a missing topic come later than others of their own topic: a caller to whom that matters
 * waits for its answer, as the stage loop and the outbox do.
 */
export function publisher(sender: Sender, times: PublisherTimes = TIMES): Publisher {
  const queue: Waiting[] = [];
  /** By topic that is not there: what waits for it. A topic without any stays until somebody wants it and it is found. */
  const aside = new Map<string, Waiting[]>();
  let pumping: Promise<void> | undefined;
  let looking: Promise<void> | undefined;
  let closed = false;

  /** Into the line of its missing topic, else into the common queue. */
  const line = (waiting: Waiting): void => {
    const missing = topicsOf([waiting]).find((topic) => aside.has(topic));
    if (missing === undefined) {
      queue.push(waiting);
      pumping ??= pump();
      return;
    }
    const refusal = (): void => waiting.reject(new Fault('BUS_UNAVAILABLE', true, `${whatOf([waiting])}: ${missing} is not there`));
    if (closed) return refusal();
    waiting.timer = setTimeout(refusal, times.tryingMs);
    aside.get(missing)?.push(waiting);
    looking ??= look();
  };

  /** Asks which topics are missing, and has all who name one step aside. @returns those who don't */
  const partMissing = async (batch: readonly Waiting[]): Promise<readonly Waiting[]> => {
    const asked = topicsOf(batch);
    const there = await sender.existing(asked).catch(() => asked);
    const missing = asked.filter((topic) => !there.includes(topic));
    for (const topic of missing) if (!aside.has(topic)) aside.set(topic, []);
    const isHeldUp = (w: Waiting): boolean => missing.some((topic) => names(w, topic));
    // Those of the request before those of the queue: they came first.
    const behind = queue.filter(isHeldUp);
    for (const w of behind) queue.splice(queue.indexOf(w), 1);
    for (const w of [...batch.filter(isHeldUp), ...behind]) if (!w.settled) line(w);
    return batch.filter((w) => !isHeldUp(w));
  };

  const look = async (): Promise<void> => {
    for (;;) {
      const there = await sender.existing([...aside.keys()]).catch(() => []);
      for (const topic of there) {
        const back = aside.get(topic) ?? [];
        aside.delete(topic);
        for (const w of back) {
          clearTimeout(w.timer);
          if (!w.settled) line(w);
        }
      }
      for (const [topic, list] of aside)
        aside.set(
          topic,
          list.filter((w) => !w.settled),
        );
      if (closed || [...aside.values()].every((list) => list.length === 0)) break;
      await pause(times.lookMs);
    }
    looking = undefined;
  };

  /** Sends until all are answered, have stepped aside, or stand in the queue again, each for a request of its own. */
  const sendFor = async (batch: readonly Waiting[]): Promise<void> => {
    const begun = performance.now();
    const tryingMs = batch[0]?.aloneMs ?? times.tryingMs;
    let waitMs = times.pauseMs;
    for (let left = batch; left.length > 0; left = left.filter((w) => !w.settled)) {
      try {
        await sender.send(left.flatMap((w) => w.records));
        for (const w of left) w.resolve();
        return;
      } catch (error) {
        if (saysTopicMissing(error)) {
          const rest = await partMissing(left);
          const someLeft = rest.length < left.length;
          left = rest;
          if (someLeft) continue;
        }
        const { retryable } = busFault(error, '');
        if (!retryable || closed || performance.now() - begun >= tryingMs) {
          if (left.length === 1 || closed) for (const w of left) w.reject(busFault(error, whatOf([w])));
          else {
            // One refused topic must not fail its neighbours: each caller gets its own answer. Through the queue, where
            // they step aside with all others of a topic that turns out to be missing.
            for (const w of left) w.aloneMs = retryable ? 0 : times.tryingMs;
            queue.unshift(...left);
          }
          return;
        }
        await pause(waitMs);
        waitMs = Math.min(waitMs * 2, LONGEST_PAUSE_MS);
      }
    }
  };

  const pump = async (): Promise<void> => {
    // Callers of the same tick go together.
    await Promise.resolve();
    for (let batch = nextBatch(queue); batch.length > 0; batch = nextBatch(queue)) await sendFor(batch);
    pumping = undefined;
  };

  /** Whoever aborts waits no longer. What was not sent yet never is; what is on its way may arrive, with the ids of the next try. */
  const enqueue = (records: readonly OutgoingRecord[], bytes: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const settle = (): void => {
        waiting.settled = true;
        clearTimeout(waiting.timer);
        signal?.removeEventListener('abort', leave);
      };
      const waiting: Waiting = {
        records,
        bytes,
        settled: false,
        aloneMs: undefined,
        timer: undefined,
        resolve: () => (settle(), resolve()),
        reject: (error) => (settle(), reject(error)),
      };
      const leave = (): void => waiting.reject(signal?.reason);
      signal?.throwIfAborted();
      signal?.addEventListener('abort', leave, { once: true });
      line(waiting);
    });

  return {
    publish: async (records, signal) => {
      let chunk: OutgoingRecord[] = [];
      let bytes = 0;
      for (const record of records) {
        const size = memoryBytes(record);
        if (chunk.length > 0 && bytes + size > REQUEST_BYTES) {
          await enqueue(chunk, bytes, signal);
          chunk = [];
          bytes = 0;
        }
        chunk.push(record);
        bytes += size;
      }
      if (chunk.length > 0) await enqueue(chunk, bytes, signal);
    },
    close: async () => {
      closed = true;
      for (const w of [...aside.values()].flat()) w.reject(new Fault('BUS_UNAVAILABLE', true, `${whatOf([w])}: the bus closes`));
      if (pumping !== undefined) await within(CLOSE_MS, pumping);
      await sender.close();
    },
  };
}
