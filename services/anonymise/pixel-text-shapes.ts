// Shapes that letters may be: joined pixels of one exact value with sharp edges, which a console draws and
// noise never leaves.
import { REACHES } from './pixel-scan-code.ts';
import type { FoundMarks, Look } from './pixel-scan.ts';

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
  /** Sides of its pixels that have another value, and those of them that differ by less than the contrast. */
  edges: number;
  soft: number;
  isWhole: boolean;
}

/** The last shape that was filled; one object, for there are thousands of runs in a slice. */
const filled: Filled = { x: 0, y: 0, width: 0, height: 0, area: 0, edges: 0, soft: 0, isWhole: false };

/**
 * Joins the neighbours of one exact value from `start` on, corners too, and says in `filled` what came of it. Gives up
 * at MAX_AREA, and as soon as the edge is plainly not sharp: most runs of air that is cut off at the least value are such.
 */
const fill = ({ words, rows, columns }: Ground, start: number, contrast: number, since: number): void => {
  const stamp = ++lastStamp;
  const own = words[start] ?? 0;
  let [top, area, edges, soft, isWhole] = [0, 0, 0, 0, true];
  let [left, right, upper, lower] = [columns, -1, rows, -1];
  stamps[start] = stamp;
  stack[top++] = start;
  while (top > 0 && isWhole) {
    const at = stack[--top] ?? 0;
    const y = Math.trunc(at / columns);
    const x = at - y * columns;
    area++;
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < upper) upper = y;
    if (y > lower) lower = y;
    const lastX = x < columns - 1 ? 1 : 0;
    const lastY = y < rows - 1 ? 1 : 0;
    for (let dy = y > 0 ? -1 : 0; dy <= lastY; dy++)
      for (let dx = x > 0 ? -1 : 0; dx <= lastX; dx++) {
        const next = at + dy * columns + dx;
        const other = words[next] ?? 0;
        if (other !== own) {
          if (dx !== 0 && dy !== 0) continue;
          edges++;
          if (other < own + contrast && other > own - contrast) soft++;
          continue;
        }
        const known = stamps[next] ?? 0;
        if (known === stamp) continue;
        // Another shape has it: that one was not followed to its end, and so is this one not.
        if (known > since || top >= MAX_AREA) isWhole = false;
        else {
          stamps[next] = stamp;
          stack[top++] = next;
        }
      }
    if (area + top > MAX_AREA || soft > SOFT_START + area * SOFT_PER_PIXEL) isWhole = false;
  }
  filled.x = left;
  filled.y = upper;
  filled.width = right - left + 1;
  filled.height = lower - upper + 1;
  filled.area = area;
  filled.edges = edges;
  filled.soft = soft;
  filled.isWhole = isWhole;
};

const isLetterSized = ({ area, width, height }: Filled): boolean =>
  area >= LEAST_AREA && Math.max(width, height) >= LEAST_SIZE && Math.max(width, height) <= MOST_SIZE;

/** Whether a run ends sharply on both its sides; air cut off at the least value ends in noise. */
const hasWalls = ({ words, columns }: Ground, at: number, contrast: number): boolean => {
  const value = words[at] ?? 0;
  const isAcross = words[at - 1] === value && words[at + 1] === value;
  if (isAcross && isWall(words, at, columns, contrast) && isWall(words, at, -columns, contrast)) return true;
  const isDown = words[at - columns] === value && words[at + columns] === value;
  return isDown && isWall(words, at, 1, contrast) && isWall(words, at, -1, contrast);
};

const MOST_REACH = Math.max(...REACHES);

/** Whether the nearest other value, `by` on and so on, differs by `contrast`; the edge of the slice does. */
const isWall = (words: Int16Array, at: number, by: number, contrast: number): boolean => {
  const value = words[at] ?? 0;
  for (let i = 1, next = at + by; i <= MOST_REACH; i++, next += by) {
    if (next < 0 || next >= words.length) return true;
    const other = words[next] ?? 0;
    if (other !== value) return other >= value + contrast || other <= value - contrast;
  }
  return false;
};

/** Shapes of one exact value around the runs; `least` is the slice's least one. */
export const evenShapes = (
  ground: Ground,
  runs: FoundMarks['runs'],
  { contrast, edge }: Pick<Look, 'contrast' | 'edge'>,
  least: number,
): Shape[] => {
  const { words } = ground;
  const since = newStamps(words.length);
  const shapes: Shape[] = [];
  let work = 0;
  for (let i = 0; i < runs.length && work < MOST_WORK; i++) {
    const start = runs[i] ?? 0;
    const value = words[start] ?? 0;
    if ((stamps[start] ?? 0) > since || !hasWalls(ground, start, value === least ? edge : contrast)) continue;
    fill(ground, start, contrast, since);
    const { x, y, width, height, area, edges, soft, isWhole } = filled;
    work += area;
    if (isWhole && isLetterSized(filled) && edges - soft >= SHARP * edges) shapes.push({ x, y, width, height, area, value });
  }
  return shapes;
};
