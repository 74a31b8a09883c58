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
  Uint8Array.from([0xff, 0x4f, ...segments.flat(), ...segment(0x90, [0, 0, 0, 0, 0, 16, 0, 1]), 0xff, 0x93, 1, 2, 0xff, 0xd9]);
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

  test('an offset table is emptied, and what follows the end is cut', () => {
    const stream = jpeg(segment(0xc3, [8]));
    const table = encapsulated(TAG.PixelData, [Buffer.from('Ivanova '), stream]);
    expect(withoutNotes(table, 'jpeg')?.fragments).toEqual([new Uint8Array(0), ...(table.fragments?.slice(1) ?? [])]);
    for (const [kind, bare] of [
      ['jpeg', stream],
      ['j2k', j2k(segment(0x51, [1, 2]))],
    ] as const) {
      const result = streamOf(withoutNotes(pixelData(Uint8Array.from([...bare, ...text('Ivanova ')])), kind));
      expect(result.subarray(0, bare.length).equals(Buffer.from(bare))).toBe(true);
      expect(result.length - bare.length).toBeLessThanOrEqual(1);
    }
  });

  test('a comment in a tile-part, a box, a note between scans and a stream of another kind are refused', () => {
    const note = segment(0x64, text('Iv'));
    const tile = Uint8Array.from([
      0xff,
      0x4f,
      ...segment(0x90, [0, 0, 0, 0, 0, 16 + note.length, 0, 1]),
      ...note,
      0xff,
      0x93,
      1,
      2,
      0xff,
      0xd9,
    ]);
    expect(withoutNotes(pixelData(tile), 'j2k')).toBeUndefined();
    expect(withoutNotes(pixelData(Buffer.from('\0\0\0\fjP  ')), 'j2k')).toBeUndefined();
    const scans = Uint8Array.from([...jpeg().subarray(0, -2), ...segment(0xfe, text('Iv')), 0xff, 0xd9]);
    expect(withoutNotes(pixelData(scans), 'jpeg')).toBeUndefined();
    expect(withoutNotes(pixelData(jpeg()), 'j2k')).toBeUndefined();
  });

  test('a codestream whose markers lead nowhere is damaged, and nothing throws', () => {
    expect(withoutNotes(pixelData(Uint8Array.from([0xff, 0xd8, 0xff, 0xfe, 0xff, 0xff, 1, 2])))).toBeUndefined();
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (tail) => void noteRanges(Uint8Array.from([0xff, 0xd8, ...tail]))));
  });
});
