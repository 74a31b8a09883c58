// A limit on the time of one piece of work, also of work that ignores its signal.
import { Fault } from '../kernel/fault.ts';

/** Time that work has after its abort before it is left alone. */
const ABORT_GRACE_MS = 5000;

/** Does a wait that is not the work's own: its time does not count. */
export type Uncounted = <T>(wait: () => Promise<T>) => Promise<T>;

/** @throws Fault JOB_TIMEOUT, or the one that is given instead, or the work's own error */
export async function inTime<T>(
  limitMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal, uncounted: Uncounted) => Promise<T>,
  timeoutOf: () => Fault = () => new Fault('JOB_TIMEOUT', true, `longer than ${limitMs} ms`),
): Promise<T> {
  const late = new AbortController();
  let giveUp: (error: Error) => void = () => undefined;
  const abandoned = new Promise<never>((_, reject) => {
    giveUp = reject;
  });
  let grace: NodeJS.Timeout | undefined;
  let timeout: Fault | undefined;
  const timer = stoppableTimer(limitMs, () => {
    const fault = timeoutOf();
    timeout = fault;
    late.abort(fault);
    grace = setTimeout(() => giveUp(fault), ABORT_GRACE_MS);
  });
  const uncounted: Uncounted = async (wait) => {
    timer.hold();
    try {
      return await wait();
    } finally {
      timer.goOn();
    }
  };
  try {
    return await Promise.race([work(AbortSignal.any([signal, late.signal]), uncounted), abandoned]);
  } catch (error) {
    throw timeout ?? error;
  } finally {
    timer.end();
    clearTimeout(grace);
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
