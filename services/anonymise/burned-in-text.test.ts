import { describe, expect, test } from '@jest/globals';
import { TAG } from '../dicom/dictionary.ts';
import { element } from '../dicom/values.ts';
import { withElements } from '../dicom/write.ts';
import type { Dataset } from '../dicom/model.ts';
import { textDetector } from './burned-in-text.ts';
import { ctFile, of } from './test-support.ts';

const SIZE = 96;

/** A noisy slice with a body in the middle; `draw` may put something into it. */
const slice = (n: number, draw: (pixels: Uint16Array) => void = () => undefined): Dataset => {
  const pixels = Uint16Array.from({ length: SIZE * SIZE }, (_, i) => {
    const [x, y] = [(i % SIZE) - SIZE / 2, Math.floor(i / SIZE) - SIZE / 2];
    return (x * x + y * y < 900 ? 1060 : 20) + (Math.imul(i + 1, 2_654_435_761 + n * 97) >>> 26);
  });
  draw(pixels);
  return ctFile({ n, changes: [of('Rows', SIZE), of('Columns', SIZE), element(TAG.PixelData, 'OW', new Uint8Array(pixels.buffer))] })
    .dataset;
};

/** Vertical bars two pixels wide, as letters have: `letters` of them, 10 pixels high. */
const letters =
  (count: number, value: number) =>
  (pixels: Uint16Array): void => {
    for (let letter = 0; letter < count; letter++)
      for (let y = 8; y < 18; y++) for (const x of [8 + letter * 8, 9 + letter * 8]) pixels[y * SIZE + x] = value;
  };

const foundIn = (slices: readonly Dataset[]): readonly string[] => {
  const detector = textDetector();
  for (const one of slices) detector.add('series', one);
  return detector.found();
};

describe('text detector', () => {
  test('finds text that stands in the same place of the slices', () => {
    expect(foundIn([1, 2, 3, 4].map((n) => slice(n, letters(4, 3000))))).toEqual(['series']);
  });

  test('finds it when half of the slices have it, and in the body too', () => {
    const inBody = (pixels: Uint16Array): void => {
      for (let letter = 0; letter < 4; letter++)
        for (let y = 40; y < 50; y++) pixels[y * SIZE + 34 + letter * 8] = pixels[y * SIZE + 35 + letter * 8] = 3071;
    };
    expect(foundIn([1, 2, 3, 4, 5, 6].map((n) => slice(n, n % 2 ? inBody : undefined)))).toEqual(['series']);
  });

  test('finds much text in one slice alone', () => {
    expect(foundIn([slice(1, letters(10, 3000))])).toEqual(['series']);
  });

  test('finds nothing in slices, in metal that moves, or in one slice sent again and again', () => {
    expect(foundIn([1, 2, 3, 4].map((n) => slice(n)))).toEqual([]);
    const wire =
      (n: number) =>
      (pixels: Uint16Array): void => {
        for (let y = 5; y < 40; y++) pixels[y * SIZE + 6 + n] = 2000 + ((y * 37 + n * 91) % 900);
      };
    expect(foundIn([1, 2, 3, 4, 5].map((n) => slice(n, wire(n))))).toEqual([]);
    const same = slice(1, letters(4, 3000));
    expect(foundIn([same, same, same, same])).toEqual([]);
  });
});

describe('text detector, numbers', () => {
  test('finds text in unsigned pixels beyond 32767', () => {
    const high = (n: number): Dataset => {
      const one = slice(n, letters(4, 3000));
      const pixels = one.elements.get(TAG.PixelData)?.value ?? new Uint8Array(0);
      const words = Uint16Array.from(new Uint16Array(pixels.slice().buffer), (value) => value + 31_500);
      return withElements(one, [of('BitsStored', 16), of('HighBit', 15), element(TAG.PixelData, 'OW', new Uint8Array(words.buffer))]);
    };
    expect(foundIn([1, 2, 3, 4].map(high))).toEqual(['series']);
  });
});
