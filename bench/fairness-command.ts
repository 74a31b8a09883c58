// `npm run bench -- fairness`: its options, its section of the results page and its JSON.
import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { BAD_STUDIES, benchFairness, GOOD_CENTRES, SCENES, TIMES_MORE, type FairnessOptions, type Scene, type Waits } from './fairness.ts';
import { commit, count, loadBefore, machine, ratioOf, writeSection } from './report.ts';

const NAMES: Readonly<Record<Scene, string>> = {
  none: 'no bad centre',
  hung: 'one PACS takes connections and never answers',
  drip: 'one PACS sends 640 bytes a second',
  flood: `one centre announces ${TIMES_MORE} times more, all at once`,
  hung12: 'twelve PACSs never answer',
};

const QUANTILES = { p50: 0.5, p95: 0.95, p99: 0.99, max: 1 } as const;
type Quantile = keyof typeof QUANTILES;
const QUANTILE_NAMES = ['p50', 'p95', 'p99', 'max'] as const satisfies readonly Quantile[];

/** Nearest rank. */
const quantile = (values: readonly number[], q: Quantile): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(QUANTILES[q] * sorted.length) - 1)] ?? 0;
};

interface SceneSummary {
  /** Seconds, over all rounds. */
  readonly seconds: Readonly<Record<Quantile, number>>;
  /** Median over the rounds of this run's quantile to that of the run without a bad centre. */
  readonly ratioToNone: Readonly<Record<Quantile, number>>;
}

const perQuantile = (value: (q: Quantile) => number): Record<Quantile, number> => ({
  p50: value('p50'),
  p95: value('p95'),
  p99: value('p99'),
  max: value('max'),
});

const sceneSummary = (waits: Waits, scene: Scene): SceneSummary => {
  const rounds = (of: Scene, q: Quantile): number[] => waits[of].map((round) => quantile(round, q));
  return {
    seconds: perQuantile((q) => Number(quantile(waits[scene].flat(), q).toFixed(3))),
    ratioToNone: perQuantile((q) => ratioOf(rounds(scene, q), rounds('none', q))),
  };
};

type Summary = Readonly<Record<Scene, SceneSummary>>;

const section = (summary: Summary, o: FairnessOptions, load: number): string[] => {
  const row = (scene: Scene): string => {
    const { seconds, ratioToNone } = summary[scene];
    const cells = QUANTILE_NAMES.map((q) => `${seconds[q].toFixed(2)}${scene === 'none' ? '' : ` (${ratioToNone[q].toFixed(2)})`}`);
    return `| ${NAMES[scene]} | ${cells.join(' | ')} |`;
  };
  return [
    `\`npm run bench -- fairness\`. ${machine()}, load before ${load}. Commit ${commit()}.`,
    '',
    `Seconds from announced to stored of the studies of ${GOOD_CENTRES} good centres, in brackets how many times those of the run without a bad centre (median over ${o.rounds} rounds, runs in turn). Each good centre announces ${o.studies} studies of ${o.slices} slices (phantom, 0.5 MB each), evenly over ${o.seconds} s; a bad one announces first, ${BAD_STUDIES} studies, or ${TIMES_MORE * o.studies} when it floods:`,
    '',
    '| | p50 | p95 | p99 | max |',
    '|---|---|---|---|---|',
    ...SCENES.map(row),
    '',
    `Real Kafka, MinIO and one ingest process with its defaults. The PACSs are small DICOMweb servers of ours, in the bench's process: one for all good centres, with ${o.latency} ms before each answer, and one for each bad centre; Orthanc does not hang or drip when asked. After each run the bad PACSs answer again and every study that they announced was stored before the next run began.`,
  ];
};

const fairness = async ({ json, ...o }: FairnessOptions & { json?: string }): Promise<void> => {
  const load = loadBefore();
  const waits = await benchFairness(o);
  const summary: Summary = {
    none: sceneSummary(waits, 'none'),
    hung: sceneSummary(waits, 'hung'),
    drip: sceneSummary(waits, 'drip'),
    flood: sceneSummary(waits, 'flood'),
    hung12: sceneSummary(waits, 'hung12'),
  };
  writeSection('Fairness', section(summary, o, load));
  if (json !== undefined) {
    const ours = { hung: summary.hung, drip: summary.drip, flood: summary.flood, hung12: summary.hung12 };
    const ratioToLimit = summary.hung.ratioToNone.p95;
    const report = {
      ours,
      peer: undefined,
      limit: summary.none,
      ratioToPeer: undefined,
      ratioToLimit,
      load,
      machine: machine(),
      commit: commit(),
    };
    writeFileSync(json, `${JSON.stringify({ ...report, detail: { options: o, waits } }, null, 2)}\n`);
  }
  for (const scene of SCENES) {
    const { seconds, ratioToNone } = summary[scene];
    const figures = QUANTILE_NAMES.map((q) => `${q} ${seconds[q].toFixed(2)} s (${ratioToNone[q]})`).join(', ');
    process.stdout.write(`${NAMES[scene]}: ${figures}\n`);
  }
};

export const fairnessCommand = (): Command =>
  new Command('fairness')
    .description('waiting time of 47 centres with a hung, dripping or flooding one and without; writes its section of bench/results.md')
    .option('--rounds <n>', 'rounds in turn', count, 3)
    .option('--studies <n>', 'studies of each good centre in a run', count, 2)
    .option('--slices <n>', 'slices of a study', count, 2)
    .option('--seconds <n>', 'time over which a run announces them', count, 8)
    .option('--latency <ms>', "milliseconds before each answer of a good centre's PACS", count, 50)
    .option('--json <file>', 'write the figures there too')
    .addHelpText('after', '\nExamples:\n  npm run bench -- fairness\n  npm run bench -- fairness --rounds 5 --json fairness.json\n')
    .action(fairness);
