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
const zeros = (n: number): number[] => Array.from({ length: n }, () => 0);
/** Frame, Huffman table and scan header of one component, lossless. */
const FRAME = segment(0xc3, [16, 0, 2, 0, 2, 1, 1, 0x11, 0]);
const huffman = (id: number, values: readonly number[] = [3]): number[] => [id, values.length, ...zeros(15), ...values];
const HUFFMAN = segment(0xc4, huffman(0));
const scanOf = (selectors: number): number[] => [...segment(0xda, [1, 1, selectors, 1, 0, 0]), 0x12, 0xff, 0x00, 0x34, 0xff, 0xd9];
const SCAN = scanOf(0);
const jpeg = (...segments: number[][]): Uint8Array => Uint8Array.from([0xff, 0xd8, ...segments.flat(), ...SCAN]);
const PLAIN = [FRAME, HUFFMAN];
const LS_FRAME = segment(0xf7, [16, 0, 2, 0, 2, 1, 1, 0x11, 0]);
const jpegLs = (...segments: number[][]): Uint8Array => Uint8Array.from([0xff, 0xd8, LS_FRAME, segments.flat(), SCAN].flat());

const u32 = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
const SIZ = segment(0x51, [0, 0, ...[2, 2, 0, 0, 2, 2, 0, 0].flatMap(u32), 0, 1, 15, 1, 1]);
const COD = segment(0x52, [0, 0, 0, 1, 0, 1, 4, 4, 0, 1]);
const QCD = segment(0x5c, [0x40, 8, 8, 8, 8]);
/** One tile-part with these segments in its header. */
const tileOf = (header: number[] = [], tile = 0): number[] => [
  ...segment(0x90, [0, tile, ...u32(12 + header.length + 2 + 2), 0, 1]),
  ...header,
  0xff,
  0x93,
  1,
  2,
];
const MAIN = [...SIZ, ...COD, ...QCD];
const j2k = (...segments: number[][]): Uint8Array => Uint8Array.from([0xff, 0x4f, ...MAIN, ...segments.flat(), ...tileOf(), 0xff, 0xd9]);
const tiles = (...parts: number[][]): Uint8Array => Uint8Array.from([0xff, 0x4f, ...MAIN, ...parts.flat(), 0xff, 0xd9]);
const pixelData = (...fragments: Uint8Array[]) => encapsulated(TAG.PixelData, [new Uint8Array(0), ...fragments]);
const streamOf = (element: ReturnType<typeof withoutNotes>): Buffer => Buffer.concat(element?.fragments?.slice(1) ?? []);

describe('withoutNotes', () => {
  test.each([
    ['a JPEG comment', jpeg(segment(0xfe, text('Ivanov')), ...PLAIN), jpeg(...PLAIN)],
    ['JPEG application data', jpeg(segment(0xe1, text('Exif Ivanov')), ...PLAIN, segment(0xee, text('Adobe'))), jpeg(...PLAIN)],
    ['a JPEG 2000 comment', j2k(segment(0x64, text('Ivanov'))), j2k()],
  ])('takes out %s and nothing else', (_what, stream, expected) => {
    const result = streamOf(withoutNotes(pixelData(stream)));
    expect(result.subarray(0, expected.length).equals(Buffer.from(expected))).toBe(true);
    expect(result.length - expected.length).toBeLessThanOrEqual(1);
  });

  test('gives the same element when there is nothing to take out', () => {
    for (const stream of [jpeg(...PLAIN), j2k(), Uint8Array.from([1, 0, 0, 0, 64, 0, 0, 0])]) {
      const element = pixelData(stream);
      expect(withoutNotes(element)).toBe(element);
    }
  });

  test('joins a stream that is cut into fragments in the midst of a note', () => {
    const stream = jpeg(segment(0xfe, text('Ivanov Ivan')), ...PLAIN);
    expect(streamOf(withoutNotes(pixelData(stream.subarray(0, 10), stream.subarray(10)))).includes('Ivan')).toBe(false);
  });

  test('an offset table is emptied, and what follows the end is cut', () => {
    const stream = jpeg(...PLAIN);
    const table = encapsulated(TAG.PixelData, [Buffer.from('Ivanova '), stream]);
    expect(withoutNotes(table, 'jpeg')?.fragments).toEqual([new Uint8Array(0), ...(table.fragments?.slice(1) ?? [])]);
    for (const [kind, bare] of [
      ['jpeg', stream],
      ['j2k', j2k()],
    ] as const) {
      const result = streamOf(withoutNotes(pixelData(Uint8Array.from([...bare, ...text('Ivanova ')])), kind));
      expect(result.subarray(0, bare.length).equals(Buffer.from(bare))).toBe(true);
      expect(result.length - bare.length).toBeLessThanOrEqual(1);
    }
  });

  const NAME = text('Ivanov Ivan');
  const names = (n: number): number[] => Array.from({ length: n }, (_, i) => NAME[i % NAME.length] ?? 0);
  test.each<[string, 'jpeg' | 'jpeg-ls' | 'j2k', Uint8Array]>([
    ['an unused Huffman table', 'jpeg', jpeg(FRAME, HUFFMAN, segment(0xc4, huffman(1, names(200))))],
    ['a Huffman table twice', 'jpeg', jpeg(FRAME, segment(0xc4, huffman(0, names(200))), HUFFMAN)],
    ['bytes behind a Huffman table', 'jpeg', jpeg(FRAME, segment(0xc4, [...huffman(0), ...NAME]))],
    ['a quantisation table where none is used', 'jpeg', jpeg(FRAME, HUFFMAN, segment(0xdb, [0, ...names(64)]))],
    ['a quantisation table that is too long', 'jpeg', jpeg(segment(0xdb, [0, ...zeros(64), ...NAME]), ...PLAIN)],
    ['a long frame header', 'jpeg', jpeg(segment(0xc3, [16, 0, 2, 0, 2, 1, 1, 0x11, 0, ...NAME]), HUFFMAN)],
    ['a second frame', 'jpeg', jpeg(FRAME, ...PLAIN)],
    ['a long restart interval', 'jpeg', jpeg(...PLAIN, segment(0xdd, [0, 1, ...NAME]))],
    ['an unknown segment', 'jpeg', jpeg(...PLAIN, segment(0xf0, NAME))],
    ['a hierarchical segment', 'jpeg', jpeg(...PLAIN, segment(0xde, NAME))],
    ['a note behind the scan', 'jpeg', Uint8Array.from([...jpeg(...PLAIN).subarray(0, -2), ...segment(0xfe, NAME), 0xff, 0xd9])],
    [
      'a table behind the scan',
      'jpeg',
      Uint8Array.from([...jpeg(...PLAIN).subarray(0, -2), ...segment(0xc4, huffman(1, NAME)), 0xff, 0xd9]),
    ],
    ['a palette of JPEG-LS', 'jpeg-ls', jpegLs(segment(0xf8, [2, 1, 1, ...names(200)]))],
    ['long parameters of JPEG-LS', 'jpeg-ls', jpegLs(segment(0xf8, [1, ...zeros(10), ...NAME]))],
    ['a quantisation table in JPEG-LS', 'jpeg-ls', jpegLs(segment(0xdb, [0, ...names(64)]))],
    ['a Huffman table in JPEG-LS', 'jpeg-ls', jpegLs(HUFFMAN)],
    ['a comment in a tile-part', 'j2k', tiles(tileOf(segment(0x64, NAME)))],
    ['packet lengths that are none', 'j2k', tiles(tileOf(segment(0x58, [0, ...NAME])))],
    ['packed packet headers', 'j2k', j2k(segment(0x60, [0, ...NAME]))],
    ['tile lengths that lie', 'j2k', j2k(segment(0x55, [0, 0x40, ...text('Ivan')]))],
    ['packet lengths in the main header', 'j2k', j2k(segment(0x57, [0, ...NAME]))],
    ['component registration', 'j2k', j2k(segment(0x63, text('Ivan')))],
    ['an unknown segment', 'j2k', j2k(segment(0x70, NAME))],
    [
      'quantisation for more levels than there are',
      'j2k',
      Uint8Array.from([0xff, 0x4f, ...SIZ, ...COD, ...segment(0x5c, [0x40, ...names(13)]), ...tileOf(), 0xff, 0xd9]),
    ],
    [
      'a long coding style',
      'j2k',
      Uint8Array.from([0xff, 0x4f, ...SIZ, ...segment(0x52, [0, 0, 0, 1, 0, 1, 4, 4, 0, 1, ...NAME]), ...QCD, ...tileOf(), 0xff, 0xd9]),
    ],
    ['a tile that the image does not have', 'j2k', tiles(tileOf(), tileOf([], 1))],
    ['a tile-part twice', 'j2k', tiles(tileOf(), tileOf())],
    ['a box', 'j2k', Buffer.from('\0\0\0\fjP  Ivanov Ivan')],
    ['a stream of another kind', 'j2k', jpeg(...PLAIN)],
  ])('%s is refused (%s)', (_what, kind, stream) => {
    expect(withoutNotes(pixelData(stream), kind)).toBeUndefined();
  });

  test('what an image needs is kept: presets, restarts, packet and tile lengths that are right', () => {
    const lossy = jpeg(
      segment(0xdb, [0, ...zeros(64)]),
      segment(0xc0, [8, 0, 2, 0, 2, 1, 1, 0x11, 0]),
      HUFFMAN,
      segment(0xc4, huffman(0x10)),
    );
    for (const [kind, stream] of [
      ['jpeg', jpeg(...PLAIN, segment(0xdd, [0, 1]))],
      ['jpeg', lossy],
      ['jpeg-ls', jpegLs(segment(0xf8, [1, ...zeros(10)]))],
      ['j2k', tiles(tileOf(segment(0x58, [0, 1, 1])))],
      ['j2k', j2k(segment(0x55, [0, 0x40, ...u32(16)]))],
    ] as const) {
      const element = pixelData(stream);
      expect(withoutNotes(element, kind)).toBe(element);
    }
  });

  test('there is one byte of padding at most when a note of odd length goes', () => {
    for (const note of ['Ivan', 'Ivano']) {
      const result = streamOf(withoutNotes(pixelData(jpeg(segment(0xfe, text(note)), ...PLAIN)), 'jpeg'));
      expect(result.length - jpeg(...PLAIN).length).toBe(jpeg(...PLAIN).length % 2);
      expect(result.length % 2).toBe(0);
    }
  });

  test('bytes between fragments, empty fragments and padding carry nothing on', () => {
    const stream = jpeg(...PLAIN);
    const [a, b] = [stream.subarray(0, 20), stream.subarray(20)];
    expect(withoutNotes(pixelData(a, Uint8Array.from(text('Ivanov')), b), 'jpeg')).toBeUndefined();
    expect(streamOf(withoutNotes(pixelData(stream, Uint8Array.from(text('Ivanov'))), 'jpeg')).includes('Ivanov')).toBe(false);
  });

  test('a codestream whose markers lead nowhere is damaged, and nothing throws', () => {
    expect(withoutNotes(pixelData(Uint8Array.from([0xff, 0xd8, 0xff, 0xfe, 0xff, 0xff, 1, 2])))).toBeUndefined();
    for (const [kind, start] of [
      ['jpeg', 0xd8],
      ['jpeg-ls', 0xd8],
      ['j2k', 0x4f],
    ] as const)
      fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (tail) => void noteRanges(Uint8Array.from([0xff, start, ...tail]), kind)));
  });
});
