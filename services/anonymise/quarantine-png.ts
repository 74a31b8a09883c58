// A slice as a picture for a person: the whole CT range in 255 greys, boxes in red, as a PNG (RFC 2083).
import { crc32, deflateSync } from 'node:zlib';
import { TAG } from '../dicom/dictionary.ts';
import { number, text } from '../dicom/values.ts';
import type { Dataset } from '../dicom/model.ts';

/** In pixels of the slice; x to the right, y down, from the upper left pixel. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** One byte a pixel: 0 to 254 are greys, 255 is red. */
  readonly pixels: Uint8Array;
}

/** HU that are black and white: drawn text lies at or beyond the ends, tissue between them. */
const [BLACK_HU, WHITE_HU] = [-1100, 2000];
const MOST_GREY = 254;
const RED = 255;
/** A frame lies so far outside its box, so that it hides nothing of it. */
const FRAME_GAP = 4;

/** The slice with frames around the boxes; `words` are its pixels, little endian 16-bit. */
export const pictureOf = (dataset: Dataset, words: Uint8Array, boxes: readonly Box[]): Picture => {
  const [height, width] = [number(dataset, TAG.Rows) ?? 0, number(dataset, TAG.Columns) ?? 0];
  const slope = number(dataset, TAG.RescaleSlope) ?? 1;
  const intercept = number(dataset, TAG.RescaleIntercept) ?? 0;
  const isInverted = (text(dataset, TAG.PhotometricInterpretation) ?? '').trim() === 'MONOCHROME1';
  const view = new DataView(words.buffer, words.byteOffset, words.byteLength);
  const isSigned = number(dataset, TAG.PixelRepresentation) === 1;
  const pixels = new Uint8Array(width * height);
  for (let i = 0; i < pixels.length; i++) {
    const stored = isSigned ? view.getInt16(i * 2, true) : view.getUint16(i * 2, true);
    const share = Math.min(1, Math.max(0, (stored * slope + intercept - BLACK_HU) / (WHITE_HU - BLACK_HU)));
    pixels[i] = Math.round((isInverted ? 1 - share : share) * MOST_GREY);
  }
  for (const box of boxes) frame({ width, height, pixels }, box);
  return { width, height, pixels };
};

const frame = ({ width, height, pixels }: Picture, box: Box): void => {
  const inside = (value: number, most: number): number => Math.min(Math.max(value, 0), most - 1);
  const [left, right] = [inside(box.x - FRAME_GAP, width), inside(box.x + box.width - 1 + FRAME_GAP, width)];
  const [top, bottom] = [inside(box.y - FRAME_GAP, height), inside(box.y + box.height - 1 + FRAME_GAP, height)];
  for (let x = left; x <= right; x++) for (const y of [top, bottom]) pixels[y * width + x] = RED;
  for (let y = top; y <= bottom; y++) for (const x of [left, right]) pixels[y * width + x] = RED;
};

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const PALETTE = Uint8Array.from(
  Array.from({ length: 256 }, (_, i) =>
    i === RED ? [255, 40, 40] : Array.from({ length: 3 }, () => Math.round((i * 255) / MOST_GREY)),
  ).flat(),
);

/** 8 bits by palette, no interlace, every row unfiltered. */
export const pngOf = ({ width, height, pixels }: Picture): Uint8Array => {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // Bit depth 8, colour type 3 (palette); compression, filter and interlace methods 0.
  header.set([8, 3, 0, 0, 0], 8);
  const rows = Buffer.alloc((width + 1) * height);
  for (let y = 0; y < height; y++) rows.set(pixels.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('PLTE', PALETTE),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', new Uint8Array(0)),
  ]);
};

const chunk = (type: string, data: Uint8Array): Buffer => {
  const bytes = Buffer.alloc(12 + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, 'latin1');
  bytes.set(data, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length);
  return bytes;
};
