// A part of the platform dies while a process is at a step that uses it: the process is stopped there, the part is killed, and the
// process goes on while the part is away. Then the part comes back as an orchestrator would start it.
import { setTimeout as sleep } from 'node:timers/promises';
import { signalStage } from '../../../deploy/local/stage-records.ts';
import { Fault } from '../../../services/kernel/fault.ts';
import { killPart } from '../../chaos/faults.ts';
import { until, type Pipeline } from '../../integration/pipeline.ts';
import { untilStopped } from './take-over.ts';
import type { MILESTONE, Stepped } from './run.ts';

export interface PartKill {
  readonly stage: Stepped;
  readonly step: string;
  readonly part: string;
  readonly milestone: (typeof MILESTONE)[Stepped];
  /** Studies so far, this one included. */
  readonly sent: number;
}

const WITHIN_MS = 180_000;
/** Until the process goes on: the part is dead by then, and not up again. */
const DEAD_MS = 50;

/** What of the platform a step uses, by the name of the step; undefined: nothing but the process itself. */
export function partAt(step: string, centre: string): string | undefined {
  if (/ pacs /.test(step)) return `orthanc/${centre}`;
  if (/ ct-(?:clinical|research) /.test(step)) return 'minio';
  if (/ (?:vault|lock|held) /.test(step)) return 'postgres';
  return /(?:take|publish .*|commit)$/.test(step) ? 'kafka' : undefined;
}

/**
 * The step's file names the step already, and the study was sent.
 * @throws Error when the process does not come to the step, or the study does not come through
 */
export async function killPartAt(p: Pipeline, o: PartKill): Promise<void> {
  const pid = await untilStopped(p, o.stage, o.step);
  const up = killPart(p.platform, o.part);
  try {
    await sleep(DEAD_MS);
  } finally {
    signalStage(pid, 'SIGCONT');
    await up;
  }
  await patiently(() => until(p, (a) => a.reached[o.milestone] === o.sent, WITHIN_MS)).catch((error: unknown) => {
    throw new Error(`after ${o.part} was killed at ${o.stage}, ${o.step}`, { cause: error });
  });
}

/** Asks again while a part that has just come back is not ready for questions: a broker answers before it has its groups. */
export async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + WITHIN_MS;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof Fault && error.retryable) || Date.now() > deadline) throw error;
      await sleep(200);
    }
  }
}
