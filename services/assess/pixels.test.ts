// Decoding to stored values: bits, signs, padding, RLE, fragments, and what is refused. Real files of each syntax are in test/oracle.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { TAG } from '../dicom/dictionary.ts';
import type { DicomFile } from '../dicom/model.ts';
import { element, encapsulated } from '../dicom/values.ts';
import { readDicom } from '../dicom/read.ts';
import { withElements, writeDicom } from '../dicom/write.ts';
import { joinFragments } from '../pixels/fragments.ts';
import { rleWords } from '../pixels/rle.ts';
import { storedValues, type PixelLayout } from '../pixels/stored-values.ts';
import { decodePixels } from './pixels.ts';
import { syntheticSeries } from './synthetic-series.ts';

const layout: PixelLayout = { rows: 2, columns: 2, bitsAllocated: 16, bitsStored: 12, highBit: 11, signed: false, padding: undefined };

/** A slice with other pixels or layout; the file's own syntax says how the bytes are meant. */
const slice = (changes: Parameters<typeof withElements>[1], transferSyntaxUid = '1.2.840.10008.1.2.1'): DicomFile => {
  const [file] = syntheticSeries({ slices: 1, columns: 2, rows: 2 });
  if (file === undefined) throw new Error('no file');
  return { ...file, transferSyntaxUid, dataset: withElements(file.dataset, changes) };
};

describe('stored values', () => {
  test('bits outside of BitsStored are dropped, the sign comes from the highest stored bit', () => {
    expect([...storedValues(Uint16Array.of(0xf001, 0x0fff, 0x0800, 0), layout)]).toEqual([1, 4095, 2048, 0]);
    expect([...storedValues(Uint16Array.of(0xf001, 0x0fff, 0x0800, 0), { ...layout, signed: true })]).toEqual([1, -1, -2048, 0]);
  });

  test('HighBit above BitsStored - 1 shifts', () => {
    expect([...storedValues(Uint16Array.of(0xfff0, 0x0010, 0x8000, 0xf), { ...layout, highBit: 15, signed: true })]).toEqual([
      -1, 1, -2048, 0,
    ]);
  });

  test('a padding value outside of BitsStored stays padding and does not become bone', () => {
    const words = Uint16Array.of(0xf830, 5, 6, 7);
    expect([...storedValues(words, { ...layout, signed: true, padding: -2000 })]).toEqual([-2000, 5, 6, 7]);
    expect(storedValues(words, { ...layout, signed: true })[0]).toBe(0x30 - 2048);
  });

  test('16 signed bits come through as they are', () => {
    fc.assert(
      fc.property(fc.int16Array({ minLength: 1, maxLength: 20 }), (values) => {
        const words = new Uint16Array(values.buffer, values.byteOffset, values.length);
        expect([...storedValues(words, { ...layout, bitsStored: 16, highBit: 15, signed: true })]).toEqual([...values]);
      }),
    );
  });
});

/** PackBits in the plainest form: literal runs only, or replicated ones where a byte repeats. */
const packBits = (bytes: Uint8Array): number[] => {
  const out: number[] = [];
  for (let at = 0; at < bytes.length;) {
    let run = 1;
    while (run < 128 && bytes[at + run] === bytes[at]) run++;
    if (run > 1) out.push(257 - run, bytes[at] as number);
    else out.push(0, bytes[at] as number);
    at += run;
  }
  if (out.length % 2 === 1) out.push(0);
  return out;
};

const rleStream = (words: Uint16Array): Uint8Array => {
  const segments = [packBits(Uint8Array.from(words, (w) => w >> 8)), packBits(Uint8Array.from(words, (w) => w & 0xff))];
  const header = new Uint8Array(64);
  const view = new DataView(header.buffer);
  view.setUint32(0, 2, true);
  view.setUint32(4, 64, true);
  view.setUint32(8, 64 + (segments[0]?.length ?? 0), true);
  return Uint8Array.from([...header, ...segments.flat()]);
};

describe('RLE', () => {
  test('what was packed comes back', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constant(7), fc.nat(0xffff)), { minLength: 1, maxLength: 400 }), (values) => {
        const words = Uint16Array.from(values);
        expect(rleWords(rleStream(words), { ...layout, rows: 1, columns: words.length })).toEqual(words);
      }),
    );
  });

  test('any bytes give words or BAD_PIXELS, nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, plausible) => {
        const stream = plausible ? Uint8Array.from([2, 0, 0, 0, 64, 0, 0, 0, 80, 0, 0, 0, ...new Uint8Array(52), ...bytes]) : bytes;
        try {
          expect(rleWords(stream, layout)).toHaveLength(4);
        } catch (error) {
          expect(error).toMatchObject({ code: 'BAD_PIXELS' });
        }
      }),
    );
  });
});

test('fragments are joined in order, without the offset table', () => {
  expect([...joinFragments([Uint8Array.of(9, 9, 9, 9), Uint8Array.of(1, 2), new Uint8Array(0), Uint8Array.of(3, 4)])]).toEqual([
    1, 2, 3, 4,
  ]);
  expect(() => joinFragments([new Uint8Array(0)])).toThrow(expect.objectContaining({ code: 'NO_PIXELS' }));
});

describe('an instance', () => {
  const words = [1, 2, 4095, 4000];

  test.each(['1.2.840.10008.1.2', '1.2.840.10008.1.2.1', '1.2.840.10008.1.2.2', '1.2.840.10008.1.2.1.99'])(
    'uncompressed in %s, written and read',
    async (syntax) => {
      const file = slice([element(TAG.PixelData, 'OW', words)]);
      const back = readDicom(
        writeDicom({ ...file, transferSyntaxUid: syntax, meta: withElements(file.meta, [element(TAG.TransferSyntaxUID, 'UI', syntax)]) }),
      );
      expect([...(await decodePixels(back)).values]).toEqual(words);
    },
  );

  test('RLE in several fragments', async () => {
    const stream = rleStream(Uint16Array.from(words));
    const pixels = encapsulated(TAG.PixelData, [new Uint8Array(0), stream.subarray(0, 66), stream.subarray(66)]);
    expect([...(await decodePixels(slice([pixels], '1.2.840.10008.1.2.5'))).values]).toEqual(words);
  });

  test.each<readonly [string, string, DicomFile]>([
    ['UNSUPPORTED_SYNTAX', 'JPEG extended, 12 bit', slice([], '1.2.840.10008.1.2.4.51')],
    ['BAD_PIXELS', 'too few bytes', slice([element(TAG.PixelData, 'OW', [1, 2])])],
    ['BAD_PIXELS', 'not encapsulated', slice([], '1.2.840.10008.1.2.4.90')],
    ['BAD_PIXELS', 'BitsStored above BitsAllocated', slice([element(TAG.BitsStored, 'US', 17)])],
    ['BAD_PIXELS', 'colour', slice([element(TAG.SamplesPerPixel, 'US', 3)])],
    ['NO_PIXELS', 'no element', { ...slice([]), dataset: withElements(slice([]).dataset, [], [TAG.PixelData]) }],
  ])('%s: %s', async (code, _what, file) => {
    await expect(decodePixels(file)).rejects.toMatchObject({ code });
  });

  test.each([
    '1.2.840.10008.1.2.4.50',
    '1.2.840.10008.1.2.4.57',
    '1.2.840.10008.1.2.4.70',
    '1.2.840.10008.1.2.4.80',
    '1.2.840.10008.1.2.4.90',
  ])('rubbish in %s is BAD_PIXELS', async (syntax) => {
    const rubbish = Uint8Array.from({ length: 300 }, (_, n) => (n * 37) % 251);
    await expect(decodePixels(slice([encapsulated(TAG.PixelData, [new Uint8Array(0), rubbish])], syntax))).rejects.toMatchObject({
      code: 'BAD_PIXELS',
    });
  });
});
