// Commands on a local deployment: up, down, status, centres.
import type { Command } from 'commander';
import Table from 'cli-table3';
import type { Extra } from '../../../deploy/local/tools.ts';
import { centreNames, deployLocal } from '../demo/deploy.ts';
import { attachDeployment, DEFAULT_DIR } from '../deployment.ts';
import { print, progress, type Printable } from '../output.ts';

interface UpOptions {
  readonly dir: string;
  readonly centres: string;
  readonly with: string;
}

async function up(o: UpOptions): Promise<void> {
  const extras = o.with.split(',').filter((w) => w !== '') as Extra[];
  const running = await deployLocal({
    dir: o.dir,
    centres: centreNames(Number(o.centres)),
    extras,
    readers: 6,
    datasetDir: `${o.dir}/dataset`,
    say: progress,
    onExit: (e) => progress(`the stage ${e.name} ended unexpectedly (${e.signal ?? e.code})`),
  });
  progress(`Centres: ${running.stages.apiUrl('centre-gateway')}/`);
  progress('Running. Ctrl-C ends it.');
  await new Promise<void>((done) => {
    process.once('SIGINT', () => done());
    process.once('SIGTERM', () => done());
  });
  await running.stages.stop();
  await running.platform.stop();
}

async function down(o: { dir: string }): Promise<void> {
  const { platform } = await attachDeployment(o.dir);
  await platform.stop({ stop: true });
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
  const { file } = await attachDeployment(o.dir);
  const stages = await Promise.all(Object.entries(file.urls).map(([stage, url]) => healthOf(stage, url)));
  print(o, { centres: file.centres, stages }, () => {
    const table = new Table({ head: ['stage', 'ready', 'url', 'why not'], style: { head: [], border: [], compact: true } });
    for (const s of stages) table.push([s.stage, s.ready ? 'yes' : 'NO', s.url, s.why]);
    return table.toString();
  });
  if (stages.some((s) => !s.ready)) process.exitCode = 1;
}

async function centres(o: { dir: string } & Printable): Promise<void> {
  const { file } = await attachDeployment(o.dir);
  const response = await fetch(`${file.apiUrls['centre-gateway']}/status.json`, { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`the gateway answered ${response.status}`);
  const body: unknown = await response.json();
  print(o, body, () => JSON.stringify(body, null, 2));
}

export function addDeploymentCommands(program: Command): void {
  program
    .command('up')
    .description('start the local platform and every stage, and stay until Ctrl-C')
    .option('--centres <n>', 'CT centres, each with its PACS', '4')
    .option('--with <parts>', 'registry, traces, metrics (commas between)', '')
    .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
    .addHelpText('after', '\nExamples:\n  ctstream up\n  ctstream up --centres 12 --with traces\n')
    .action(up);
  program
    .command('down')
    .description('stop the local platform')
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
}
