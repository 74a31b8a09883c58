// How one pull gets on: slow when it waits for its PACS most of the time and little comes.
import type { Clock } from '../ports/clock.ts';
import type { DicomWeb, RetrievedPart } from '../ports/dicomweb.ts';

export interface PaceLimits {
  /** What a pull moves at least that is not slow. */
  readonly slowBytesPerSecond: number;
  /** How long a pull is looked at before it is judged. */
  readonly judgeMs: number;
}

export interface Pace {
  /** From the first series on the pull is judged: searches move nothing and need no place, however long they take. */
  start(): void;
  /** Does what is waited for because of the PACS or its quota. */
  waitFor<T>(ask: () => Promise<T>): Promise<T>;
  /** The same for what comes thousands of times a second: a wait begins, and ends. */
  begin(): void;
  end(): void;
  got(bytes: number): void;
  /** The pull has succeeded. One that took no longer than a look is not slow. */
  done(): void;
  stop(): void;
}

/**
 * Judges a pull again and again from its start until it is stopped. What is slow because of us, the store or other pulls is not judged:
 * such a pull waits little for its PACS.
 */
export function pace(limits: PaceLimits, clock: Clock, judge: (slow: boolean) => void): Pace {
  const stopped = new AbortController();
  let bytes = 0;
  let waitedMs = 0;
  let waits = 0;
  let looks = 0;
  let sinceMs = clock.nowMs();

  /** Adds up the time in which at least one wait goes on. */
  const count = (): void => {
    const nowMs = clock.nowMs();
    if (waits > 0) waitedMs += Math.max(0, nowMs - sinceMs);
    sinceMs = nowMs;
  };

  const watch = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(limits.judgeMs, stopped.signal);
      if (stopped.signal.aborted) return;
      count();
      looks += 1;
      if (bytes * 1000 >= limits.slowBytesPerSecond * limits.judgeMs) judge(false);
      else if (waitedMs * 2 > limits.judgeMs) judge(true);
      bytes = 0;
      waitedMs = 0;
    }
  };
  let isStarted = false;
  const start = (): void => {
    if (isStarted) return;
    isStarted = true;
    void watch();
  };

  const begin = (): void => {
    count();
    waits += 1;
  };
  const end = (): void => {
    count();
    waits -= 1;
  };

  return {
    start,
    waitFor: async (ask) => {
      begin();
      try {
        return await ask();
      } finally {
        end();
      }
    },
    begin,
    end,
    got: (n) => {
      bytes += n;
    },
    done: () => {
      // Searches alone say nothing of how its series come.
      if (isStarted && looks === 0) judge(false);
    },
    stop: () => stopped.abort(),
  };
}

export interface Toll {
  /** Before each series: the pull's turn at the process's places. Searches need none. */
  turn(): Promise<void>;
  /** Holds the bytes back while the centre's quota is used up; undefined for a centre without one. */
  readonly pay: ((bytes: number) => Promise<void>) | undefined;
}

/** The PACS as one pull sees it: every wait for it and every byte is counted. */
export function pacedWeb(web: DicomWeb, p: Pace, toll: Toll): DicomWeb {
  const { pay } = toll;
  const got = (chunk: Uint8Array): Promise<void> | undefined => {
    p.got(chunk.byteLength);
    return pay === undefined ? undefined : p.waitFor(() => pay(chunk.byteLength));
  };
  async function* parts(from: AsyncIterable<RetrievedPart>): AsyncGenerator<RetrievedPart> {
    for await (const part of counted(from, p)) yield { headers: part.headers, body: counted(part.body, p, got) };
  }
  return {
    studies: (filter, signal) => web.studies(filter, signal),
    study: (study, signal) => web.study(study, signal),
    series: (study, signal, atMost) => web.series(study, signal, atMost),
    instances: (study, signal, atMost) => web.instances(study, signal, atMost),
    retrieveSeries: async (study, series, signal) => {
      await toll.turn();
      p.start();
      const found = await p.waitFor(() => web.retrieveSeries(study, series, signal));
      return found === undefined ? undefined : parts(found);
    },
  };
}

/** Counts the waits for the items. An iterator and no generator: that would cost a pull some promises more a chunk. */
function counted<T>(from: AsyncIterable<T>, p: Pace, each?: (item: T) => Promise<void> | undefined): AsyncIterableIterator<T, undefined> {
  const items: AsyncIterator<T, unknown> = from[Symbol.asyncIterator]();
  const ended = { done: true, value: undefined } as const;
  const counting: AsyncIterableIterator<T, undefined> = {
    [Symbol.asyncIterator]: () => counting,
    next: async () => {
      let next: IteratorResult<T, unknown>;
      p.begin();
      try {
        next = await items.next();
      } finally {
        p.end();
      }
      if (next.done === true) return ended;
      const wait = each?.(next.value);
      if (wait === undefined) return next;
      try {
        await wait;
      } catch (error) {
        // A reader whose `next` failed closes nothing by itself.
        await items.return?.();
        throw error;
      }
      return next;
    },
    return: async () => {
      await items.return?.();
      return ended;
    },
  };
  return counting;
}
