// Rows of letters: shapes of like height on one line with small gaps. Bone, vessels and metal have neither.
import type { Box, Shape } from './pixel-text-shapes.ts';

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

/** What a row is: so many letters, whose values differ by `slack` at most from the first one's. */
export interface RowRule {
  needed: number;
  slack: number;
}

/** Boxes around the rows across and down that one of the rules lets pass. */
export const rowBoxes = (shapes: readonly Shape[], rules: readonly RowRule[]): Box[] => {
  const fewest = Math.min(...rules.map(({ needed }) => needed));
  if (shapes.length < fewest || shapes.length > MOST_SHAPES) return [];
  const boxes: Box[] = [];
  for (const turn of [(shape: Shape) => shape, flipped]) {
    const sorted = inOrder(shapes, turn, fewest);
    for (const { needed, slack } of rules)
      for (const row of rowsAcross(sorted, slack)) if (row.length >= needed) boxes.push(boxAround(row.map(turn)));
  }
  return boxes;
};

const isLetterSized = (width: number, height: number): boolean => height >= 5 && height <= 40 && width <= 2.5 * height;

/** The shapes of letters' size in the order in which they are read, when there are enough. */
const inOrder = (shapes: readonly Shape[], turn: (shape: Shape) => Shape, fewest: number): Shape[] => {
  const sized = shapes.map(turn).filter(({ width, height }) => isLetterSized(width, height));
  return sized.length < fewest ? [] : sized.sort((a, b) => a.x - b.x || a.y - b.y);
};

const rowsAcross = (sorted: readonly Shape[], slack: number): Shape[][] => {
  const used = new Set<Shape>();
  const rows: Shape[][] = [];
  for (let i = 0; i < sorted.length; i++) {
    const head = sorted[i];
    if (head === undefined || used.has(head)) continue;
    const row = rowFrom(head, sorted, i, slack);
    if (row === undefined) continue;
    for (const shape of row) used.add(shape);
    rows.push(row);
  }
  return rows;
};

/** The row that begins with the i-th shape; undefined when nothing stands beside it. */
const rowFrom = (head: Shape, sorted: readonly Shape[], i: number, slack: number): Shape[] | undefined => {
  let row: Shape[] | undefined;
  let end = head.x + head.width;
  for (let j = i + 1; j < sorted.length; j++) {
    const next = sorted[j];
    if (next === undefined || next.x - end > MOST_GAP * head.height) break;
    if (next.x < end - 1 || Math.abs(next.value - head.value) > slack || !isAlike(head, next)) continue;
    row ??= [head];
    row.push(next);
    end = next.x + next.width;
  }
  return row;
};

const isAlike = (a: Shape, b: Shape): boolean => {
  const slack = Math.max(1, 0.15 * a.height);
  const [top, bottom] = [Math.abs(a.y - b.y), Math.abs(a.y + a.height - b.y - b.height)];
  return Math.abs(a.height - b.height) <= Math.max(1, 0.3 * a.height) && Math.min(top, bottom) <= slack;
};
