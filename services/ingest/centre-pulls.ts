// One centre's pulls: breaker, connections, quotas and its turn at the process's places, in this order.
import { Fault } from '../kernel/fault.ts';
import type { Clock } from '../ports/clock.ts';
import type { DicomWeb } from '../ports/dicomweb.ts';
import { centreGate } from './centre-gate.ts';
import type { Breaker, GateLimits } from './centre-gate.ts';
import type { FairPlaces, Place } from '../kernel/fair-places.ts';
import { inTime, type Uncounted } from '../kernel/in-time.ts';
import type { Line } from './places.ts';
import { pace, pacedWeb } from './pace.ts';
import type { PaceLimits } from './pace.ts';
import { quota } from './quota.ts';
import type { Quota, QuotaLimits } from './quota.ts';
import type { SlowPulls } from './slow-pulls.ts';

export interface PullLimits {
  readonly gate: GateLimits;
  readonly pace: PaceLimits;
  readonly studies?: QuotaLimits | undefined;
  readonly bytes?: QuotaLimits | undefined;
  /** Longest time of the work itself; waiting for a turn or a quota is not part of it, nor is the time without a place. */
  readonly jobMs: number;
  /** Longest time of a pull with all its waits, from when it has a connection: its objects are swept some time later. */
  readonly pullMs: number;
  /**
   * Longest wait for a turn: then the record goes to a retry topic, or back there. New ones wait in their centre's own topic, where
   * nobody else stands behind them; what comes again waits in topics of all centres, so it has to be short.
   */
  readonly waitMs: Readonly<Record<Line, number>>;
}

/** What the pulls of a centre wait for. `place` is the process's, the others are the centre's own. */
export type WaitsFor = 'connection' | 'quota' | 'place';

export interface CentrePulls {
  /**
   * Runs `work` with the centre's PACS when it is its turn. @throws Fault PACS_UNREACHABLE or PACS_UNAUTHORISED while the
   * breaker is open, PACS_BUSY or PACS_QUOTA when the wait was too long, JOB_TIMEOUT, or what the work throws.
   */
  pull<T>(signal: AbortSignal, work: (web: DicomWeb, signal: AbortSignal) => Promise<T>, line?: Line): Promise<T>;
  breaker(): Breaker;
  waiting(what: WaitsFor): number;
  /** Pulls that run, with or without one of the process's places. */
  running(place: 'with' | 'without'): number;
}

export interface PullDeps {
  readonly line: FairPlaces;
  readonly slow: SlowPulls;
  readonly clock: Clock;
  /** Seconds that pulls waited for a quota. */
  readonly quotaWaited?: (seconds: number) => void;
}

export function centrePulls(centre: string, web: DicomWeb, limits: PullLimits, deps: PullDeps): CentrePulls {
  const { clock } = deps;
  const gate = centreGate(centre, limits.gate, clock);
  const studies = limits.studies === undefined ? undefined : quota(limits.studies, clock);
  const bytes = limits.bytes === undefined ? undefined : quota(limits.bytes, clock);
  const waits: Record<WaitsFor, number> = { connection: 0, quota: 0, place: 0 };
  const running = new Set<Place>();
  /** How the last judged pull got on: the next one of a slow PACS does without a place. */
  let slow = false;

  const pay = async (from: Quota, n: number, signal: AbortSignal): Promise<void> => {
    const ms = await from.take(n, signal);
    if (ms > 0) deps.quotaWaited?.(ms / 1000);
  };

  const timedRun = <T>(signal: AbortSignal, work: (web: DicomWeb, signal: AbortSignal) => Promise<T>): Promise<T> => {
    // A study that does not come through a thin line or a small quota is no failure of ours: it waits, and is no dead letter.
    const tooSlow = (): Fault =>
      new Fault(
        bytes === undefined ? 'PACS_BUSY' : 'PACS_QUOTA',
        true,
        `a study did not come from centre ${centre} in ${Math.round(limits.pullMs / 60_000)} minutes`,
      );
    return inTime(limits.pullMs, signal, (s) => run(s, work), tooSlow);
  };

  const run = <T>(signal: AbortSignal, work: (web: DicomWeb, signal: AbortSignal) => Promise<T>): Promise<T> => {
    let judgedMs = -Infinity;
    // A stream that goes on, or is waited for, to the end is no failure of ours either; one that nobody reads is.
    const timeoutOf = (): Fault =>
      clock.nowMs() - judgedMs <= 2 * limits.pace.judgeMs
        ? new Fault(
            'PACS_BUSY',
            true,
            `a study did not come from centre ${centre} in ${Math.round(limits.jobMs / 60_000)} minutes of its own`,
          )
        : new Fault('JOB_TIMEOUT', true, `longer than ${limits.jobMs} ms`);
    const pulled = async (s: AbortSignal, uncounted: Uncounted): Promise<T> => {
      const place = deps.line.place(centre);
      const own = deps.slow.pull();
      const stay = (): void => {
        own.back();
        goOn();
      };
      let goOn = (): void => undefined;
      const leave = (): boolean => {
        if (!own.leave()) return false;
        goOn();
        // Nobody waits behind it: its time is its PACS's.
        void uncounted(() => new Promise<void>((resolve) => (goOn = resolve)));
        return true;
      };
      const watch = pace(limits.pace, clock, (isSlow) => {
        slow = isSlow;
        judgedMs = clock.nowMs();
        if (!isSlow) {
          stay();
          return place.back();
        }
        if (!leave()) return;
        // First: the place is for another centre.
        deps.line.ask(centre);
        place.leave();
      });
      const turn = (): Promise<void> => during(waits, 'place', () => uncounted(() => place.join(s, () => slow && leave())));
      const payBytes =
        bytes === undefined ? undefined : (n: number): Promise<void> => during(waits, 'quota', () => uncounted(() => pay(bytes, n, s)));
      running.add(place);
      try {
        const result = await work(pacedWeb(web, watch, { turn, pay: payBytes }), s);
        watch.done();
        return result;
      } finally {
        watch.stop();
        stay();
        place.leave();
        running.delete(place);
      }
    };
    return inTime(limits.jobMs, signal, pulled, timeoutOf);
  };

  const tooLong = (line: Line): Fault =>
    new Fault(
      waits.quota > 0 ? 'PACS_QUOTA' : 'PACS_BUSY',
      true,
      `no turn at the PACS of centre ${centre} in ${Math.round(limits.waitMs[line] / 1000)} s`,
      { onlyWaited: true },
    );

  return {
    pull: (signal, work, line = 'new') =>
      waitAtMost(
        limits.waitMs[line],
        signal,
        () => tooLong(line),
        async (waiting, began) => {
          const turn = stations(waits);
          turn.at('connection');
          try {
            return await gate.enter(
              waiting,
              async () => {
                turn.at('quota');
                if (studies !== undefined) await pay(studies, 1, waiting);
                turn.at(undefined);
                began();
                return await timedRun(signal, work);
              },
              line,
            );
          } finally {
            turn.at(undefined);
          }
        },
      ),
    breaker: () => gate.breaker(),
    waiting: (what) => waits[what],
    running: (place) => [...running].filter((p) => p.held() === (place === 'with')).length,
  };
}

async function during<T>(waits: Record<WaitsFor, number>, what: WaitsFor, wait: () => Promise<T>): Promise<T> {
  waits[what] += 1;
  try {
    return await wait();
  } finally {
    waits[what] -= 1;
  }
}

/** Where one pull waits: in one count at a time. */
function stations(waits: Record<WaitsFor, number>): { at(next: WaitsFor | undefined): void } {
  let now: WaitsFor | undefined;
  return {
    at: (next) => {
      if (now !== undefined) waits[now] -= 1;
      if (next !== undefined) waits[next] += 1;
      now = next;
    },
  };
}

/** Aborts `waiting` with `reason()` when `began` was not called in time. */
async function waitAtMost<T>(
  limitMs: number,
  signal: AbortSignal,
  reason: () => Fault,
  work: (waiting: AbortSignal, began: () => void) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(reason()), limitMs);
  try {
    return await work(AbortSignal.any([signal, limit.signal]), () => clearTimeout(timer));
  } finally {
    clearTimeout(timer);
  }
}
