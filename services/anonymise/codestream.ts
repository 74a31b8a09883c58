// Compressed pixels as they may cross the boundary: JPEG, JPEG-LS, JPEG 2000 and RLE streams hold the image
// and nothing else. Notes (APPn, COM) of the header and what follows the end are cut; notes elsewhere, boxes,
// segments that the image does not need and hidden bytes are refused. One frame, one component: what we keep has no more.
import { u16, u32 } from '../pixels/big-endian.ts';
import type { Element } from '../dicom/model.ts';
import {
  areTablesUsed,
  isPlainJ2kSegment,
  isPlainJpegSegment,
  isWholeJ2kHeader,
  newJ2kHeader,
  newJpegTables,
  packetBytes,
} from './codestream-segments.ts';
import { decodeRle } from './rle.ts';

export type StreamKind = 'jpeg' | 'jpeg-ls' | 'j2k' | 'rle';

const SOI = 0xd8;
const SOC = 0x4f;
const EOI = 0xd9;
const SOS = 0xda;
const SOT = 0x90;
const SOD = 0x93;
const PLT = 0x58;
const COM_J2K = 0x64;
const COM = 0xfe;

const isJpegNote = (marker: number): boolean => marker === COM || (marker >= 0xe0 && marker <= 0xef);

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

/** End of the segment whose marker is at `at`; undefined when it leads out of the stream. */
const segmentEnd = (stream: Uint8Array, at: number): number | undefined => {
  const end = at + 2 + u16(stream, at + 2);
  return end > stream.length || end < at + 4 ? undefined : end;
};

/**
 * Byte ranges to take out of one JPEG, JPEG-LS or JPEG 2000 stream: notes of its header, and what follows its
 * end beyond one byte of padding. 'damaged' when its markers can't be followed, or it holds anything that the
 * image does not need: notes elsewhere, tables twice or unused, palettes, packed headers, lengths that lie.
 */
export const noteRanges = (stream: Uint8Array, kind: StreamKind | undefined = kindByStart(stream)): readonly Range[] | 'damaged' => {
  if (kind === undefined || kind === 'rle') return [];
  if (stream[0] !== 0xff || stream[1] !== (kind === 'j2k' ? SOC : SOI)) return 'damaged';
  const notes: Range[] = [];
  const end = kind === 'j2k' ? endOfJ2k(stream, notes) : endOfJpeg(stream, notes, kind === 'jpeg-ls');
  if (end === undefined) return 'damaged';
  const isPadding = stream.length - end <= 1 && (stream[end] ?? 0) === 0;
  // Where something is cut the old padding goes too: the new one may have to be none, or one byte and not two.
  return end === stream.length || (isPadding && notes.length === 0) ? notes : [...notes, [end, stream.length]];
};

/** Where the segments before `last` end, notes collected; undefined when one of them is not known. */
const endOfHeader = (
  stream: Uint8Array,
  notes: Range[],
  last: number,
  isNote: (marker: number) => boolean,
  isPlain: (at: number, end: number) => boolean,
): number | undefined => {
  let at = 2;
  while (at + 4 <= stream.length) {
    const marker = markerAt(stream, at);
    if (marker < 0) return undefined;
    if (marker === 0xff && last === SOS) {
      at += 1; // fill byte (ISO 10918-1 B.1.1.2)
      continue;
    }
    if (marker === last) return at;
    const end = segmentEnd(stream, at);
    if (end === undefined) return undefined;
    if (isNote(marker)) notes.push([at, end]);
    else if (!isPlain(at, end)) return undefined;
    at = end;
  }
  return undefined;
};

/** Behind EOI: a header, one scan, nothing else. */
const endOfJpeg = (stream: Uint8Array, notes: Range[], isLs: boolean): number | undefined => {
  const tables = newJpegTables(isLs);
  const scan = endOfHeader(stream, notes, SOS, isJpegNote, (at, end) => isPlainJpegSegment(stream, at, end, tables));
  const data = scan === undefined ? undefined : segmentEnd(stream, scan);
  if (scan === undefined || data === undefined) return undefined;
  if (!isPlainJpegSegment(stream, scan, data, tables) || !areTablesUsed(tables)) return undefined;
  let at = endOfData(stream, data, isLs);
  while (markerAt(stream, at) === 0xff) at += 1;
  return markerAt(stream, at) === EOI ? at + 2 : undefined;
};

/** In JPEG-LS data FF goes before a byte under 80, in JPEG before a 0; RSTn may stand in both. */
const endOfData = (stream: Uint8Array, from: number, isLs: boolean): number => {
  for (let at = stream.indexOf(0xff, from); at >= 0; at = stream.indexOf(0xff, at + 1)) {
    const next = stream[at + 1] ?? 0;
    const isData = (isLs ? next < 0x80 : next === 0) || (next >= 0xd0 && next <= 0xd7);
    if (!isData) return at;
  }
  return stream.length;
};

/** Behind EOC: tile-parts as long as they say (ISO 15444-1 A.4.2), each of a tile that the image has, and once. */
const endOfJ2k = (stream: Uint8Array, notes: Range[]): number | undefined => {
  const header = newJ2kHeader();
  const isNote = (marker: number): boolean => marker === COM_J2K;
  const first = endOfHeader(stream, notes, SOT, isNote, (at, end) => isPlainJ2kSegment(stream, at, end, header));
  if (first === undefined || !isWholeJ2kHeader(header)) return undefined;
  const parts = new Set<number>();
  const lengths: number[] = [];
  let at = first;
  while (markerAt(stream, at) === SOT) {
    const [tile, size] = [u16(stream, at + 4), u32(stream, at + 6)];
    const end = size === 0 ? stream.lastIndexOf(EOI) - 1 : at + size;
    const part = tile * 256 + (stream[at + 10] ?? 0);
    const isFine = u16(stream, at + 2) === 10 && tile < header.tiles && !parts.has(part) && end + 2 <= stream.length;
    if (!isFine || !isPlainTilePart(stream, at, end)) return undefined;
    parts.add(part);
    lengths.push(end - at);
    at = end;
  }
  const { promised } = header;
  if (promised.length > 0 && promised.join() !== lengths.join()) return undefined;
  return markerAt(stream, at) === EOI ? at + 2 : undefined;
};

/** Whether a tile-part has no header but lengths of its packets, which are those of its data. */
const isPlainTilePart = (stream: Uint8Array, sot: number, end: number): boolean => {
  let packets: number | undefined;
  let at = sot + 12;
  while (markerAt(stream, at) === PLT) {
    const next = segmentEnd(stream, at);
    const bytes = next === undefined ? undefined : packetBytes(stream, at, next);
    if (next === undefined || bytes === undefined) return false;
    packets = (packets ?? 0) + bytes;
    at = next;
  }
  const size = end - at - 2;
  return markerAt(stream, at) === SOD && size >= 0 && (packets === undefined || packets === size);
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
