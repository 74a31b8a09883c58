// The connection limit and the breaker of one centre: a PACS that does not answer holds up its own studies only.
import { Fault } from '../kernel/fault.ts';
import type { Clock } from '../ports/clock.ts';
import { places } from './places.ts';
import type { Line } from './places.ts';

export interface CentreGate {
  /**
   * Runs `work` when a place is free. @throws Fault at once while the breaker is open, with the code that opened it:
   * PACS_UNREACHABLE or PACS_UNAUTHORISED.
   */
  enter<T>(signal: AbortSignal, work: () => Promise<T>, line?: Line): Promise<T>;
  /** Half open: the time is over and nobody has tried yet, or one tries. */
  breaker(): Breaker;
}

export type Breaker = 'closed' | 'half-open' | 'open';

export interface GateLimits {
  /** Studies pulled at a time from this centre. */
  readonly places: number;
  /** Failures in a row that open the breaker. */
  readonly failures: number;
  /** How long it stays open; then one job may try, and the others wait for what becomes of it. */
  readonly openMs: number;
}

/** A wrong password too: asked again and again, many a server locks the account. */
const OPENING = new Set(['PACS_UNREACHABLE', 'PACS_UNAUTHORISED']);

export function centreGate(centre: string, limits: GateLimits, clock: Clock): CentreGate {
  let failures = 0;
  let openUntilMs = 0;
  let last: Fault['code'] = 'PACS_UNREACHABLE';
  // After too many failures one at a time, until one succeeds.
  const inside = places(() => (failures >= limits.failures ? 1 : limits.places));

  const check = (): void => {
    const leftMs = openUntilMs - clock.nowMs();
    if (failures >= limits.failures && leftMs > 0)
      throw new Fault(
        last,
        true,
        `the PACS of centre ${centre} failed ${failures} times in a row; asked again in ${Math.ceil(leftMs / 1000)} s`,
      );
  };

  const note = (error: unknown): void => {
    // What is no Fault is the study's: then the PACS has answered.
    if (!(error instanceof Fault)) failures = 0;
    else if (OPENING.has(error.code)) {
      failures += 1;
      last = error.code;
      if (failures >= limits.failures) openUntilMs = clock.nowMs() + limits.openMs;
    }
  };

  return {
    breaker: () => (failures < limits.failures ? 'closed' : openUntilMs > clock.nowMs() ? 'open' : 'half-open'),
    async enter(signal, work, line) {
      check();
      return await inside.run(
        signal,
        async () => {
          check();
          try {
            const result = await work();
            failures = 0;
            return result;
          } catch (error) {
            if (!signal.aborted) note(error);
            throw error;
          }
        },
        line,
      );
    },
  };
}
