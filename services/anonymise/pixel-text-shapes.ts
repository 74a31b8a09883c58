// Shapes that letters may be: joined pixels of one exact value with sharp edges, which a console draws and
// noise never leaves; and joined pixels of thin bright or dark lines, for letters with smoothed edges.
import { REACHES } from './pixel-scan-code.ts';
import type { FoundMarks } from './pixel-scan.ts';

/** A rectangle of pixels: columns from x, rows from y. */
export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Shape extends Box {
  /** Pixels of the shape. */
  area: number;
  /** Their value; of a line that of its brightest pixel, or darkest. */
  value: number;
}

/** What a slice is, for everything that looks at its shapes. */
export interface Ground {
  words: Int16Array;
  rows: number;
  columns: number;
}

/** A letter of 20 pixels in bold has 160 pixels; a word whose letters touch has more. */
const MAX_AREA = 2000;
const LEAST_SIZE = 4;
const MOST_SIZE = 200;
const LEAST_AREA = 5;
/** Share of a shape's edge that has to be sharp; the rest may lie on ground of the same grey. */
const SHARP = 0.8;
/** Soft edges, each side of a pixel by itself, from which on a shape can't be SHARP enough any more. */
const [SOFT_START, SOFT_PER_PIXEL] = [8, 0.5];
/** Pixels that are looked at in a slice before the rest of the marks is left: bounds the time of hostile slices. */
const MOST_WORK = 400_000;

let stamps = new Uint32Array(0);
let lastStamp = 0;
const stack = new Int32Array(MAX_AREA);

/** A stamp that no pixel has yet. */
const newStamps = (count: number): number => {
  if (stamps.length < count || lastStamp > 4_000_000_000) {
    stamps = new Uint32Array(Math.max(count, stamps.length));
    lastStamp = 0;
  }
  return lastStamp;
};

interface Filled extends Box {
  area: number;
  isWhole: boolean;
}

/**
 * Joins the neighbours of one exact value from `start` on, corners too. Gives up at MAX_AREA, and as soon as the edge
 * is plainly not sharp: most runs of air that is cut off at the least value are such.
 */
const fill = ({ words, rows, columns }: Ground, start: number, contrast: number, since: number): Filled => {
  const stamp = ++lastStamp;
  const own = words[start] ?? 0;
  let [top, area, soft, isWhole] = [0, 0, 0, true];
  let [left, right, upper, lower] = [columns, -1, rows, -1];
  stamps[start] = stamp;
  stack[top++] = start;
  while (top > 0 && isWhole) {
    const at = stack[--top] ?? 0;
    const y = Math.floor(at / columns);
    const x = at - y * columns;
    area++;
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < upper) upper = y;
    if (y > lower) lower = y;
    for (let ny = y > 0 ? y - 1 : 0; ny <= y + 1 && ny < rows; ny++)
      for (let nx = x > 0 ? x - 1 : 0; nx <= x + 1 && nx < columns; nx++) {
        const next = ny * columns + nx;
        const jump = Math.abs((words[next] ?? 0) - own);
        if (jump > 0) {
          if (jump < contrast && (nx === x || ny === y)) soft++;
          continue;
        }
        const known = stamps[next] ?? 0;
        if (known === stamp) continue;
        // Another shape has it: that one was not followed to its end, and so is this one not.
        if (known > since || top >= stack.length) isWhole = false;
        else {
          stamps[next] = stamp;
          stack[top++] = next;
        }
      }
    if (area + top > MAX_AREA || soft > SOFT_START + area * SOFT_PER_PIXEL) isWhole = false;
  }
  return { x: left, y: upper, width: right - left + 1, height: lower - upper + 1, area, isWhole };
};

const isLetterSized = ({ area, width, height }: Filled): boolean =>
  area >= LEAST_AREA && Math.max(width, height) >= LEAST_SIZE && Math.max(width, height) <= MOST_SIZE;

/** Share of the pixels beside the shape that differ from it by `contrast` and more. */
const sharpness = ({ words, rows, columns }: Ground, box: Box, value: number, contrast: number, stamp: number): number => {
  let [edges, sharp] = [0, 0];
  const look = (next: number): void => {
    const other = words[next] ?? 0;
    if (stamps[next] === stamp) return;
    edges++;
    if (Math.abs(other - value) >= contrast) sharp++;
  };
  for (let y = box.y; y < box.y + box.height; y++)
    for (let x = box.x; x < box.x + box.width; x++) {
      const at = y * columns + x;
      if (stamps[at] !== stamp) continue;
      if (x > 0) look(at - 1);
      if (x < columns - 1) look(at + 1);
      if (y > 0) look(at - columns);
      if (y < rows - 1) look(at + columns);
    }
  return edges === 0 ? 0 : sharp / edges;
};

/** Whether a run ends sharply on both its sides; air cut off at the least value ends in noise. */
const hasWalls = ({ words, columns }: Ground, at: number, contrast: number): boolean => {
  const value = words[at] ?? 0;
  const isAcross = words[at - 1] === value && words[at + 1] === value;
  const isDown = words[at - columns] === value && words[at + columns] === value;
  return (isAcross && isWall(words, at, columns, contrast)) || (isDown && isWall(words, at, 1, contrast));
};

const MOST_REACH = Math.max(...REACHES);

/** Whether the nearest other values, `by` on and `by` back and so on, differ by `contrast`; the edge of the slice does. */
const isWall = (words: Int16Array, at: number, by: number, contrast: number): boolean => {
  const value = words[at] ?? 0;
  let sides = 0;
  for (let step = by; ; step = -by) {
    for (let i = 1; i <= MOST_REACH; i++) {
      const jump = Math.abs((words[at + i * step] ?? Number.POSITIVE_INFINITY) - value);
      if (jump === 0) continue;
      if (jump < contrast) return false;
      sides++;
      break;
    }
    if (step < 0) return sides === 2;
  }
};

/** Shapes of one exact value around the runs. */
export const evenShapes = (ground: Ground, runs: FoundMarks['runs'], contrast: number): Shape[] => {
  const { words } = ground;
  const since = newStamps(words.length);
  const shapes: Shape[] = [];
  let work = 0;
  for (let i = 0; i < runs.length && work < MOST_WORK; i++) {
    const start = runs[i] ?? 0;
    if ((stamps[start] ?? 0) > since || !hasWalls(ground, start, contrast)) continue;
    const value = words[start] ?? 0;
    const filled = fill(ground, start, contrast, since);
    work += filled.area;
    if (!filled.isWhole || !isLetterSized(filled)) continue;
    const { x, y, width, height, area } = filled;
    if (sharpness(ground, filled, value, contrast, lastStamp) >= SHARP) shapes.push({ x, y, width, height, area, value });
  }
  return shapes;
};

/** Shapes of the marks of lines alone, joined. A letter's corners are no marks, but its strokes meet there. */
export const lineShapes = ({ words, rows, columns }: Ground, marks: Uint32Array, isBright: boolean): Shape[] => {
  newStamps(words.length);
  const isMark = ++lastStamp;
  for (let i = 0; i < marks.length; i++) stamps[marks[i] ?? 0] = isMark;
  const stamp = ++lastStamp;
  const shapes: Shape[] = [];
  for (let i = 0; i < marks.length; i++) {
    const start = marks[i] ?? 0;
    if (stamps[start] !== isMark) continue;
    let [top, area] = [0, 0];
    let [left, right, upper, lower] = [columns, -1, rows, -1];
    let value = words[start] ?? 0;
    stamps[start] = stamp;
    stack[top++] = start;
    while (top > 0) {
      const at = stack[--top] ?? 0;
      const word = words[at] ?? 0;
      if (isBright ? word > value : word < value) value = word;
      const y = Math.floor(at / columns);
      const x = at - y * columns;
      area++;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < upper) upper = y;
      if (y > lower) lower = y;
      // Marks keep off the left and right edges, so that neighbours are of the same rows.
      for (let row = at - columns; row <= at + columns; row += columns)
        for (let next = row - 1; next <= row + 1; next++)
          if (stamps[next] === isMark && top < stack.length) {
            stamps[next] = stamp;
            stack[top++] = next;
          }
    }
    if (area >= LEAST_AREA) shapes.push({ x: left, y: upper, width: right - left + 1, height: lower - upper + 1, area, value });
  }
  return shapes;
};
