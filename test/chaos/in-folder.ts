// A run with a platform, stages and data of its own in one folder.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startPlatform } from '../../deploy/local/platform.ts';
import { STAGE_NAMES } from '../../deploy/local/stages.ts';
import { startPipeline, type Pipeline } from '../integration/pipeline.ts';
import { keeper as makeKeeper } from './keeper.ts';
import { planFaults } from './plan.ts';
import { chaosEnv, runChaos, type ChaosOptions, type ChaosResult } from './run.ts';

export interface FolderRun extends Omit<ChaosOptions, 'pipeline' | 'keeper' | 'plan'> {
  /** Empty; keeps the plan, the stages' state and all logs. */
  readonly dir: string;
  readonly kills: number;
  readonly centres: number;
}

/** Brings everything up, runs the plan, and takes everything down again, however it went. */
export async function runInFolder(o: FolderRun): Promise<ChaosResult> {
  const plan = planFaults(o);
  await writeFile(join(o.dir, 'plan.json'), JSON.stringify(plan, null, 1));
  const platform = await startPlatform({ dir: join(o.dir, 'platform'), centres: [], handleSignals: false, log: o.say });
  const keeper = makeKeeper();
  let pipeline: Pipeline | undefined;
  try {
    pipeline = await startPipeline({
      name: 'chaos',
      centres: o.centres,
      platform,
      dir: join(o.dir, 'stages'),
      env: Object.fromEntries(STAGE_NAMES.map((name) => [name, chaosEnv(o.kafkaClient)])),
      onExit: keeper.onExit,
    });
    keeper.attach(pipeline.stages);
    o.say(`everything is up; ${plan.length} faults in ${o.minutes} minutes, seed ${o.seed}`);
    return await runChaos({ ...o, pipeline, keeper, plan });
  } finally {
    const kept = keeper.stop();
    await pipeline?.stop();
    await kept;
    await platform.stop();
  }
}
