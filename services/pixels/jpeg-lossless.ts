// JPEG lossless, process 14 (.57 any predictor, .70 first-order prediction).
import { Decoder } from '@cornerstonejs/jpeg-lossless-decoder-js';
import { DecodeError } from './decode-error.ts';
import { refuseOtherSize } from './stated-size.ts';
import type { SampleWords } from './stored-values.ts';

/** Decodes one frame of `rows` x `columns` to words of its own precision (8 or 16 bits). Throws BAD_PIXELS on a damaged stream. */
export const jpegLosslessWords = (stream: Uint8Array, rows: number, columns: number): SampleWords => {
  refuseOtherSize(stream, rows, columns);
  const decoder = new Decoder();
  let decoded: ArrayBufferLike;
  try {
    // The decoder wants a buffer of its own: a view of a larger one would be read from its start.
    const own = stream.slice().buffer;
    decoded = decoder.decompress(own, 0, own.byteLength);
  } catch {
    throw new DecodeError('BAD_PIXELS', 'the JPEG lossless stream of PixelData does not decode');
  }
  const words = decoder.frame.precision > 8 ? new Uint16Array(decoded) : new Uint8Array(decoded);
  const pixels = rows * columns;
  if (words.length < pixels) throw new DecodeError('BAD_PIXELS', 'the JPEG lossless frame is smaller than Rows x Columns');
  return words.subarray(0, pixels);
};
