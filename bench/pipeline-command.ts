// `npm run bench -- pipeline`: its options, its section of the results page and its JSON.
import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { benchPipeline, STEPS, type PipelineBench, type PipelineBenchOptions, type Step } from './pipeline.ts';
import { commit, count, loadBefore, machine, medianOf, ratioOf, writeSection, type BenchSummary } from './report.ts';

const AIM = 0.6;
const NAMES: Readonly<Record<Step, string>> = {
  wado: 'WADO-RS, bare client',
  put: 'PUT of the same bytes in the same sizes (ct-clinical)',
  get: 'GET of them',
  putAgain: 'PUT again (ct-research)',
};

interface PipelineSummary extends BenchSummary {
  readonly load: number;
}

const rateOf = (bytes: number, seconds: readonly number[]): { seconds: number; megabytesPerSecond: number } => {
  const median = medianOf(seconds);
  return { seconds: Number(median.toFixed(3)), megabytesPerSecond: Math.round(bytes / 1e6 / median) };
};

const limitOf = (bench: PipelineBench): number[] =>
  bench.ours.map((_, i) => STEPS.reduce((sum, step) => sum + (bench.steps[step][i] ?? 0), 0));

const summaryOf = (bench: PipelineBench, load: number): PipelineSummary => ({
  ours: { ...rateOf(bench.bytes, bench.ours), stages: bench.stages },
  peer: undefined,
  limit: rateOf(bench.bytes, limitOf(bench)),
  ratioToPeer: undefined,
  ratioToLimit: ratioOf(limitOf(bench), bench.ours),
  load,
  machine: machine(),
  commit: commit(),
});

const section = (bench: PipelineBench, summary: PipelineSummary, o: PipelineBenchOptions): string[] => {
  const row = (name: string, seconds: readonly number[]): string =>
    `| ${name} | ${medianOf(seconds).toFixed(2)} | ${seconds.map((s) => s.toFixed(2)).join(', ')} | ${rateOf(bench.bytes, seconds).megabytesPerSecond} |`;
  const { ingest, anonymise } = bench.stages;
  return [
    `\`npm run bench -- pipeline\`. ${summary.machine}, load before ${summary.load}. Commit ${summary.commit}.`,
    '',
    `${o.studies} studies of ${o.series} series of ${o.slices} slices (${o.dicom === undefined ? 'synthetic phantoms' : 'real CT'}, copied with UIDs of their own), ${bench.instances} files, ${Math.round(bench.bytes / 1e6)} MB; the real ingest and anonymise processes with Kafka, MinIO, PostgreSQL (vault) and one PACS on the same machine:`,
    '',
    '| | seconds, median | each round | MB/s |',
    '|---|---|---|---|',
    ...STEPS.map((step) => row(NAMES[step], bench.steps[step])),
    row('limit: the four one after the other', limitOf(bench)),
    row('ctstream, announced to study-anonymised: ingest, two passes, de-identified, verified', bench.ours),
    '',
    `Ours has ${summary.ratioToLimit} of the limit; the aim of ${AIM} is ${(summary.ratioToLimit ?? 0) >= AIM ? 'reached' : 'not reached'}. Processor seconds of a round: ingest ${(ingest.cpuSeconds / o.rounds).toFixed(1)}, anonymise ${(anonymise.cpuSeconds / o.rounds).toFixed(1)} (their start counted in); resident at most ${ingest.rssMb} and ${anonymise.rssMb} MB.`,
  ];
};

const pipeline = async ({ json, dicom, ...o }: PipelineBenchOptions & { json?: string }): Promise<void> => {
  const options: PipelineBenchOptions = { ...o, ...(dicom === undefined || dicom === 'phantoms' ? {} : { dicom }) };
  const load = loadBefore();
  const bench = await benchPipeline(options);
  const summary = summaryOf(bench, load);
  writeSection('Pipeline', section(bench, summary, options));
  if (json !== undefined) writeFileSync(json, `${JSON.stringify({ ...summary, detail: bench }, null, 2)}\n`);
  process.stdout.write(`${summary.ratioToLimit} of the limit\n`);
};

export const pipelineCommand = (): Command =>
  new Command('pipeline')
    .description('from announced to anonymised, against the bytes that must move; writes its section of bench/results.md')
    .option('--dicom <dir>', 'CT images to copy, or the word phantoms', 'phantoms')
    .option('--rounds <n>', 'rounds in turn', count, 3)
    .option('--studies <n>', 'studies of a round', count, 4)
    .option('--series <n>', 'series of a study', count, 2)
    .option('--slices <n>', 'slices of a series', count, 100)
    .option('--at-once <n>', 'requests at a time of the limit', count, 2)
    .option('--json <file>', 'write the figures there too')
    .addHelpText('after', '\nExamples:\n  npm run bench -- pipeline\n  npm run bench -- pipeline --dicom scans --json pipeline.json\n')
    .action(pipeline);
