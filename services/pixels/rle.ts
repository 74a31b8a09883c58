// DICOM RLE (PS3.5 Annex G): one PackBits segment per byte of a sample, most significant byte first.
import { DecodeError } from './decode-error.ts';
import type { PixelLayout, SampleWords } from './stored-values.ts';

const HEADER_BYTES = 64;

/** Unpacks one segment into every `stride`-th byte of `out`, from `first` on. */
const unpackSegment = (segment: Uint8Array, out: Uint8Array, first: number, stride: number): void => {
  let read = 0;
  let write = first;
  while (write < out.length) {
    if (read >= segment.length) throw new DecodeError('BAD_PIXELS', 'an RLE segment of PixelData ends early');
    const control = ((segment[read++] as number) << 24) >> 24;
    if (control === -128) continue;
    const run = control >= 0 ? control + 1 : 1 - control;
    const needed = control >= 0 ? run : 1;
    if (read + needed > segment.length) throw new DecodeError('BAD_PIXELS', 'an RLE run of PixelData is cut');
    for (let step = 0; step < run && write < out.length; step++, write += stride) {
      out[write] = segment[control >= 0 ? read + step : read] as number;
    }
    read += needed;
  }
};

/** Decodes one single-sample frame to words of BitsAllocated bits. Throws BAD_PIXELS on a damaged stream. */
export const rleWords = (stream: Uint8Array, layout: PixelLayout): SampleWords => {
  const size = layout.bitsAllocated / 8;
  if (stream.length < HEADER_BYTES) throw new DecodeError('BAD_PIXELS', 'the RLE header of PixelData is cut');
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
  if (view.getUint32(0, true) !== size) {
    throw new DecodeError('BAD_PIXELS', 'the number of RLE segments does not fit BitsAllocated (0028,0100)');
  }
  const count = layout.rows * layout.columns;
  const bytes = new Uint8Array(count * size);
  for (let segment = 0; segment < size; segment++) {
    const start = view.getUint32(4 + segment * 4, true);
    const end = segment + 1 < size ? view.getUint32(8 + segment * 4, true) : stream.length;
    if (start < HEADER_BYTES || end < start || end > stream.length) {
      throw new DecodeError('BAD_PIXELS', 'an RLE segment offset of PixelData is out of range');
    }
    unpackSegment(stream.subarray(start, end), bytes, size - 1 - segment, size);
  }
  if (size === 1) return bytes;
  return size === 2 ? new Uint16Array(bytes.buffer) : new Uint32Array(bytes.buffer);
};
