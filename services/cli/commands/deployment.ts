// Commands on a local deployment: up, down, status, centres.
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { InvalidArgumentError, type Command } from 'commander';
import Table from 'cli-table3';
import { z } from 'zod';
import { cleanUp, stopAll } from '../../../deploy/local/cleanup.ts';
import { CLINICAL_DAYS } from '../../../deploy/local/lifecycle.ts';
import { isRunning } from '../../../deploy/local/processes.ts';
import { endRecordedStages } from '../../../deploy/local/stage-records.ts';
import { readState } from '../../../deploy/local/state.ts';
import type { Extra } from '../../../deploy/local/tools.ts';
import { centresAnswer, centresTable } from '../centres-table.ts';
import { abortOnSignals } from '../demo/abort-on-signals.ts';
import { centreNames, deployLocal, stopLocal } from '../demo/deploy.ts';
import { restarts } from '../demo/restarts.ts';
import { attachDeployment, DEFAULT_DIR, NoDeployment, platformDir, stagesDir } from '../deployment.ts';
import { print, progress, type Printable } from '../output.ts';

interface UpOptions {
  readonly dir: string;
  readonly centres: number;
  readonly with: Extra[];
  readonly clinicalDays: number;
}

async function up(o: UpOptions): Promise<void> {
  const again = restarts({ limit: Number.POSITIVE_INFINITY, firstWaitMs: 1000, say: progress });
  const signal = abortOnSignals(progress);
  const dir = resolve(o.dir);
  const running = await deployLocal({
    dir,
    centres: centreNames(o.centres),
    extras: o.with,
    readers: 6,
    datasetDir: join(dir, 'dataset'),
    clinicalDays: o.clinicalDays,
    say: progress,
    restarts: again,
    signal,
  });
  progress(`Centres: ${running.stages.apiUrl('centre-gateway')}/`);
  if (running.platform.prometheusUrl !== undefined) progress(`Metrics: ${running.platform.prometheusUrl}`);
  if (running.platform.zipkinUrl !== undefined) progress(`Traces:  ${running.platform.zipkinUrl}`);
  progress('Running. Ctrl-C ends it.');
  if (!signal.aborted) await new Promise((done) => signal.addEventListener('abort', done, { once: true }));
  await stopLocal({ ...running, restarts: again });
}

/** The owner's drain (30 s at most) and the parts' own ends. */
const OWNER_ENDS_WITHIN_MS = 60_000;

async function down(o: { dir: string }): Promise<void> {
  const dir = resolve(o.dir);
  const platform = platformDir(dir);
  const state = readState(platform);
  const owner = state?.owner ?? undefined;
  if (owner !== undefined && owner.pid !== process.pid && isRunning(owner)) {
    // Its own process stops it best, and would otherwise start the stages again.
    progress(`asking process ${owner.pid}, which runs it, to end`);
    process.kill(owner.pid, 'SIGTERM');
    const deadline = Date.now() + OWNER_ENDS_WITHIN_MS;
    while (isRunning(owner) && Date.now() < deadline) await sleep(100);
  }
  const stages = await endRecordedStages(stagesDir(dir));
  if (stages.length > 0) progress(`stages stopped: ${stages.join(', ')}`);
  if (readState(platform) !== undefined) {
    await stopAll(platform);
    await cleanUp(platform, 'keep-logs');
  } else if (state === undefined && stages.length === 0) {
    throw new NoDeployment(`no deployment runs in ${dir}`);
  }
  progress('stopped');
}

interface StageHealth {
  readonly stage: string;
  readonly url: string;
  readonly ready: boolean;
  readonly why: string;
}

async function healthOf(stage: string, url: string): Promise<StageHealth> {
  try {
    const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(3000) });
    return { stage, url, ready: response.ok, why: response.ok ? '' : (await response.text()).slice(0, 200) };
  } catch (error) {
    return { stage, url, ready: false, why: error instanceof Error ? error.name : 'no answer' };
  }
}

async function status(o: { dir: string } & Printable): Promise<void> {
  const { file } = await attachDeployment(resolve(o.dir));
  const stages = await Promise.all(Object.entries(file.urls).map(([stage, url]) => healthOf(stage, url)));
  print(o, { centres: file.centres, stages }, () => {
    const table = new Table({ head: ['stage', 'ready', 'url', 'why not'], style: { head: [], border: [], compact: true } });
    for (const s of stages) table.push([s.stage, s.ready ? 'yes' : 'NO', s.url, s.why]);
    return table.toString();
  });
  if (stages.some((s) => !s.ready)) process.exitCode = 1;
}

async function centres(o: { dir: string } & Printable): Promise<void> {
  const { file } = await attachDeployment(resolve(o.dir));
  const response = await fetch(`${file.apiUrls['centre-gateway']}/status.json`, { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`the gateway answered ${response.status}`);
  const body: unknown = await response.json();
  print(o, body, () => centresTable(centresAnswer.parse(body).centres));
}

interface AgainOptions extends Printable {
  readonly dir: string;
  readonly centre: string;
  readonly since?: string;
  readonly dryRun?: boolean;
}

const againAnswer = z.object({ centre: z.string(), studies: z.number(), dryRun: z.boolean() });

async function announceAgain({ dir, centre, since, dryRun, ...o }: AgainOptions): Promise<void> {
  const { file, provisioned } = await attachDeployment(resolve(dir));
  const response = await fetch(`${file.apiUrls['centre-gateway']}/announce-again`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${provisioned.gatewayToken}` },
    body: JSON.stringify({ centre, since, dryRun }),
    signal: AbortSignal.timeout(60_000),
  });
  if (!response.ok) throw new Error(`the gateway answered ${response.status}: ${(await response.text()).slice(0, 300)}`);
  const answer = againAnswer.parse(await response.json());
  print(o, answer, () =>
    answer.dryRun
      ? `${answer.studies} studies of ${centre} would be announced again`
      : `${answer.studies} studies of ${centre} are announced again, as fast as its PACS answers; 'ctstream centres' shows how many still wait`,
  );
}

/** A date, or a date with a time; without a zone it is UTC for a date and local for a time, as JavaScript has it. */
function isoTime(text: string): string {
  const at = /^\d{4}-\d{2}-\d{2}/.test(text) ? new Date(text) : undefined;
  if (at === undefined || Number.isNaN(at.getTime())) throw new InvalidArgumentError('give a date such as 2026-04-01');
  return at.toISOString();
}

function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const n = Number(text);
    if (!Number.isInteger(n) || n < least || n > most) throw new InvalidArgumentError(`give a whole number from ${least} to ${most}`);
    return n;
  };
}

const EXTRA_PARTS: readonly string[] = ['registry', 'traces', 'metrics'];

function extrasOf(text: string): Extra[] {
  const extras = text.split(',').filter((w) => w !== '');
  const unknown = extras.filter((e) => !EXTRA_PARTS.includes(e));
  if (unknown.length > 0) throw new InvalidArgumentError(`it knows ${EXTRA_PARTS.join(', ')}, not ${unknown.join(', ')}`);
  return extras as Extra[];
}

export function addDeploymentCommands(program: Command): void {
  program
    .command('up')
    .description('start the local platform and every stage, and stay until Ctrl-C')
    .option('--centres <n>', 'CT centres, each with its PACS', wholeNumber(1, 48), 4)
    .option('--with <parts>', 'registry, traces, metrics (commas between)', extrasOf, [])
    .option('--clinical-days <n>', "days that originals stay after their study's final outcome", wholeNumber(1, 3650), CLINICAL_DAYS)
    .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
    .addHelpText('after', '\nExamples:\n  ctstream up\n  ctstream up --centres 12 --with traces\n')
    .action(up);
  program
    .command('down')
    .description('stop the stages and the local platform, also what a killed parent left')
    .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
    .addHelpText('after', '\nExample:\n  ctstream down\n')
    .action(down);
  program
    .command('status')
    .description('is every stage ready, and where are its pages; exit code 1 when one is not')
    .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  ctstream status --json\n')
    .action(status);
  program
    .command('centres')
    .description('per centre: sent, acknowledged, waiting, refused and why')
    .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  ctstream centres --json\n')
    .action(centres);
  program
    .command('announce-again')
    .description("have a centre's gateway announce once more what it had announced: for announcements that the log has lost")
    .requiredOption('--centre <id>', 'the centre')
    .option('--since <date>', 'only studies whose last announcement is not older (default: all)', isoTime)
    .option('--dry-run', 'only say how many there are')
    .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      '\nExamples:\n  ctstream announce-again --centre c01 --since 2026-04-01 --dry-run\n  ctstream announce-again --centre c01\n',
    )
    .action(announceAgain);
}
