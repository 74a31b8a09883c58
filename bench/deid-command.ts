// `npm run bench -- deid`: its options, its section of the results page and its JSON.
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Command } from 'commander';
import { benchDeid } from './deid.ts';
import type { Contender, DeidBench } from './deid.ts';
import { commit, count, counts, machine, ratioOf, writeSection } from './report.ts';

const ratio = (a: Contender, b: Contender | undefined): number | undefined => (b === undefined ? undefined : ratioOf(a.rates, b.rates));

interface Summary {
  ours: number;
  peer: number | undefined;
  limit: number;
  ratioToPeer: number | undefined;
  ratioToLimit: number | undefined;
  ratioToDicognito: number | undefined;
  machine: string;
  commit: string;
}

const summaryOf = (bench: DeidBench): Summary => ({
  ours: Math.round(bench.ours.median),
  peer: bench.peer === undefined ? undefined : Math.round(bench.peer.median),
  limit: Math.round(bench.limit.median),
  ratioToPeer: ratio(bench.ours, bench.peer),
  ratioToLimit: ratio(bench.ours, bench.limit),
  ratioToDicognito: bench.dicognito === undefined ? undefined : Number((bench.ours.median / bench.dicognito.median).toFixed(1)),
  machine: machine(),
  commit: commit(),
});

const AIM = { peer: 1.25, dicognito: 20, limit: 0.65 };

const isReached = ({ ratioToPeer = 0, ratioToDicognito = 0, ratioToLimit = 0 }: Summary): boolean =>
  ratioToPeer >= AIM.peer && ratioToDicognito >= AIM.dicognito && ratioToLimit >= AIM.limit;

const table = (bench: DeidBench, summary: Summary): string[] => {
  const row = (one: Contender | undefined, against: string): string[] =>
    one === undefined ? [] : [`| ${one.name} | ${Math.round(one.median)} | ${one.rates.map(Math.round).join(', ')} | ${against} |`];
  return [
    `${bench.input.files} files, ${Math.round(bench.input.bytes / 1e6)} MB (${bench.source === 'phantoms' ? 'synthetic phantoms' : 'real CT'}, replicated with UIDs of their own), ${bench.workers} threads, files ${bench.place === 'memory' ? 'in memory (tmpfs)' : 'on disk, through the page cache'}:`,
    '',
    '| | files/s, median | each round | ours is so many times |',
    '|---|---|---|---|',
    ...row(bench.ours, '1'),
    ...row(bench.peer, String(summary.ratioToPeer)),
    ...row(bench.dicognito, String(summary.ratioToDicognito)),
    ...row(bench.limit, String(summary.ratioToLimit)),
    '',
    `Without the start of its process ours does ${Math.round(bench.ours.withoutStart)} files/s; at most ${bench.ours.maxRssMb} MB resident.`,
    ...bench.leftOut.map((reason) => `\nLeft out: ${reason}.`),
    '',
  ];
};

const section = (runs: readonly (readonly [DeidBench, Summary])[]): string[] => {
  const [first] = runs;
  return [
    `\`npm run bench -- deid\`. ${first?.[1].machine}. Commit ${first?.[1].commit}.`,
    '',
    ...runs.flatMap(([bench, summary]) => table(bench, summary)),
    'Whole processes, one after the other in each round; ratios are medians over rounds. Other work on the machine slows what needs the processor more than what copies: these figures are of a shared machine unless its load was none.',
    '',
    `The aim is ${AIM.peer} times gdcmanon, ${AIM.dicognito} times dicognito, ${AIM.limit} of the limit. It is ${runs.every(([, summary]) => isReached(summary)) ? '' : 'not '}reached.`,
  ];
};

interface DeidCommand {
  dicom?: string;
  files: number[];
  rounds: number;
  workers: number;
  scratch?: string;
  json?: string;
}

const deid = async (options: DeidCommand): Promise<void> => {
  const runs: [DeidBench, Summary][] = [];
  for (const files of options.files) {
    const bench = await benchDeid({ ...options, files }, (line) => void process.stdout.write(`${line}\n`));
    const summary = summaryOf(bench);
    for (const reason of bench.leftOut) process.stdout.write(`left out: ${reason}\n`);
    process.stdout.write(
      `ours ${summary.ours} files/s; ${summary.ratioToPeer ?? '-'} x gdcmanon, ${summary.ratioToDicognito ?? '-'} x dicognito, ${summary.ratioToLimit} of the limit\n`,
    );
    runs.push([bench, summary]);
  }
  writeSection('De-identification', section(runs));
  if (options.json === undefined) return;
  const [first, ...more] = runs.map(([detail, summary]) => ({ ...summary, detail }));
  writeFileSync(options.json, `${JSON.stringify({ ...first, more }, null, 2)}\n`);
};

export const deidCommand = (): Command =>
  new Command('deid')
    .description('de-identification; writes its section of bench/results.md')
    .option('--dicom <dir>', 'CT images to replicate; phantoms when not given')
    .option('--files <list>', 'at least so many files; one run for each number', counts, [1000, 4000])
    .option('--rounds <n>', 'rounds in turn', count, 3)
    .option('--workers <n>', 'threads of ours and of the limit', count, availableParallelism())
    .option('--scratch <dir>', 'folder for input and output; its file system counts')
    .option('--json <file>', 'write the figures there too: of the first run, the others as `more`')
    .addHelpText('after', '\nExample:\n  npm run bench -- deid --dicom scans --json deid.json\n')
    .action(deid);
