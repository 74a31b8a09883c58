import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { TAG } from '../dicom/dictionary.ts';
import { encapsulated } from '../dicom/values.ts';
import { noteRanges, withoutNotes } from './codestream.ts';

const segment = (marker: number, body: readonly number[]): number[] => [
  0xff,
  marker,
  (body.length + 2) >> 8,
  (body.length + 2) & 0xff,
  ...body,
];
const text = (value: string): number[] => [...Buffer.from(value)];
const jpeg = (...segments: number[][]): Uint8Array =>
  Uint8Array.from([0xff, 0xd8, ...segments.flat(), ...segment(0xda, [1, 2]), 0x12, 0xff, 0x00, 0x34, 0xff, 0xd9]);
const j2k = (...segments: number[][]): Uint8Array =>
  Uint8Array.from([0xff, 0x4f, ...segments.flat(), ...segment(0x90, [0, 0, 0, 0, 0, 9, 0, 1]), 0xff, 0x93, 1, 2, 0xff, 0xd9]);
const pixelData = (...fragments: Uint8Array[]) => encapsulated(TAG.PixelData, [new Uint8Array(0), ...fragments]);
const streamOf = (element: ReturnType<typeof withoutNotes>): Buffer => Buffer.concat(element?.fragments?.slice(1) ?? []);

describe('withoutNotes', () => {
  test.each([
    ['a JPEG comment', jpeg(segment(0xfe, text('Ivanov')), segment(0xc3, [8])), jpeg(segment(0xc3, [8]))],
    [
      'JPEG application data',
      jpeg(segment(0xe1, text('Exif Ivanov')), segment(0xc3, [8]), segment(0xee, text('Adobe'))),
      jpeg(segment(0xc3, [8])),
    ],
    [
      'a JPEG 2000 comment',
      j2k(segment(0x51, [1, 2]), segment(0x64, text('Ivanov')), segment(0x52, [3])),
      j2k(segment(0x51, [1, 2]), segment(0x52, [3])),
    ],
  ])('takes out %s and nothing else', (_what, stream, expected) => {
    const result = streamOf(withoutNotes(pixelData(stream)));
    expect(result.subarray(0, expected.length).equals(Buffer.from(expected))).toBe(true);
    expect(result.length - expected.length).toBeLessThanOrEqual(1);
  });

  test('gives the same element when there is nothing to take out', () => {
    for (const stream of [jpeg(segment(0xc3, [8])), j2k(segment(0x51, [1, 2])), Uint8Array.from([1, 0, 0, 0, 64, 0, 0, 0])]) {
      const element = pixelData(stream);
      expect(withoutNotes(element)).toBe(element);
    }
  });

  test('joins a stream that is cut into fragments in the midst of a note', () => {
    const stream = jpeg(segment(0xfe, text('Ivanov Ivan')), segment(0xc3, [8]));
    expect(streamOf(withoutNotes(pixelData(stream.subarray(0, 10), stream.subarray(10)))).includes('Ivan')).toBe(false);
  });

  test('a codestream whose markers lead nowhere is damaged, and nothing throws', () => {
    expect(withoutNotes(pixelData(Uint8Array.from([0xff, 0xd8, 0xff, 0xfe, 0xff, 0xff, 1, 2])))).toBeUndefined();
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (tail) => void noteRanges(Uint8Array.from([0xff, 0xd8, ...tail]))));
  });
});
