// A limit on the time of one piece of work, also of work that ignores its signal.
import { Fault } from './fault.ts';

/** Time that work has after its abort before it is left alone. */
const ABORT_GRACE_MS = 5000;

/** Does a wait that is not the work's own: its time does not count. */
export type Uncounted = <T>(wait: () => Promise<T>) => Promise<T>;

/**
 * Work that ignores its signal is left alone soon after an abort: by the limit, or by `signal`.
 * @throws Fault JOB_TIMEOUT or the one that is given instead, the reason of `signal`, or the work's own error
 */
export async function inTime<T>(
  limitMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal, uncounted: Uncounted) => Promise<T>,
  timeoutOf: () => Fault = () => new Fault('JOB_TIMEOUT', true, `longer than ${limitMs} ms`),
): Promise<T> {
  const late = new AbortController();
  let timeout: Fault | undefined;
  const timer = stoppableTimer(limitMs, () => {
    timeout = timeoutOf();
    late.abort(timeout);
  });
  const either = AbortSignal.any([signal, late.signal]);
  let grace: NodeJS.Timeout | undefined;
  let giveUp: (reason: unknown) => void = () => undefined;
  const abandoned = new Promise<never>((_, reject) => {
    giveUp = reject;
  });
  const onAbort = (): void => {
    grace = setTimeout(() => giveUp(either.reason), ABORT_GRACE_MS);
  };
  if (either.aborted) onAbort();
  else either.addEventListener('abort', onAbort, { once: true });
  const uncounted: Uncounted = async (wait) => {
    timer.hold();
    try {
      return await wait();
    } finally {
      timer.goOn();
    }
  };
  try {
    return await Promise.race([work(either, uncounted), abandoned]);
  } catch (error) {
    throw timeout ?? error;
  } finally {
    timer.end();
    clearTimeout(grace);
    // `signal` may live as long as the process: a listener left behind would keep every job that ever ran.
    either.removeEventListener('abort', onAbort);
  }
}

interface StoppableTimer {
  hold(): void;
  goOn(): void;
  end(): void;
}

/** Several may hold it at a time; it goes on when all have let go. */
function stoppableTimer(ms: number, onTime: () => void): StoppableTimer {
  let leftMs = ms;
  let holders = 0;
  let ended = false;
  let startedMs = performance.now();
  let timer = setTimeout(onTime, leftMs);
  return {
    hold: () => {
      holders += 1;
      if (holders > 1) return;
      clearTimeout(timer);
      leftMs -= performance.now() - startedMs;
    },
    goOn: () => {
      holders -= 1;
      if (holders > 0 || ended) return;
      startedMs = performance.now();
      timer = setTimeout(onTime, Math.max(0, leftMs));
    },
    end: () => {
      ended = true;
      clearTimeout(timer);
    },
  };
}
