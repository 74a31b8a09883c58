// What the checks of pixels need of a slice, in one look at its 16-bit words: their range, and marks
// as strokes of letters leave them. One memory for all slices: a scan holds only until the next one.
import { TAG } from '../dicom/dictionary.ts';
import { number } from '../dicom/values.ts';
import type { Dataset } from '../dicom/model.ts';
import { KIND, MARGIN, REACHES, scanCode } from './pixel-scan-code.ts';

/** Rows that are mirrored at the upper and lower edge, so that letters there have a ground. */
const MIRRORED = Math.max(...REACHES);
const PAGE = 65_536;
const VECTOR_BYTES = 16;
/** Room before the pixels for the mirrored rows. */
const LEAD = PAGE;
/** Wider slices have no marks. */
export const MOST_COLUMNS = Math.floor(LEAD / 2 / MIRRORED);

const NONE = new Uint32Array(0);
const code = scanCode();

/** Contrasts in stored units. */
export interface Look {
  rows: number;
  columns: number;
  /** Of runs of one value. */
  contrast: number;
  /** The same of the slice's least value, at which noise of air is cut off. */
  edge: number;
  /** Of lines of any values. */
  ridge: number;
  /** What bright lines have to be brighter than: a grey value, not a contrast. */
  ink: number;
}

/** All of it holds until the next scan. */
export interface FoundMarks {
  /** The pixels themselves, signed. */
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
  const least = Math.min(...lanes.subarray(0, 8));
  return { least, most: Math.max(...lanes.subarray(8)), marks: (look) => marksOf(size, least, look) };
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

const marksOf = (size: number, least: number, look: Look): FoundMarks => {
  const { rows, columns, contrast, edge, ridge, ink } = look;
  const count = rows * columns;
  if (count * 2 > size || rows <= MIRRORED || columns <= 2 * MARGIN || columns > MOST_COLUMNS || Math.max(contrast, edge, ridge) > 32_767)
    return { words: new Int16Array(0), bright: NONE, dark: NONE, runs: NONE };
  // The last vectors look past the end. Each list has room for every pixel, and one that is written over.
  const out = roundUp(LEAD + (count + MIRRORED * columns) * 2 + 8 * VECTOR_BYTES, VECTOR_BYTES);
  const room = 4 * (count + VECTOR_BYTES);
  reserve(out + 3 * room);
  mirrorRows(rows, columns);
  code.marks(LEAD, LEAD + count * 2, columns * 2, contrast, edge, ridge, least, ink, out, room);
  const { buffer } = code.memory;
  const ends = new Uint32Array(buffer, out - 12, 3);
  const of = (kind: number): Uint32Array => {
    const start = out + kind * room;
    return new Uint32Array(buffer, start, ((ends[kind] ?? start) - start) / 4);
  };
  return { words: new Int16Array(buffer, LEAD, count), bright: of(KIND.BRIGHT), dark: of(KIND.DARK), runs: of(KIND.RUN) };
};
