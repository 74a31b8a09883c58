// Brings a whole deployment up in a folder: platform, users and topics, stages. Used by the demo and by `ctstream up`.
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startPlatform, type Platform } from '../../../deploy/local/platform.ts';
import { provision, type Provisioned } from '../../../deploy/local/provision.ts';
import { endRecordedStages } from '../../../deploy/local/stage-records.ts';
import { STAGE_NAMES, startStages, type RunningStages } from '../../../deploy/local/stages.ts';
import type { Extra } from '../../../deploy/local/tools.ts';
import { logMirrorDir, platformDir, secretsDir, stagesDir, writeDeployment } from '../deployment.ts';
import type { Restarts } from './restarts.ts';

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
  /** Days after which pixels of the clinical zone expire. */
  readonly clinicalDays?: number;
  readonly say: (line: string) => void;
  /** What to do with a stage that ended by itself. */
  readonly restarts: Restarts;
  /** Gives up between two steps of the start. */
  readonly signal: AbortSignal;
}

export function centreNames(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `c${String(i + 1).padStart(2, '0')}`);
}

/** Starts everything and returns once each stage says that it is ready. */
export async function deployLocal(o: DeployOptions): Promise<Running> {
  const phases: Record<string, number> = {};
  const timed = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    o.signal.throwIfAborted();
    const started = performance.now();
    const result = await work();
    phases[name] = Math.round((performance.now() - started) / 100) / 10;
    o.say(`${name} ready after ${phases[name]} s`);
    return result;
  };
  await mkdir(o.dir, { recursive: true });
  const platform = await timed('platform', () =>
    startPlatform({ dir: platformDir(o.dir), centres: o.centres, with: o.extras, handleSignals: false }),
  );
  let stages: RunningStages | undefined;
  try {
    // Not before the platform: its start refuses a folder that another one uses.
    const left = await endRecordedStages(stagesDir(o.dir));
    if (left.length > 0) o.say(`ended what an earlier run left: ${left.join(', ')}`);
    await rm(stagesDir(o.dir), { recursive: true, force: true });
    // The platform began empty: what an earlier log left would be read as this one's.
    await rm(logMirrorDir(o.dir), { recursive: true, force: true });
    const provisioned = await timed('topics, users and buckets', () =>
      provision(platform, {
        centres: o.centres,
        dir: secretsDir(o.dir),
        readers: o.readers,
        ...(o.cohortFile === undefined ? {} : { cohortFile: o.cohortFile }),
        ...(o.clinicalDays === undefined ? {} : { clinicalDays: o.clinicalDays }),
      }),
    );
    const started = await timed('stages', () =>
      startStages({
        platform,
        provisioned,
        dir: stagesDir(o.dir),
        env: { release: { RELEASE_OUT_DIR: o.datasetDir } },
        onExit: o.restarts.onExit,
      }),
    );
    stages = started;
    o.restarts.attach(started);
    const urls = Object.fromEntries(STAGE_NAMES.map((name) => [name, started.url(name)]));
    const apiUrls = Object.fromEntries(STAGE_NAMES.map((name) => [name, started.apiUrl(name)]));
    if (platform.prometheusUrl !== undefined) await writeScrapeTargets(platform.dir, urls);
    await writeDeployment(o.dir, { centres: o.centres, prefix: '', readers: o.readers, urls, apiUrls });
    return { platform, provisioned, stages: started, phases };
  } catch (error) {
    await stopLocal({ platform, stages, restarts: o.restarts });
    throw error;
  }
}

/** Ends the stages in order, then the platform, which ends whatever became of the stages. */
export async function stopLocal(o: { platform: Platform; stages: RunningStages | undefined; restarts: Restarts }): Promise<void> {
  try {
    const restarting = o.restarts.stop();
    await o.stages?.stop();
    await restarting;
  } finally {
    await o.platform.stop();
  }
}

/** What Prometheus scrapes, as its file_sd reads it: a target with its stage's name each. */
export async function writeScrapeTargets(platformFolder: string, urls: Readonly<Record<string, string>>): Promise<void> {
  const targets = Object.entries(urls).map(([stage, url]) => ({ targets: [new URL(url).host], labels: { stage } }));
  const file = join(platformFolder, 'prometheus', 'targets', 'stages.json');
  // In one step: Prometheus may read it at any moment.
  await writeFile(`${file}.tmp`, JSON.stringify(targets, null, 2));
  await rename(`${file}.tmp`, file);
}
