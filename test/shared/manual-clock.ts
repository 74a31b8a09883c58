// A clock that a test moves. Sleepers wake in the order of their time.
import type { Clock } from '../../services/ports/clock.ts';

export interface ManualClock extends Clock {
  /** Moves the time and wakes who is due; gives them a turn. */
  advance(ms: number): Promise<void>;
  sleepers(): number;
}

export function manualClock(startMs = 1_800_000_000_000): ManualClock {
  let now = startMs;
  const sleeping: { untilMs: number; wake: () => void }[] = [];
  return {
    nowMs: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted === true || ms <= 0) return resolve();
        const wake = (): void => {
          signal?.removeEventListener('abort', wake);
          const at = sleeping.indexOf(entry);
          if (at >= 0) sleeping.splice(at, 1);
          resolve();
        };
        const entry = { untilMs: now + ms, wake };
        sleeping.push(entry);
        signal?.addEventListener('abort', wake, { once: true });
      }),
    advance: async (ms) => {
      now += ms;
      const due = sleeping.filter((s) => s.untilMs <= now).sort((a, b) => a.untilMs - b.untilMs);
      for (const s of due) s.wake();
      await new Promise((resolve) => setImmediate(resolve));
    },
    sleepers: () => sleeping.length,
  };
}
