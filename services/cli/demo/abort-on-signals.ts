// Ctrl-C and its kin, for commands that keep processes: the first asks for an end in order, the second ends at once.

const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** Aborted by the first of the signals. By the second this process ends, and its exit hooks kill what it started. */
export function abortOnSignals(say: (line: string) => void): AbortSignal {
  const abort = new AbortController();
  for (const [signal, code] of Object.entries(SIGNALS))
    process.on(signal, () => {
      if (abort.signal.aborted) process.exit(code);
      say('\nEnding in order; once more to end at once.');
      abort.abort(new Error('interrupted'));
    });
  return abort.signal;
}
