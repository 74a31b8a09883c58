// Questions about a consumer group while no broker can answer them: one that has just started reads the offsets of its groups
// first, and when a group moves the old one refuses. Both pass within seconds, and neither client waits for all of it.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from '../kernel/fault.ts';
import { busFault } from './kafka-client.ts';

/** Milliseconds; shorter in tests. */
export interface PatienceTimes {
  /** No try begins later than so long after the first. */
  readonly tryingMs: number;
  /** Pause before the second try; doubled for each further one, up to 5 s. */
  readonly pauseMs: number;
}

const TIMES: PatienceTimes = { tryingMs: 30_000, pauseMs: 200 };
const LONGEST_PAUSE_MS = 5000;

/**
 * Asks again while that is what the broker says, and nothing else.
 * @param what what is asked, for the fault's words: no key, no value
 * @throws Fault BUS_NO_COORDINATOR when it did not pass in time; any other fault at once
 */
export async function askGroup<T>(
  what: string,
  ask: () => Promise<T>,
  faultOf: (error: unknown, what: string) => Fault = busFault,
  times: PatienceTimes = TIMES,
): Promise<T> {
  const until = performance.now() + times.tryingMs;
  for (let waitMs = times.pauseMs; ; waitMs = Math.min(waitMs * 2, LONGEST_PAUSE_MS)) {
    try {
      return await ask();
    } catch (error) {
      const fault = faultOf(error, what);
      if (fault.code !== 'BUS_NO_COORDINATOR' || performance.now() + waitMs > until) throw fault;
    }
    await sleep(waitMs);
  }
}
