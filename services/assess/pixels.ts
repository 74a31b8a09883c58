// Decodes the PixelData of one single-frame monochrome instance to stored values, for the transfer syntaxes
// that CT arrives in. The decoders are leaves in services/pixels/.
import { TAG } from '../dicom/dictionary.ts';
import type { DicomFile, Element } from '../dicom/model.ts';
import { DecodeError } from '../pixels/decode-error.ts';
import { joinFragments } from '../pixels/fragments.ts';
import { jpegLosslessWords } from '../pixels/jpeg-lossless.ts';
import { nativeWords } from '../pixels/native.ts';
import { rleWords } from '../pixels/rle.ts';
import { storedValues, type PixelLayout } from '../pixels/stored-values.ts';
import { wasmFrame } from '../pixels/wasm-codecs.ts';
import { readSliceHeader, type SliceHeader } from './slice-header.ts';

export type StoredPixels = {
  /** rows * columns stored values, row by row, before rescale. */
  readonly values: Int32Array;
  /** True when the code stream itself says that it lost something. */
  readonly lossy: boolean;
};

const SYNTAX = {
  implicitLittle: '1.2.840.10008.1.2',
  explicitLittle: '1.2.840.10008.1.2.1',
  deflated: '1.2.840.10008.1.2.1.99',
  explicitBig: '1.2.840.10008.1.2.2',
  jpegBaseline: '1.2.840.10008.1.2.4.50',
  jpegExtended: '1.2.840.10008.1.2.4.51',
  jpegLossless: '1.2.840.10008.1.2.4.57',
  jpegLosslessFirstOrder: '1.2.840.10008.1.2.4.70',
  jpegLsLossless: '1.2.840.10008.1.2.4.80',
  jpegLsNear: '1.2.840.10008.1.2.4.81',
  jpeg2000Lossless: '1.2.840.10008.1.2.4.90',
  jpeg2000: '1.2.840.10008.1.2.4.91',
  rle: '1.2.840.10008.1.2.5',
} as const;

const NATIVE: ReadonlySet<string> = new Set([SYNTAX.implicitLittle, SYNTAX.explicitLittle, SYNTAX.deflated, SYNTAX.explicitBig]);

const SUPPORTED: ReadonlySet<string> = new Set(Object.values(SYNTAX).filter((syntax) => syntax !== SYNTAX.jpegExtended));

/** Syntaxes that always lose; .81 and .91 may be lossless and are judged by their code stream. */
const ALWAYS_LOSSY: ReadonlySet<string> = new Set([SYNTAX.jpegBaseline, SYNTAX.jpegExtended]);

/** Whether `decodePixels` knows the syntax. */
export const isDecodable = (transferSyntaxUid: string): boolean => SUPPORTED.has(transferSyntaxUid);

/** Whether the header alone says that pixels were lost (PS3.3 C.7.6.1.1.5, or the syntax itself). */
export const isLossyByHeader = (header: SliceHeader): boolean => header.lossyFlag || ALWAYS_LOSSY.has(header.transferSyntaxUid);

const layoutOf = (header: SliceHeader): PixelLayout => {
  const { rows, columns, bitsAllocated, bitsStored, highBit } = header;
  const sane = rows > 0 && columns > 0 && bitsStored > 0 && bitsStored <= bitsAllocated && highBit < bitsAllocated;
  if (!sane || highBit < bitsStored - 1) {
    throw new DecodeError('BAD_PIXELS', 'Rows, Columns, BitsAllocated, BitsStored or HighBit make no image');
  }
  if (header.samplesPerPixel !== 1 || header.frames > 1) {
    throw new DecodeError('BAD_PIXELS', 'only one frame of one sample per pixel is a CT slice');
  }
  return header;
};

/**
 * A compressed frame states its own precision; what it holds is two's complement at that precision,
 * whatever sign its header claims, so a code stream whose sign disagrees with PixelRepresentation comes out right.
 */
const atPrecision = (layout: PixelLayout, precision: number): PixelLayout =>
  precision < layout.bitsStored || layout.highBit !== layout.bitsStored - 1
    ? { ...layout, bitsStored: Math.min(precision, layout.bitsStored), highBit: Math.min(precision - 1, layout.highBit) }
    : layout;

const decodeWithWasm = async (stream: Uint8Array, layout: PixelLayout, syntax: string): Promise<StoredPixels> => {
  const codec =
    syntax === SYNTAX.jpegBaseline
      ? 'JPEGDecoder'
      : syntax === SYNTAX.jpegLsLossless || syntax === SYNTAX.jpegLsNear
        ? 'JpegLSDecoder'
        : 'J2KDecoder';
  const frame = await wasmFrame(codec, stream, layout.rows, layout.columns);
  return { values: storedValues(frame.words, atPrecision(layout, frame.precision)), lossy: frame.lossy };
};

const decodeEncapsulated = async (pixels: Element, layout: PixelLayout, syntax: string): Promise<StoredPixels> => {
  if (pixels.fragments === undefined) {
    throw new DecodeError('BAD_PIXELS', 'PixelData (7FE0,0010) is not encapsulated though its syntax says so');
  }
  const stream = joinFragments(pixels.fragments);
  if (syntax === SYNTAX.rle) return { values: storedValues(rleWords(stream, layout), layout), lossy: false };
  if (syntax === SYNTAX.jpegLossless || syntax === SYNTAX.jpegLosslessFirstOrder) {
    const words = jpegLosslessWords(stream, layout.rows, layout.columns);
    return { values: storedValues(words, layout), lossy: false };
  }
  return decodeWithWasm(stream, layout, syntax);
};

/**
 * Stored values of one instance. Throws DecodeError: NO_PIXELS, UNSUPPORTED_SYNTAX, or BAD_PIXELS for a
 * damaged or contradictory frame.
 */
export const decodePixels = async (file: DicomFile, header = readSliceHeader(file)): Promise<StoredPixels> => {
  const pixels = file.dataset.elements.get(TAG.PixelData);
  if (pixels === undefined) throw new DecodeError('NO_PIXELS', 'PixelData (7FE0,0010) is absent');
  if (!isDecodable(header.transferSyntaxUid)) {
    throw new DecodeError('UNSUPPORTED_SYNTAX', `no decoder for transfer syntax ${header.transferSyntaxUid}`);
  }
  const layout = layoutOf(header);
  if (!NATIVE.has(header.transferSyntaxUid)) return decodeEncapsulated(pixels, layout, header.transferSyntaxUid);
  const words = nativeWords(pixels.value, layout, file.dataset.littleEndian);
  return { values: storedValues(words, layout), lossy: false };
};
