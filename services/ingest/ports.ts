// What ingest needs of its centres, made from the centres file.
import type { Clock } from '../ports/clock.ts';
import type { DicomWeb } from '../ports/dicomweb.ts';
import { centreGate } from './centre-gate.ts';
import type { GateLimits } from './centre-gate.ts';
import type { CentrePacs } from './stage.ts';

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
