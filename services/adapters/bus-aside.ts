// Topics that nobody else waits for: those that are not there, and those of which the broker takes no records now. What names one
// steps aside into a line of its own, in order, until the topic is there, or takes a record again.
import { setTimeout as pause } from 'node:timers/promises';
import { Fault } from '../kernel/fault.ts';
import type { OutgoingRecord } from '../ports/event-bus.ts';

/** The records of one caller, until they are answered. */
export interface Held {
  /** Those that are not in the log yet, as far as is known. */
  records: readonly OutgoingRecord[];
  /** Answered, or left by its caller: not to be sent any more. */
  settled: boolean;
  /** Ends the wait for a topic. */
  timer: NodeJS.Timeout | undefined;
  /** The topic that takes no records and is tried with this. */
  tries: string | undefined;
  reject(error: unknown): void;
}

export const topicsOf = (waiting: readonly Held[]): string[] => [...new Set(waiting.flatMap((w) => w.records.map((r) => r.topic)))];
export const whatOf = (waiting: readonly Held[]): string => `publishing to ${topicsOf(waiting).join(', ')}`;

export interface Why {
  /** The topic is there and takes no records: only a record can find out that it does again. Else it is missing. */
  readonly refuses: boolean;
  /** What a caller is told whose time is over. */
  readonly fault: (what: string) => Fault;
}

interface Line<W> extends Why {
  /** One of its records is on its way to find out. */
  isTried: boolean;
  waiting: W[];
}

export interface TopicsAside<W extends Held> {
  /** Has it wait for the first of its topics that is aside, if one is. @returns whether it does */
  takes(w: W): boolean;
  add(topic: string, why: Why): void;
  /** The topic goes again: who waits for it goes back to the common queue. */
  release(topic: string): void;
  /** What its topic was tried with was not taken: it is the first in line again. */
  tryLater(w: W): void;
  /** Whoever has its answer makes room for the next try. */
  settled(w: W): void;
  /** Refuses all who wait, and who comes later. */
  close(): void;
}

/** @param o `toQueue` puts one behind all others of the common queue. */
export function topicsAside<W extends Held>(o: {
  readonly existing: (topics: readonly string[]) => Promise<readonly string[]>;
  readonly toQueue: (w: W) => void;
  readonly tryingMs: number;
  readonly lookMs: number;
}): TopicsAside<W> {
  /** A topic without any stays until somebody wants it and it is found, or taken. */
  const lines = new Map<string, Line<W>>();
  let looking: Promise<void> | undefined;
  let closed = false;

  /** Makes room for the next try. @returns the line whose topic was to be tried with it */
  const endTry = (w: W): Line<W> | undefined => {
    const tried = w.tries === undefined ? undefined : lines.get(w.tries);
    if (tried !== undefined) tried.isTried = false;
    w.tries = undefined;
    return tried;
  };

  const takes = (w: W): boolean => {
    const own = topicsOf([w]).flatMap((topic) => lines.get(topic) ?? [])[0];
    if (own === undefined) return false;
    const refusal = (): void => w.reject(own.fault(whatOf([w])));
    if (closed) refusal();
    else {
      w.timer ??= setTimeout(refusal, o.tryingMs);
      // A topic that was to be tried with it is tried with the next in its line; with this one where it is that line's first again.
      const tried = endTry(w);
      if (tried === own) own.waiting.unshift(w);
      else own.waiting.push(w);
      looking ??= look();
    }
    return true;
  };

  const release = (topic: string): void => {
    const back = lines.get(topic)?.waiting ?? [];
    lines.delete(topic);
    for (const w of back) {
      clearTimeout(w.timer);
      w.timer = undefined;
      // It may wait for another topic as well.
      if (!w.settled && !takes(w)) o.toQueue(w);
    }
  };

  /** The first in line is sent by itself, through the queue. */
  const attempt = (topic: string, own: Line<W>): void => {
    const first = own.waiting.shift();
    // Whoever is next is tried with all others.
    if (first === undefined) return release(topic);
    own.isTried = true;
    first.tries = topic;
    o.toQueue(first);
  };

  const isWaitedFor = ({ isTried, waiting }: Line<W>): boolean => isTried || waiting.length > 0;

  const look = async (): Promise<void> => {
    for (;;) {
      const missing = [...lines].flatMap(([topic, { refuses }]) => (refuses ? [] : [topic]));
      const there = missing.length === 0 ? [] : await o.existing(missing).catch(() => []);
      for (const topic of there) release(topic);
      for (const own of lines.values()) own.waiting = own.waiting.filter((w) => !w.settled);
      for (const [topic, own] of lines) if (own.refuses && !own.isTried) attempt(topic, own);
      if (closed || ![...lines.values()].some(isWaitedFor)) break;
      await pause(o.lookMs);
    }
    looking = undefined;
  };

  return {
    takes,
    add: (topic, why) => {
      if (!lines.has(topic)) lines.set(topic, { ...why, isTried: false, waiting: [] });
    },
    release,
    tryLater: (w) => {
      // Who has left has made room for the next try already.
      if (!w.settled) endTry(w)?.waiting.unshift(w);
    },
    settled: (w) => {
      endTry(w);
      clearTimeout(w.timer);
    },
    close: () => {
      closed = true;
      for (const w of [...lines.values()].flatMap((own) => own.waiting))
        w.reject(new Fault('BUS_UNAVAILABLE', true, `${whatOf([w])}: the bus closes`));
    },
  };
}
