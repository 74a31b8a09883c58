// Starts a stage again when it ended by itself, a limited number of times and ever later, and says so.
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunningStages, StageExit, StageName } from '../../../deploy/local/stages.ts';

export interface RestartOptions {
  /** Restarts of each stage. */
  readonly limit: number;
  /** Wait before the first restart; doubled each time, up to a minute. */
  readonly firstWaitMs: number;
  readonly say: (line: string) => void;
}

export interface Restarts {
  /** For `startStages`: called when a stage ended that nobody stopped. */
  readonly onExit: (exit: StageExit) => void;
  /** From here on stages are started again; before, a stage that ends fails the start of all. */
  attach(stages: Pick<RunningStages, 'start' | 'logFile'>): void;
  /** No restart begins after this. Resolves when one that goes on has ended. */
  stop(): Promise<void>;
}

const LONGEST_WAIT_MS = 60_000;

export function restarts(o: RestartOptions): Restarts {
  const counts = new Map<StageName, number>();
  const going = new Set<Promise<void>>();
  const stopping = new AbortController();
  let stages: Pick<RunningStages, 'start' | 'logFile'> | undefined;

  const again = async (name: StageName, waitMs: number): Promise<void> => {
    try {
      await sleep(waitMs, undefined, { signal: stopping.signal });
      await stages?.start(name);
      o.say(`the stage ${name} runs again`);
    } catch (error) {
      // Its end while it starts comes as an exit of its own, with the next restart.
      if (!stopping.signal.aborted) o.say(error instanceof Error ? error.message : String(error));
    }
  };

  return {
    onExit({ name, code, signal }) {
      if (stopping.signal.aborted || stages === undefined) return;
      const done = counts.get(name) ?? 0;
      const ended = `the stage ${name} ended unexpectedly (${signal ?? `code ${code}`}), see ${stages.logFile(name)}`;
      if (done >= o.limit) {
        o.say(`${ended}; it was started again ${done} times already and stays down: studies wait before it`);
        return;
      }
      counts.set(name, done + 1);
      const waitMs = Math.min(o.firstWaitMs * 2 ** done, LONGEST_WAIT_MS);
      o.say(`${ended}; it starts again in ${waitMs / 1000} s`);
      const work = again(name, waitMs).finally(() => going.delete(work));
      going.add(work);
    },
    attach(running) {
      stages = running;
    },
    async stop() {
      stopping.abort();
      await Promise.all(going);
    },
  };
}
