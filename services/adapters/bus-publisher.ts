// Publishing for every Kafka client: who sends what when, and how often. The client only sends one request, once.
import { setTimeout as pause } from 'node:timers/promises';
import { Fault } from '../kernel/fault.ts';
import type { EventBus, OutgoingRecord } from '../ports/event-bus.ts';
import { topicsAside, topicsOf, whatOf, type Held, type Why } from './bus-aside.ts';
import { busFault, saysPartitionRefused, saysTopicMissing } from './kafka-client.ts';
import { within } from './answered.ts';
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
  /** How often it is looked whether a topic that others don't wait for has come, or takes records again. */
  readonly lookMs: number;
}

const TIMES: PublisherTimes = { tryingMs: 15_000, pauseMs: 200, lookMs: 1000 };
const LONGEST_PAUSE_MS = 5000;

/** The records of one caller (or as many as go into a request), until they are answered. */
interface Waiting extends Held {
  readonly bytes: number;
  /** Set after a refusal together with others: goes in a request of its own, which is tried so long (0: once). */
  aloneMs: number | undefined;
  resolve(): void;
}

/** Least size at which a request is sent without looking for more records. A larger record goes alone: its topic decides. */
const REQUEST_BYTES = 512 * 1024;

/** Longest wait for requests under way when the bus closes. */
const CLOSE_MS = 5000;

const names = (w: Waiting, topic: string): boolean => w.records.some((r) => r.topic === topic);
const recordsOf = (w: Waiting, topic: string): readonly OutgoingRecord[] => w.records.filter((r) => r.topic === topic);

/** The broker took all that it has of the topic. */
function noteTaken(w: Waiting, topic: string): void {
  w.records = w.records.filter((r) => r.topic !== topic);
  if (w.records.length === 0) w.resolve();
}

/** Takes from the queue what goes into the next request. */
function nextBatch(queue: Waiting[]): Waiting[] {
  const batch: Waiting[] = [];
  let bytes = 0;
  const isAlone = (w: Waiting): boolean => w.aloneMs !== undefined || w.tries !== undefined;
  const fits = (next: Waiting): boolean => batch.length === 0 || (!isAlone(next) && bytes + next.bytes <= REQUEST_BYTES);
  for (let next = queue[0]; next !== undefined && fits(next); next = queue[0]) {
    queue.shift();
    if (next.settled) continue;
    bytes += next.bytes;
    batch.push(next);
    if (isAlone(next)) break;
  }
  return batch;
}

/**
 * One request at a time, with everything that came in meanwhile in the next one: fast under load, no wait when
 * idle, and a retried request can't overtake another, so records of a key keep their order.
 *
 * What names a topic that is not there, or of which the broker takes no records now, steps aside (bus-aside.ts), and nothing but a
 * try now and then is sent for it until it goes again: else the tries for one centre's topic would hold up all others. Each such
 * topic has a line of its own and goes back to the common queue in order, so records of a topic still can't overtake each other.
 * Only records that were handed over together with those of such a topic may come later than others of their own topic: a caller to
 * whom that matters waits for its answer, as the stage loop and the outbox do.
 */
export function publisher(sender: Sender, times: PublisherTimes = TIMES): Publisher {
  const queue: Waiting[] = [];
  let pumping: Promise<void> | undefined;
  let closed = false;

  const toQueue = (waiting: Waiting): void => {
    queue.push(waiting);
    pumping ??= pump();
  };
  const existing = (topics: readonly string[]): Promise<readonly string[]> => sender.existing(topics);
  const aside = topicsAside<Waiting>({ existing, toQueue, tryingMs: times.tryingMs, lookMs: times.lookMs });
  const line = (waiting: Waiting): void => {
    if (!aside.takes(waiting)) toQueue(waiting);
  };

  /** Has all who name one of the topics step aside. @returns those of the request who don't */
  const part = (batch: readonly Waiting[], topics: ReadonlyMap<string, Why>): readonly Waiting[] => {
    for (const [topic, why] of topics) aside.add(topic, why);
    const isHeldUp = (w: Waiting): boolean => w.records.some((r) => topics.has(r.topic));
    // Those of the request before those of the queue: they came first.
    const behind = queue.filter(isHeldUp);
    for (const w of behind) queue.splice(queue.indexOf(w), 1);
    for (const w of [...batch.filter(isHeldUp), ...behind]) if (!w.settled) line(w);
    return batch.filter((w) => !isHeldUp(w));
  };

  const partMissing = async (batch: readonly Waiting[]): Promise<readonly Waiting[]> => {
    const asked = topicsOf(batch);
    const there = await sender.existing(asked).catch(() => asked);
    const missing = asked.filter((topic) => !there.includes(topic));
    const faultOf = (topic: string) => (what: string) => new Fault('BUS_UNAVAILABLE', true, `${what}: ${topic} is not there`);
    return part(batch, new Map(missing.map((topic) => [topic, { refuses: false, fault: faultOf(topic) }])));
  };

  /**
   * One request for each topic: a refusal does not say of which of them it is, and the broker has taken the others' records. Those
   * that take nothing step aside.
   * @returns who is not answered and does not wait for one of them
   */
  const partRefused = async (batch: readonly Waiting[], refusal: unknown): Promise<readonly Waiting[]> => {
    const stepAside = (from: readonly Waiting[], topic: string, error: unknown): readonly Waiting[] =>
      part(from, new Map([[topic, { refuses: true, fault: (what) => busFault(error, what) }]]));
    const [only = '', ...more] = topicsOf(batch);
    if (more.length === 0) return stepAside(batch, only, refusal);
    let left = batch;
    for (const topic of topicsOf(batch)) {
      const own = left.filter((w) => !w.settled && names(w, topic));
      try {
        if (own.length > 0) await sender.send(own.flatMap((w) => recordsOf(w, topic)));
        for (const w of own) noteTaken(w, topic);
      } catch (error) {
        // What else fails is answered when they are sent again.
        if (saysPartitionRefused(error)) left = stepAside(left, topic, error);
      }
    }
    return left.filter((w) => !w.settled);
  };

  /** Sends those of its topic alone: another that is refused as well must neither keep this one aside nor have it sent again. */
  const sendAttempt = async (w: Waiting, topic: string): Promise<void> => {
    try {
      await sender.send(recordsOf(w, topic));
    } catch (error) {
      const fault = busFault(error, whatOf([w]));
      if (!fault.retryable || closed) w.reject(fault);
      return aside.tryLater(w);
    }
    w.tries = undefined;
    noteTaken(w, topic);
    if (!w.settled) line(w);
    aside.release(topic);
  };

  /** Sends until all are answered, have stepped aside, or stand in the queue again, each for a request of its own. */
  const sendFor = async (batch: readonly Waiting[]): Promise<void> => {
    const [first] = batch;
    if (first?.tries !== undefined) return await sendAttempt(first, first.tries);
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
        if (saysPartitionRefused(error) && !closed) {
          left = await partRefused(left, error);
          continue;
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
        aside.settled(waiting);
        signal?.removeEventListener('abort', leave);
      };
      const waiting: Waiting = {
        records,
        bytes,
        settled: false,
        aloneMs: undefined,
        timer: undefined,
        tries: undefined,
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
      aside.close();
      if (pumping !== undefined) await within(CLOSE_MS, pumping);
      await sender.close();
    },
  };
}
