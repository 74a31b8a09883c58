// Text that the detector found in a study's slices, made visible: where it stands, and pictures of a few
// slices of each such series for the person who decides.
import { TAG } from '../dicom/dictionary.ts';
import { readDicom } from '../dicom/read.ts';
import { number } from '../dicom/values.ts';
import { repeatedPlaces, textDetector } from './burned-in-text.ts';
import type { SeriesText } from './burned-in-text.ts';
import { seenPixels } from './pixels-seen.ts';
import { pictureOf, pngOf } from './quarantine-png.ts';
import type { Box } from './quarantine-png.ts';
import type { StudyFindings } from './quarantine.ts';

/** A picture of a slice, for the quarantine. */
export interface SlicePicture {
  /** Number of the series in the manifest, and of the slice among those that are kept of it; from 1. */
  readonly series: number;
  readonly slice: number;
  readonly boxes: readonly Box[];
  readonly png: Uint8Array;
}

/** Pictures a series: some spread over it, and some of slices that the detector judged by themselves. */
const SPREAD = 6;
const SURE = 6;
/** Most pictures a study, whatever its number of series. */
const MOST_PICTURES = 48;

/** Looks at a study's slices as they go by and takes pictures of those in a series with text. */
export interface StudyPictures {
  look(name: string, bytes: Uint8Array): void;
  /** Adds every series with text, pictured or not. */
  into(findings: Pick<StudyFindings, 'addText'>): void;
}

/** `kept` in the order in which they will go by; `textIn` are the series in which `seen` has text. */
export const studyPictures = (
  kept: readonly { readonly series: string; readonly name: string }[],
  textIn: ReadonlySet<string>,
  seen: ReadonlyMap<string, SeriesText>,
): StudyPictures => {
  const names = new Map<string, string[]>();
  for (const { series, name } of kept) {
    const list = names.get(series);
    if (list === undefined) names.set(series, [name]);
    else list.push(name);
  }
  const room = Math.max(1, Math.floor(MOST_PICTURES / Math.max(1, textIn.size)));
  const watched = [...names]
    .map(([series, list], i) => ({ series, list, number: i + 1 }))
    .filter(({ series }) => textIn.has(series))
    .map(({ series, list, number: no }) => ({ no, list, pictures: textPictures(no, list.length, seen.get(series), room) }));
  const places = new Map(watched.flatMap(({ list, pictures }) => list.map((name, i) => [name, { pictures, slice: i + 1 }] as const)));
  return {
    look: (name, bytes) => {
      const place = places.get(name);
      place?.pictures.look(place.slice, bytes);
    },
    into: (findings) => {
      for (const { no, list, pictures } of watched) findings.addText(no, list.length, pictures.taken());
    },
  };
};

/** Collects the pictures of one series with text while its slices go by. */
export interface TextPictures {
  /** `slice` counts from 1 to `slices`. */
  look(slice: number, bytes: Uint8Array): void;
  taken(): readonly SlicePicture[];
}

export const textPictures = (series: number, slices: number, strokes: SeriesText | undefined, room: number): TextPictures => {
  const taken: SlicePicture[] = [];
  const spread = new Set(Array.from({ length: SPREAD }, (_, i) => Math.round(1 + (i * (slices - 1)) / (SPREAD - 1))));
  let sure = 0;
  return {
    look: (slice, bytes) => {
      if (taken.length >= room) return;
      const file = readDicom(bytes);
      const pixels = seenPixels(file);
      if (pixels === undefined) return;
      const own = textDetector();
      own.add('', file.dataset, pixels);
      const isSure = own.found().length > 0 && sure < SURE;
      if (!isSure && !spread.has(slice)) return;
      if (isSure) sure += 1;
      const columns = number(file.dataset, TAG.Columns) ?? 0;
      const places = isSure ? own.places() : strokes === undefined ? [] : repeatedPlaces(strokes);
      const points = places.flatMap(({ box }) => pixelsOf(box, columns));
      const boxes = boxesAround(points, columns);
      taken.push({ series, slice, boxes, png: pngOf(pictureOf(file.dataset, pixels.bytes, boxes)) });
    },
    taken: () => taken,
  };
};

const pixelsOf = ({ x, y, width, height }: Box, columns: number): number[] =>
  Array.from({ length: width * height }, (_, i) => (y + Math.floor(i / width)) * columns + x + (i % width));

/** Strokes nearer than this to each other, in pixels, are one text. */
const CELL = 16;
/** Fewer strokes than this are no letter. */
const MIN_POINTS = 4;

/** Boxes around points that lie together; points are row * columns + column. Sorted from the top left. */
export const boxesAround = (points: readonly number[], columns: number): Box[] => {
  if (columns <= 0) return [];
  const across = Math.ceil(columns / CELL) + 1;
  const cells = new Map<number, number[]>();
  for (const at of points) {
    const cell = Math.floor(Math.floor(at / columns) / CELL) * across + Math.floor((at % columns) / CELL);
    const list = cells.get(cell);
    if (list === undefined) cells.set(cell, [at]);
    else list.push(at);
  }
  const boxes: Box[] = [];
  for (const start of [...cells.keys()].sort((a, b) => a - b)) {
    const together = takeTogether(cells, start, across);
    if (together.length >= MIN_POINTS) boxes.push(boxOf(together, columns));
  }
  return boxes.sort((a, b) => a.y - b.y || a.x - b.x);
};

/** Takes a cell and all that touch it, or one that was taken, out of the map. */
const takeTogether = (cells: Map<number, number[]>, start: number, across: number): number[] => {
  const points: number[] = [];
  const waiting = [start];
  for (let cell = waiting.pop(); cell !== undefined; cell = waiting.pop()) {
    const own = cells.get(cell);
    if (own === undefined) continue;
    cells.delete(cell);
    for (const at of own) points.push(at);
    for (const dy of [-across, 0, across]) waiting.push(cell + dy - 1, cell + dy, cell + dy + 1);
  }
  return points;
};

const boxOf = (points: readonly number[], columns: number): Box => {
  let [left, right, top, bottom] = [Infinity, -1, Infinity, -1];
  for (const at of points) {
    const [x, y] = [at % columns, Math.floor(at / columns)];
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  return { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
};
