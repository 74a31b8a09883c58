// A process is stopped right before it publishes or commits, long enough to lose its partitions; another takes them over and
// finishes the study; then the first goes on where it was, as after a pause of its machine. What it still does must change nothing.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { processStart } from '../../../deploy/local/processes.ts';
import { signalStage } from '../../../deploy/local/stage-records.ts';
import { startStages } from '../../../deploy/local/stages.ts';
import { until, type Pipeline } from '../../integration/pipeline.ts';
import type { MILESTONE, Stepped } from './run.ts';

/** The steps before which a process that lost its work does the most harm. */
export const TAKE_OVERS = [/^before put ct-(?:clinical|research) manifest/, /^before publish /, /^before commit/] as const;

export interface TakeOver {
  readonly stage: Stepped;
  readonly step: string;
  /** Of the second process. */
  readonly env: Readonly<Record<string, string>>;
  readonly dir: string;
  readonly milestone: (typeof MILESTONE)[Stepped];
  /** Studies so far, this one included. */
  readonly sent: number;
}

const WITHIN_MS = 120_000;
/** The session of the first one ends after 6 s, and the second one has its partitions soon after. */
const TAKEN_OVER_MS = 10_000;
/** The first one comes back, finishes what it had in hand, and joins its group again. */
const BACK_MS = 8000;

const isStopped = (pid: number): boolean => {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .startsWith('T');
  } catch {
    return false;
  }
};

/** The process once it has stopped at the step that its file names. @throws Error when it does not come to it */
export async function untilStopped(p: Pipeline, stage: Stepped, step: string): Promise<number> {
  const pid = p.stages.pid(stage);
  if (pid === undefined) throw new Error(`${stage} is not running`);
  const deadline = Date.now() + WITHIN_MS;
  while (!isStopped(pid)) {
    if (Date.now() > deadline) throw new Error(`${stage} did not come to '${step}'`);
    await sleep(50);
  }
  return pid;
}

/** The step's file names the step already, and the study was sent. @throws Error when the process does not come to it */
export async function takeOverAt(p: Pipeline, o: TakeOver): Promise<void> {
  const pid = await untilStopped(p, o.stage, o.step);
  const { platform, provisioned } = p;
  const second = await startStages({ platform, provisioned, dir: o.dir, only: [o.stage], env: { [o.stage]: o.env } });
  try {
    // Before its commit the first one has told all there is: time alone says that the partitions are gone.
    await sleep(TAKEN_OVER_MS);
    await until(p, (a) => a.reached[o.milestone] === o.sent, WITHIN_MS);
    signalStage(pid, 'SIGCONT');
    await sleep(BACK_MS);
  } finally {
    signalStage(pid, 'SIGCONT');
    await second.stop();
  }
  // It may end by itself when it sees that it lost everything: an orchestrator starts it again.
  if (processStart(pid) === undefined) await p.stages.start(o.stage);
  await until(p, (a) => a.reached[o.milestone] === o.sent, WITHIN_MS);
}
