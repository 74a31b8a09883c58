// A wait for what another server may never answer. The work itself goes on: what ends is the waiting.

/** What the work gives, or after the time the error that is made then. */
export async function answered<T>(
  ms: number,
  work: Promise<T>,
  lateError: () => Error = () => new Error(`no answer in ${ms} ms`),
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(lateError()), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits for the work to end, well or badly, but no longer than the time. */
export async function within(ms: number, work: Promise<unknown>): Promise<void> {
  await answered(ms, work).catch(() => undefined);
}
