// Brings a whole deployment up in a folder: platform, users and topics, stages. Used by the demo and by `ctstream up`.
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startPlatform, type Platform } from '../../../deploy/local/platform.ts';
import { provision, type Provisioned } from '../../../deploy/local/provision.ts';
import { STAGE_NAMES, startStages, type RunningStages, type StageExit } from '../../../deploy/local/stages.ts';
import type { Extra } from '../../../deploy/local/tools.ts';
import { platformDir, secretsDir, writeDeployment } from '../deployment.ts';

export interface Running {
  readonly platform: Platform;
  readonly provisioned: Provisioned;
  readonly stages: RunningStages;
  readonly phases: Readonly<Record<string, number>>;
}

export interface DeployOptions {
  readonly dir: string;
  readonly centres: readonly string[];
  readonly extras: readonly Extra[];
  readonly readers: number;
  readonly cohortFile?: string;
  /** Folder that releases are written to besides the bucket. */
  readonly datasetDir: string;
  readonly say: (line: string) => void;
  readonly onExit: (exit: StageExit) => void;
}

export function centreNames(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `c${String(i + 1).padStart(2, '0')}`);
}

/** Starts everything and returns once each stage says that it is ready. */
export async function deployLocal(o: DeployOptions): Promise<Running> {
  const phases: Record<string, number> = {};
  const timed = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const started = performance.now();
    const result = await work();
    phases[name] = Math.round((performance.now() - started) / 100) / 10;
    o.say(`${name} ready after ${phases[name]} s`);
    return result;
  };
  await mkdir(o.dir, { recursive: true });
  await rm(join(o.dir, 'stages'), { recursive: true, force: true });
  const platform = await timed('platform', () =>
    startPlatform({ dir: platformDir(o.dir), centres: o.centres, with: o.extras, handleSignals: false }),
  );
  try {
    const provisioned = await timed('topics, users and buckets', () =>
      provision(platform, {
        centres: o.centres,
        dir: secretsDir(o.dir),
        readers: o.readers,
        ...(o.cohortFile === undefined ? {} : { cohortFile: o.cohortFile }),
      }),
    );
    const stages = await timed('stages', () =>
      startStages({
        platform,
        provisioned,
        dir: join(o.dir, 'stages'),
        env: { release: { RELEASE_OUT_DIR: o.datasetDir } },
        onExit: o.onExit,
      }),
    );
    const urls = Object.fromEntries(STAGE_NAMES.map((name) => [name, stages.url(name)]));
    const apiUrls = Object.fromEntries(STAGE_NAMES.map((name) => [name, stages.apiUrl(name)]));
    await writeDeployment(o.dir, { centres: o.centres, prefix: '', readers: o.readers, urls, apiUrls });
    return { platform, provisioned, stages, phases };
  } catch (error) {
    await platform.stop();
    throw error;
  }
}
