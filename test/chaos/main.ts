// npm run chaos: faults at random moments while studies flow through a pipeline of its own, and what became of every study.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { commit } from '../../bench/report.ts';
import { abortOnSignals } from '../../services/cli/demo/abort-on-signals.ts';
import { BUS_CLIENTS, DEFAULT_CLIENT, type BusClient } from '../../services/ports/event-bus.ts';
import { runInFolder } from './in-folder.ts';
import { writePage, type ChaosDocument } from './page.ts';
import type { ChaosResult } from './run.ts';

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly kills?: number;
  readonly centres: number;
  readonly studyEvery: number;
  readonly kafkaClient: BusClient;
  readonly dir?: string;
  readonly json?: string;
  readonly page?: boolean;
}

const KILLS_A_MINUTE = 20;
const REST_MS = 600_000;

function number(least: number, whole: boolean): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isFinite(value) || value < least || (whole && !Number.isSafeInteger(value)))
      throw new InvalidArgumentError(`needs a ${whole ? 'whole ' : ''}number from ${least} on`);
    return value;
  };
}

const say = (line: string): void => void process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);

function summary(r: ChaosResult, dir: string): string {
  const faults = r.faults.map((f) => `  ${f.fault} ${f.place}: ${f.times}`).join('\n');
  const verdict =
    r.problems.length === 0
      ? 'Nothing lost, nothing doubled.'
      : `WRONG:\n${r.problems.map((p) => `  ${p}`).join('\n')}\nEverything is kept in ${dir}`;
  return `${r.kills} kills, ${r.studies} studies, ${r.manifests.clinical} stored and ${r.manifests.research} anonymised revisions.\n${faults}\nlost ${r.lost}, doubled ${r.doubled}, unaccounted ${r.unaccounted}, other bytes ${r.hashMismatches}, dead letters ${r.deadLetters}\n${verdict}\n`;
}

async function main(o: Options): Promise<void> {
  const signal = abortOnSignals(say);
  const dir = o.dir ?? (await mkdtemp(join(tmpdir(), 'ctstream-chaos-')));
  say(`folder ${dir}`);
  const { minutes, seed, centres, kills = Math.ceil(minutes * KILLS_A_MINUTE) } = o;
  const result = await runInFolder({
    dir,
    minutes,
    seed,
    centres,
    kills,
    studyEveryMs: o.studyEvery * 1000,
    kafkaClient: o.kafkaClient,
    restMs: REST_MS,
    say,
    signal,
  }).catch((error: unknown) => {
    if (!signal.aborted) say(`the run failed; its logs are kept in ${dir}`);
    // 130 as shells report an interrupt.
    else process.exit(130);
    throw error;
  });
  const command = `npm run chaos -- --minutes ${minutes} --seed ${seed} --kills ${kills} --centres ${centres} --study-every ${o.studyEvery}${o.kafkaClient === DEFAULT_CLIENT ? '' : ` --kafka-client ${o.kafkaClient}`}`;
  const document: ChaosDocument = { ...result, command, commit: commit() };
  if (o.json !== undefined) await writeFile(o.json, `${JSON.stringify(document, null, 2)}\n`);
  if (o.page === true) await writePage(document);
  process.stdout.write(summary(result, dir));
  if (result.problems.length > 0) {
    await writeFile(join(dir, 'result.json'), JSON.stringify(document, null, 2));
    process.exitCode = 1;
  } else if (o.dir === undefined) await rm(dir, { recursive: true, force: true });
}

await new Command('npm run chaos --')
  .description(
    'Kills, stops and doubles services and parts of the platform at random moments while studies flow, then checks that nothing is lost or doubled.',
  )
  .option('--minutes <n>', 'how long faults go on', number(0.2, false), 5)
  .option('--seed <n>', 'decides what is done, where and in which order; not how fast the processes are', number(0, true), 1)
  .option('--kills <n>', `SIGKILLs; ${KILLS_A_MINUTE} a minute when not given`, number(1, true))
  .option('--centres <n>', 'centres, each with a PACS', number(1, true), 3)
  .option('--study-every <seconds>', 'a study is sent so often', number(0.5, false), 4)
  .addOption(new Option('--kafka-client <name>', 'what every service speaks to Kafka with').choices(BUS_CLIENTS).default(DEFAULT_CLIENT))
  .option('--dir <dir>', 'an empty folder for logs and data; a temporary one that is removed after a good run when not given')
  .option('--json <file>', 'write the result as JSON')
  .option('--page', 'make it the result in docs/faults/ (a file for each client) and docs/faults.md')
  .addHelpText(
    'after',
    `
Examples:
  npm run chaos -- --minutes 2                         40 kills
  npm run chaos -- --minutes 16 --seed 7 --page        320 kills, and the page in docs/

Exit codes: 0 nothing was lost or doubled, 1 something is wrong (it is said what, and the logs are kept), 2 usage.`,
  )
  .configureOutput({ writeErr: (text) => void process.stderr.write(text) })
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  .action(main)
  .parseAsync();
