// Rows of letters: shapes of like height on one line with small gaps. Bone, vessels and metal have neither.
import type { Box, Shape } from './pixel-text-shapes.ts';

/** Shapes that stand in one row, in reading order. */
export interface Row {
  shapes: Shape[];
  box: Box;
}

/** The gap between two letters, a space between words included, in heights of the letters. */
const MOST_GAP = 1.6;
/** Comparing more would take long: they are noise, when they are lines. */
export const MOST_SHAPES = 3000;

export const boxAround = (boxes: readonly Box[]): Box => {
  const x = Math.min(...boxes.map((box) => box.x));
  const y = Math.min(...boxes.map((box) => box.y));
  const right = Math.max(...boxes.map((box) => box.x + box.width));
  const lower = Math.max(...boxes.map((box) => box.y + box.height));
  return { x, y, width: right - x, height: lower - y };
};

const flipped = (shape: Shape): Shape => ({ ...shape, x: shape.y, y: shape.x, width: shape.height, height: shape.width });

/** Rows across and down, of two shapes and more, whose values differ by `slack` at most from the first one's. */
export const rowsOf = (shapes: readonly Shape[], slack = 0): Row[] => {
  const some = shapes.length > MOST_SHAPES ? [] : shapes;
  const down = rowsAcross(some.map(flipped), slack).map((row) => row.map(flipped));
  return [...rowsAcross(some, slack), ...down].map((row) => ({ shapes: row, box: boxAround(row) }));
};

const rowsAcross = (shapes: readonly Shape[], slack: number): Shape[][] => {
  const sorted = shapes
    .filter(({ width, height }) => height >= 5 && height <= 40 && width <= 2.5 * height)
    .sort((a, b) => a.x - b.x || a.y - b.y);
  const used = new Set<Shape>();
  const rows: Shape[][] = [];
  for (const [i, head] of sorted.entries()) {
    if (used.has(head)) continue;
    const row = [head];
    let end = head.x + head.width;
    for (let j = i + 1; j < sorted.length; j++) {
      const next = sorted[j];
      if (next === undefined || next.x - end > MOST_GAP * head.height) break;
      if (next.x < end - 1 || !isAlike(head, next) || Math.abs(next.value - head.value) > slack) continue;
      row.push(next);
      end = next.x + next.width;
    }
    if (row.length < 2) continue;
    for (const shape of row) used.add(shape);
    rows.push(row);
  }
  return rows;
};

const isAlike = (a: Shape, b: Shape): boolean => {
  const slack = Math.max(1, 0.15 * a.height);
  const [top, bottom] = [Math.abs(a.y - b.y), Math.abs(a.y + a.height - b.y - b.height)];
  return Math.abs(a.height - b.height) <= Math.max(1, 0.3 * a.height) && Math.min(top, bottom) <= slack;
};
