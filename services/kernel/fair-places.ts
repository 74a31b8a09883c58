// Places for work, given to the centres in turn: a centre with a thousand studies waits behind one with a
// single study as often as the other way round.

/** The place of one piece of work, which may give it up while it only waits, and count for it again. */
export interface Place {
  /**
   * Resolves when a place is free and it is the centre's turn, or at once without a place while `needsNone` says so.
   * Leaves the line when the signal aborts. @throws the signal's reason
   */
  join(signal: AbortSignal, needsNone?: () => boolean): Promise<void>;
  /** Gives the place to the next in line; the work may go on without one. */
  leave(): void;
  /** Counts again, at once: no new work gets a place until as many have ended as there are too many. */
  back(): void;
  held(): boolean;
}

export interface FairPlaces {
  /** A place that is not held yet. Who joins must leave. */
  place(centre: string): Place;
  /** Runs `work` in a place. @throws the signal's reason */
  run<T>(centre: string, signal: AbortSignal, work: () => Promise<T>): Promise<T>;
  /** Asks the centre's waiting work again whether it needs a place. */
  ask(centre: string): void;
  /** Work that waits for a place. */
  waiting(centre: string): number;
  /** Places in use; more than there are when work came back to its place. */
  taken(): number;
}

interface Waiting {
  start(withPlace: boolean): void;
  needsNone(): boolean;
}

/** `count` places. A centre that waits is passed over at most once by each other centre: whoever was served goes last. */
export function fairPlaces(count: number): FairPlaces {
  let taken = 0;
  /** Centres with waiting work, next one first; oldest work first. */
  const lines = new Map<string, Waiting[]>();

  const serve = (): void => {
    while (taken < count) {
      const [next] = lines;
      if (next === undefined) return;
      const [centre, line] = next;
      lines.delete(centre);
      const first = line.shift();
      if (line.length > 0) lines.set(centre, line);
      taken += 1;
      first?.start(true);
    }
  };

  const remove = (centre: string, one: Waiting): void => {
    const line = lines.get(centre) ?? [];
    const at = line.indexOf(one);
    if (at >= 0) line.splice(at, 1);
    if (line.length === 0) lines.delete(centre);
  };

  /** True when it starts with a place. */
  const wait = (centre: string, signal: AbortSignal, needsNone: () => boolean): Promise<boolean> =>
    new Promise((resolve, reject) => {
      const leave = (): void => {
        remove(centre, one);
        reject(signal.reason as Error);
      };
      const one: Waiting = {
        needsNone,
        start: (withPlace) => {
          signal.removeEventListener('abort', leave);
          resolve(withPlace);
        },
      };
      if (needsNone()) return resolve(false);
      signal.addEventListener('abort', leave, { once: true });
      const line = lines.get(centre);
      if (line === undefined) lines.set(centre, [one]);
      else line.push(one);
      serve();
    });

  const place = (centre: string): Place => {
    let has = false;
    const leave = (): void => {
      if (!has) return;
      has = false;
      taken -= 1;
      serve();
    };
    return {
      join: async (signal, needsNone = () => false) => {
        signal.throwIfAborted();
        if (has || !(await wait(centre, signal, needsNone))) return;
        // It came back to its place while it stood in line: one is enough.
        if (has) taken -= 1;
        has = true;
        serve();
      },
      leave,
      back: () => {
        if (has) return;
        has = true;
        taken += 1;
      },
      held: () => has,
    };
  };

  return {
    place,
    async run(centre, signal, work) {
      const own = place(centre);
      await own.join(signal);
      try {
        return await work();
      } finally {
        own.leave();
      }
    },
    ask: (centre) => {
      for (const one of lines.get(centre)?.filter((w) => w.needsNone()) ?? []) {
        remove(centre, one);
        one.start(false);
      }
    },
    waiting: (centre) => lines.get(centre)?.length ?? 0,
    taken: () => taken,
  };
}
