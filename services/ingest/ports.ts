// What ingest needs of its centres, made from the centres file, and of its process.
import type { Clock } from '../ports/clock.ts';
import type { DicomWeb } from '../ports/dicomweb.ts';
import { centrePulls } from './centre-pulls.ts';
import type { CentrePulls, PullLimits } from './centre-pulls.ts';
import type { FairPlaces } from '../kernel/fair-places.ts';
import { inTime } from '../kernel/in-time.ts';
import type { QuotaLimits } from './quota.ts';
import type { SlowPulls } from './slow-pulls.ts';
import type { IngestPorts } from './stage.ts';

/** What a centre's entry in the centres file may say. */
export interface CentreQuota {
  readonly studiesPerMinute?: number | undefined;
  readonly bytesPerSecond?: number | undefined;
}

interface CentreEntry {
  readonly id: string;
  readonly quota?: CentreQuota | undefined;
}

export interface Metrics {
  counter(name: string, n: number, labels: Readonly<Record<string, string>>): void;
  gauge(name: string, read: () => number, labels: Readonly<Record<string, string>>): void;
}

export interface CentresOptions {
  readonly limits: Omit<PullLimits, 'studies' | 'bytes'>;
  /** For centres whose entry does not say. */
  readonly quota: CentreQuota;
  readonly line: FairPlaces;
  readonly slow: SlowPulls;
  readonly clock: Clock;
  readonly metrics: Metrics;
}

/** The pulls of each centre, kept for the life of the process. */
export function centrePacs<C extends CentreEntry>(
  centres: readonly C[],
  connect: (centre: C) => DicomWeb,
  o: CentresOptions,
): (centre: string) => CentrePulls | undefined {
  const { line, slow, clock, metrics } = o;
  const pullsOf = (c: C): CentrePulls => {
    const limits = { ...o.limits, ...quotaLimits({ ...o.quota, ...c.quota }) };
    const quotaWaited = (s: number): void => metrics.counter('ingest_quota_wait_seconds_total', s, { centre: c.id });
    return centrePulls(c.id, connect(c), limits, { line, slow, clock, quotaWaited });
  };
  const byId = new Map<string, CentrePulls>(centres.map((c) => [c.id, pullsOf(c)]));
  for (const [centre, pulls] of byId) measure(metrics, centre, pulls);
  metrics.gauge('ingest_places_taken', line.taken, {});
  metrics.gauge('ingest_slow_pulls', slow.count, {});
  return (centre) => byId.get(centre);
}

/** A quota lets through at once what it gives in ten seconds; bytes at least a mebibyte, more than any chunk. */
function quotaLimits(q: CentreQuota): { studies?: QuotaLimits; bytes?: QuotaLimits } {
  const studies = (q.studiesPerMinute ?? 0) / 60;
  const bytes = q.bytesPerSecond ?? 0;
  return {
    ...(q.studiesPerMinute === undefined ? {} : { studies: { perSecond: studies, burst: Math.max(1, 10 * studies) } }),
    ...(q.bytesPerSecond === undefined ? {} : { bytes: { perSecond: bytes, burst: Math.max(1024 ** 2, 10 * bytes) } }),
  };
}

const BREAKER = { closed: 0, 'half-open': 1, open: 2 } as const;

function measure(metrics: Metrics, centre: string, pulls: CentrePulls): void {
  metrics.gauge('ingest_breaker', () => BREAKER[pulls.breaker()], { centre });
  for (const what of ['connection', 'quota', 'place'] as const)
    metrics.gauge('ingest_waiting', () => pulls.waiting(what), { centre, for: what });
  for (const place of ['with', 'without'] as const) metrics.gauge('ingest_pulls', () => pulls.running(place), { centre, place });
}

/** Work of a centre in places of the line, each for at most `limitMs` from when it begins. */
export function limitedWork(line: FairPlaces, limitMs: number): IngestPorts['work'] {
  return (centre, signal, work) => line.run(centre, signal, () => inTime(limitMs, signal, work));
}
