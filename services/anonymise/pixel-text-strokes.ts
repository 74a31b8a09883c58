// Shapes of joined marks of thin bright or dark lines, for letters with smoothed edges. The marks come row by row, so
// that runs of them beside each other are joined with those of the row above: nothing is looked at twice.
import type { Ground, Shape } from './pixel-text-shapes.ts';

const LEAST_AREA = 5;

/** What is known of a run of marks, and of all that is joined with it when it is the first of them; reused from slice to slice. */
const roomFor = (size: number) => {
  const column = (): Int32Array => new Int32Array(size);
  return {
    size,
    /** Index of the first and the last pixel of the run. */
    start: column(),
    end: column(),
    /** An earlier run that it is joined with; itself when there is none. */
    parent: column(),
    left: column(),
    right: column(),
    upper: column(),
    lower: column(),
    area: column(),
    value: column(),
  };
};
let runs = roomFor(4096);

const rootOf = (run: number): number => {
  const { parent } = runs;
  let at = run;
  for (let next = parent[at] ?? 0; next !== at; next = parent[at] ?? 0) {
    // Every other step is made shorter for the next time.
    const beyond = parent[next] ?? 0;
    parent[at] = beyond;
    at = beyond;
  }
  return at;
};

/** Joins what two runs belong to; the earlier one stands for both. */
const join = (a: number, b: number, isBright: boolean): void => {
  const [x, y] = [rootOf(a), rootOf(b)];
  if (x === y) return;
  const first = Math.min(x, y);
  const second = Math.max(x, y);
  const { parent, left, right, upper, lower, area, value } = runs;
  parent[second] = first;
  left[first] = Math.min(left[first] ?? 0, left[second] ?? 0);
  right[first] = Math.max(right[first] ?? 0, right[second] ?? 0);
  upper[first] = Math.min(upper[first] ?? 0, upper[second] ?? 0);
  lower[first] = Math.max(lower[first] ?? 0, lower[second] ?? 0);
  area[first] = (area[first] ?? 0) + (area[second] ?? 0);
  const [own, others] = [value[first] ?? 0, value[second] ?? 0];
  if (isBright ? others > own : others < own) value[first] = others;
};

/**
 * Shapes of `marks` that touch, corners too; smaller ones are left out. The marks ascend and keep off the left and right
 * edges. A letter's corners are no marks, but its strokes meet there.
 */
export const lineShapes = (ground: Ground, marks: Uint32Array, isBright: boolean): Shape[] => {
  const count = joinRuns(ground, marks, isBright);
  const { parent, left, right, upper, lower, area, value } = runs;
  const shapes: Shape[] = [];
  for (let run = 0; run < count; run++) {
    const pixels = area[run] ?? 0;
    if (parent[run] !== run || pixels < LEAST_AREA) continue;
    const [x, y] = [left[run] ?? 0, upper[run] ?? 0];
    shapes.push({ x, y, width: (right[run] ?? 0) - x + 1, height: (lower[run] ?? 0) - y + 1, area: pixels, value: value[run] ?? 0 });
  }
  return shapes;
};

/** Number of runs. */
const joinRuns = ({ words, columns }: Ground, marks: Uint32Array, isBright: boolean): number => {
  if (runs.size < marks.length) runs = roomFor(2 * marks.length);
  const { start, end, parent, left, right, upper, lower, area, value } = runs;
  // The runs of the row above are those from `above` to `own`.
  let [row, above, own, count] = [0, 0, 0, 0];
  for (let i = 0; i < marks.length;) {
    const first = marks[i] ?? 0;
    let last = first;
    let best = words[first] ?? 0;
    for (i++; i < marks.length && marks[i] === last + 1; i++) {
      last++;
      const word = words[last] ?? 0;
      if (isBright ? word > best : word < best) best = word;
    }
    if (first >= (row + 1) * columns) {
      const next = Math.floor(first / columns);
      above = next === row + 1 ? own : count;
      own = count;
      row = next;
    }
    const run = count++;
    start[run] = first;
    end[run] = last;
    parent[run] = run;
    left[run] = first - row * columns;
    right[run] = last - row * columns;
    upper[run] = row;
    lower[run] = row;
    area[run] = last - first + 1;
    value[run] = best;
    while (above < own && (end[above] ?? 0) < first - columns - 1) above++;
    for (let other = above; other < own && (start[other] ?? 0) <= last - columns + 1; other++) join(other, run, isBright);
  }
  return count;
};
