import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { MARGIN } from './pixel-scan-code.ts';
import { scanPixels } from './pixel-scan.ts';
import type { Look } from './pixel-scan.ts';

/** The same in plain words: rows are mirrored above and below, and each goes on in the next. */
const plainMarks = (
  words: Int16Array,
  { rows, columns, contrast, edge, ridge, ink }: Look,
): Record<'runs' | 'bright' | 'dark', number[]> => {
  const least = Math.min(...words);
  const found: Record<'runs' | 'bright' | 'dark', number[]> = { runs: [], bright: [], dark: [] };
  const value = (at: number): number => {
    const row = Math.floor(at / columns);
    const mirrored = row < 0 ? -row : row >= rows ? 2 * rows - 2 - row : row;
    return words[at + (mirrored - row) * columns] ?? 0;
  };
  for (let y = 0; rows > 5 && y < rows; y++)
    for (let x = MARGIN; x < columns - MARGIN; x++) {
      const at = y * columns + x;
      const own = value(at);
      const both = (by: number, is: (other: number) => boolean): boolean => is(value(at - by)) && is(value(at + by));
      const above = (by: number, less: number): boolean => both(by, (other) => other < own - less);
      const below = (by: number, less: number): boolean => both(by, (other) => other > own + less);
      if (own > ink && (above(2, ridge) || above(2 * columns, ridge))) found.bright.push(at);
      if (below(2, ridge) || below(2 * columns, ridge)) found.dark.push(at);
      const isRun = (along: number, across: number): boolean =>
        both(along, (other) => other === own) &&
        [2, 3, 5].some((n) => above(n * across, contrast) || below(n * across, own === least ? edge : contrast));
      if (isRun(1, columns) || (y % 2 === 0 && isRun(columns, 1))) found.runs.push(at);
    }
  return found;
};

/** Few values, so that runs are frequent, or all of them. */
const image = fc.integer({ min: 1, max: 20 }).chain((rows) =>
  fc.integer({ min: 1, max: 40 }).chain((columns) =>
    fc.record({
      rows: fc.constant(rows),
      columns: fc.constant(columns),
      words: fc.oneof(
        fc.int16Array({ minLength: rows * columns, maxLength: rows * columns + 3 }),
        fc.int16Array({ minLength: rows * columns, maxLength: rows * columns + 3, min: 0, max: 3 }),
      ),
      contrast: fc.constantFrom(1, 80, 20_000, 32_767),
      edge: fc.constantFrom(1, 2, 150),
      ink: fc.constantFrom(-32_768, 1, 2000),
      ridge: fc.constantFrom(1, 450, 32_767),
    }),
  ),
);

describe('pixel scan', () => {
  test('finds the range and the marks that plain loops find', () => {
    fc.assert(
      fc.property(image, ({ words, ...look }) => {
        const scan = scanPixels(new Uint8Array(words.buffer, words.byteOffset, words.byteLength));
        expect([scan.least, scan.most]).toEqual([Math.min(...words), Math.max(...words)]);
        const found = scan.marks(look);
        const { runs, bright, dark } = found;
        expect({ runs: [...runs], bright: [...bright], dark: [...dark] }).toEqual(plainMarks(words, look));
        if (runs.length > 0) expect([...found.words]).toEqual([...words.subarray(0, look.rows * look.columns)]);
      }),
      { numRuns: 500 },
    );
  });

  test('finds many marks, and none where the pixels do not fill the rows', () => {
    const words = Int16Array.from({ length: 64 * 64 }, (_, i) => (i % 8 === 0 ? 3000 : 0));
    const scan = scanPixels(new Uint8Array(words.buffer));
    const look = { columns: 64, contrast: 1000, edge: 1000, ridge: 1000, ink: 0 };
    expect(scan.marks({ ...look, rows: 64 }).runs).toHaveLength(32 * 7);
    expect(scan.marks({ ...look, rows: 65 }).runs).toHaveLength(0);
    expect(() => scanPixels(new Uint8Array(1))).toThrow(RangeError);
  });
});
