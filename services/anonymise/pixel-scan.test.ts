import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { REACH, scanPixels } from './pixel-scan.ts';

/** The same in plain words. */
const plainStrokes = (words: Int16Array, rows: number, columns: number, contrast: number): number[] => {
  const found: number[] = [];
  for (let y = REACH; y < rows - REACH; y++)
    for (let x = REACH; x < columns - REACH; x++) {
      const at = y * columns + x;
      const isAbove = (by: number): boolean => [at - by, at + by].every((beside) => (words[beside] ?? 0) < (words[at] ?? 0) - contrast);
      if (isAbove(REACH) || isAbove(REACH * columns)) found.push(at);
    }
  return found;
};

const image = fc.integer({ min: 1, max: 24 }).chain((rows) =>
  fc.integer({ min: 1, max: 40 }).chain((columns) =>
    fc.record({
      rows: fc.constant(rows),
      columns: fc.constant(columns),
      words: fc.int16Array({ minLength: rows * columns, maxLength: rows * columns + 3 }),
      contrast: fc.constantFrom(1, 1000, 20_000, 32_767),
    }),
  ),
);

describe('pixel scan', () => {
  test('finds the range and the strokes that plain loops find', () => {
    fc.assert(
      fc.property(image, ({ rows, columns, words, contrast }) => {
        const scan = scanPixels(new Uint8Array(words.buffer, words.byteOffset, words.byteLength));
        expect([scan.least, scan.most]).toEqual([Math.min(...words), Math.max(...words)]);
        const { at, values } = scan.strokes(rows, columns, contrast);
        expect([...at]).toEqual(plainStrokes(words, rows, columns, contrast));
        expect([...values]).toEqual([...at].map((index) => (words[index] ?? 0) & 0xffff));
      }),
      { numRuns: 500 },
    );
  });

  test('finds many strokes, and none where the pixels do not fill the rows', () => {
    const words = Int16Array.from({ length: 64 * 64 }, (_, i) => (i % 8 === 0 ? 3000 : 0));
    const scan = scanPixels(new Uint8Array(words.buffer));
    expect(scan.strokes(64, 64, 1000).at).toHaveLength(56 * 7);
    expect(scan.strokes(65, 64, 1000).at).toHaveLength(0);
    expect(() => scanPixels(new Uint8Array(1))).toThrow(RangeError);
  });
});
