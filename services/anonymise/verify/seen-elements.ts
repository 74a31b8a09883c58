// The verifier's reading of single elements with all that is nested in them (PS3.5 7): tables, headers, items and
// fragments of its own. Throws at whatever it does not understand.
import { vrOf } from '../../dicom/dictionary.ts';

export interface SeenElement {
  tag: number;
  /** Tags from the top, such as (0008,1140)[0](0008,1155). */
  path: string;
  /** As the file says it; of the dictionary where it does not; UN when nobody knows. */
  vr: string;
  /** Of encapsulated pixel data the offset table. */
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

const SHORT = new Set('AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US'.split(' '));
const LONG = new Set('OB OD OF OL OV OW SQ SV UC UN UR UT UV'.split(' '));
export const isVr = (vr: string): boolean => SHORT.has(vr) || LONG.has(vr);
const [ITEM, ITEM_END, SEQUENCE_END] = [0xfffee000, 0xfffee00d, 0xfffee0dd];
export const UNDEFINED = 0xffffffff;
const MAX_DEPTH = 64;
export const PIXEL_DATA = 0x7fe00010;
export const NO_BYTES = new Uint8Array(0);

/** Bytes to read from, and how their headers are written. */
export interface Source {
  bytes: Uint8Array;
  view: DataView;
  little: boolean;
  explicit: boolean;
}

/** The dataset that is read: where its elements go, and the private creators so far. */
export interface Scope {
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
export const fail = (why: string): never => {
  throw new Unreadable(why);
};

export const sourceOf = (bytes: Uint8Array, form: { little: boolean; explicit: boolean }): Source => ({
  bytes,
  view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
  ...form,
});

export const tagAt = ({ view, little }: Source, at: number): number =>
  ((view.getUint16(at, little) << 16) | view.getUint16(at + 2, little)) >>> 0;

export const textAt = (bytes: Uint8Array, start: number, end: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1');

/** Reads the element at a place into its scope; returns where the next one starts. */
export const readElement = (source: Source, start: number, end: number, scope: Scope): number => {
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
  one.value = fragments[0] ?? NO_BYTES;
  one.fragments = fragments.slice(1);
  return at;
};

const isPrivate = (tag: number): boolean => ((tag >>> 16) & 1) === 1;

export const creatorOf = (tag: number, creators: ReadonlyMap<number, string>): string | undefined =>
  isPrivate(tag) && (tag & 0xffff) > 0xff ? creators.get(((tag & 0xffff0000) | ((tag >>> 8) & 0xff)) >>> 0) : undefined;

export const noteCreator = (tag: number, value: Uint8Array, creators: Map<number, string>): void => {
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

/** One character a byte. */
export const latin1 = (bytes: Uint8Array): string => textAt(bytes, 0, bytes.length);
