import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { scanPixels } from './pixel-scan.ts';
import { PLANT_FONTS, planted, textMask, turned } from './pixel-text-plant.ts';
import type { Mask, Slice } from './pixel-text-plant.ts';
import { repeatedText, textOfSlice } from './pixel-text.ts';
import type { SliceText } from './pixel-text.ts';

const SIZE = 160;

/** Noise of about 12 HU around a disc of tissue in air; smooth when it is blurred. */
const slice = (seed: number, isSmooth = false): Slice => {
  const raw = Float64Array.from({ length: SIZE * SIZE }, (_, i) => {
    const mixed = Math.imul(Math.imul(i + 1, 2_654_435_761) ^ (seed * 97 + 13), 1_597_334_677);
    return ((mixed >>> 8) / 2 ** 24 - 0.5) * 42;
  });
  const noise = (at: number): number => {
    if (!isSmooth) return raw[at] ?? 0;
    let sum = 0;
    for (const by of [0, 1, SIZE, SIZE + 1]) sum += raw[(at + by) % raw.length] ?? 0;
    return sum / 4;
  };
  const pixels = Int32Array.from({ length: SIZE * SIZE }, (_, i) => {
    const [x, y] = [(i % SIZE) - SIZE / 2, Math.floor(i / SIZE) - SIZE / 2];
    return Math.round((x * x + y * y < 3600 ? 1060 : 40) + noise(i));
  });
  return { rows: SIZE, columns: SIZE, pixels };
};

const look = ({ pixels, rows, columns }: Slice): SliceText =>
  textOfSlice(scanPixels(new Uint8Array(Uint16Array.from(pixels).buffer)), { rows, columns, unitsPerHu: 1 });

const textAt = fc.record({
  size: fc.constantFrom(8, 10, 12, 14, 16),
  font: fc.constantFrom(...PLANT_FONTS),
  text: fc.constantFrom('PETROVA', 'ID 4471', 'ЩУКИНА', 'ХОЛОД Ю'),
  isTurned: fc.boolean(),
  shift: fc.double({ min: 0, max: 0.9, noNaN: true }),
  at: fc.record({ x: fc.double({ min: 0, max: 1, noNaN: true }), y: fc.double({ min: 0, max: 1, noNaN: true }) }),
  seed: fc.nat(1000),
});
type TextAt = typeof textAt extends fc.Arbitrary<infer T> ? T : never;

const maskOf = ({ text, font, size, shift, isTurned }: TextAt): Mask => {
  const mask = textMask(text, font, size, font === 'smooth' ? shift : 0);
  return isTurned ? turned(mask) : mask;
};

describe('text of one slice', () => {
  test('noise, smooth or not, is no text', () => {
    fc.assert(
      fc.property(fc.nat(), fc.boolean(), (seed, isSmooth) => {
        expect(look(slice(seed, isSmooth)).boxes).toEqual([]);
      }),
      { numRuns: 16 },
    );
  });

  test('bright text is found wherever it stands, in its place', () => {
    fc.assert(
      fc.property(textAt, (one) => {
        const mask = maskOf(one);
        const x = Math.round(one.at.x * (SIZE - mask.width - 1));
        const y = Math.round(one.at.y * (SIZE - mask.height - 1));
        const { boxes } = look(planted(slice(one.seed), mask, [x, y], { value: 4095 }));
        expect(boxes).not.toEqual([]);
        for (const box of boxes) {
          expect(box.x).toBeGreaterThanOrEqual(x - 3);
          expect(box.y).toBeGreaterThanOrEqual(y - 3);
          expect(box.x + box.width).toBeLessThanOrEqual(x + mask.width + 3);
          expect(box.y + box.height).toBeLessThanOrEqual(y + mask.height + 3);
        }
      }),
      { numRuns: 60 },
    );
  });

  test.each([
    ['dark on tissue', [50, 70], { value: 0 }],
    ['300 HU above tissue', [50, 70], { value: 1360 }],
    ['white with a black outline', [50, 70], { value: 4095, outline: 0 }],
    ['white on a black box', [50, 70], { value: 4095, box: 0 }],
  ] as const)('finds letters %s', (_, at, ink) => {
    for (const size of [8, 12, 16]) expect(look(planted(slice(size), textMask('ПЕТРОВА', 'bold', size), at, ink)).boxes).not.toEqual([]);
  });

  test('metal that is cut off at the greatest value is no text, however many slices have it', () => {
    const disc = (cx: number): Mask => ({
      width: 12,
      height: 12,
      cover: Float32Array.from({ length: 144 }, (_, i) => (Math.hypot((i % 12) - cx, Math.floor(i / 12) - 6) < 4 ? 1 : 0)),
    });
    const rods = planted(planted(slice(1), disc(6), [50, 100], { value: 4095 }), disc(6), [95, 100], { value: 4095 });
    const { boxes, shapes } = look(rods);
    expect(boxes).toEqual([]);
    expect(repeatedText(shapes)).toEqual([]);
  });

  test('three letters that repeat are text, once their value is theirs alone', () => {
    const shape = (x: number, isExtreme: boolean) => ({ x, y: 10, width: 6, height: 10, value: 1300, isExtreme });
    expect(repeatedText([10, 20, 90].map((x) => shape(x, false)))).toEqual([{ x: 10, y: 10, width: 86, height: 10 }]);
    expect(repeatedText([10, 20, 90].map((x) => shape(x, true)))).toEqual([]);
    expect(repeatedText([10, 20, 30].map((x) => shape(x, true)))).toEqual([{ x: 10, y: 10, width: 26, height: 10 }]);
  });

  test('a page full of letters is text', () => {
    let page = slice(1);
    for (let y = 0; y < SIZE - 10; y += 11) page = planted(page, textMask('ПЕТРОВА 12.03.61 ID', 'thin', 8), [0, y], { value: 4095 });
    expect(look(page).boxes.length).toBeGreaterThan(10);
  });
});
