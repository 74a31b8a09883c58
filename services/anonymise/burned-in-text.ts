// Finds text drawn into the slices of a series. Drawn strokes are thin, one value, and far from what is
// around them; text that a console draws stands in the same pixels of many slices with the same value,
// which noise, bone and wires never do. What `isJudgeable` denies says nothing here and may not be kept.
import { TAG } from '../dicom/dictionary.ts';
import { number, text } from '../dicom/values.ts';
import type { Dataset } from '../dicom/model.ts';
import { scanOf, scanPixels } from './pixel-scan.ts';
import type { FoundStrokes } from './pixel-scan.ts';
import type { SeenPixels } from './pixels-seen.ts';

/** Stored units between a stroke and what lies beside it; CT units are 1 HU or close to it. */
const CONTRAST = 1000;
/** Pixels of strokes that must agree: two or three letters of the smallest text. */
const MIN_AGREEING = 48;
/** Share of the slices that must agree, and the fewest. */
const MIN_SHARE = 0.4;
const MIN_SLICES = 3;
/** Strokes of one value in a slice from which on they are remembered: noise has few of each, a letter has more. */
const MIN_SAME = 6;
/** A slice alone is judged by strokes of one value on dark ground. */
const MIN_IN_ONE_SLICE = 120;
/** More strokes than any text has: a noisy or metal-filled slice, which says nothing of the others. */
const MAX_STROKES = 60_000;

/** What is known of one series; plain data, so that parts of a study can be looked at apart. */
export interface SeriesStrokes {
  slices: number;
  /** pixel index * 65536 + value -> slices that have it. */
  counts: Map<number, number>;
  isSure: boolean;
}

export interface TextDetector {
  /** Adds a slice of a series; `seen` are its pixels, the native 16-bit ones unless given. A repeat only tells of itself. */
  add(series: string, dataset: Dataset, seen?: SeenPixels, isRepeat?: boolean): void;
  /** Adds what another detector saw of other slices of the study. */
  merge(seen: ReadonlyMap<string, SeriesStrokes>): void;
  /** Everything added so far, by series. */
  seen(): ReadonlyMap<string, SeriesStrokes>;
  /** Series with drawn text. */
  found(): readonly string[];
}

/** A detector for one study; memory grows with the strokes, not with the slices. */
export const textDetector = (): TextDetector => {
  const all = new Map<string, SeriesStrokes>();
  const sopInstances = new Set<string>();
  const seriesOf = (name: string): SeriesStrokes => {
    const known = all.get(name) ?? { slices: 0, counts: new Map(), isSure: false };
    all.set(name, known);
    return known;
  };
  return {
    add: (name, dataset, given, isRepeat = false) => {
      const strokes = strokesOf(dataset, given ?? nativePixels(dataset));
      if (strokes === undefined) return;
      const series = seriesOf(name);
      series.isSure ||= strokes.isTextAlone;
      // The same slice sent twice agrees with itself.
      const instance = `${name} ${text(dataset, TAG.SOPInstanceUID) ?? ''}`;
      if (isRepeat || sopInstances.has(instance)) return;
      sopInstances.add(instance);
      series.slices += 1;
      for (const key of strokes.keys) series.counts.set(key, (series.counts.get(key) ?? 0) + 1);
    },
    merge: (seen) => {
      for (const [name, { slices, counts, isSure }] of seen) {
        const series = seriesOf(name);
        series.slices += slices;
        series.isSure ||= isSure;
        for (const [key, count] of counts) series.counts.set(key, (series.counts.get(key) ?? 0) + count);
      }
    },
    seen: () => all,
    found: () => [...all].filter(([, series]) => series.isSure || agrees(series)).map(([name]) => name),
  };
};

const agrees = ({ slices, counts }: SeriesStrokes): boolean => {
  if (slices < MIN_SLICES) return false;
  const needed = Math.max(MIN_SLICES, Math.ceil(slices * MIN_SHARE));
  let agreeing = 0;
  for (const count of counts.values()) if (count >= needed && ++agreeing >= MIN_AGREEING) return true;
  return false;
};

interface Strokes {
  /** Of the strokes whose value is not rare in the slice: pixel index * 65536 + value. */
  keys: number[];
  isTextAlone: boolean;
}

const nativePixels = (dataset: Dataset): SeenPixels | undefined => {
  const [bytes, scan] = [dataset.elements.get(TAG.PixelData)?.value, scanOf(dataset)];
  return bytes === undefined || scan === undefined ? undefined : { bytes: dataset.littleEndian ? bytes : swapped(bytes), scan };
};

const swapped = (bytes: Uint8Array): Uint8Array => Buffer.from(bytes.subarray(0, bytes.length & ~1)).swap16();

/** Contrasts that say something: below, noise is strokes; above, nothing is. */
const [LEAST_CONTRAST, MOST_CONTRAST] = [10, 30_000];

/** CONTRAST in stored units; undefined when the slope is none of a CT image. */
const contrastOf = (dataset: Dataset): number | undefined => {
  const slope = dataset.elements.has(TAG.RescaleSlope) ? Math.abs(number(dataset, TAG.RescaleSlope) ?? Number.NaN) : 1;
  const contrast = Math.floor(CONTRAST / slope);
  return contrast >= LEAST_CONTRAST && contrast <= MOST_CONTRAST ? contrast : undefined;
};

/** Whether text would be seen in a slice with these numbers: else it has to be refused, for nobody looked at it. */
export const isJudgeable = (dataset: Dataset, seen: SeenPixels | undefined): seen is SeenPixels => {
  const count = (number(dataset, TAG.Rows) ?? 0) * (number(dataset, TAG.Columns) ?? 0);
  return seen !== undefined && count > 0 && seen.bytes.length >>> 1 >= count && contrastOf(dataset) !== undefined;
};

/** undefined: not to be judged, so not counted as a slice either. */
const strokesOf = (dataset: Dataset, seen: SeenPixels | undefined): Strokes | undefined => {
  const contrast = contrastOf(dataset);
  if (!isJudgeable(dataset, seen) || contrast === undefined) return undefined;
  const [rows, columns] = [number(dataset, TAG.Rows) ?? 0, number(dataset, TAG.Columns) ?? 0];
  const isUnsigned = number(dataset, TAG.PixelRepresentation) !== 1;
  // The scan compares signed numbers: where there are unsigned ones from 32768 on, all are moved down by as much.
  const ordered = isUnsigned && seen.scan.least < 0 ? scanPixels(movedDown(seen.bytes)) : seen.scan;
  return judge(ordered.strokes(rows, columns, contrast));
};

const movedDown = (bytes: Uint8Array): Uint8Array => {
  const copy = Uint8Array.from(bytes.subarray(0, bytes.length & ~1));
  const words = new Uint16Array(copy.buffer);
  for (let i = 0; i < words.length; i++) words[i] = (words[i] ?? 0) ^ 0x8000;
  return copy;
};

const sameValue = new Uint32Array(65_536);

const judge = ({ at, values }: FoundStrokes): Strokes => {
  let most = 0;
  for (const value of values) {
    const count = (sameValue[value] ?? 0) + 1;
    sameValue[value] = count;
    if (count > most) most = count;
  }
  const keys: number[] = [];
  if (most >= MIN_SAME && values.length <= MAX_STROKES) {
    for (let i = 0; i < values.length; i++) {
      const value = values[i] ?? 0;
      if ((sameValue[value] ?? 0) >= MIN_SAME) keys.push((at[i] ?? 0) * 65_536 + value);
    }
  }
  for (const value of values) sameValue[value] = 0;
  // Metal saturates too, but in the midst of values of all kinds.
  return { keys, isTextAlone: most >= MIN_IN_ONE_SLICE && most >= values.length * 0.5 };
};
