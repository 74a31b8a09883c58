// Places for work that must not run all at once; who comes when all are taken waits in line.

export interface Places {
  /** Runs `work` when a place is free; leaves the line when the signal aborts. @throws the signal's reason */
  run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T>;
}

/** `limit` is asked at every turn, so it may change. */
export function places(limit: () => number): Places {
  let taken = 0;
  const line: (() => void)[] = [];

  const serve = (): void => {
    while (line.length > 0 && taken < limit()) {
      taken += 1;
      line.shift()?.();
    }
  };

  const wait = (signal: AbortSignal): Promise<void> =>
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
    async run(signal, work) {
      signal.throwIfAborted();
      await wait(signal);
      try {
        return await work();
      } finally {
        taken -= 1;
        serve();
      }
    },
  };
}
