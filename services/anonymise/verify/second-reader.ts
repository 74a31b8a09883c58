// The verifier's own reader of DICOM files (PS3.5 7, PS3.10 7): a flat list of elements with their paths. It
// shares no code with services/dicom but the data dictionary, and throws at whatever it does not understand:
// then the file is held. Decision 0015 says why it is not somebody else's.
import { inflateRawSync } from 'node:zlib';
import { vrOf } from '../../dicom/dictionary.ts';

export interface SeenElement {
  tag: number;
  /** Tags from the top, such as (0008,1140)[0](0008,1155). */
  path: string;
  /** As the file says it; of the dictionary where it does not; UN when nobody knows. */
  vr: string;
  value: Uint8Array;
  /** Where the value starts, counted from the start of its piece. */
  at: number;
  /** Encapsulated pixel data without the offset table. */
  fragments: readonly Uint8Array[] | undefined;
  isSequence: boolean;
  depth: number;
  /** Private creator of the element's block in its own dataset. */
  creator: string | undefined;
}

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

const NO_BYTES = new Uint8Array(0);

/** To be given as `like` when there is no file yet, but this one is to be remembered. */
export const NOTHING_SEEN: SeenFile = { pieces: [], starts: [], fresh: [], syntax: '', withoutPixels: [], preamble: NO_BYTES };

const SHORT = new Set('AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US'.split(' '));
const LONG = new Set('OB OD OF OL OV OW SQ SV UC UN UR UT UV'.split(' '));
const [ITEM, ITEM_END, SEQUENCE_END] = [0xfffee000, 0xfffee00d, 0xfffee0dd];
const UNDEFINED = 0xffffffff;
const MAX_DEPTH = 64;
const MAX_INFLATED = 512 * 1024 * 1024;
export const PIXEL_DATA = 0x7fe00010;
const TRANSFER_SYNTAX = 0x00020010;
const META_LENGTH = 0x00020000;
const IMPLICIT = '1.2.840.10008.1.2';
const DEFLATED = '1.2.840.10008.1.2.1.99';
const BIG_ENDIAN = '1.2.840.10008.1.2.2';

/** Bytes to read from, and how their headers are written. */
interface Source {
  bytes: Uint8Array;
  view: DataView;
  little: boolean;
  explicit: boolean;
}

/** The dataset that is read: where its elements go, and the private creators so far. */
interface Scope {
  prefix: string;
  depth: number;
  creators: Map<number, string>;
  into: SeenElement[];
  /** Start of the piece. */
  origin: number;
}

class Unreadable extends Error {
  override name = 'Unreadable';
}
const fail = (why: string): never => {
  throw new Unreadable(why);
};

const sourceOf = (bytes: Uint8Array, form: { little: boolean; explicit: boolean }): Source => ({
  bytes,
  view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
  ...form,
});

const tagAt = ({ view, little }: Source, at: number): number => ((view.getUint16(at, little) << 16) | view.getUint16(at + 2, little)) >>> 0;

const textAt = (bytes: Uint8Array, start: number, end: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1');

/** A loop: an expression takes quadratic time on runs of spaces. */
const trimmed = (text: string): string => {
  let end = text.length;
  while (end > 0 && (text[end - 1] === ' ' || text[end - 1] === '\0')) end--;
  return text.slice(0, end);
};

/**
 * Reads a Part 10 file, up to the first element from `until` on. Throws at what it does not understand: the
 * caller holds the file. With `like` the pieces that both have are those of `like`, and new ones own their
 * bytes; without, all are views. Pixels always are.
 */
export const seeFile = (bytes: Uint8Array, like?: SeenFile, until = Number.POSITIVE_INFINITY): SeenFile => {
  if (textAt(bytes, 128, 132) !== 'DICM') fail('no Part 10 file');
  const file = sourceOf(bytes, { little: true, explicit: true });
  const reading = readingOf(like);
  const metaEnd = readMeta(file, reading);
  const syntax = trimmed(latin1(reading.pieces.find(({ tag }) => tag === TRANSFER_SYNTAX)?.elements[0]?.value ?? NO_BYTES));
  if (syntax === '') fail('no transfer syntax');
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
const readMeta = (file: Source, reading: Reading): number => {
  let declaredEnd = -1;
  return readTop(file, 132, reading, (tag, at) => {
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

/** Reads the element at a place into its scope; returns where the next one starts. */
const readElement = (source: Source, start: number, end: number, scope: Scope): number => {
  const tag = tagAt(source, start);
  const path = scope.prefix + pathOf(tag);
  const { vr, length, at } = headerOf(source, start, tag);
  const creator = creatorOf(tag, scope.creators);
  const one: SeenElement = {
    tag,
    path,
    vr,
    value: NO_BYTES,
    at: at - scope.origin,
    fragments: undefined,
    isSequence: false,
    depth: scope.depth,
    creator,
  };
  scope.into.push(one);
  if (length !== UNDEFINED && length > end - at) fail('a value runs over the end');
  const inner = itemsOf(source, tag, vr, length, at);
  if (inner !== undefined) {
    one.isSequence = true;
    return readItems(inner, at, length === UNDEFINED ? end : at + length, length !== UNDEFINED, { ...scope, prefix: path });
  }
  if (length === UNDEFINED) {
    if (tag !== PIXEL_DATA || !source.explicit) fail('no end of a value');
    return readFragments(source, at, end, one);
  }
  one.value = source.bytes.subarray(at, at + length);
  noteCreator(tag, one.value, scope.creators);
  return at + length;
};

const headerOf = (source: Source, start: number, tag: number): { vr: string; length: number; at: number } => {
  const { view, bytes, little, explicit } = source;
  if (!explicit) return { vr: vrOf(tag) ?? 'UN', length: view.getUint32(start + 4, little), at: start + 8 };
  const vr = String.fromCharCode(bytes[start + 4] ?? 0, bytes[start + 5] ?? 0);
  if (SHORT.has(vr)) return { vr, length: view.getUint16(start + 6, little), at: start + 8 };
  return LONG.has(vr) ? { vr, length: view.getUint32(start + 8, little), at: start + 12 } : fail('an unknown VR');
};

/** What the items inside a value are read as; undefined when it is no sequence. */
const itemsOf = (source: Source, tag: number, vr: string, length: number, at: number): Source | undefined => {
  if (vr === 'SQ') return source;
  // A sequence that somebody did not know as one (PS3.5 6.2.2 note 2).
  if (source.explicit) return vr === 'UN' && length === UNDEFINED ? { ...source, little: true, explicit: false } : undefined;
  if (length < 8 || vrOf(tag) !== undefined) return undefined;
  const first = tagAt(source, at);
  return first === ITEM || first === SEQUENCE_END ? source : undefined;
};

const readItems = (source: Source, start: number, end: number, isDefined: boolean, outer: Scope): number => {
  if (outer.depth >= MAX_DEPTH) fail('nested too deep');
  let at = start;
  for (let i = 0; !isDefined || at < end; i++) {
    const tag = tagAt(source, at);
    const length = source.view.getUint32(at + 4, source.little);
    at += 8;
    if (tag === SEQUENCE_END && !isDefined) return at;
    if (tag !== ITEM || (length !== UNDEFINED && length > end - at)) fail('no item where one must start');
    const scope: Scope = { ...outer, prefix: `${outer.prefix}[${i}]`, depth: outer.depth + 1, creators: new Map() };
    at = readItem(source, at, length === UNDEFINED ? end : at + length, length !== UNDEFINED, scope);
  }
  return at;
};

const readItem = (source: Source, start: number, end: number, isDefined: boolean, scope: Scope): number => {
  const seen = new Set<number>();
  let at = start;
  while (at < end) {
    const tag = tagAt(source, at);
    // Some writers end an item of defined length with a delimiter as well.
    if (tag === ITEM_END && (!isDefined || at + 8 === end)) return at + 8;
    if (tag >>> 16 === 0xfffe || seen.has(tag)) fail('a delimiter or a tag where none may stand');
    seen.add(tag);
    at = readElement(source, at, end, scope);
  }
  return isDefined ? at : fail('no end of an item');
};

const readFragments = (source: Source, start: number, end: number, one: SeenElement): number => {
  const fragments: Uint8Array[] = [];
  let at = start;
  for (;;) {
    const tag = tagAt(source, at);
    const length = source.view.getUint32(at + 4, source.little);
    at += 8;
    if (tag === SEQUENCE_END) break;
    if (tag !== ITEM || length > end - at) fail('no fragment where one must start');
    fragments.push(source.bytes.subarray(at, at + length));
    at += length;
  }
  if (fragments.length === 0) fail('no offset table');
  one.fragments = fragments.slice(1);
  return at;
};

const isPrivate = (tag: number): boolean => ((tag >>> 16) & 1) === 1;

const creatorOf = (tag: number, creators: ReadonlyMap<number, string>): string | undefined =>
  isPrivate(tag) && (tag & 0xffff) > 0xff ? creators.get(((tag & 0xffff0000) | ((tag >>> 8) & 0xff)) >>> 0) : undefined;

const noteCreator = (tag: number, value: Uint8Array, creators: Map<number, string>): void => {
  if (isPrivate(tag) && (tag & 0xffff) >= 0x10 && (tag & 0xffff) <= 0xff) creators.set(tag, latin1(value).replace(/\0.*$/s, '').trim());
};

const paths = new Map<number, string>();

const pathOf = (tag: number): string => {
  const known = paths.get(tag);
  if (known !== undefined) return known;
  const hex = (part: number): string => part.toString(16).padStart(4, '0').toUpperCase();
  const path = `(${hex(tag >>> 16)},${hex(tag & 0xffff)})`;
  // Standard tags come again and again; of others there may be any number.
  if (paths.size < 10_000) paths.set(tag, path);
  return path;
};

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

/** One character a byte. */
export const latin1 = (bytes: Uint8Array): string => textAt(bytes, 0, bytes.length);
