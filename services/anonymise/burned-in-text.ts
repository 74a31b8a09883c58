// Finds text drawn into the slices of a series: rows of letters in one slice, or the same letters in the same pixels
// of several, while the anatomy moves on. What `isJudgeable` denies says nothing here and may not be kept.
import { TAG } from '../dicom/dictionary.ts';
import { number, text } from '../dicom/values.ts';
import type { Dataset } from '../dicom/model.ts';
import { MOST_COLUMNS, scanOf, scanPixels } from './pixel-scan.ts';
import { repeatedText, textOfSlice } from './pixel-text.ts';
import type { RepeatedShape, SliceText } from './pixel-text.ts';
import type { Box } from './pixel-text-shapes.ts';
import type { SeenPixels } from './pixels-seen.ts';

/** Slices that have to show a shape before it counts as repeated. */
const MIN_SLICES = 3;
/** What is remembered of a series at most: shapes, and boxes to show. */
const MOST_SHAPES = 20_000;
const MOST_BOXES = 200;

/** Where text stands: in which slice of which series. */
export interface FoundText {
  series: string;
  /** The instance, by the name that it was added with. */
  name: string;
  box: Box;
}

interface SeenShape extends RepeatedShape {
  slices: number;
  /** The first instance with it. */
  name: string;
}

/** What is known of one series; plain data, so that parts of a study can be looked at apart. */
export interface SeriesText {
  found: { name: string; box: Box }[];
  /** By place, size, number of pixels and value. */
  shapes: Map<string, SeenShape>;
}

export interface TextDetector {
  /**
   * Adds a slice of a series; `seen` are its pixels, the native 16-bit ones unless given. A repeat only tells of itself.
   * `name` says which instance a finding is of: its SOP Instance UID unless given.
   */
  add(series: string, dataset: Dataset, seen?: SeenPixels, isRepeat?: boolean, name?: string): void;
  /** Adds what another detector saw of other slices of the study. */
  merge(seen: ReadonlyMap<string, SeriesText>): void;
  /** Everything added so far, by series. */
  seen(): ReadonlyMap<string, SeriesText>;
  /** Series with drawn text. */
  found(): readonly string[];
  /** Where it stands, as far as it was noted: 200 places of a series. */
  places(): readonly FoundText[];
}

/** A detector for one study; memory grows with shapes like letters, not with the slices. */
export const textDetector = (): TextDetector => {
  const all = new Map<string, SeriesText>();
  const sopInstances = new Set<string>();
  const seriesOf = (name: string): SeriesText => {
    const known = all.get(name) ?? { found: [], shapes: new Map() };
    all.set(name, known);
    return known;
  };
  const places = (): FoundText[] =>
    [...all].flatMap(([series, known]) => [...known.found, ...repeatedPlaces(known)].map((one) => ({ series, ...one })));
  return {
    add: (seriesName, dataset, given, isRepeat = false, name = text(dataset, TAG.SOPInstanceUID) ?? '') => {
      const slice = textOf(dataset, given ?? nativePixels(dataset));
      if (slice === undefined) return;
      const series = seriesOf(seriesName);
      noteBoxes(
        series,
        slice.boxes.map((box) => ({ name, box })),
      );
      // The same slice sent twice agrees with itself.
      const instance = `${seriesName} ${text(dataset, TAG.SOPInstanceUID) ?? ''}`;
      if (isRepeat || sopInstances.has(instance)) return;
      sopInstances.add(instance);
      for (const { x, y, width, height, area, value, isExtreme } of slice.shapes)
        noteShape(series, [x, y, width, height, area, value].join(' '), { x, y, width, height, value, isExtreme, slices: 1, name });
    },
    merge: (seen) => {
      for (const [name, { found, shapes }] of seen) {
        const series = seriesOf(name);
        noteBoxes(series, found);
        for (const [key, shape] of shapes) noteShape(series, key, shape);
      }
    },
    seen: () => all,
    found: () => [...new Set(places().map(({ series }) => series))],
    places,
  };
};

const noteBoxes = (series: SeriesText, boxes: SeriesText['found']): void => {
  for (const one of boxes) if (series.found.length < MOST_BOXES) series.found.push(one);
};

const noteShape = ({ shapes }: SeriesText, key: string, shape: SeenShape): void => {
  const known = shapes.get(key);
  if (known === undefined) {
    if (shapes.size < MOST_SHAPES) shapes.set(key, { ...shape });
    return;
  }
  known.slices += shape.slices;
  known.isExtreme ||= shape.isExtreme;
  // Whatever order the slices come in.
  if (shape.name < known.name) known.name = shape.name;
};

/** Where shapes stand that several slices have. */
export const repeatedPlaces = ({ shapes }: SeriesText): SeriesText['found'] => {
  const repeated = [...shapes.values()].filter(({ slices }) => slices >= MIN_SLICES);
  return repeatedText(repeated).map((box) => ({ name: repeated.find((shape) => isInside(shape, box))?.name ?? '', box }));
};

const isInside = (inner: Box, outer: Box): boolean =>
  inner.x >= outer.x &&
  inner.y >= outer.y &&
  inner.x + inner.width <= outer.x + outer.width &&
  inner.y + inner.height <= outer.y + outer.height;

const nativePixels = (dataset: Dataset): SeenPixels | undefined => {
  const [bytes, scan] = [dataset.elements.get(TAG.PixelData)?.value, scanOf(dataset)];
  return bytes === undefined || scan === undefined ? undefined : { bytes: dataset.littleEndian ? bytes : swapped(bytes), scan };
};

const swapped = (bytes: Uint8Array): Uint8Array => Buffer.from(bytes.subarray(0, bytes.length & ~1)).swap16();

/** Stored units of one HU that say something: with fewer, noise is letters; with more, nothing is. */
const [LEAST_UNITS, MOST_UNITS] = [0.01, 30];

/** undefined when the slope is none of a CT image. */
const unitsPerHu = (dataset: Dataset): number | undefined => {
  const slope = dataset.elements.has(TAG.RescaleSlope) ? Math.abs(number(dataset, TAG.RescaleSlope) ?? Number.NaN) : 1;
  const units = 1 / slope;
  return units >= LEAST_UNITS && units <= MOST_UNITS ? units : undefined;
};

/** Whether text would be seen in a slice with these numbers: else it has to be refused, for nobody looked at it. */
export const isJudgeable = (dataset: Dataset, seen: SeenPixels | undefined): seen is SeenPixels => {
  const count = (number(dataset, TAG.Rows) ?? 0) * (number(dataset, TAG.Columns) ?? 0);
  const isWithinReach = (number(dataset, TAG.Columns) ?? 0) <= MOST_COLUMNS;
  return seen !== undefined && count > 0 && isWithinReach && seen.bytes.length >>> 1 >= count && unitsPerHu(dataset) !== undefined;
};

/** undefined: not to be judged. */
const textOf = (dataset: Dataset, seen: SeenPixels | undefined): SliceText | undefined => {
  const units = unitsPerHu(dataset);
  if (!isJudgeable(dataset, seen) || units === undefined) return undefined;
  const [rows, columns] = [number(dataset, TAG.Rows) ?? 0, number(dataset, TAG.Columns) ?? 0];
  const isUnsigned = number(dataset, TAG.PixelRepresentation) !== 1;
  // The scan compares signed numbers: where there are unsigned ones from 32768 on, all are moved down by as much.
  const ordered = isUnsigned && seen.scan.least < 0 ? scanPixels(movedDown(seen.bytes)) : seen.scan;
  return textOfSlice(ordered, { rows, columns, unitsPerHu: units });
};

const movedDown = (bytes: Uint8Array): Uint8Array => {
  const copy = Uint8Array.from(bytes.subarray(0, bytes.length & ~1));
  const words = new Uint16Array(copy.buffer);
  for (let i = 0; i < words.length; i++) words[i] = (words[i] ?? 0) ^ 0x8000;
  return copy;
};
