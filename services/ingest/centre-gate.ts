// The connection limit and the breaker of one centre: a PACS that does not answer holds up its own studies only.
import { Fault } from '../kernel/fault.ts';
import type { Clock } from '../ports/clock.ts';

export interface CentreGate {
  /** Runs `work` when a place is free. @throws Fault PACS_UNREACHABLE at once while the breaker is open. */
  enter<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T>;
}

export interface GateLimits {
  /** Studies pulled at a time from this centre. */
  readonly places: number;
  /** Failures in a row that open the breaker. */
  readonly failures: number;
  /** How long it stays open; then one job may try. */
  readonly openMs: number;
}

export function centreGate(centre: string, limits: GateLimits, clock: Clock): CentreGate {
  let free = limits.places;
  let failures = 0;
  let openUntilMs = 0;
  const queue: (() => void)[] = [];

  const place = async (signal: AbortSignal): Promise<void> => {
    signal.throwIfAborted();
    if (free > 0) {
      free -= 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        queue.splice(queue.indexOf(go), 1);
        reject(signal.reason as Error);
      };
      const go = (): void => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      queue.push(go);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  };

  const leave = (): void => {
    const next = queue.shift();
    if (next === undefined) free += 1;
    else next();
  };

  const check = (): void => {
    if (clock.nowMs() < openUntilMs)
      throw new Fault(
        'PACS_UNREACHABLE',
        true,
        `the PACS of centre ${centre} did not answer ${failures} times in a row; asked again in ${Math.ceil((openUntilMs - clock.nowMs()) / 1000)} s`,
      );
  };

  return {
    async enter(signal, work) {
      check();
      await place(signal);
      try {
        check();
        const result = await work();
        failures = 0;
        return result;
      } catch (error) {
        if (error instanceof Fault && error.code === 'PACS_UNREACHABLE') {
          failures += 1;
          if (failures >= limits.failures) openUntilMs = clock.nowMs() + limits.openMs;
        } else if (!(error instanceof Fault)) {
          failures = 0;
        }
        throw error;
      } finally {
        leave();
      }
    },
  };
}
