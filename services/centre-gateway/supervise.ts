// What goes wrong for one centre holds up that centre only: its credential, its PACS, an answer that nobody foresaw.
import { Fault, faultOf } from '../kernel/fault.ts';
import type { CentreLink } from './link.ts';

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;

/** Runs the centre's Kafka work until the signal aborts; when it fails again, later each time. @throws what `faultIn` throws */
export async function superviseCentre(link: CentreLink, what: string, work: () => Promise<void>, signal: AbortSignal): Promise<void> {
  let waitMs = FIRST_WAIT_MS;
  while (!signal.aborted) {
    try {
      await work();
      if (signal.aborted) return;
    } catch (error) {
      if (signal.aborted) return;
      const { code, message } = faultIn(link, error);
      link.log('warn', { centre: link.centre, what, code, fault: message }, 'tried again later');
    }
    await link.clock.sleep(waitMs, signal);
    waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
  }
}

/**
 * The error as the centre's fault. One that nobody foresaw is UNEXPECTED, counted, and logged with its place in the code.
 * @throws the error itself when it is of the gateway's database, which all centres need: the process ends
 */
export function faultIn(link: CentreLink, error: unknown): Fault {
  if (error instanceof Fault) return error;
  if (isOfDatabase(error)) throw error;
  link.count('gateway_unexpected_total');
  link.log('error', { centre: link.centre, err: error }, 'an unforeseen error');
  return faultOf(error);
}

/** SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH and SQLITE_RANGE: of the values of one statement (sqlite.org/rescode.html). */
const OF_VALUES: readonly number[] = [18, 19, 20, 25];

function isOfDatabase(error: unknown): boolean {
  const { code, errcode } = (error ?? {}) as { code?: unknown; errcode?: unknown };
  // The low byte is the primary result code.
  return code === 'ERR_SQLITE_ERROR' && !(typeof errcode === 'number' && OF_VALUES.includes(errcode & 0xff));
}
