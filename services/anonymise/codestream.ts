// Compressed pixels as they may cross the boundary: JPEG, JPEG-LS, JPEG 2000 and RLE streams hold the image
// and nothing else. Notes (APPn, COM) of the header and what follows the end are cut; notes elsewhere, boxes,
// unknown segments and hidden bytes are refused. One frame only: what we keep has no more.
import type { Element } from '../dicom/model.ts';
import { decodeRle } from './rle.ts';

export type StreamKind = 'jpeg' | 'jpeg-ls' | 'j2k' | 'rle';

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
// Frames, tables, scans, restart interval, line counts (B.1.1.3); LSE and SOF55 of JPEG-LS (ISO 14495-1 C.1).
const isJpegSegment = (marker: number): boolean =>
  (marker >= 0xc0 && marker <= 0xdf && marker !== 0xc8) || marker === 0xf7 || marker === 0xf8;
// ISO 15444-1 Table A.2.
const J2K_SEGMENTS: ReadonlySet<number> = new Set([
  0x50, 0x51, 0x52, 0x53, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5c, 0x5d, 0x5e, 0x5f, 0x60, 0x61, 0x63,
]);

/** What a transfer syntax says that its streams are; undefined for one that we don't write. */
export const streamKindOf = (transferSyntaxUid: string): StreamKind | undefined => {
  if (transferSyntaxUid === '1.2.840.10008.1.2.5') return 'rle';
  const number = Number(/^1\.2\.840\.10008\.1\.2\.4\.(\d+)$/.exec(transferSyntaxUid)?.[1] ?? 0);
  if (number >= 50 && number <= 70) return 'jpeg';
  if (number === 80 || number === 81) return 'jpeg-ls';
  return number === 90 || number === 91 || (number >= 201 && number <= 203) ? 'j2k' : undefined;
};

const kindByStart = (stream: Uint8Array): StreamKind | undefined => {
  if (stream.length < 4 || stream[0] !== 0xff) return undefined;
  return stream[1] === SOC ? 'j2k' : stream[1] === SOI ? 'jpeg' : undefined;
};

type Range = readonly [start: number, end: number];

const markerAt = (stream: Uint8Array, at: number): number => (stream[at] === 0xff ? (stream[at + 1] ?? -1) : -1);
const u16 = (stream: Uint8Array, at: number): number => ((stream[at] ?? 0) << 8) + (stream[at + 1] ?? 0);
const u32 = (stream: Uint8Array, at: number): number => u16(stream, at) * 65_536 + u16(stream, at + 2);

/** End of the segment whose marker is at `at`; undefined when it leads out of the stream. */
const segmentEnd = (stream: Uint8Array, at: number): number | undefined => {
  const end = at + 2 + u16(stream, at + 2);
  return end > stream.length || end < at + 4 ? undefined : end;
};

/**
 * Byte ranges to take out of one JPEG or JPEG 2000 stream: notes of its header, and what follows its end
 * beyond one byte of padding. 'damaged' when its markers can't be followed or it holds notes elsewhere.
 */
export const noteRanges = (stream: Uint8Array, kind: StreamKind | undefined = kindByStart(stream)): readonly Range[] | 'damaged' => {
  if (kind === undefined || kind === 'rle') return [];
  if (stream[0] !== 0xff || stream[1] !== (kind === 'j2k' ? SOC : SOI)) return 'damaged';
  const header = headerNotes(stream, kind === 'j2k');
  if (header === undefined) return 'damaged';
  const end = kind === 'j2k' ? endOfTiles(stream, header.end) : endOfScans(stream, header.end, kind === 'jpeg-ls');
  if (end === undefined) return 'damaged';
  const isPadding = stream.length - end <= 1 && (stream[end] ?? 0) === 0;
  return isPadding ? header.notes : [...header.notes, [end, stream.length]];
};

/** Notes up to the first scan or tile-part, and where that starts. */
const headerNotes = (stream: Uint8Array, isJ2k: boolean): { notes: Range[]; end: number } | undefined => {
  const notes: Range[] = [];
  let at = 2;
  while (at + 4 <= stream.length) {
    const marker = markerAt(stream, at);
    if (marker < 0) return undefined;
    if (marker === 0xff) {
      at += 1; // fill byte (B.1.1.2)
      continue;
    }
    if (marker === (isJ2k ? SOT : SOS)) return { notes, end: at };
    const isNote = isJ2k ? marker === COM_J2K : isJpegNote(marker);
    if (!isNote && (isJ2k ? !J2K_SEGMENTS.has(marker) : isBare(marker) || !isJpegSegment(marker))) return undefined;
    const end = segmentEnd(stream, at);
    if (end === undefined) return undefined;
    if (isNote) notes.push([at, end]);
    at = end;
  }
  return undefined;
};

/** Behind EOI: scans, tables between them, nothing else. In JPEG-LS data FF goes before a byte under 80. */
const endOfScans = (stream: Uint8Array, first: number, isLs: boolean): number | undefined => {
  let at = first;
  while (at + 2 <= stream.length) {
    const marker = markerAt(stream, at);
    if (marker === EOI) return at + 2;
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    if (marker < 0 || isBare(marker) || !isJpegSegment(marker)) return undefined;
    const end = segmentEnd(stream, at);
    if (end === undefined) return undefined;
    at = marker === SOS ? endOfData(stream, end, isLs) : end;
  }
  return undefined;
};

const endOfData = (stream: Uint8Array, from: number, isLs: boolean): number => {
  for (let at = stream.indexOf(0xff, from); at >= 0; at = stream.indexOf(0xff, at + 1)) {
    const next = stream[at + 1] ?? 0;
    const isData = (isLs ? next < 0x80 : next === 0) || (next >= 0xd0 && next <= 0xd7);
    if (!isData) return at;
  }
  return stream.length;
};

/** Behind EOC: tile-parts as long as they say (ISO 15444-1 A.4.2), without notes in their headers. */
const endOfTiles = (stream: Uint8Array, first: number): number | undefined => {
  let at = first;
  while (markerAt(stream, at) === SOT) {
    const size = u32(stream, at + 6);
    const end = size === 0 ? stream.lastIndexOf(EOI) - 1 : at + size;
    const data = startOfTileData(stream, at);
    if (data === undefined || end < data || end + 2 > stream.length) return undefined;
    at = end;
  }
  return markerAt(stream, at) === EOI ? at + 2 : undefined;
};

const startOfTileData = (stream: Uint8Array, sot: number): number | undefined => {
  let at = sot + 12;
  while (at + 2 <= stream.length) {
    const marker = markerAt(stream, at);
    if (marker === SOD) return at + 2;
    if (!J2K_SEGMENTS.has(marker)) return undefined;
    const end = segmentEnd(stream, at);
    if (end === undefined) return undefined;
    at = end;
  }
  return undefined;
};

/** Pixels of an RLE frame: its decoder refuses what is not needed. */
export interface RleFrame {
  count: number;
  bytesPerPixel: number;
}

/**
 * Encapsulated PixelData of one frame without notes, with an empty offset table (PS3.5 A.4). The same
 * element when there is nothing to take out, so its bytes stay. undefined: a damaged stream, or one that is
 * not of its kind (by its own start when no kind is given).
 */
export const withoutNotes = (pixelData: Element, kind?: StreamKind, frame?: RleFrame): Element | undefined => {
  const fragments = pixelData.fragments?.slice(1) ?? [];
  const stream = fragments.length === 1 ? fragments[0] : Buffer.concat(fragments);
  if (stream === undefined || pixelData.fragments === undefined) return pixelData;
  if (kind === 'rle' && frame !== undefined && decodeRle(stream, frame.count, frame.bytesPerPixel) === undefined) return undefined;
  const ranges = noteRanges(stream, kind);
  if (ranges === 'damaged') return undefined;
  const hasTable = (pixelData.fragments[0]?.length ?? 0) > 0;
  if (ranges.length === 0) return hasTable ? { ...pixelData, fragments: [new Uint8Array(0), ...fragments] } : pixelData;
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
