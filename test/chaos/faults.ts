// Does one fault of the plan to the running system, and mends it again.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Platform } from '../../deploy/local/platform.ts';
import { processStart } from '../../deploy/local/processes.ts';
import { signalStage } from '../../deploy/local/stage-records.ts';
import { startStages, STAGE_NAMES, type StageName } from '../../deploy/local/stages.ts';
import type { Pipeline } from '../integration/pipeline.ts';
import type { Keeper } from './keeper.ts';
import type { Fault, PartPlace, Place } from './plan.ts';

export interface Arena {
  readonly pipeline: Pipeline;
  readonly keeper: Keeper;
  /** Environment of further processes of a stage. */
  readonly env: Readonly<Record<string, string>>;
  /** Told of each SIGKILL that hit a running process. */
  readonly killed: (place: Place) => void;
}

const isStage = (place: Place): place is StageName => (STAGE_NAMES as readonly string[]).includes(place);

/** A part's name on the platform: the plan numbers the PACSs, the platform names them by centre. */
function partName({ pipeline }: Arena, place: PartPlace): string {
  if (!place.startsWith('orthanc/')) return place;
  const pacs = pipeline.pacs[Number(place.slice('orthanc/'.length))];
  if (pacs === undefined) throw new Error(`the plan names ${place}, which is not there`);
  return `orthanc/${pacs.centre}`;
}

const PART_UP_WITHIN_MS = 300_000;

/**
 * Kills a part, by its name on the platform, and starts it again. What it leaves behind may hold its folder for a moment
 * (PostgreSQL's sessions), so the start is repeated.
 */
export async function killPart(platform: Platform, name: string): Promise<void> {
  const restart = (signal?: NodeJS.Signals): Promise<void> => {
    if (name === 'kafka') return platform.kafka.restart(signal);
    if (name === 'minio') return platform.minio.restart(signal);
    if (name === 'postgres') return platform.postgres.restart(signal);
    return platform.restartOrthanc(name.slice('orthanc/'.length), signal);
  };
  const deadline = Date.now() + PART_UP_WITHIN_MS;
  for (;;) {
    try {
      return await restart('SIGKILL');
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(500);
    }
  }
}

const CHILD_WITHIN_MS = 5000;

async function killStage({ pipeline, keeper, killed }: Arena, name: StageName): Promise<void> {
  // The one before may have been killed so shortly ago that the next is not there yet.
  const deadline = Date.now() + CHILD_WITHIN_MS;
  for (;;) {
    const pid = pipeline.stages.pid(name);
    if (pid !== undefined && processStart(pid) !== undefined) break;
    if (Date.now() > deadline) return;
    await sleep(20);
  }
  killed(name);
  await pipeline.stages.kill(name, 'SIGKILL');
  keeper.keep(name);
}

async function pause(arena: Arena, place: Place, forMs: number): Promise<void> {
  const { stages, platform } = arena.pipeline;
  if (isStage(place)) {
    const pid = stages.pid(place);
    const startedAt = pid === undefined ? undefined : processStart(pid);
    if (pid === undefined || startedAt === undefined) return;
    signalStage(pid, 'SIGSTOP');
    await sleep(forMs);
    if (processStart(pid) === startedAt) signalStage(pid, 'SIGCONT');
    return;
  }
  const name = partName(arena, place);
  platform.freeze(name, 'SIGSTOP');
  await sleep(forMs);
  platform.freeze(name, 'SIGCONT');
}

let seconds = 0;

async function secondConsumer(arena: Arena, fault: Extract<Fault, { kind: 'second consumer' }>): Promise<void> {
  const { pipeline, killed } = arena;
  seconds += 1;
  const dir = join(pipeline.dir, `second-${seconds}`);
  // It may fail to start while a part of the platform is away: then it was a process that came and went.
  const second = await startStages({
    platform: pipeline.platform,
    provisioned: pipeline.provisioned,
    dir,
    only: [fault.place],
    env: { [fault.place]: arena.env },
  }).catch(() => undefined);
  if (second === undefined) return;
  await sleep(fault.forMs);
  if (fault.endsBy === 'SIGKILL') {
    killed(fault.place);
    await second.kill(fault.place, 'SIGKILL');
  }
  await second.stop();
}

/** Does the fault; resolves when its place is as before, or is being started again. */
export async function applyFault(arena: Arena, fault: Fault): Promise<void> {
  if (fault.kind === 'pause') return await pause(arena, fault.place, fault.forMs);
  if (fault.kind === 'second consumer') return await secondConsumer(arena, fault);
  if (isStage(fault.place)) return await killStage(arena, fault.place);
  arena.killed(fault.place);
  await killPart(arena.pipeline.platform, partName(arena, fault.place));
}
