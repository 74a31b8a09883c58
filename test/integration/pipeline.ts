// A whole pipeline of its own on the run's platform: every stage as a process, fed with small phantoms.
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OrthancInstance, Platform } from '../../deploy/local/platform.ts';
import { provision, type Provisioned } from '../../deploy/local/provision.ts';
import { startStages, type RunningStages, type StageExit, type StageName } from '../../deploy/local/stages.ts';
import { feed } from '../../services/centre-gateway/feed.ts';
import { localAccess, operatorPorts, type OperatorPorts } from '../../services/cli/deployment.ts';
import { followLog, type LogFollower } from '../../services/cli/follow-log.ts';
import { startReaders, type Readers } from '../../services/cli/demo/readers.ts';
import { generateStudy, type PhantomOptions, type PhantomTruth } from '../../services/cli/phantom/generate.ts';
import type { Account } from '../../services/kernel/accounting.ts';
import { testPlatform, testPrefix } from './support.ts';

export interface Pipeline {
  readonly platform: Platform;
  readonly provisioned: Provisioned;
  readonly stages: RunningStages;
  readonly ports: OperatorPorts;
  readonly follower: LogFollower;
  /** PACSs of its own, so that no other file's studies are in them. */
  readonly pacs: readonly OrthancInstance[];
  /** Folder of the stages' logs. */
  readonly logs: string;
  readonly dir: string;
  /** Stages that ended without being told to. */
  readonly exits: readonly StageExit[];
  stop(): Promise<void>;
}

export interface PipelineOptions {
  readonly name: string;
  /** Short names; the centre ids get a random part of the test file. */
  readonly centres: number;
  readonly env?: Readonly<Partial<Record<StageName, Readonly<Record<string, string>>>>>;
  readonly readers?: boolean;
  readonly only?: readonly StageName[];
  /** In place of the test run's platform. */
  readonly platform?: Platform;
  /** Folder of logs and state that outlives `stop`; a temporary one that does not when not given. */
  readonly dir?: string;
  /** Told of a stage that ended without being told to. */
  readonly onExit?: (exit: StageExit) => void;
}

/** Small but whole: 40 slices of 7.5 mm, so that every gate is passed, and about 1.3 MB a series. */
export const SMALL: Pick<PhantomOptions, 'rows' | 'slices'> = { rows: 128, slices: 40 };

/** Rounds of selection close sooner than people want to see: most tests wait for some. */
const OFTEN = { SELECT_EVERY_MS: '1000' };

export async function startPipeline(o: PipelineOptions): Promise<Pipeline> {
  const platform = o.platform ?? (await testPlatform());
  const prefix = testPrefix(o.name);
  const dir = o.dir ?? (await mkdtemp(join(tmpdir(), `ctstream-${o.name}-`)));
  const centres = Array.from({ length: o.centres }, (_, i) => `${prefix.slice(-5, -1)}${i + 1}`);
  const pacs: OrthancInstance[] = [];
  for (const centre of centres) pacs.push(await platform.addOrthanc(centre));
  const provisioned = await provision(platform, { centres, prefix, dir: join(dir, 'secrets'), readers: 6, partitions: 4 });
  const exits: StageExit[] = [];
  const stages = await startStages({
    platform,
    provisioned,
    dir,
    onExit: (e) => {
      exits.push(e);
      o.onExit?.(e);
    },
    ...(o.only === undefined ? {} : { only: o.only }),
    env: { ...o.env, select: { ...OFTEN, ...o.env?.select } },
  });
  const ports = await operatorPorts(localAccess(platform, provisioned));
  const abort = new AbortController();
  const readers: Readers | undefined =
    o.readers === false ? undefined : startReaders({ platform, provisioned, stages, phases: {} }, 1, abort.signal);
  return {
    platform,
    provisioned,
    stages,
    ports,
    follower: followLog(ports),
    pacs,
    logs: join(dir, 'logs'),
    dir,
    exits,
    async stop() {
      abort.abort();
      await readers?.stop();
      await ports.close();
      await stages.stop();
      // Nobody looks into them any more, and an orderly end takes Orthanc seconds.
      await Promise.all(pacs.map(({ centre }) => platform.stopOrthanc(centre, 'SIGKILL')));
      if (o.dir !== undefined) return;
      await cp(join(dir, 'logs'), join(tmpdir(), 'ctstream-last-logs', o.name), { recursive: true, force: true });
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Puts a phantom study into a PACS. */
export async function sendPhantom(pacs: OrthancInstance, o: Omit<PhantomOptions, 'rows' | 'slices' | 'issuer'>): Promise<PhantomTruth> {
  const files: { path: string; bytes: () => Promise<Uint8Array> }[] = [];
  const study = generateStudy({ ...SMALL, ...o, issuer: `iss-${pacs.centre}` });
  for (;;) {
    const next = study.next();
    if (next.done === true) {
      const results = await feed(
        files,
        { orthancUrl: pacs.baseUrl, dicomWebUrl: pacs.dicomWebUrl, username: pacs.username, password: pacs.password },
        { signal: AbortSignal.timeout(60_000) },
      );
      const bad = results.find((r) => !r.stored);
      if (bad !== undefined) throw new Error(`the PACS refused ${bad.path} with ${bad.httpCode}`);
      return next.value;
    }
    const { path, bytes } = next.value;
    files.push({ path, bytes: async () => bytes });
  }
}

/** Polls the account until it is as wanted. @throws Error with the last account when it does not come. */
export async function until(p: Pipeline, wanted: (a: Account) => boolean, limitMs = 120_000): Promise<Account> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const now = await p.follower.account(AbortSignal.timeout(60_000));
    if (wanted(now)) return now;
    if (Date.now() > deadline) {
      throw new Error(
        `not within ${limitMs / 1000} s: ${JSON.stringify(now.totals)} ${JSON.stringify(now.reasons)} ${JSON.stringify(now.reached)} exits ${JSON.stringify(p.exits)}`,
      );
    }
    await sleep(300);
  }
}
