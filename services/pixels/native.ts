// Uncompressed samples (little or big endian, deflated data sets after inflation) to words.
import { DecodeError } from './decode-error.ts';
import type { PixelLayout, SampleWords } from './stored-values.ts';

/** Reads rows * columns words of 8, 16 or 32 bits. Throws BAD_PIXELS when the value is too short. */
export const nativeWords = (value: Uint8Array, layout: PixelLayout, littleEndian: boolean): SampleWords => {
  const count = layout.rows * layout.columns;
  const size = layout.bitsAllocated / 8;
  if (size !== 1 && size !== 2 && size !== 4) {
    throw new DecodeError('BAD_PIXELS', `BitsAllocated (0028,0100) ${layout.bitsAllocated} is not 8, 16 or 32`);
  }
  if (value.length < count * size) {
    throw new DecodeError('BAD_PIXELS', `PixelData (7FE0,0010) holds ${value.length} of ${count * size} bytes`);
  }
  if (size === 1) return value.subarray(0, count);
  const view = new DataView(value.buffer, value.byteOffset, count * size);
  const words = size === 2 ? new Uint16Array(count) : new Uint32Array(count);
  for (let index = 0; index < count; index++) {
    words[index] = size === 2 ? view.getUint16(index * 2, littleEndian) : view.getUint32(index * 4, littleEndian);
  }
  return words;
};
