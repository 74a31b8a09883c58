// Tries at start whether the object store does what we rely on, and goes on when that can't be said because it is full.
import { Fault } from '../kernel/fault.ts';
import { describeError } from './log.ts';
import type { ProcessContext } from './process.ts';

const AGAIN_AFTER_MS = 5000;
const FULL = 'the object store has no room, so it could not be tried';

/**
 * A store that is full can't be tried. The process lives all the same: what it erases and sweeps makes room, and all else
 * waits as STORE_FULL. What is given back runs beside its work: it tries again until the store has room.
 * @throws what `conformance` throws: now anything but STORE_FULL, later what no further try can mend
 */
export async function tryStore(
  conformance: () => Promise<void>,
  { clock, health, log, signal }: Pick<ProcessContext, 'clock' | 'health' | 'log' | 'signal'>,
): Promise<() => Promise<void>> {
  let isTried = false;
  const attempt = async (mayWait: (fault: Fault) => boolean): Promise<void> => {
    try {
      await conformance();
      isTried = true;
    } catch (error) {
      if (!(error instanceof Fault && mayWait(error))) throw error;
      log.debug(describeError(error), FULL);
    }
  };
  await attempt(({ code }) => code === 'STORE_FULL');
  if (isTried) return async () => undefined;
  log.warn(FULL);
  health.note(() => (isTried ? undefined : FULL));
  return async () => {
    while (!isTried && !signal.aborted) {
      await clock.sleep(AGAIN_AFTER_MS, signal);
      if (!signal.aborted) await attempt(({ retryable }) => retryable);
    }
  };
}
