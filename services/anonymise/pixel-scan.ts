// What the checks of pixels need of a slice, in one look at its 16-bit words: their range, and thin strokes.
// One memory for all slices: a scan holds only until the next one.
import { TAG } from '../dicom/dictionary.ts';
import { number } from '../dicom/values.ts';
import type { Dataset } from '../dicom/model.ts';
import { scanCode } from './pixel-scan-code.ts';

/** How far beside a stroke its ground is looked at, in pixels. */
export const REACH = 4;
const PAGE = 65_536;
const VECTOR_BYTES = 16;

const code = scanCode();

export interface FoundStrokes {
  /** Indices of the pixels, ascending. */
  at: Uint32Array;
  /** Their words. */
  values: Uint16Array;
}

export interface PixelScan {
  /** As signed 16-bit numbers. */
  least: number;
  most: number;
  /** Pixels more than `contrast` above both sides, in a row or in a column. */
  strokes(rows: number, columns: number, contrast: number): FoundStrokes;
}

const roundUp = (size: number, unit: number): number => Math.ceil(size / unit) * unit;

const reserve = (size: number): void => {
  const missing = size - code.memory.buffer.byteLength;
  if (missing > 0) code.memory.grow(Math.ceil(missing / PAGE));
};

/** A scan of native 16-bit pixels; undefined for others, compressed ones too. */
export const scanOf = (dataset: Dataset): PixelScan | undefined => {
  const bytes = dataset.elements.get(TAG.PixelData)?.value;
  if (bytes === undefined || bytes.length < 2 || number(dataset, TAG.BitsAllocated) !== 16) return undefined;
  return scanPixels(dataset.littleEndian ? bytes : Buffer.from(bytes.subarray(0, bytes.length & ~1)).swap16());
};

/** Looks at little endian words. Throws RangeError when there is none. */
export const scanPixels = (bytes: Uint8Array): PixelScan => {
  const size = bytes.length & ~1;
  if (size === 0) throw new RangeError('no pixels to look at');
  const end = roundUp(size, VECTOR_BYTES);
  const out = end + VECTOR_BYTES;
  reserve(out + 2 * VECTOR_BYTES);
  const memory = new Uint8Array(code.memory.buffer);
  memory.set(bytes.subarray(0, size));
  // The rest of the last vector repeats the last word: it changes no range.
  for (let at = size; at < end; at += 2) memory.copyWithin(at, size - 2, size);
  code.extremes(end, out);
  const lanes = new Int16Array(code.memory.buffer, out, 16);
  return {
    least: Math.min(...lanes.subarray(0, 8)),
    most: Math.max(...lanes.subarray(8)),
    strokes: (rows, columns, contrast) => strokesOf(size, out, { rows, columns, contrast }),
  };
};

const strokesOf = (
  size: number,
  out: number,
  { rows, columns, contrast }: { rows: number; columns: number; contrast: number },
): FoundStrokes => {
  if (rows * columns * 2 > size || rows <= 2 * REACH || columns <= 2 * REACH || contrast > 32_767)
    return { at: new Uint32Array(0), values: new Uint16Array(0) };
  // All pixels may be strokes, and the last vector looks past the end.
  reserve(out + 4 * (rows * columns + VECTOR_BYTES));
  const [first, last] = [REACH * columns + REACH, (rows - REACH) * columns - REACH];
  const end = code.strokes(first * 2, last * 2, REACH * columns * 2, contrast, out);
  const addresses = new Uint32Array(code.memory.buffer, out, (end - out) / 4);
  const words = new Uint16Array(code.memory.buffer, 0, size / 2);
  const [at, values] = [new Uint32Array(addresses.length), new Uint16Array(addresses.length)];
  let count = 0;
  // Plain loops here and in what uses them: there are a thousand strokes in every slice of a sharp kernel.
  for (let i = 0; i < addresses.length; i++) {
    const index = (addresses[i] ?? 0) >>> 1;
    const x = index % columns;
    // Beside the edges the two sides lie in other rows; calling once a row instead takes longer.
    if (index >= last || x < REACH || x >= columns - REACH) continue;
    at[count] = index;
    values[count++] = words[index] ?? 0;
  }
  return { at: at.subarray(0, count), values: values.subarray(0, count) };
};
