import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { MARGIN } from './pixel-scan-code.ts';
import type { Shape } from './pixel-text-shapes.ts';
import { lineShapes } from './pixel-text-strokes.ts';

const COLUMNS = 14;

/** The same in plain words: from each mark to all that touch it. */
const plainShapes = (words: Int16Array, marks: ReadonlySet<number>, isBright: boolean): Shape[] => {
  const left = new Set(marks);
  const shapes: Shape[] = [];
  for (const start of marks) {
    if (!left.delete(start)) continue;
    const own = [start];
    for (const at of own)
      for (const by of [-COLUMNS - 1, -COLUMNS, -COLUMNS + 1, -1, 1, COLUMNS - 1, COLUMNS, COLUMNS + 1])
        if (left.delete(at + by)) own.push(at + by);
    if (own.length < 5) continue;
    const [xs, ys] = [own.map((at) => at % COLUMNS), own.map((at) => Math.floor(at / COLUMNS))];
    const [x, y] = [Math.min(...xs), Math.min(...ys)];
    const values = own.map((at) => words[at] ?? 0);
    const value = isBright ? Math.max(...values) : Math.min(...values);
    shapes.push({ x, y, width: Math.max(...xs) - x + 1, height: Math.max(...ys) - y + 1, area: own.length, value });
  }
  return shapes;
};

const inOrder = (shapes: readonly Shape[]): string[] => shapes.map((shape) => JSON.stringify(shape)).sort();

describe('shapes of lines', () => {
  test('joins the marks that touch, whatever they are', () => {
    const slice = fc.integer({ min: 1, max: 14 }).chain((rows) =>
      fc.record({
        words: fc.int16Array({ minLength: rows * COLUMNS, maxLength: rows * COLUMNS }),
        some: fc.uniqueArray(fc.nat(rows * COLUMNS - 1), { maxLength: rows * COLUMNS }),
        isBright: fc.boolean(),
      }),
    );
    fc.assert(
      fc.property(slice, ({ words, some, isBright }) => {
        const marks = some.filter((at) => at % COLUMNS >= MARGIN && at % COLUMNS < COLUMNS - MARGIN).sort((a, b) => a - b);
        const found = lineShapes({ words, rows: words.length / COLUMNS, columns: COLUMNS }, Uint32Array.from(marks), isBright);
        expect(inOrder(found)).toEqual(inOrder(plainShapes(words, new Set(marks), isBright)));
      }),
      { numRuns: 300 },
    );
  });
});
