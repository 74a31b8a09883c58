// `npm run bench -- bus`: its options, its section of the results page and its JSON.
import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { BATCH, benchBus, CALLS, HELD, PARTITIONS, WINDOW, type BusFigures, type BusOptions, type BusRuns } from './bus.ts';
import { commit, count, loadBefore, machine, medianOf, ratioOf, writeSection } from './report.ts';

type Figure = keyof BusFigures;

const ROWS: readonly (readonly [Figure, string])[] = [
  ['singleRate', `published one by one, ${CALLS} calls at a time, events/s`],
  ['singleCpuMs', '— processor ms for 1000 events'],
  ['batchRate', `published ${BATCH} a call, one call at a time, events/s`],
  ['batchCpuMs', '— processor ms for 1000 events'],
  ['consumeRate', `taken and acknowledged, window ${WINDOW}, events/s`],
  ['consumeCpuMs', '— processor ms for 1000 events'],
  ['latencyMs', 'from publish to take on an idle bus, ms'],
  ['idleCpuMs', `idle consumer of ${PARTITIONS} partitions, processor ms a second`],
  ['joinMs', 'a second consumer comes: until both hold their share, ms'],
  ['moved', '— partitions that moved (its share is half)'],
  ['doubled', '— records that were kept and given again'],
  ['leaveMs', 'it goes: until the first holds all again, ms'],
];

/** Three digits say as much as the runs do. */
const short = (n: number): string => String(n < 1000 ? Number(n.toPrecision(3)) : Math.round(n));

const valuesOf = (runs: BusRuns, client: keyof BusRuns, figure: Figure): number[] => runs[client].map((f) => f[figure]);

const section = (runs: BusRuns, o: BusOptions, load: number): string[] => [
  `\`npm run bench -- bus\`. ${machine()}, load before ${load}. Commit ${commit()}.`,
  '',
  `Both clients behind the event bus against one real broker (SCRAM, no TLS), runs in turn, median of ${o.rounds}; ratio of @platformatic/kafka to kafkajs, median over the rounds. ${o.events} events of 1 KB with three headers over ${PARTITIONS} partitions for each way of publishing, acks from all replicas (there is one); processor time is user and system of the process with the client.`,
  '',
  '| | kafkajs | @platformatic/kafka | ratio |',
  '|---|---|---|---|',
  ...ROWS.map(([figure, name]) => {
    const [a, b] = [valuesOf(runs, 'kafkajs', figure), valuesOf(runs, 'platformatic', figure)];
    const ratio = medianOf(a) === 0 ? '' : ratioOf(b, a).toFixed(2);
    return `| ${name} | ${short(medianOf(a))} | ${short(medianOf(b))} | ${ratio} |`;
  }),
  '',
  `Every record came, in each run. When the second consumer comes, the first has at least ${HELD} jobs of each partition in hand that don't end: those of lost partitions are aborted and given to the second.`,
];

const bus = async ({ json, ...o }: BusOptions & { json?: string }): Promise<void> => {
  const load = loadBefore();
  const runs = await benchBus(o);
  const lines = section(runs, o, load);
  writeSection('Event bus adapters', lines);
  if (json !== undefined) {
    const ratioToPeer = ratioOf(valuesOf(runs, 'platformatic', 'consumeRate'), valuesOf(runs, 'kafkajs', 'consumeRate'));
    const report = {
      ours: runs.platformatic,
      peer: runs.kafkajs,
      limit: undefined,
      ratioToPeer,
      ratioToLimit: undefined,
      load,
      machine: machine(),
      commit: commit(),
    };
    writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
  }
  process.stdout.write(`${lines.filter((line) => line.startsWith('|')).join('\n')}\n`);
};

export const busCommand = (): Command =>
  new Command('bus')
    .description(
      'kafkajs and @platformatic/kafka behind the event bus: rates, processor time, rebalance; writes its section of bench/results.md',
    )
    .option('--rounds <n>', 'rounds in turn', count, 2)
    .option('--events <n>', 'events of each way of publishing', count, 20_000)
    .option('--json <file>', 'write the figures there too')
    .addHelpText('after', '\nExamples:\n  npm run bench -- bus\n  npm run bench -- bus --rounds 5 --json bus.json\n')
    .action(bus);
