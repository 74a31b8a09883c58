// Keeps one centre's Kafka work going: a credential that the broker refuses holds up its own centre only.
import { Fault } from '../kernel/fault.ts';
import type { Clock } from '../ports/clock.ts';

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;

interface Context {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly log: { warn(fields: object, text: string): void };
}

/** Runs `work` until the signal aborts; after a Fault again, later each time. Other errors pass through. */
export async function superviseCentre(ctx: Context, centre: string, what: string, work: () => Promise<void>): Promise<void> {
  let waitMs = FIRST_WAIT_MS;
  while (!ctx.signal.aborted) {
    try {
      await work();
      if (ctx.signal.aborted) return;
    } catch (error) {
      if (ctx.signal.aborted) return;
      if (!(error instanceof Fault)) throw error;
      ctx.log.warn({ centre, what, code: error.code, fault: error.message }, 'tried again later');
    }
    await ctx.clock.sleep(waitMs, ctx.signal);
    waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
  }
}
