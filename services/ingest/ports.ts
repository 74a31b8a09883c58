// What ingest needs of its centres, made from the centres file, and of its process.
import { Fault } from '../kernel/fault.ts';
import type { Clock } from '../ports/clock.ts';
import type { DicomWeb } from '../ports/dicomweb.ts';
import { centreGate } from './centre-gate.ts';
import type { GateLimits } from './centre-gate.ts';
import { places } from './places.ts';
import type { CentrePacs, IngestPorts } from './stage.ts';

/** One gate and one client per centre, kept for the life of the process. */
export function centrePacs<C extends { readonly id: string }>(
  centres: readonly C[],
  connect: (centre: C) => DicomWeb,
  limits: GateLimits,
  clock: Clock,
): (centre: string) => CentrePacs | undefined {
  const byId = new Map<string, CentrePacs>(centres.map((c) => [c.id, { web: connect(c), gate: centreGate(c.id, limits, clock) }]));
  return (centre) => byId.get(centre);
}

/** Time that work has after its abort before its place is given to another. */
const ABORT_GRACE_MS = 5000;

/** `count` works at a time, each for at most `limitMs`. The work's own time limit is Fault JOB_TIMEOUT. */
export function limitedWork(count: number, limitMs: number): IngestPorts['work'] {
  const slots = places(() => count);
  return (signal, work) => slots.run(signal, () => inTime(limitMs, signal, work));
}

async function inTime<T>(limitMs: number, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const timeout = new Fault('JOB_TIMEOUT', true, `longer than ${limitMs} ms`);
  const late = new AbortController();
  let giveUp: (error: Error) => void = () => undefined;
  const abandoned = new Promise<never>((_, reject) => {
    giveUp = reject;
  });
  let grace: NodeJS.Timeout | undefined;
  const timer = setTimeout(() => {
    late.abort(timeout);
    grace = setTimeout(() => giveUp(timeout), ABORT_GRACE_MS);
  }, limitMs);
  try {
    return await Promise.race([work(AbortSignal.any([signal, late.signal])), abandoned]);
  } catch (error) {
    throw late.signal.aborted ? timeout : error;
  } finally {
    clearTimeout(timer);
    clearTimeout(grace);
  }
}
