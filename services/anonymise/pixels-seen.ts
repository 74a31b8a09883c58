// The pixels of an instance as 16-bit words, whatever they are stored as, so that they can be looked at.
// What can't be decoded can't be judged, and what is not judged does not cross the boundary.
import { TAG } from '../dicom/dictionary.ts';
import { number } from '../dicom/values.ts';
import type { Dataset, DicomFile } from '../dicom/model.ts';
import { joinFragments } from '../pixels/fragments.ts';
import { jpegLosslessWords } from '../pixels/jpeg-lossless.ts';
import { DecodeError } from '../pixels/decode-error.ts';
import { wasmFrameNow } from '../pixels/wasm-codecs.ts';
import { scanOf, scanPixels } from './pixel-scan.ts';
import type { PixelScan } from './pixel-scan.ts';
import { decodeRle } from './rle.ts';

export interface SeenPixels {
  /** Little endian 16-bit words. */
  bytes: Uint8Array;
  /** Of these words; holds until the next scan. */
  scan: PixelScan;
}

/** The pixels as words; undefined when there is no decoder, the stream is damaged, or they are no single 8 or 16-bit frame. */
export const seenPixels = (file: DicomFile): SeenPixels | undefined => {
  const { dataset } = file;
  const pixels = dataset.elements.get(TAG.PixelData);
  const count = (number(dataset, TAG.Rows) ?? 0) * (number(dataset, TAG.Columns) ?? 0);
  const allocated = number(dataset, TAG.BitsAllocated);
  if (pixels === undefined || count <= 0 || (allocated !== 8 && allocated !== 16)) return undefined;
  if (pixels.fragments !== undefined) return seen(decoded(file, pixels.fragments, count), count);
  if (allocated === 8) return seen(Uint16Array.from(pixels.value.subarray(0, count)), count);
  const scan = scanOf(dataset);
  return scan === undefined || pixels.value.length < count * 2 ? undefined : { bytes: littleEndian(dataset, pixels.value), scan };
};

const seen = (words: Uint8Array | Uint16Array | undefined, count: number): SeenPixels | undefined => {
  if (words === undefined || words.length !== count) return undefined;
  const wide = words instanceof Uint16Array ? words : Uint16Array.from(words);
  const bytes = new Uint8Array(wide.buffer, wide.byteOffset, wide.byteLength);
  return { bytes, scan: scanPixels(bytes) };
};

const littleEndian = (dataset: Dataset, bytes: Uint8Array): Uint8Array =>
  dataset.littleEndian ? bytes : Buffer.from(bytes.subarray(0, bytes.length & ~1)).swap16();

const JPEG_LOSSLESS = /^1\.2\.840\.10008\.1\.2\.4\.(?:57|70)$/;
const WASM = { '50': 'JPEGDecoder', '80': 'JpegLSDecoder', '81': 'JpegLSDecoder', '90': 'J2KDecoder', '91': 'J2KDecoder' } as const;

const decoded = (file: DicomFile, fragments: readonly Uint8Array[], count: number): Uint8Array | Uint16Array | undefined => {
  const { transferSyntaxUid: syntax, dataset } = file;
  try {
    const stream = joinFragments(fragments);
    const [rows, columns] = [number(dataset, TAG.Rows) ?? 0, number(dataset, TAG.Columns) ?? 0];
    if (syntax === '1.2.840.10008.1.2.5') {
      const size = (number(dataset, TAG.BitsAllocated) ?? 0) / 8;
      const bytes = decodeRle(stream, count, size);
      return bytes === undefined || size === 1 ? bytes : new Uint16Array(bytes.buffer);
    }
    if (JPEG_LOSSLESS.test(syntax)) {
      const words = jpegLosslessWords(stream, rows, columns);
      return words instanceof Uint32Array ? undefined : words;
    }
    const codec = WASM[/^1\.2\.840\.10008\.1\.2\.4\.(\d+)$/.exec(syntax)?.[1] as keyof typeof WASM];
    if (codec === undefined) return undefined;
    return wasmFrameNow(codec, stream, rows, columns).words;
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
};
