// A token bucket: how many studies or bytes of one centre in a time. What waits for its turn is served in order.
import type { Clock } from '../ports/clock.ts';
import { places } from './places.ts';

export interface Quota {
  /** Resolves with the milliseconds waited, once `n` may be had. Nothing is spent when the signal aborts. @throws its reason */
  take(n: number, signal: AbortSignal): Promise<number>;
}

export interface QuotaLimits {
  readonly perSecond: number;
  /** Most that may be had at once after a rest. One `take` of more waits for a full bucket and leaves a debt. */
  readonly burst: number;
}

/** In any time of t seconds at most `burst + t * perSecond` are given (and what a single larger `take` is above `burst`). */
export function quota(limits: QuotaLimits, clock: Clock): Quota {
  const line = places(() => 1);
  let level = limits.burst;
  let atMs = clock.nowMs();

  const fill = (): void => {
    const nowMs = clock.nowMs();
    // A clock that was set back gives nothing.
    level = Math.min(limits.burst, level + (Math.max(0, nowMs - atMs) / 1000) * limits.perSecond);
    atMs = nowMs;
  };

  return {
    take: async (n, signal) => {
      const cameMs = clock.nowMs();
      await line.run(signal, async () => {
        for (;;) {
          fill();
          const lacking = Math.min(n, limits.burst) - level;
          // A millionth: sums of fractions do not meet a whole number exactly.
          if (lacking <= 1e-6) break;
          await clock.sleep(Math.ceil((lacking / limits.perSecond) * 1000), signal);
          signal.throwIfAborted();
        }
        level -= n;
      });
      return Math.max(0, clock.nowMs() - cameMs);
    },
  };
}
