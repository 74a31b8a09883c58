// Finds text drawn into the slices of a series. Drawn strokes are thin, one value, and far from what is
// around them; text that a console draws stands in the same pixels of many slices with the same value,
// which noise, bone and wires never do. Native 16-bit pixels only: compressed ones are not judged here.
import { TAG } from '../dicom/dictionary.ts';
import { number, text } from '../dicom/values.ts';
import type { Dataset } from '../dicom/model.ts';
import { pixelWords } from './embedded-bits.ts';

/** Stored units between a stroke and what lies beside it; CT units are 1 HU or close to it. */
const CONTRAST = 1000;
/** How far beside: strokes of 8-20 px text are up to 3 px wide. */
const REACH = 4;
/** Pixels of strokes that must agree: two or three letters of the smallest text. */
const MIN_AGREEING = 48;
/** Share of the slices that must agree, and the fewest. */
const MIN_SHARE = 0.4;
const MIN_SLICES = 3;
/** A slice alone is judged by strokes of one value on dark ground. */
const MIN_IN_ONE_SLICE = 120;
/** More strokes than any text has: a noisy or metal-filled slice, judged with the others only. */
const MAX_STROKES = 60_000;

export interface TextDetector {
  /** Adds a slice of a series. */
  add(series: string, dataset: Dataset): void;
  /** Series with drawn text. */
  found(): readonly string[];
}

interface SeriesStrokes {
  slices: number;
  /** pixel index and value -> slices that have it. */
  counts: Map<number, number>;
  isSure: boolean;
}

/** A detector for one study; memory grows with the strokes, not with the slices. */
export const textDetector = (): TextDetector => {
  const all = new Map<string, SeriesStrokes>();
  const seen = new Set<string>();
  return {
    add: (series, dataset) => {
      // The same slice sent twice agrees with itself.
      const sopInstanceUid = text(dataset, TAG.SOPInstanceUID) ?? '';
      if (seen.has(sopInstanceUid)) return;
      seen.add(sopInstanceUid);
      const strokes = strokesOf(dataset);
      if (strokes === undefined) return;
      const known = all.get(series) ?? { slices: 0, counts: new Map(), isSure: false };
      all.set(series, known);
      known.slices += 1;
      known.isSure ||= isTextAlone(strokes);
      if (strokes.length > MAX_STROKES) return;
      for (const { at, value } of strokes) {
        const key = at * 65_536 + value;
        known.counts.set(key, (known.counts.get(key) ?? 0) + 1);
      }
    },
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

interface Stroke {
  at: number;
  value: number;
}

/** Pixels that lie CONTRAST above both sides, in a row or in a column. */
const strokesOf = (dataset: Dataset): Stroke[] | undefined => {
  const pixels = dataset.elements.get(TAG.PixelData);
  const [rows, columns] = [number(dataset, TAG.Rows) ?? 0, number(dataset, TAG.Columns) ?? 0];
  if (pixels === undefined || pixels.fragments !== undefined || number(dataset, TAG.BitsAllocated) !== 16) return undefined;
  const words = pixelWords(pixels.value, dataset.littleEndian);
  if (words.length < rows * columns) return undefined;
  const isSigned = number(dataset, TAG.PixelRepresentation) === 1;
  const values = isSigned ? new Int16Array(words.buffer, words.byteOffset, words.length) : words;
  const strokes: Stroke[] = [];
  const least = CONTRAST / Math.abs(number(dataset, TAG.RescaleSlope) || 1);
  for (let y = REACH; y < rows - REACH; y++) {
    for (let x = REACH; x < columns - REACH; x++) {
      const at = y * columns + x;
      const value = values[at] ?? 0;
      const floor = value - least;
      const isAcross = (values[at - REACH] ?? 0) < floor && (values[at + REACH] ?? 0) < floor;
      if (!isAcross && !((values[at - REACH * columns] ?? 0) < floor && (values[at + REACH * columns] ?? 0) < floor)) continue;
      strokes.push({ at, value: value & 0xffff });
    }
  }
  return strokes;
};

/** Whether one slice alone has so many strokes of one value that they can only be drawn. */
const isTextAlone = (strokes: readonly Stroke[]): boolean => {
  if (strokes.length < MIN_IN_ONE_SLICE) return false;
  const counts = new Map<number, number>();
  for (const { value } of strokes) counts.set(value, (counts.get(value) ?? 0) + 1);
  const most = Math.max(...counts.values());
  // Metal saturates too, but in the midst of values of all kinds.
  return most >= MIN_IN_ONE_SLICE && most >= strokes.length * 0.5;
};
