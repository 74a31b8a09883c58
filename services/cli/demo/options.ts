// Options of the demo, checked before anything starts.
import { resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import type { Extra } from '../../../deploy/local/tools.ts';
import { DEFAULT_DIR } from '../deployment.ts';

export interface DemoOptions {
  readonly centres: number;
  readonly studies: number;
  readonly dicom: string | undefined;
  readonly seed: number;
  readonly out: string;
  readonly keep: boolean;
  readonly json: string | undefined;
  readonly rows: number;
  readonly extras: readonly Extra[];
  /** Folder of the platform and the stages while they run. */
  readonly dir: string;
}

const EXTRAS: readonly string[] = ['registry', 'traces', 'metrics'];

function count(least: number, most: number): (text: string) => number {
  return (text) => {
    const n = Number(text);
    if (!Number.isInteger(n) || n < least || n > most) throw new InvalidArgumentError(`give a whole number from ${least} to ${most}`);
    return n;
  };
}

/** Parses the words after `npm run demo --`. Ends with code 2 on a wrong one. */
export function parseDemoOptions(argv: readonly string[]): DemoOptions {
  const command = new Command('demo')
    .description(
      'Runs everything on this machine: PACSs of several centres, Kafka, MinIO, PostgreSQL and every stage;\nputs CT studies into the PACSs and ends with a released dataset and the account of every study.',
    )
    .option('--centres <n>', 'CT centres, each with a PACS of its own', count(1, 48), 4)
    .option('--studies <n>', 'phantom studies to send, shared out over the centres', count(1, 5000), 12)
    .option('--dicom <dir>', 'send the DICOM files of this folder instead of phantoms, a study at a time from a centre')
    .option('--seed <n>', 'seed of the phantoms, the cohort and the simulated readers', count(0, 2 ** 31), 1)
    .option('--rows <n>', 'rows and columns of the phantoms', count(64, 512), 256)
    .option('--out <dir>', 'folder for dataset, event log, logs and report', 'demo-out')
    .option('--keep', 'leave everything running at the end, for a look around', false)
    .option('--json <file>', 'write the report to this file too')
    .option('--dir <dir>', 'folder of the running parts', DEFAULT_DIR)
    .option('--with <parts>', `more parts, with commas between: ${EXTRAS.join(', ')}`, '')
    .addHelpText(
      'after',
      '\nExamples:\n  npm run demo\n  npm run demo -- --centres 48 --studies 96\n  npm run demo -- --dicom ~/scans --keep\n  npm run demo -- --with traces --json report.json\n',
    )
    .exitOverride((e) => process.exit(e.exitCode === 0 ? 0 : 2))
    .parse([...argv], { from: 'user' });
  const o = command.opts<{
    centres: number;
    studies: number;
    dicom?: string;
    seed: number;
    rows: number;
    out: string;
    keep: boolean;
    json?: string;
    with: string;
    dir: string;
  }>();
  const extras = o.with.split(',').filter((w) => w !== '');
  const unknown = extras.filter((e) => !EXTRAS.includes(e));
  if (unknown.length > 0) command.error(`error: --with knows ${EXTRAS.join(', ')}, not ${unknown.join(', ')}`, { exitCode: 2 });
  return {
    centres: o.centres,
    studies: o.studies,
    dicom: o.dicom === undefined ? undefined : resolve(o.dicom),
    seed: o.seed,
    rows: o.rows,
    out: resolve(o.out),
    keep: o.keep,
    json: o.json === undefined ? undefined : resolve(o.json),
    extras: extras as Extra[],
    dir: resolve(o.dir),
  };
}
