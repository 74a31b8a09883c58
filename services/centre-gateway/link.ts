// What the gateway has in hand of one centre.
import type { CentreId } from '../kernel/ids.ts';
import type { Clock, Randomness } from '../ports/clock.ts';
import type { DicomWeb, PacsChanges } from '../ports/dicomweb.ts';
import type { InScope } from './scope.ts';
import type { Quiet } from './studies.ts';

export interface CentreLink {
  readonly centre: CentreId;
  /** For the status page. */
  readonly name: string;
  readonly web: DicomWeb;
  /** The server's own change feed; without it the PACS is polled by QIDO-RS. */
  readonly changes: PacsChanges | undefined;
  readonly inScope: InScope;
  readonly quiet: Quiet;
  /** Between the two counts of a study. */
  readonly countPauseMs: number;
  /** Between two looks at the change feed, or two polls. */
  readonly pollMs: number;
  /** How many days back a poll looks; a census looks at everything. */
  readonly lookBackDays: number;
  readonly censusEveryMs: number;
  /** Unsent outbox rows at which nothing more is taken in. */
  readonly outboxLimit: number;
  readonly clock: Clock;
  readonly random: Randomness;
  span<T>(name: string, work: (traceparent: string) => Promise<T>): Promise<T>;
  count(name: string): void;
  log(level: 'info' | 'warn' | 'error', fields: Readonly<Record<string, unknown>>, text: string): void;
}

/** First StudyDate (YYYYMMDD) of what a poll looks at. */
export function lookBackFrom(link: CentreLink, nowMs: number): string {
  return new Date(nowMs - link.lookBackDays * 86_400_000).toISOString().slice(0, 10).replaceAll('-', '');
}
