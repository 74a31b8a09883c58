// `npm run bench -- events`: its options, its sections of the results page and its JSON.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import type { DemoReport } from '../services/cli/demo/report.ts';
import { benchEvents, type EventsBench, type EventsBenchOptions } from './events.ts';
import { commit, count, counts, loadBefore, machine, say, writeSection, type BenchSummary } from './report.ts';

interface Options extends EventsBenchOptions {
  readonly real: number;
  readonly json?: string;
}

interface EventsSummary extends BenchSummary {
  readonly load: number;
}

const REAL_CENTRES = 4;

/** Real phantom studies through everything: the demo as people start it. */
const realStudies = async (studies: number): Promise<DemoReport | undefined> => {
  if (studies === 0) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'ctstream-bench-demo-'));
  try {
    const report = join(folder, 'report.json');
    const size = ['--studies', String(studies), '--centres', String(REAL_CENTRES), '--rows', '128'];
    const places = ['--dir', join(folder, 'run'), '--out', join(folder, 'out'), '--json', report];
    const child = spawn(
      process.execPath,
      ['--no-warnings', new URL('../services/cli/demo.ts', import.meta.url).pathname, ...size, ...places],
      {
        // What it shows is progress here.
        stdio: ['ignore', 2, 2],
      },
    );
    const code = await new Promise((resolve) => child.once('close', resolve));
    if (code !== 0) throw new Error(`the demo ended with ${String(code)}`);
    return JSON.parse(readFileSync(report, 'utf8')) as DemoReport;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

const line = (states: Readonly<Record<string, number>>): string =>
  Object.entries(states)
    .filter(([, n]) => n > 0)
    .map(([name, n]) => `${name} ${n}`)
    .join(', ');

const ofRun = ({ machine: on, load, commit: at }: Pick<EventsSummary, 'machine' | 'load' | 'commit'>): string =>
  `\`npm run bench -- events\`. ${on}, load before ${load}. Commit ${at}.`;

const realSection = (real: DemoReport, summary: EventsSummary): string[] => [
  ofRun(summary),
  '',
  `${real.studies.sent} phantom studies through everything: the demo with ${REAL_CENTRES} centres, phantoms of 128 rows: ${real.instances} files, ${Math.round(real.bytes / 1e6)} MB in ${real.seconds} s with the start of everything (${Object.entries(
    real.phases,
  )
    .map(([name, s]) => `${name} ${Math.round(s)} s`)
    .join(', ')}). Account: ${line(real.studies)}; **unaccounted ${real.studies.unaccounted}**.`,
];

const section = (bench: EventsBench, o: Options, summary: EventsSummary): string[] => {
  const { account } = bench;
  const base = bench.scaling[0];
  const rate = (seconds: number): number => Math.round(bench.studies / seconds);
  return [
    ofRun(summary),
    '',
    `### ${bench.studies} studies through the event plane, with stubs for pixel work and object bytes`,
    '',
    `Real: Kafka (${o.centres} centres, their own principals and topics), the gateway's SQLite state and outboxes, the stage loop and consumer groups of every stage, the vault, select and label-queue with PostgreSQL and their outboxes, the account. Stubs: no PACS is read, no pixel is looked at and no object is written by ingest, anonymise and assess; nobody reads the selected studies.`,
    '',
    `${bench.seconds.toFixed(1)} s from the first announcement until the last study was selected or excluded: ${rate(bench.seconds)} studies/s, ${Math.round(bench.records / bench.seconds)} records/s (${bench.records} records; announced and in the log after ${bench.announcedSeconds.toFixed(1)} s).`,
    '',
    `Account (${account.seconds.toFixed(1)} s): ${line(account.totals)}; **unaccounted ${account.totals.unaccounted}**, events missing ${account.missing}, unreadable ${account.bad}. Codes: ${line(account.reasons)}.`,
    '',
    `Processor seconds: ${Object.entries(bench.cpuSeconds)
      .map(([name, s]) => `${name} ${s.toFixed(0)}`)
      .join(', ')}.`,
    ...(base === undefined
      ? []
      : [
          '',
          '### Consumers, when the PACS is the slow part',
          '',
          `Ingest processes with the real loop, 4 pulls at a time each; the simulated PACS takes ${o.latencyMs} ms a study, so ${Math.round(4000 / o.latencyMs)} studies/s a process at most. Each number of processes was looked at for ${o.seconds} s, after its group had settled:`,
          '',
          '| processes | studies/s | of linear |',
          '|---|---|---|',
          ...bench.scaling.map(
            ({ consumers, studiesPerSecond }) =>
              `| ${consumers} | ${studiesPerSecond} | ${(studiesPerSecond / ((base.studiesPerSecond / base.consumers) * consumers)).toFixed(2)} |`,
          ),
        ]),
  ];
};

const events = async (o: Options): Promise<void> => {
  const load = loadBefore();
  const bench = await benchEvents(o);
  const summary: EventsSummary = {
    ours: { seconds: bench.seconds, studiesPerSecond: bench.studies / bench.seconds, recordsPerSecond: bench.records / bench.seconds },
    peer: undefined,
    limit: undefined,
    ratioToPeer: undefined,
    ratioToLimit: undefined,
    load,
    machine: machine(),
    commit: commit(),
  };
  writeSection('Events', section(bench, o, summary));
  // Half an hour more, and the table above stands whatever becomes of it.
  const real = await realStudies(o.real);
  if (real !== undefined) writeSection('Real studies', realSection(real, summary));
  if (o.json !== undefined) writeFileSync(o.json, `${JSON.stringify({ ...summary, detail: bench, real }, null, 2)}\n`);
  const { unaccounted } = bench.account.totals;
  process.stdout.write(`${Math.round(bench.studies / bench.seconds)} studies/s, unaccounted ${unaccounted}\n`);
  if (unaccounted > 0) {
    say('studies are unaccounted for');
    process.exitCode = 1;
  }
};

const countOrNone = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('give a whole number from 0 on');
  return value;
};

export const eventsCommand = (): Command =>
  new Command('events')
    .description(
      'many studies through the event plane, real ones through everything, and consumers; writes their sections of bench/results.md',
    )
    .option('--studies <n>', 'studies with stubs for pixels and objects', count, 80_000)
    .option('--centres <n>', 'centres that they come from', count, 16)
    .option('--real <n>', 'phantom studies through everything; 0 for none', countOrNone, 500)
    .option(
      '--consumers <list>',
      'ingest processes of the scaling table; 0 for none',
      (t: string) => (t === '0' ? [] : counts(t)),
      [1, 2, 4, 8, 16],
    )
    .option('--latency-ms <n>', 'what a study takes at the simulated PACS', count, 1000)
    .option('--seconds <n>', 'how long each number of processes is looked at', count, 10)
    .option('--json <file>', 'write the figures there too')
    .addHelpText(
      'after',
      '\nExamples:\n  npm run bench -- events\n  npm run bench -- events --studies 5000 --real 0 --consumers 1,2,4 --json events.json\n',
    )
    .action(events);
