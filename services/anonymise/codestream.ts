// Takes APPn and COM segments out of JPEG, JPEG-LS and JPEG 2000 codestreams: they carry cameras' and
// converters' notes. The image data is not touched. One frame only: what we keep has no more.
import type { Element } from '../dicom/model.ts';

const SOI = 0xd8;
const SOC = 0x4f;
const EOI = 0xd9;
const SOS = 0xda;
const SOT = 0x90;
const SOD = 0x93;
const COM_J2K = 0x64;
const COM = 0xfe;

const isJpegNote = (marker: number): boolean => marker === COM || (marker >= 0xe0 && marker <= 0xef);
// FF01, RSTn and SOI/EOI have no length (ISO 10918-1 B.1.1.3).
const isBare = (marker: number): boolean => marker === 0x01 || (marker >= 0xd0 && marker <= 0xd9);

/**
 * Byte ranges of the notes in the headers of one codestream; 'damaged' when its markers can't be
 * followed. Other streams (RLE, unknown) have none.
 */
export const noteRanges = (stream: Uint8Array): readonly (readonly [start: number, end: number])[] | 'damaged' => {
  if (stream.length < 4 || stream[0] !== 0xff) return [];
  const isJ2k = stream[1] === SOC;
  if (!isJ2k && stream[1] !== SOI) return [];
  const ranges: [number, number][] = [];
  let at = 2;
  while (at + 4 <= stream.length) {
    if (stream[at] !== 0xff) return 'damaged';
    const marker = stream[at + 1] ?? 0;
    if (marker === 0xff) {
      at += 1; // fill byte (B.1.1.2)
      continue;
    }
    // Notes between scans would need the entropy-coded data parsed; the headers end here.
    if (isJ2k ? marker === SOT || marker === SOD : marker === SOS || marker === EOI) return ranges;
    if (!isJ2k && isBare(marker)) {
      at += 2;
      continue;
    }
    const end = at + 2 + ((stream[at + 2] ?? 0) << 8) + (stream[at + 3] ?? 0);
    if (end > stream.length || end < at + 4) return 'damaged';
    if (isJ2k ? marker === COM_J2K : isJpegNote(marker)) ranges.push([at, end]);
    at = end;
  }
  return 'damaged';
};

/**
 * Encapsulated PixelData of one frame without notes. The same element when there are none, so its bytes
 * stay; else one fragment and an empty offset table (PS3.5 A.4). undefined: a damaged codestream.
 */
export const withoutNotes = (pixelData: Element): Element | undefined => {
  const fragments = pixelData.fragments?.slice(1) ?? [];
  const stream = fragments.length === 1 ? fragments[0] : Buffer.concat(fragments);
  if (stream === undefined) return pixelData;
  const ranges = noteRanges(stream);
  if (ranges === 'damaged') return undefined;
  if (ranges.length === 0) return pixelData;
  const parts: Uint8Array[] = [];
  let from = 0;
  for (const [start, end] of ranges) {
    parts.push(stream.subarray(from, start));
    from = end;
  }
  parts.push(stream.subarray(from));
  const bytes = Buffer.concat(parts);
  const even = bytes.length % 2 === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(1)]);
  return { tag: pixelData.tag, vr: pixelData.vr, value: new Uint8Array(0), fragments: [new Uint8Array(0), even] };
};
