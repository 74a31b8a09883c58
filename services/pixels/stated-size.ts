// What a compressed frame says of its own size, read before it is decoded: a decoder makes room for what the frame says, so
// that a hundred bytes can ask for gigabytes.
import { u16, u32 } from './big-endian.ts';
import { DecodeError } from './decode-error.ts';

interface StatedSize {
  readonly rows: number;
  readonly columns: number;
  readonly samples: number;
  readonly bits: number;
}

const SOC = 0xff4f;
const SIZ = 0xff51;
const SOI = 0xffd8;
const SOS = 0xda;

/** Of JPEG 2000: SIZ stands right behind the start (ISO 15444-1 A.5.1). */
const ofJ2k = (stream: Uint8Array): StatedSize | undefined => {
  if (u16(stream, 2) !== SIZ) return undefined;
  const [columns, rows] = [u32(stream, 8) - u32(stream, 16), u32(stream, 12) - u32(stream, 20)];
  return { rows, columns, samples: u16(stream, 40), bits: ((stream[42] ?? 0) & 0x7f) + 1 };
};

/** SOF0 to SOF15 without the tables between them (ISO 10918-1 B.1.1.3), and SOF55 of JPEG-LS (ISO 14495-1 C.1.1). */
const isFrameHeader = (marker: number): boolean =>
  (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) || marker === 0xf7;

/** Of JPEG and JPEG-LS: the one frame header before the first scan. */
const ofJpeg = (stream: Uint8Array): StatedSize | undefined => {
  let found: StatedSize | undefined;
  for (let at = 2; stream[at] === 0xff && at + 4 <= stream.length;) {
    const marker = stream[at + 1] ?? 0;
    if (marker === SOS) return found;
    if (isFrameHeader(marker)) {
      if (found !== undefined) return undefined;
      found = { bits: stream[at + 4] ?? 0, rows: u16(stream, at + 5), columns: u16(stream, at + 7), samples: stream[at + 9] ?? 0 };
    }
    // A fill byte (ISO 10918-1 B.1.1.2), or a whole segment.
    at += marker === 0xff ? 1 : 2 + u16(stream, at + 2);
  }
  return undefined;
};

const statedSize = (stream: Uint8Array): StatedSize | undefined => {
  const start = u16(stream, 0);
  return start === SOC ? ofJ2k(stream) : start === SOI ? ofJpeg(stream) : undefined;
};

/** Every decoder's first step. Throws BAD_PIXELS for a frame that states no size, or another one than `rows` x `columns` of one sample. */
export const refuseOtherSize = (stream: Uint8Array, rows: number, columns: number): void => {
  const stated = statedSize(stream);
  if (stated === undefined) throw new DecodeError('BAD_PIXELS', 'the compressed frame of PixelData states no size');
  if (stated.rows !== rows || stated.columns !== columns || stated.samples !== 1 || stated.bits > 16)
    throw new DecodeError('BAD_PIXELS', 'the compressed frame of PixelData states another size than Rows, Columns and one sample');
};
