// Places for work that must not run all at once; who comes when all are taken waits in line.

/** Where a study stands in line: with the new ones of its centre, or with those that come again from a retry topic. */
export type Line = 'new' | 'again';

export interface Places {
  /** Runs `work` when a place is free; leaves the line when the signal aborts. @throws the signal's reason */
  run<T>(signal: AbortSignal, work: () => Promise<T>, line?: Line): Promise<T>;
}

/**
 * `limit` is asked at every turn, so it may change. Both lines take turns: what comes again waits for a few minutes at a time, and
 * would come too late each time behind new ones that wait for hours.
 */
export function places(limit: () => number): Places {
  let taken = 0;
  const lines: Record<Line, (() => void)[]> = { new: [], again: [] };
  let last: Line = 'new';

  const serve = (): void => {
    while (taken < limit()) {
      const other = last === 'new' ? 'again' : 'new';
      if (lines[other].length > 0) last = other;
      const go = lines[last].shift();
      if (go === undefined) return;
      taken += 1;
      go();
    }
  };

  const wait = (signal: AbortSignal, line: (() => void)[]): Promise<void> =>
    new Promise((resolve, reject) => {
      const go = (): void => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = (): void => {
        line.splice(line.indexOf(go), 1);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', leave, { once: true });
      line.push(go);
      serve();
    });

  return {
    async run(signal, work, line = 'new') {
      signal.throwIfAborted();
      await wait(signal, lines[line]);
      try {
        return await work();
      } finally {
        taken -= 1;
        serve();
      }
    },
  };
}
