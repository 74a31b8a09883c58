// The demo's JSON report: stable names, and the equation that always holds.
import type { Account, Milestone, StudyState } from '../../kernel/accounting.ts';

export interface DemoReport {
  readonly studies: Readonly<Record<Exclude<Milestone, 'sent'> | StudyState | 'sent', number>>;
  /** How many studies (and refused single files) bear each code. */
  readonly reasons: Readonly<Record<string, number>>;
  readonly instances: number;
  readonly bytes: number;
  readonly seconds: number;
  /** Seconds that each part took: what the platform, the stages and the studies needed. */
  readonly phases: Readonly<Record<string, number>>;
  readonly megabytesPerSecond: number;
  /** Folder of the released dataset; empty when nothing was released. */
  readonly dataset: string;
  /** Events that a source drew a number for and the log does not have. */
  readonly missing: readonly string[];
  /** Records that can't be read or name another centre than their topic. */
  readonly bad: Account['bad'];
}

export interface Fed {
  readonly instances: number;
  readonly bytes: number;
}

export function demoReport(
  account: Account,
  fed: Fed,
  seconds: number,
  studySeconds: number,
  phases: Readonly<Record<string, number>>,
  dataset: string,
): DemoReport {
  const { totals, reached, reasons, missing, bad } = account;
  return {
    studies: { ...reached, ...totals, released: totals.released },
    reasons,
    instances: fed.instances,
    bytes: fed.bytes,
    seconds: Math.round(seconds * 10) / 10,
    phases,
    megabytesPerSecond: Math.round(fed.bytes / 1e5 / Math.max(studySeconds, 0.001)) / 10,
    dataset,
    missing,
    bad,
  };
}

/** True when sent = released + waiting + excluded + rejected + withdrawn + outOfScope + unaccounted. */
export function equationHolds(s: DemoReport['studies']): boolean {
  return s.sent === s.released + s.waiting + s.excluded + s.rejected + s.withdrawn + s.outOfScope + s.unaccounted;
}

/** The equation in one line. */
export function equationLine(s: Readonly<Record<StudyState | 'sent', number>>): string {
  return `sent ${s.sent} = released ${s.released} + waiting ${s.waiting} + excluded ${s.excluded} + rejected ${s.rejected} + withdrawn ${s.withdrawn} + out of scope ${s.outOfScope} + unaccounted ${s.unaccounted}`;
}
