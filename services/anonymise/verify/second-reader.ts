// The verifier's own reader of DICOM files (PS3.5 7, PS3.10 7): a flat list of elements with their paths. It
// shares no code with services/dicom but the data dictionary, and throws at whatever it does not understand:
// then the file is held. Decision 0015 says why it is not somebody else's.
import { inflateRawSync } from 'node:zlib';
import { vrOf } from '../../dicom/dictionary.ts';
import {
  creatorOf,
  fail,
  isVr,
  latin1,
  NO_BYTES,
  noteCreator,
  PIXEL_DATA,
  readElement,
  sourceOf,
  tagAt,
  textAt,
  UNDEFINED,
} from './seen-elements.ts';
import type { Scope, SeenElement, Source } from './seen-elements.ts';

export { latin1, PIXEL_DATA };
export type { SeenElement };

/** An element of the top level and all that is nested in it. Equal pieces of two files are one object. */
export interface SeenPiece {
  tag: number;
  /** Header and value as they stand. */
  raw: Uint8Array;
  /** The element itself first. */
  elements: readonly SeenElement[];
  /** Dates and times, by paths without the numbers of items. */
  dates: readonly (readonly [kind: string, text: string])[];
}

export interface SeenFile {
  pieces: readonly SeenPiece[];
  /** Where each piece starts in the bytes that it is read from. */
  starts: readonly number[];
  /** The pieces that `like` does not have. */
  fresh: readonly SeenPiece[];
  syntax: string;
  /** Everything but the values of PixelData at the top level, inflated when deflated. */
  withoutPixels: readonly Region[];
  preamble: Uint8Array;
}

export interface Region {
  bytes: Uint8Array;
  /** Where it starts in the bytes that its pieces are read from. */
  start: number;
  of: 'file' | 'inflated';
}

/** To be given as `like` when there is no file yet, but this one is to be remembered. */
export const NOTHING_SEEN: SeenFile = { pieces: [], starts: [], fresh: [], syntax: '', withoutPixels: [], preamble: NO_BYTES };

const MAX_INFLATED = 512 * 1024 * 1024;
const TRANSFER_SYNTAX = 0x00020010;
const META_LENGTH = 0x00020000;
/** Where the preamble and its prefix end. */
const PREFIX_END = 132;
const IMPLICIT = '1.2.840.10008.1.2';
const EXPLICIT = '1.2.840.10008.1.2.1';
const DEFLATED = '1.2.840.10008.1.2.1.99';
const BIG_ENDIAN = '1.2.840.10008.1.2.2';

/** A loop: an expression takes quadratic time on runs of spaces. */
const trimmed = (text: string): string => {
  let end = text.length;
  while (end > 0 && (text[end - 1] === ' ' || text[end - 1] === '\0')) end--;
  return text.slice(0, end);
};

/**
 * Reads a Part 10 file, up to the first element from `until` on. Throws at what it does not understand: the
 * caller holds the file. With `like` the pieces that both have are those of `like`, and new ones own their
 * bytes; without, all are views. Pixels always are. `form`: an original may be a bare dataset, with or without file meta.
 */
export const seeFile = (
  bytes: Uint8Array,
  like?: SeenFile,
  until = Number.POSITIVE_INFINITY,
  form: 'Part 10' | 'any' = 'Part 10',
): SeenFile => {
  const isPart10 = bytes.length >= PREFIX_END && textAt(bytes, PREFIX_END - 4, PREFIX_END) === 'DICM';
  if (!isPart10 && form === 'Part 10') fail('no Part 10 file');
  const file = sourceOf(bytes, { little: true, explicit: true });
  const reading = readingOf(like);
  const metaEnd = readMeta(file, isPart10 ? PREFIX_END : 0, reading);
  const declared = trimmed(latin1(reading.pieces.find(({ tag }) => tag === TRANSFER_SYNTAX)?.elements[0]?.value ?? NO_BYTES));
  if (declared === '' && form === 'Part 10') fail('no transfer syntax');
  const syntax = declared === '' ? guessedSyntax(bytes, metaEnd) : declared;
  // The same bytes read otherwise in another syntax.
  if (like !== undefined && like.syntax !== syntax) reading.like = NOTHING_SEEN;
  const isDeflated = syntax === DEFLATED;
  const dataset = isDeflated
    ? sourceOf(inflateRawSync(bytes.subarray(metaEnd), { maxOutputLength: MAX_INFLATED }), { little: true, explicit: true })
    : { ...file, little: syntax !== BIG_ENDIAN, explicit: syntax !== IMPLICIT };
  readTop(dataset, isDeflated ? 0 : metaEnd, reading, (tag) => tag >= until);
  const { pieces, starts, fresh } = reading;
  const withoutPixels: Region[] = isDeflated ? [{ bytes: bytes.subarray(0, metaEnd), start: 0, of: 'file' }] : [];
  withoutPixels.push(...outside(dataset.bytes, reading, isDeflated ? 'inflated' : 'file'));
  return { pieces, starts, fresh, syntax, withoutPixels, preamble: bytes.subarray(0, 128) };
};

/** Of a dataset without file meta: little endian, explicit where its first element has a VR (PS3.5 7.1). */
const guessedSyntax = (bytes: Uint8Array, at: number): string =>
  bytes.length >= at + 8 && isVr(textAt(bytes, at + 4, at + 6)) ? EXPLICIT : IMPLICIT;

interface Reading {
  like: SeenFile | undefined;
  /** The piece of `like` that comes next. */
  next: number;
  pieces: SeenPiece[];
  starts: number[];
  fresh: SeenPiece[];
  creators: Map<number, string>;
  /** The highest tag so far. */
  highest: number;
}

const readingOf = (like: SeenFile | undefined): Reading => ({
  like,
  next: 0,
  pieces: [],
  starts: [],
  fresh: [],
  creators: new Map(),
  highest: 0,
});

/** Group 0002 ends where its group ends; before a deflated stream, which has no groups, where its length says. */
const readMeta = (file: Source, start: number, reading: Reading): number => {
  let declaredEnd = -1;
  return readTop(file, start, reading, (tag, at) => {
    const last = reading.pieces.at(-1);
    const value = last?.elements[0]?.value;
    if (last?.tag === META_LENGTH && value?.length === 4)
      declaredEnd = at + new DataView(value.buffer, value.byteOffset, 4).getUint32(0, true);
    return tag >>> 16 !== 2 || (at === declaredEnd && isDeflatedMeta(reading));
  });
};

const isDeflatedMeta = ({ pieces }: Reading): boolean =>
  pieces.some(({ tag, elements }) => tag === TRANSFER_SYNTAX && trimmed(latin1(elements[0]?.value ?? NO_BYTES)) === DEFLATED);

/** Pieces from a place on, to the end or to what `isBehind` says; returns where that is. */
const readTop = (source: Source, start: number, reading: Reading, isBehind: (tag: number, at: number) => boolean): number => {
  const { bytes } = source;
  let at = start;
  while (at < bytes.length && !isPadding(bytes, at)) {
    const tag = tagAt(source, at);
    if (isBehind(tag, at)) break;
    const known = reading.like === undefined ? undefined : knownPiece(tag, at, bytes, reading);
    const piece = known ?? newPiece(source, at, reading);
    if (known === undefined) reading.fresh.push(piece);
    reading.pieces.push(piece);
    reading.highest = Math.max(reading.highest, tag);
    reading.starts.push(at);
    at += piece.raw.length;
  }
  return at;
};

/** Whether nothing but NULs follows: some archives fill files up. */
const isPadding = (bytes: Uint8Array, start: number): boolean => {
  if (bytes[start] !== 0 || bytes[start + 1] !== 0) return false;
  return bytes.subarray(start).every((byte) => byte === 0);
};

const knownPiece = (tag: number, at: number, bytes: Uint8Array, reading: Reading): SeenPiece | undefined => {
  const pieces = reading.like?.pieces ?? [];
  while ((pieces[reading.next]?.tag ?? UNDEFINED) < tag) reading.next += 1;
  const piece = pieces[reading.next];
  // The same bytes read the same, but for what stood before them: their private creator, and the tags.
  if (piece?.tag !== tag || tag === PIXEL_DATA || !startsWith(bytes, at, piece.raw)) return undefined;
  if (tag <= reading.highest || piece.elements[0]?.creator !== creatorOf(tag, reading.creators)) return undefined;
  noteCreator(tag, piece.elements[0]?.value ?? NO_BYTES, reading.creators);
  return piece;
};

const startsWith = (bytes: Uint8Array, at: number, raw: Uint8Array): boolean => {
  if (raw.length > bytes.length - at) return false;
  for (let i = 0; i < raw.length; i++) if (bytes[at + i] !== raw[i]) return false;
  return true;
};

const newPiece = (source: Source, start: number, reading: Reading): SeenPiece => {
  const tag = tagAt(source, start);
  if (tag <= reading.highest && reading.pieces.some((piece) => piece.tag === tag)) fail('a tag twice');
  const scope: Scope = { prefix: '', depth: 0, creators: reading.creators, into: [], origin: start };
  const end = readElement(source, start, source.bytes.length, scope);
  const raw = source.bytes.subarray(start, end);
  // Kept for the next file, while the bytes of this one may be written over.
  const isKept = reading.like !== undefined && tag !== PIXEL_DATA;
  const own = isKept ? raw.slice() : raw;
  const moved = (part: Uint8Array): Uint8Array =>
    part.length === 0 ? part : own.subarray(part.byteOffset - raw.byteOffset, part.byteOffset - raw.byteOffset + part.length);
  if (isKept)
    for (const one of scope.into) {
      one.value = moved(one.value);
      one.fragments = one.fragments?.map(moved);
    }
  return {
    tag,
    raw: own,
    elements: scope.into,
    dates: scope.into.filter(isDate).map((one) => [kindOf(one.path), trimmed(latin1(one.value))]),
  };
};

const isDateVr = (vr: string | undefined): boolean => vr === 'DA' || vr === 'DT' || vr === 'TM';
/** Said so, or known of a value that is UN or text in the file. */
const isDate = ({ vr, tag, value }: SeenElement): boolean =>
  isDateVr(vr) || (value.length >= 2 && value.length <= 256 && isDateVr(vrOf(tag)));

/** A path without the numbers of items: items before it may have been left out. */
export const kindOf = (path: string): string => path.replaceAll(/\[\d+\]/g, '');

const outside = (bytes: Uint8Array, { pieces, starts }: Reading, of: Region['of']): Region[] => {
  const index = pieces.findIndex(({ tag }) => tag === PIXEL_DATA);
  const [piece, start] = [pieces[index], starts[index]];
  if (piece === undefined || start === undefined) return [{ bytes, start: 0, of }];
  const [from, end] = [start + (piece.elements[0]?.at ?? 0), start + piece.raw.length];
  return [
    { bytes: bytes.subarray(0, from), start: 0, of },
    { bytes: bytes.subarray(end), start: end, of },
  ];
};

/** The first element of a tag at the top level. */
export const find = ({ pieces }: SeenFile, tag: number): SeenElement | undefined => pieces.find((piece) => piece.tag === tag)?.elements[0];
