// Starts every stage again whenever it ends, however it ended: what an orchestrator does for the real deployment.
import { setTimeout as sleep } from 'node:timers/promises';
import { processStart } from '../../deploy/local/processes.ts';
import type { RunningStages, StageExit, StageName } from '../../deploy/local/stages.ts';

export interface Keeper {
  /** For a stage that was just killed, or ended by itself. Returns at once. */
  keep(name: StageName): void;
  readonly onExit: (exit: StageExit) => void;
  attach(stages: RunningStages): void;
  /** No start begins after this; resolves when none is under way. */
  stop(): Promise<void>;
  /** How often each stage ended without a signal of ours, as `name code`. */
  readonly ownEnds: ReadonlyMap<string, number>;
}

const PAUSE_MS = 300;

export function keeper(): Keeper {
  let stages: RunningStages | undefined;
  let stopping = false;
  const going = new Map<StageName, Promise<void>>();
  const ownEnds = new Map<string, number>();

  const isUp = (running: RunningStages, name: StageName): boolean => {
    const pid = running.pid(name);
    return pid !== undefined && processStart(pid) !== undefined;
  };

  const startUntilUp = async (running: RunningStages, name: StageName): Promise<void> => {
    while (!stopping && !isUp(running, name)) {
      // A process that is killed while it starts rejects here, and is started again.
      await running.start(name).catch(() => sleep(PAUSE_MS));
    }
  };

  const keep = (name: StageName): void => {
    if (stages === undefined || stopping || going.has(name)) return;
    const work = startUntilUp(stages, name).finally(() => going.delete(name));
    going.set(name, work);
  };

  return {
    keep,
    onExit({ name, code, signal }) {
      if (stages === undefined || stopping) return;
      const what = `${name} ${signal ?? code}`;
      ownEnds.set(what, (ownEnds.get(what) ?? 0) + 1);
      keep(name);
    },
    attach(running) {
      stages = running;
    },
    async stop() {
      stopping = true;
      await Promise.all(going.values());
    },
    ownEnds,
  };
}
