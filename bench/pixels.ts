// Recall, false alarms and time of the detector of burned-in text. Writes docs/pixel-text.md.
import { existsSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { textDetector } from '../services/anonymise/burned-in-text.ts';
import { markContrasts, textOfSlice } from '../services/anonymise/pixel-text.ts';
import { scanPixels } from '../services/anonymise/pixel-scan.ts';
import { random } from '../services/cli/phantom/random.ts';
import { TAG } from '../services/dicom/dictionary.ts';
import { number } from '../services/dicom/values.ts';
import { REAL_FILES } from '../test/shared/real-files.ts';
import { HARDWARE, withHardware } from './pixel-hardware.ts';
import { pixelPage } from './pixel-page.ts';
import type { AlarmRow, PixelFigures, TimeRow, TrialResult } from './pixel-page.ts';
import { phantomSeries, realSeries } from './pixel-sources.ts';
import type { SourceSeries } from './pixel-sources.ts';
import { allTrials, isFound, seenOf } from './pixel-trials.ts';

const PAGE = new URL('../docs/pixel-text.md', import.meta.url);
/** The folder of saved screens: all others of the real files are clean. */
const SCREENS = /dose-screens/;
const FOLDERS = ['chest', 'geometry', 'edge'] as const;

const isAlarm = (series: SourceSeries): boolean => {
  const detector = textDetector();
  for (const { slice, dataset } of series.slices) detector.add('series', dataset, seenOf(slice));
  return detector.found().length > 0;
};

const alarmsOf = (what: string, all: Iterable<SourceSeries>): AlarmRow => {
  const row: AlarmRow = { what, series: 0, slices: 0, alarms: [] };
  for (const series of all) {
    row.series++;
    row.slices += series.slices.length;
    if (isAlarm(series)) row.alarms.push(series.name);
  }
  return row;
};

const cpuMs = (work: () => void): number => {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
};

const ROUNDS = 5;

/** CPU time a slice, of all slices of a series in turn, the best of some rounds: what else runs on the machine only adds. */
const timeOf = (series: SourceSeries): TimeRow => {
  const pixels = series.slices.map(({ slice, dataset }) => ({
    bytes: seenOf(slice).bytes,
    numbers: { rows: slice.rows, columns: slice.columns, unitsPerHu: 1 / (number(dataset, TAG.RescaleSlope) ?? 1) },
  }));
  const each = (look: (one: (typeof pixels)[number]) => void): number => {
    const rounds = Array.from({ length: ROUNDS }, () => cpuMs(() => pixels.forEach(look)) / pixels.length);
    return Math.min(...rounds);
  };
  const first = each(({ bytes, numbers }) => {
    const scan = scanPixels(bytes);
    scan.marks({ ...numbers, ...markContrasts(scan, numbers) });
  });
  const all = each(({ bytes, numbers }) => void textOfSlice(scanPixels(bytes), numbers));
  return { series: series.name, slices: pixels.length, first, all };
};

interface Options {
  data: string;
  share: number;
  studies: number;
}

const measure = ({ data, share, studies }: Options): PixelFigures => {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const folders = FOLDERS.map((name) => join(data, name)).filter((folder) => existsSync(folder));
  const real = folders.flatMap(realSeries);
  const clean = real.filter(({ name }) => !SCREENS.test(name));
  say(`${real.length} real series`);
  const chest = existsSync(join(data, 'chest')) ? realSeries(join(data, 'chest')) : [];
  const times = chest.map(timeOf);
  const alarms: AlarmRow[] = [alarmsOf('real series', clean)];
  const screens = alarmsOf(
    'saved screens (a survey view, dose sheets)',
    real.filter(({ name }) => SCREENS.test(name)),
  );
  function* phantoms(): Generator<SourceSeries> {
    for (const seed of [11, 12, 13, 14]) yield* phantomSeries(seed, Math.ceil(studies / 4), 256, 12);
  }
  alarms.push(alarmsOf(`${4 * Math.ceil(studies / 4)} phantoms of four seeds, both kernels`, phantoms()));
  say('phantoms done');
  const phantom = [...phantomSeries(5, 1, 512, 12)];
  for (const kind of HARDWARE) {
    const drawn = [...chest, ...phantom].flatMap((series) =>
      [1, 2].map((seed) => withHardware({ ...series, slices: series.slices.slice(0, 16) }, kind, () => random(series.name, kind, seed))),
    );
    alarms.push(alarmsOf(`synthetic: ${kind}`, drawn));
  }
  say('hardware done');
  const draw = random('pixel text', 1);
  const grounds = [
    ...chest,
    ...clean.filter(({ name, slices }) => /ge-tilt|transfer-syntaxes/.test(name) && (slices[0]?.slice.columns ?? 0) >= 512),
    ...phantom,
  ];
  const results: TrialResult[] = [];
  for (const series of grounds) {
    for (const trial of allTrials()) {
      if (draw.next() >= share) continue;
      const found = isFound(series, trial, draw);
      if (found !== undefined) results.push({ ...trial, series: series.name, found });
    }
    say(`${series.name} done`);
  }
  return { times, alarms, screens, results, share, machine: cpus()[0]?.model.trim() ?? 'unknown', node: process.versions.node };
};

const part = (text: string): number => {
  const value = Number(text);
  if (!(value > 0 && value <= 1)) throw new InvalidArgumentError('give a share above 0 and up to 1');
  return value;
};

const count = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('give a whole number from 1 on');
  return value;
};

const options = new Command('pixels')
  .description('measures the detector of burned-in text and writes docs/pixel-text.md')
  .option('--data <dir>', 'folder with chest/, geometry/ and edge/', REAL_FILES)
  .option('--share <part>', 'share of all trials that is made', part, 1)
  .option('--studies <n>', 'phantoms', count, 48)
  .addHelpText('after', '\nExample:\n  node --no-warnings bench/pixels.ts --data real-files\n')
  .parse()
  .opts<Options>();
const figures = measure(options);
writeFileSync(PAGE, pixelPage(figures));
