// The segments that a one-component image needs, and nothing else in them: lengths are exact, tables are defined
// once and used, pointers point. What is not known here would be a place for notes, so the caller refuses it.
import { u16, u32 } from '../pixels/big-endian.ts';

/** What the header of a JPEG or JPEG-LS stream defined, and what its frame and scan refer to. */
export interface JpegTables {
  readonly isLs: boolean;
  readonly defined: Set<string>;
  readonly used: Set<string>;
  isLossless: boolean;
}

export const newJpegTables = (isLs: boolean): JpegTables => ({ isLs, defined: new Set(), used: new Set(), isLossless: isLs });

const isNew = (seen: Set<string>, name: string): boolean => {
  if (seen.has(name)) return false;
  seen.add(name);
  return true;
};

/** Tables one behind the other, each as long as `sizeAt` says, to the very end of the segment. */
const areTables = (start: number, end: number, sizeAt: (at: number) => number | undefined): boolean => {
  let at = start;
  while (at < end) {
    const size = sizeAt(at);
    if (size === undefined) return false;
    at += size;
  }
  return at === end;
};

/** Whether the segment at..end (its marker included) is one that the image needs. Clauses are of ISO 10918-1 and 14495-1. */
export const isPlainJpegSegment = (stream: Uint8Array, at: number, end: number, tables: JpegTables): boolean => {
  const marker = stream[at + 1] ?? 0;
  const length = end - at - 2;
  const { defined, used, isLs } = tables;
  const byte = (index: number): number => stream[index] ?? 0;
  // Frame header (B.2.2) of one component; SOF55 (C.2.2).
  if (isLs ? marker === 0xf7 : marker >= 0xc0 && marker <= 0xc3) {
    tables.isLossless = isLs || marker === 0xc3;
    if (!tables.isLossless) used.add(`quantisation ${byte(at + 12)}`);
    return length === 11 && byte(at + 9) === 1 && isNew(defined, 'frame');
  }
  // Scan header (B.2.3) of one component.
  if (marker === 0xda) {
    if (!isLs) used.add(`huffman 0 ${byte(at + 6) >> 4}`);
    if (!tables.isLossless) used.add(`huffman 1 ${byte(at + 6) & 15}`);
    return length === 8 && byte(at + 4) === 1 && defined.has('frame');
  }
  // Restart interval (B.2.4.4).
  if (marker === 0xdd) return length === 4 && isNew(defined, 'restart');
  // Preset coding parameters (C.2.4.1.1). Other LSE hold palettes.
  if (isLs) return marker === 0xf8 && length === 13 && byte(at + 4) === 1 && isNew(defined, 'preset');
  // Quantisation (B.2.4.1) and Huffman tables (B.2.4.2).
  if (marker === 0xdb)
    return areTables(at + 4, end, (one) => {
      const [precision, id] = [byte(one) >> 4, byte(one) & 15];
      return precision <= 1 && isNew(defined, `quantisation ${id}`) ? 1 + 64 * (precision + 1) : undefined;
    });
  if (marker === 0xc4)
    return areTables(at + 4, end, (one) => {
      const codes = stream.subarray(one + 1, one + 17).reduce((sum, count) => sum + count, 0);
      return codes <= 256 && isNew(defined, `huffman ${byte(one) >> 4} ${byte(one) & 15}`) ? 17 + codes : undefined;
    });
  return false;
};

/** Whether every table that the header holds is one that the image is made with. */
export const areTablesUsed = ({ defined, used }: JpegTables): boolean =>
  [...defined].every((name) => used.has(name) || !/^(?:quantisation|huffman)/.test(name));

/** What the main header of a JPEG 2000 stream said. */
export interface J2kHeader {
  readonly seen: Set<string>;
  tiles: number;
  levels: number | undefined;
  /** Decomposition levels that the quantisation is for; 'any' when it is derived. */
  quantised: number | 'any' | undefined;
  /** Tile-part lengths that TLM segments promise. */
  readonly promised: number[];
}

export const newJ2kHeader = (): J2kHeader => ({ seen: new Set(), tiles: 0, levels: undefined, quantised: undefined, promised: [] });

/** The same of a main header of JPEG 2000 (ISO 15444-1 A.5 to A.7): SIZ, COD, QCD, and TLM whose lengths are checked later. */
export const isPlainJ2kSegment = (stream: Uint8Array, at: number, end: number, header: J2kHeader): boolean => {
  const marker = stream[at + 1] ?? 0;
  const length = end - at - 2;
  const byte = (index: number): number => stream[index] ?? 0;
  if (marker === 0x51) {
    const across = Math.ceil((u32(stream, at + 6) - u32(stream, at + 30)) / u32(stream, at + 22));
    const down = Math.ceil((u32(stream, at + 10) - u32(stream, at + 34)) / u32(stream, at + 26));
    header.tiles = across * down;
    return length === 41 && u16(stream, at + 38) === 1 && isNew(header.seen, 'size');
  }
  if (marker === 0x52) {
    header.levels = byte(at + 9);
    return length === 12 + ((byte(at + 4) & 1) === 1 ? header.levels + 1 : 0) && isNew(header.seen, 'coding');
  }
  if (marker === 0x5c) {
    const style = byte(at + 4) & 31;
    header.quantised = style === 0 ? (length - 4) / 3 : style === 2 ? (length - 5) / 6 : 'any';
    return (style === 0 || style === 2 || (style === 1 && length === 5)) && isNew(header.seen, 'quantisation');
  }
  return marker === 0x55 && readTileLengths(stream, at, end, header.promised);
};

/** TLM (A.7.1). */
const readTileLengths = (stream: Uint8Array, at: number, end: number, into: number[]): boolean => {
  const style = stream[at + 5] ?? 0;
  const [index, size] = [(style >> 4) & 3, (style & 0x40) === 0 ? 2 : 4];
  if (index === 3 || (style & 0x8f) !== 0) return false;
  return areTables(at + 6, end, (one) => {
    into.push(size === 2 ? u16(stream, one + index) : u32(stream, one + index));
    return index + size;
  });
};

/** Whether a main header is whole, and its quantisation for as many levels as it codes. */
export const isWholeJ2kHeader = ({ seen, tiles, levels, quantised }: J2kHeader): boolean =>
  seen.size === 3 && Number.isInteger(tiles) && tiles > 0 && (quantised === 'any' || quantised === levels);

/** Bytes that the packets of a PLT segment (A.7.3) have; undefined when it holds anything but lengths. */
export const packetBytes = (stream: Uint8Array, at: number, end: number): number | undefined => {
  let sum = 0;
  let value = 0;
  for (let i = at + 5; i < end; i++) {
    const byte = stream[i] ?? 0;
    // A length that begins with zeros, or is longer than any packet.
    if ((value === 0 && byte === 0x80) || value > 2 ** 32) return undefined;
    value = value * 128 + (byte & 0x7f);
    if (byte >= 0x80) continue;
    if (value === 0) return undefined;
    sum += value;
    value = 0;
  }
  return value === 0 ? sum : undefined;
};
