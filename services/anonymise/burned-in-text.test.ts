import { describe, expect, test } from '@jest/globals';
import { TAG } from '../dicom/dictionary.ts';
import { element } from '../dicom/values.ts';
import { withElements } from '../dicom/write.ts';
import type { Dataset } from '../dicom/model.ts';
import { textDetector } from './burned-in-text.ts';
import { planted, textMask } from './pixel-text-plant.ts';
import { seenPixels } from './pixels-seen.ts';
import { ctFile, of } from './test-support.ts';

const SIZE = 128;

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

/** Words of letters 10 pixels high. */
const letters =
  (words: string, value: number, y = 8) =>
  (pixels: Uint16Array): void => {
    const slice = { rows: SIZE, columns: SIZE, pixels: Int32Array.from(pixels) };
    pixels.set(planted(slice, textMask(words, 'thin', 10), [8, y], { value }).pixels);
  };

const foundIn = (slices: readonly Dataset[]): readonly string[] => {
  const detector = textDetector();
  for (const one of slices) detector.add('series', one);
  return detector.found();
};

describe('text detector', () => {
  test('finds text in one slice of many, and says where it stands', () => {
    const detector = textDetector();
    for (const n of [1, 2, 3, 4])
      detector.add('series', slice(n, n === 3 ? letters('PETROVA', 3000) : undefined), undefined, false, `file-${n}`);
    expect(detector.found()).toEqual(['series']);
    const [place] = detector.places();
    expect(place).toMatchObject({ series: 'series', name: 'file-3' });
    expect(place?.box.x).toBeGreaterThanOrEqual(8);
    expect(place?.box.y).toBeGreaterThanOrEqual(7);
    expect((place?.box.y ?? 0) + (place?.box.height ?? 0)).toBeLessThanOrEqual(22);
  });

  test('two letters and a half are too few for one slice, and enough when three have them', () => {
    // Three letters of the slice's greatest value: metal may look so.
    const short = letters('ЕКН', 3000);
    expect(foundIn([1, 2].map((n) => slice(n, short)))).toEqual([]);
    expect(foundIn([1, 2, 3].map((n) => slice(n, short)))).toEqual(['series']);
  });

  test('finds it in the body too, and when it is dark or grey there', () => {
    for (const value of [3071, 0, 1400]) expect(foundIn([slice(1, letters('PETROVA 64', value, 60))])).toEqual(['series']);
  });

  test('finds nothing in slices, in metal that moves, or in one slice sent again and again', () => {
    expect(foundIn([1, 2, 3, 4].map((n) => slice(n)))).toEqual([]);
    const wire =
      (n: number) =>
      (pixels: Uint16Array): void => {
        for (let y = 5; y < 40; y++) pixels[y * SIZE + 6 + n] = 2000 + ((y * 37 + n * 91) % 900);
      };
    expect(foundIn([1, 2, 3, 4, 5].map((n) => slice(n, wire(n))))).toEqual([]);
    const same = slice(1, letters('ЕКН', 3000));
    expect(foundIn([same, same, same, same])).toEqual([]);
  });

  test('parts of a study that were looked at apart say the same as all together', () => {
    const slices = [1, 2, 3].map((n) => slice(n, letters('ЕКН', 3000)));
    const parts = slices.map((one) => {
      const part = textDetector();
      part.add('series', one);
      return part;
    });
    const [whole, turned] = [textDetector(), textDetector()];
    for (const part of parts) whole.merge(structuredClone(part.seen()));
    for (const part of parts.toReversed()) turned.merge(part.seen());
    expect(whole.found()).toEqual(['series']);
    expect(turned.places()).toEqual(whole.places());
    expect(parts[0]?.seen().get('series')?.shapes.values().next().value).toMatchObject({ slices: 1 });
  });
});

describe('text detector, numbers', () => {
  test('finds text in unsigned pixels beyond 32767', () => {
    const one = slice(1, letters('PETROVA', 3000));
    const pixels = one.elements.get(TAG.PixelData)?.value ?? new Uint8Array(0);
    const words = Uint16Array.from(new Uint16Array(pixels.slice().buffer), (value) => value + 31_500);
    expect(
      foundIn([withElements(one, [of('BitsStored', 16), of('HighBit', 15), element(TAG.PixelData, 'OW', new Uint8Array(words.buffer))])]),
    ).toEqual(['series']);
  });

  test('finds text in 8 bits', () => {
    const pixels = Uint8Array.from({ length: SIZE * SIZE }, (_, i) => 20 + (Math.imul(i + 1, 2_654_435_761) >>> 29));
    const drawn = planted({ rows: SIZE, columns: SIZE, pixels: Int32Array.from(pixels) }, textMask('PETROVA', 'thin', 10), [9, 9], {
      value: 240,
    });
    const file = ctFile({
      changes: [
        of('Rows', SIZE),
        of('Columns', SIZE),
        of('BitsAllocated', 8),
        of('BitsStored', 8),
        of('HighBit', 7),
        element(TAG.PixelData, 'OW', Uint8Array.from(drawn.pixels)),
      ],
    });
    const detector = textDetector();
    detector.add('series', file.dataset, seenPixels(file));
    expect(detector.found()).toEqual(['series']);
  });
});
