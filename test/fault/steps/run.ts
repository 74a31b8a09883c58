// Kills ingest and anonymise at chosen steps of a job, or stops them there until another process has done their work, or kills
// the part that the step uses, one study each, in a whole pipeline; then checks that nothing is lost or doubled.
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processStart } from '../../../deploy/local/processes.ts';
import type { Platform } from '../../../deploy/local/platform.ts';
import { random } from '../../../services/cli/phantom/random.ts';
import type { Account } from '../../../services/kernel/accounting.ts';
import { startPipeline, until, type Pipeline } from '../../integration/pipeline.ts';
import { committedTooFar, restAndCheck, untilConsumed, type Verdict } from '../verdict.ts';
import { sendStudy, type SentStudy } from '../../chaos/sender.ts';
import { keepUp } from '../one-by-one.ts';
import { killPartAt, partAt, patiently } from './part-kill.ts';
import { atStep, SIGNAL_FILE, STEPS_FILE } from './step.ts';
import { takeOverAt, TAKE_OVERS } from './take-over.ts';

const STEPPED = ['ingest', 'anonymise'] as const;
export type Stepped = (typeof STEPPED)[number];
export const MILESTONE = { ingest: 'stored', anonymise: 'anonymised' } as const satisfies Record<Stepped, keyof Account['reached']>;

export interface StepKill {
  readonly stage: Stepped;
  readonly step: string;
  /** Whether the process came to that step and was killed there. */
  readonly hit: boolean;
}

export interface StepRun {
  /** Every step that a study takes in each stage. */
  readonly steps: Readonly<Record<Stepped, readonly string[]>>;
  readonly kills: readonly StepKill[];
  /** Steps before which the process was stopped until another had finished its study. */
  readonly takeOvers: readonly { readonly stage: Stepped; readonly step: string }[];
  /** Steps at which a part that they use was killed. */
  readonly partKills: readonly { readonly stage: Stepped; readonly step: string; readonly part: string }[];
  readonly studies: number;
  readonly verdict: Verdict;
}

export interface StepRunOptions {
  /** A folder for the steps' files, and the logs. */
  readonly dir: string;
  readonly seed: number;
  /** Most kills per stage, drawn by the seed; every step without it. */
  readonly most?: number;
  /** Most take-overs per stage; all without it. */
  readonly mostTakeOvers?: number;
  /** Most parts killed per stage, drawn by the seed; one at each kind of step without it. */
  readonly mostPartKills?: number;
  readonly platform?: Platform;
  readonly say: (line: string) => void;
}

const WITHIN_MS = 120_000;
/** Commits come up to 100 ms after the acknowledgement. */
const COMMITTED_MS = 1000;

const isAlive = (p: Pipeline, stage: Stepped): boolean => {
  const pid = p.stages.pid(stage);
  return pid !== undefined && processStart(pid) !== undefined;
};

function environment(folder: string): Record<string, string> {
  return {
    NODE_OPTIONS: `--import=${new URL('./register.ts', import.meta.url).href}`,
    CTSTREAM_STEPS: folder,
    KAFKA_SESSION_TIMEOUT_MS: '6000',
    RETRY_DELAYS_MS: '1000,3000,10000',
    CONCURRENCY: '1',
  };
}

interface Steps {
  /** The steps from the first record that was taken on, each once. */
  readonly all: readonly string[];
  /** Those that the first job of a process has and the last one had not: ingest lists instances until it knows the centre. */
  readonly ofFirst: ReadonlySet<string>;
  /** And the other way round. */
  readonly ofLater: ReadonlySet<string>;
}

async function stepsOf(folder: string): Promise<Steps> {
  const lines = (await readFile(join(folder, STEPS_FILE), 'utf8')).trim().split('\n');
  const [first, second] = [lines.indexOf('after take'), lines.lastIndexOf('after take')];
  const [one, other] = [new Set(lines.slice(first, second)), new Set(lines.slice(second))];
  return { all: [...new Set(lines.slice(first))], ofFirst: one.difference(other), ofLater: other.difference(one) };
}

function choose(steps: readonly string[], most: number | undefined, seed: number, ...what: string[]): string[] {
  if (most === undefined || steps.length <= most) return [...steps];
  const draw = random(seed, 'step', ...what);
  const left = [...steps];
  const chosen = Array.from({ length: most }, () => left.splice(draw.whole(0, left.length - 1), 1)).flat();
  return steps.filter((s) => chosen.includes(s));
}

const stepsBefore = (steps: readonly string[]): string[] =>
  TAKE_OVERS.flatMap((what) => steps.find((step) => what.test(step) && !step.includes(', time ')) ?? []);

export async function killAtSteps(o: StepRunOptions): Promise<StepRun> {
  const folderOf = (stage: Stepped): string => join(o.dir, 'steps', stage);
  for (const stage of STEPPED) for (const name of [stage, `${stage}-second`]) await mkdir(join(o.dir, 'steps', name), { recursive: true });
  const keeper = keepUp();
  const p = await startPipeline({
    name: 'steps',
    onExit: keeper.onExit,
    centres: 1,
    dir: join(o.dir, 'stages'),
    ...(o.platform === undefined ? {} : { platform: o.platform }),
    env: { ingest: environment(folderOf('ingest')), anonymise: environment(folderOf('anonymise')) },
  });
  try {
    const sent: SentStudy[] = [];
    const send = async (): Promise<void> => void sent.push(await sendStudy({ pacs: p.pacs, seed: o.seed }, sent.length));
    for (let n = 1; n <= 2; n += 1) {
      await send();
      await until(p, (a) => a.reached.anonymised === n, WITHIN_MS);
      await sleep(COMMITTED_MS);
    }
    const known = { ingest: await stepsOf(folderOf('ingest')), anonymise: await stepsOf(folderOf('anonymise')) };
    const steps = { ingest: known.ingest.all, anonymise: known.anonymise.all };
    /** Has the next study come to the step. */
    const sendTo = async (stage: Stepped, signal: 'SIGKILL' | 'SIGSTOP', step: string): Promise<void> => {
      // A study that is told of already may still be under way after a kill: the next fault must not hit that one again.
      await patiently(() => untilConsumed(p, WITHIN_MS, stage));
      if (known[stage].ofFirst.has(step)) {
        await p.stages.kill(stage, 'SIGTERM');
        await p.stages.start(stage);
      }
      if (known[stage].ofLater.has(step)) {
        await send();
        await until(p, (a) => a.reached[MILESTONE[stage]] === sent.length, WITHIN_MS);
        await sleep(COMMITTED_MS);
      }
      await writeFile(join(folderOf(stage), SIGNAL_FILE), atStep(signal, step));
      await send();
    };
    o.say(`ingest has ${steps.ingest.length} steps, anonymise ${steps.anonymise.length}`);
    const kills: StepKill[] = [];
    const tooFar = new Set<string>();
    for (const stage of STEPPED) {
      for (const step of choose(steps[stage], o.most, o.seed, stage)) {
        await sendTo(stage, 'SIGKILL', step);
        const hit = await untilKilled(p, stage, sent.length, join(folderOf(stage), SIGNAL_FILE));
        o.say(`${stage}, ${step}: ${hit ? 'killed' : 'not reached'}`);
        kills.push({ stage, step, hit });
        if (!hit) continue;
        // While it is dead: what it has committed must have its outcome already.
        for (const one of await committedTooFar(p)) tooFar.add(one);
        await p.stages.start(stage);
        await until(p, (a) => a.reached[MILESTONE[stage]] === sent.length, WITHIN_MS);
      }
    }
    const takeOvers: StepRun['takeOvers'][number][] = [];
    for (const stage of STEPPED) {
      const env = environment(join(o.dir, 'steps', `${stage}-second`));
      for (const step of stepsBefore(steps[stage]).slice(0, o.mostTakeOvers)) {
        await sendTo(stage, 'SIGSTOP', step);
        await takeOverAt(p, {
          stage,
          step,
          env,
          dir: join(o.dir, `second-${takeOvers.length}`),
          milestone: MILESTONE[stage],
          sent: sent.length,
        });
        o.say(`${stage}, ${step}: taken over`);
        takeOvers.push({ stage, step });
      }
    }
    // From here on a process that gives up because a part is away is started again.
    keeper.attach(p, {});
    const [centre] = p.pacs;
    const partKills: StepRun['partKills'][number][] = [];
    for (const stage of STEPPED) {
      const kinds = steps[stage].filter((step) => !step.includes(', time ') && partAt(step, '') !== undefined);
      for (const step of choose(kinds, o.mostPartKills, o.seed, 'part', stage)) {
        const part = partAt(step, centre?.centre ?? '') ?? '';
        await sendTo(stage, 'SIGSTOP', step);
        await killPartAt(p, { stage, step, part, milestone: MILESTONE[stage], sent: sent.length });
        for (const one of await patiently(() => committedTooFar(p))) tooFar.add(one);
        o.say(`${stage}, ${step}: ${part} killed`);
        partKills.push({ stage, step, part: part.replace(/\/.*/, '') });
      }
    }
    return { steps, kills, takeOvers, partKills, studies: sent.length, verdict: await restAndCheck(p, sent, [...tooFar]) };
  } finally {
    await keeper.stop();
    await p.stop();
  }
}

/** True once the process is dead; false when the study went through without it. */
async function untilKilled(p: Pipeline, stage: Stepped, sent: number, killFile: string): Promise<boolean> {
  const deadline = Date.now() + WITHIN_MS;
  while (isAlive(p, stage)) {
    const now = await p.follower.account(AbortSignal.timeout(60_000));
    if (now.reached[MILESTONE[stage]] === sent || Date.now() > deadline) {
      await sleep(2 * COMMITTED_MS);
      if (!isAlive(p, stage)) break;
      await rm(killFile, { force: true });
      return false;
    }
    await sleep(100);
  }
  return !existsSync(killFile);
}
