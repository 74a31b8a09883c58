// What the checks of pixels need of a slice, in one look at its 16-bit words: their range, and marks
// as strokes of letters leave them. One memory for all slices: a scan holds only until the next one.
import { TAG } from '../dicom/dictionary.ts';
import { number } from '../dicom/values.ts';
import type { Dataset } from '../dicom/model.ts';
import { KIND, REACH_OF_RIDGE, REACHES, scanCode } from './pixel-scan-code.ts';

/** Columns at the edges of a slice whose pixels are no marks themselves: their ground lies outside. */
export const MARGIN = REACH_OF_RIDGE;
/** Rows that are mirrored at the upper and lower edge, so that letters there have a ground. */
const MIRRORED = Math.max(...REACHES);
const PAGE = 65_536;
const VECTOR_BYTES = 16;
/** Room before the pixels for the mirrored rows. */
const LEAD = PAGE;
/** Wider slices have no marks. */
export const MOST_COLUMNS = Math.floor(LEAD / 2 / MIRRORED);
/** Index of the first pixel as the loops count. */
const FIRST = LEAD / 2;

const NONE = new Uint32Array(0);
const code = scanCode();

/** Contrasts in stored units. */
export interface Look {
  rows: number;
  columns: number;
  /** Of runs of one value. */
  contrast: number;
  /** Of lines of any values. */
  ridge: number;
}

export interface FoundMarks {
  /** The pixels themselves, signed; they hold until the next scan. */
  words: Int16Array;
  /** Indices, ascending, of the pixels of thin runs of one value. */
  runs: Uint32Array;
  /** Indices, ascending, of the pixels of thin lines that are brighter than what is beside them. */
  bright: Uint32Array;
  /** The same of darker ones. */
  dark: Uint32Array;
}

export interface PixelScan {
  /** As signed 16-bit numbers. */
  least: number;
  most: number;
  /** What strokes of letters look like, each pixel by itself; nothing when the pixels do not fill the rows. */
  marks(look: Look): FoundMarks;
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
  const end = roundUp(LEAD + size, VECTOR_BYTES);
  const out = end + VECTOR_BYTES;
  reserve(out + 2 * VECTOR_BYTES);
  const memory = new Uint8Array(code.memory.buffer);
  memory.set(bytes.subarray(0, size), LEAD);
  // The rest of the last vector repeats the last word: it changes no range.
  for (let at = LEAD + size; at < end; at += 2) memory.copyWithin(at, LEAD + size - 2, LEAD + size);
  code.extremes(LEAD, end, out);
  const lanes = new Int16Array(code.memory.buffer, out, 16);
  return {
    least: Math.min(...lanes.subarray(0, 8)),
    most: Math.max(...lanes.subarray(8)),
    marks: (look) => marksOf(size, look),
  };
};

const mirrorRows = (rows: number, columns: number): void => {
  const memory = new Uint8Array(code.memory.buffer);
  const width = columns * 2;
  const end = LEAD + rows * width;
  for (let n = 1; n <= MIRRORED; n++) {
    memory.copyWithin(LEAD - n * width, LEAD + n * width, LEAD + (n + 1) * width);
    memory.copyWithin(end + (n - 1) * width, end - (n + 1) * width, end - n * width);
  }
};

const marksOf = (size: number, look: Look): FoundMarks => {
  const { rows, columns, contrast, ridge } = look;
  const count = rows * columns;
  if (count * 2 > size || rows <= MIRRORED || columns <= 2 * MARGIN || columns > MOST_COLUMNS || Math.max(contrast, ridge) > 32_767)
    return { words: new Int16Array(0), bright: NONE, dark: NONE, runs: NONE };
  // The last vector looks past the end; every pixel may be written twice.
  const out = roundUp(LEAD + (count + MIRRORED * columns) * 2 + 2 * VECTOR_BYTES, VECTOR_BYTES);
  reserve(out + 8 * (count + VECTOR_BYTES));
  mirrorRows(rows, columns);
  const end = code.marks(LEAD, LEAD + count * 2, columns * 2, contrast, ridge, out);
  const found = new Uint32Array(code.memory.buffer, out, (end - out) / 4);
  const marks = [0, 1, 2].map(() => new Uint32Array(found.length));
  const counts = [0, 0, 0];
  let row = 0;
  // A plain loop without a division: there are thousands of marks in a slice of a sharp kernel.
  for (let i = 0; i < found.length; i++) {
    const mark = found[i] ?? 0;
    const [index, kind] = [(mark >>> 2) - FIRST, mark & 3];
    while (index >= row + columns) row += columns;
    while (index < row) row -= columns;
    const x = index - row;
    // Beside the edges the two sides lie in other rows; calling once a row instead takes longer.
    if (index >= count || x < MARGIN || x >= columns - MARGIN) continue;
    const place = counts[kind] ?? 0;
    (marks[kind] ?? NONE)[place] = index;
    counts[kind] = place + 1;
  }
  const of = (kind: number): Uint32Array => (marks[kind] ?? NONE).subarray(0, counts[kind]);
  return { words: new Int16Array(code.memory.buffer, LEAD, count), bright: of(KIND.BRIGHT), dark: of(KIND.DARK), runs: of(KIND.RUN) };
};
