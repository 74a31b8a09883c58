// `npm run bench -- ingest`: its options, its section of the results page and its JSON.
import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { benchIngest, CONTENDERS, type Contender, type IngestBench, type IngestBenchOptions } from './ingest.ts';
import { commit, count, loadBefore, machine, medianOf, ratioOf, writeSection, type BenchSummary } from './report.ts';

const AIM = 0.85;
const AIM_MB = 200;

const NAMES: Readonly<Record<Contender, string>> = {
  wado: 'limit: WADO-RS, bare client, discarded',
  put: 'limit: PUT of the same bytes in the same sizes, bare client',
  get: 'limit: GET of the same objects, bare client',
  pipe: 'limit: WADO-RS straight into PUT, bare client, nothing looked at',
  ours: 'ctstream ingest, announced to stored: every header checked, SHA-256 and MD5, manifest, events',
  client: 'peer: dicomweb-client bulk retrieve, then PUT',
  slices: 'peer: one WADO-RS request and one object a slice, 16 at a time',
};

interface IngestSummary extends BenchSummary {
  readonly ratioToPipe: number;
  readonly ratioToSlices: number;
  readonly load: number;
}

const rate = (bench: IngestBench, name: Contender): { seconds: number; megabytesPerSecond: number } => {
  const seconds = medianOf(bench.seconds[name]);
  return { seconds: Number(seconds.toFixed(3)), megabytesPerSecond: Math.round(bench.bytes / 1e6 / seconds) };
};

/** How many times as fast ours is as the other, by rounds. */
const times = (bench: IngestBench, other: readonly number[]): number => ratioOf(other, bench.seconds.ours);

const summaryOf = (bench: IngestBench, load: number): IngestSummary => {
  const slower = bench.seconds.put.map((s, i) => Math.max(s, bench.seconds.wado[i] ?? 0));
  return {
    ours: { ...rate(bench, 'ours'), maxRssMb: bench.rssMb.ours, large: bench.large },
    peer: { ...rate(bench, 'client'), maxRssMb: bench.rssMb.client },
    limit: { wado: rate(bench, 'wado'), put: rate(bench, 'put'), get: rate(bench, 'get'), pipe: rate(bench, 'pipe') },
    ratioToPeer: times(bench, bench.seconds.client),
    ratioToLimit: times(bench, slower),
    ratioToPipe: times(bench, bench.seconds.pipe),
    ratioToSlices: times(bench, bench.seconds.slices),
    load,
    machine: machine(),
    commit: commit(),
  };
};

const section = (bench: IngestBench, summary: IngestSummary, o: IngestBenchOptions): string[] => {
  const { large } = bench;
  const row = (name: Contender): string =>
    `| ${NAMES[name]} | ${rate(bench, name).megabytesPerSecond} | ${bench.seconds[name].map((s) => Math.round(bench.bytes / 1e6 / s)).join(', ')} | ${name === 'ours' ? 1 : times(bench, bench.seconds[name])} |`;
  const verdict = (isReached: boolean): string => (isReached ? 'reached' : 'not reached');
  return [
    `\`npm run bench -- ingest\`. ${summary.machine}, load before ${summary.load}. Commit ${summary.commit}.`,
    '',
    `${o.studies} studies of ${o.series} series of ${o.slices} slices (${o.dicom === undefined ? 'synthetic phantoms' : 'real CT'}, copied with UIDs of their own), ${bench.instances} files, ${Math.round(bench.bytes / 1e6)} MB, ${o.atOnce} at a time; one PACS (Orthanc), one MinIO, one Kafka on the same machine:`,
    '',
    '| | MB/s, median | each round | ours is so many times as fast |',
    '|---|---|---|---|',
    ...CONTENDERS.map(row),
    '',
    `Of the slower of WADO-RS and PUT ours has ${summary.ratioToLimit}; the aim of ${AIM} is ${verdict((summary.ratioToLimit ?? 0) >= AIM)}. Both ends run on the same ${o.atOnce === 1 ? '' : 'few '}processors as ours here, so reading and writing at once can't be as fast as the slower of them alone: of what a bare pipe does ours has ${summary.ratioToPipe}.`,
    '',
    `The ingest process used ${medianOf(bench.cpuSeconds).toFixed(2)} processor seconds a round and ${bench.rssMb.ours} MB at most, dicomweb-client ${bench.rssMb.client} MB, one object a slice ${bench.rssMb.slices} MB.`,
    '',
    `One study of ${large.slices} slices (${Math.round(large.bytes / 1e6)} MB) alone: ${large.seconds.toFixed(2)} s, ${Math.round(large.bytes / 1e6 / large.seconds)} MB/s, ${large.peakMb} MB resident at most, ${large.idleMb} MB before it; the aim of under ${AIM_MB} MB is ${verdict(large.peakMb < AIM_MB)}.`,
  ];
};

const ingest = async ({ json, dicom, ...o }: IngestBenchOptions & { json?: string }): Promise<void> => {
  const options: IngestBenchOptions = { ...o, ...(dicom === undefined || dicom === 'phantoms' ? {} : { dicom }) };
  const load = loadBefore();
  const bench = await benchIngest(options);
  const summary = summaryOf(bench, load);
  writeSection('Ingest', section(bench, summary, options));
  if (json !== undefined) writeFileSync(json, `${JSON.stringify({ ...summary, detail: bench }, null, 2)}\n`);
  process.stdout.write(
    `${summary.ratioToLimit} of the slower limit, ${summary.ratioToPipe} of a bare pipe, ${summary.ratioToPeer} x dicomweb-client; ${bench.large.slices} slices in ${bench.large.peakMb} MB\n`,
  );
};

export const ingestCommand = (): Command =>
  new Command('ingest')
    .description('from announced to stored, against bare clients and two peers; writes its section of bench/results.md')
    .option('--dicom <dir>', 'CT images to copy, or the word phantoms', 'phantoms')
    .option('--rounds <n>', 'rounds in turn', count, 3)
    .option('--studies <n>', 'studies of a round', count, 4)
    .option('--series <n>', 'series of a study', count, 2)
    .option('--slices <n>', 'slices of a series', count, 150)
    .option('--at-once <n>', 'series or studies at a time, ours by its default too', count, 2)
    .option('--large <n>', 'slices of the study whose memory is measured', count, 1500)
    .option('--json <file>', 'write the figures there too')
    .addHelpText('after', '\nExamples:\n  npm run bench -- ingest\n  npm run bench -- ingest --dicom scans --rounds 5 --json ingest.json\n')
    .action(ingest);
