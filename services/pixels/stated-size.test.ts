// A frame that says another size of itself than the instance's header is refused before any decoder makes room for it.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { jpegLosslessWords } from './jpeg-lossless.ts';
import { refuseOtherSize } from './stated-size.ts';
import { wasmFrameNow } from './wasm-codecs.ts';

const SIZE = 32;

interface Encoder {
  getDecodedBuffer(info: object): Uint8Array;
  getEncodedBuffer(): Uint8Array;
  encode(): void;
}
type Encoders = Readonly<Record<string, new () => Encoder>>;

/** A frame of SIZE x SIZE by the encoder of the decoder's own package. */
async function encoded(codec: string, name: string, bitsPerSample: number): Promise<Uint8Array> {
  const requireHere = createRequire(import.meta.url);
  const load = requireHere(`@cornerstonejs/${codec}/wasmjs`) as (options: object) => Promise<Encoders>;
  const quiet = (): void => undefined;
  const wasmBinary = readFileSync(requireHere.resolve(`@cornerstonejs/${codec}/wasm`));
  const Codec = (await load({ wasmBinary, print: quiet, printErr: quiet }))[name];
  if (Codec === undefined) throw new Error(`${codec} has no ${name}`);
  const encoder = new Codec();
  const values = Array.from({ length: SIZE * SIZE }, (_, n) => n % 200);
  const words = bitsPerSample > 8 ? new Uint8Array(Uint16Array.from(values).buffer) : Uint8Array.from(values);
  encoder.getDecodedBuffer({ width: SIZE, height: SIZE, bitsPerSample, componentCount: 1, isSigned: false }).set(words);
  encoder.encode();
  return encoder.getEncodedBuffer().slice();
}

/** Lossless JPEG of one value everywhere: each difference is the one code that the Huffman table has. */
const lossless = Uint8Array.from(
  [
    [0xff, 0xd8],
    [0xff, 0xc3, 0, 11, 16, 0, SIZE, 0, SIZE, 1, 1, 0x11, 0],
    [0xff, 0xc4, 0, 20, 0, 1, ...Array.from({ length: 15 }, () => 0), 0],
    [0xff, 0xda, 0, 8, 1, 1, 0, 1, 0, 0],
    Array.from({ length: (SIZE * SIZE) / 8 }, () => 0),
    [0xff, 0xd9],
  ].flat(),
);

/** The stream with other bytes from `at` on. */
const forged = (stream: Uint8Array, at: number, bytes: readonly number[]): Uint8Array => {
  const copy = stream.slice();
  copy.set(bytes, at);
  return copy;
};

/** Where the frame header of a JPEG stands. */
const frameAt = (stream: Uint8Array, marker: number): number => stream.findIndex((byte, at) => byte === 0xff && stream[at + 1] === marker);

type Decode = (stream: Uint8Array) => ArrayLike<number>;
const wasm =
  (name: Parameters<typeof wasmFrameNow>[0]): Decode =>
  (stream) =>
    wasmFrameNow(name, stream, SIZE, SIZE).words;

const CODECS: readonly [string, number | 'j2k', () => Promise<Uint8Array>, Decode][] = [
  ['JPEG-LS', 0xf7, () => encoded('codec-charls', 'JpegLSEncoder', 12), wasm('JpegLSDecoder')],
  ['JPEG', 0xc2, () => encoded('codec-libjpeg-turbo-8bit', 'JPEGEncoder', 8), wasm('JPEGDecoder')],
  ['lossless JPEG', 0xc3, async () => lossless, (stream) => jpegLosslessWords(stream, SIZE, SIZE)],
  ['JPEG 2000', 'j2k', () => encoded('codec-openjpeg', 'J2KEncoder', 12), wasm('J2KDecoder')],
];

/** Rows, columns, samples and bits as a header states them: [where from the header's start, bytes each]. */
const FIELDS = {
  jpeg: { rows: [5, 2], columns: [7, 2], samples: [9, 1], bits: [4, 1] },
  j2k: { rows: [10, 4], columns: [6, 4], samples: [38, 2], bits: [40, 1] },
} as const;

describe.each(CODECS)('%s', (_name, marker, make, decode) => {
  const isJ2k = marker === 'j2k';
  const fields = isJ2k ? FIELDS.j2k : FIELDS.jpeg;
  const header = (stream: Uint8Array): number => (isJ2k ? 2 : frameAt(stream, marker));

  test('a frame of the stated size decodes', async () => {
    expect(decode(await make())).toHaveLength(SIZE * SIZE);
  });

  test.each([
    ['rows', 20_000],
    ['rows', SIZE - 1],
    ['columns', 20_000],
    ['columns', 0],
    ['samples', 3],
    ['bits', 31],
  ] as const)('%s stated as %i: refused before it is decoded', async (field, value) => {
    const stream = await make();
    const [from, size] = fields[field];
    const bytes = Array.from({ length: size }, (_, i) => (value >>> (8 * (size - 1 - i))) & 0xff);
    const other = forged(stream, header(stream) + from, bytes);
    const error = expect.objectContaining({ code: 'BAD_PIXELS', message: expect.stringContaining('states another size') });
    expect(() => decode(other)).toThrow(error as unknown as Error);
  });
});

test('the sizes of two frame headers, and one behind the scan, are none', () => {
  const frame = lossless.subarray(2, 15);
  for (const stream of [
    Uint8Array.from([0xff, 0xd8, ...frame, ...lossless.subarray(2)]),
    Uint8Array.from([0xff, 0xd8, ...lossless.subarray(15), ...frame]),
  ])
    expect(() => refuseOtherSize(stream, SIZE, SIZE)).toThrow('states no size');
});

test('notes and fill bytes before the frame header are passed over', () => {
  const note = [0xff, 0xfe, 0, 4, 0xff, 0xc3];
  const stream = Uint8Array.from([0xff, 0xd8, ...note, 0xff, 0xff, ...lossless.subarray(2)]);
  expect(() => refuseOtherSize(stream, SIZE, SIZE)).not.toThrow();
});

test('any bytes are refused, and the reading of them ends', () => {
  const starts = [[], [0xff, 0x4f], [0xff, 0x4f, 0xff, 0x51], [0xff, 0xd8], [0xff, 0xd8, 0xff, 0xc0]];
  fc.assert(
    fc.property(fc.constantFrom(...starts), fc.uint8Array({ maxLength: 80 }), (start, tail) => {
      expect(() => refuseOtherSize(Uint8Array.from([...start, ...tail]), 40_000, 40_000)).toThrow(
        expect.objectContaining({ code: 'BAD_PIXELS' }) as unknown as Error,
      );
    }),
  );
});
