// Elements, sequences, items and fragments of one dataset (PS3.5 7): one pass, views instead of copies,
// every length checked against the bytes that are there, every count against the limits.
import { latin1, withoutPad } from './charset.ts';
import { DicomError } from './dicom-error.ts';
import { NO_BYTES, NO_ELEMENTS, ReadDataset, ReadElement } from './model.ts';
import type { Dataset, DatasetOrigin, Element, Encoding } from './model.ts';
import {
  actualEncoding,
  explicitHeader,
  IMPLICIT,
  implicitHeader,
  ITEM,
  overrun,
  SEQUENCE_DELIMITER,
  spend,
  tagAt,
  u32,
  UNDEFINED_LENGTH,
  vrIndexAt,
} from './read-header.ts';
import type { Header, Reading } from './read-header.ts';
import { refuseLongText } from './text-limits.ts';

const ITEM_DELIMITER = 0xfffee00d;
const PIXEL_DATA = 0x7fe00010;
const SPECIFIC_CHARACTER_SET = 0x00080005;
const PIXEL_REPRESENTATION = 0x00280103;
const MAX_TERMS = 32;
/** Budget that a wrong guess at a sequence costs, so that a file full of them stays cheap. */
const WRONG_GUESS = 32;

/** Fragments of encapsulated pixel data up to the sequence delimiter (PS3.5 A.4). */
function readFragments(r: Reading, tag: number, start: number, end: number, littleEndian: boolean): Uint8Array[] {
  const fragments: Uint8Array[] = [];
  let at = start;
  for (;;) {
    if (at + 8 > end) throw overrun(r, at, 8, tag);
    const marker = tagAt(r.bytes, at, littleEndian);
    const length = u32(r.bytes, at + 4, littleEndian);
    at += 8;
    if (marker === SEQUENCE_DELIMITER) break;
    if (marker !== ITEM) throw new DicomError('BAD_ELEMENT', 'no fragment where one must start', { tag, offset: at - 8 });
    if (length > end - at) throw overrun(r, at, length, tag);
    spend(r, 1, at);
    fragments.push(r.bytes.subarray(at, at + length));
    at += length;
  }
  r.next = at;
  return fragments;
}

/** Items of a sequence: to its end when its length is defined, else to the delimiter (PS3.5 7.5). */
function readItems(
  r: Reading,
  tag: number,
  start: number,
  end: number,
  isDefined: boolean,
  encoding: Encoding,
  depth: number,
  charset: readonly string[],
): Dataset[] {
  if (depth > r.maxDepth) throw new DicomError('LIMIT_EXCEEDED', 'sequences nest too deep', { tag, offset: start });
  const items: Dataset[] = [];
  let at = start;
  while (!isDefined || at < end) {
    if (at + 8 > end) throw overrun(r, at, 8, tag);
    const marker = tagAt(r.bytes, at, encoding.littleEndian);
    const length = u32(r.bytes, at + 4, encoding.littleEndian);
    at += 8;
    if (marker === SEQUENCE_DELIMITER) {
      // Some writers close a sequence of defined length with a delimiter too.
      if (!isDefined || at === end) break;
    }
    if (marker !== ITEM) throw new DicomError('BAD_ELEMENT', 'no item where one must start', { tag, offset: at - 8 });
    const isOpen = length === UNDEFINED_LENGTH;
    if (!isOpen && length > end - at) throw overrun(r, at, length, tag);
    spend(r, 1, at);
    items.push(readDataset(r, at, isOpen ? end : at + length, isOpen ? 'delimited' : 'item', encoding, depth, charset));
    at = r.next;
  }
  r.next = at;
  return items;
}

/** Items of a value that may be a sequence in disguise (UN, unknown in implicit VR), if it is wholly one. */
function guessItems(r: Reading, h: Header, encoding: Encoding, depth: number, charset: readonly string[]): Dataset[] | undefined {
  if (h.length < 8 || tagAt(r.bytes, h.at, encoding.littleEndian) !== ITEM) return undefined;
  const end = h.at + h.length;
  try {
    return readItems(r, h.tag, h.at, end, true, encoding, depth, charset);
  } catch (error) {
    if (!(error instanceof DicomError) || error.code === 'LIMIT_EXCEEDED') throw error;
    spend(r, WRONG_GUESS, h.at);
    return undefined;
  }
}

/** Structure inside a value, if it has any; sets r.next behind the value. */
function readStructure(
  r: Reading,
  h: Header,
  end: number,
  encoding: Encoding,
  depth: number,
  charset: readonly string[],
): { items?: Dataset[]; fragments?: Uint8Array[] } {
  const isOpen = h.length === UNDEFINED_LENGTH;
  const isPixels = h.tag === PIXEL_DATA || h.vr === 'OB' || h.vr === 'OW';
  if (isOpen && isPixels) return { fragments: readFragments(r, h.tag, h.at, end, encoding.littleEndian) };
  if (isOpen && encoding.explicitVr && h.vr !== 'SQ' && h.vr !== 'UN') {
    throw new DicomError('BAD_ELEMENT', 'undefined length in a VR that has none', { tag: h.tag, offset: h.at });
  }
  const inner = h.vr === 'UN' && encoding.explicitVr ? IMPLICIT : encoding;
  if (isOpen) return { items: readItems(r, h.tag, h.at, end, false, inner, depth + 1, charset) };
  r.next = h.at + h.length;
  if (h.vr === 'SQ') return { items: readItems(r, h.tag, h.at, r.next, true, inner, depth + 1, charset) };
  if (h.vr !== 'UN') return {};
  const items = guessItems(r, h, inner, depth + 1, charset);
  r.next = h.at + h.length;
  return items === undefined ? {} : { items };
}

/** One element at a position; r.next is then behind it. Throws DicomError. */
export function readElement(r: Reading, at: number, end: number, encoding: Encoding, depth: number, charset: readonly string[]): Element {
  const { bytes } = r;
  const tag = tagAt(bytes, at, encoding.littleEndian);
  const h = encoding.explicitVr
    ? explicitHeader(r, at, tag, end, encoding.littleEndian)
    : implicitHeader(r, at, tag, encoding.littleEndian);
  spend(r, 1, at);
  if (h.length !== UNDEFINED_LENGTH && h.length > end - h.at) throw overrun(r, h.at, h.length, tag);
  if (h.length > 0xffff && h.length !== UNDEFINED_LENGTH) refuseLongText(tag, h.vr, h.length, h.at);
  if (h.length !== UNDEFINED_LENGTH && h.vr !== 'SQ' && h.vr !== 'UN') {
    r.next = h.at + h.length;
    const value = h.length === 0 ? NO_BYTES : bytes.subarray(h.at, r.next);
    return new ReadElement(tag, h.vr, value, undefined, undefined, { bytes, start: at, end: r.next, encoding });
  }
  const { items, fragments } = readStructure(r, h, end, encoding, depth, charset);
  const value = (items ?? fragments) ? NO_BYTES : bytes.subarray(h.at, r.next);
  // In implicit VR nothing says SQ but the structure itself.
  const vr = items && !encoding.explicitVr ? 'SQ' : h.vr;
  return new ReadElement(tag, vr, value, items, fragments, { bytes, start: at, end: r.next, encoding });
}

/** An element of the top level; the object of a file before where the bytes are the same. */
function readTopElement(r: Reading, at: number, end: number, tag: number, encoding: Encoding, charset: readonly string[]): Element {
  const { memory, signed, bytes } = r;
  if (memory === undefined || tag === PIXEL_DATA) return readElement(r, at, end, encoding, 0, charset);
  const around = { encoding, charset, signed };
  const known = memory.known(tag, bytes, at, end, around);
  if (known !== undefined) {
    spend(r, 1, at);
    r.next = at + known.size;
    return known.element;
  }
  const element = readElement(r, at, end, encoding, 0, charset);
  // An unknown VR is read by what follows it.
  if (encoding.explicitVr && vrIndexAt(bytes, at + 4) === 0) return element;
  const copied = memory.remember(tag, bytes.subarray(at, r.next), around, (own) =>
    readElement({ ...r, bytes: own }, 0, own.length, encoding, 0, charset),
  );
  return copied ?? element;
}

/** The terms of a Specific Character Set; the same list again for an element that is known. */
function charsetOf(r: Reading, element: Element): readonly string[] {
  const known = r.memory?.charsets.get(element);
  if (known !== undefined) return known;
  const terms = charsetTerms(element.value);
  r.memory?.charsets.clear();
  r.memory?.charsets.set(element, terms);
  return terms;
}

/** Defined terms of a Specific Character Set value, [] where it names the default only. */
export function charsetTerms(value: Uint8Array): readonly string[] {
  // More than are defined says nothing; each text is decoded by all of them.
  const terms = latin1(value.subarray(0, 1024))
    .split('\\', MAX_TERMS)
    .map((term) => withoutPad(term).trimStart());
  return terms.length === 1 && terms[0] === '' ? [] : terms;
}

/** Bytes behind the last element that are no element: padding with NULs, or a rest too short after the pixels. */
function isTrailing(bytes: Uint8Array, at: number, end: number, last: number): boolean {
  if (end - at < 8 && last >= PIXEL_DATA) return true;
  for (let i = at; i < end; i++) if (bytes[i] !== 0) return false;
  return true;
}

/**
 * A dataset from `start`: 'top' to `end` (bytes that are no element stay outside its origin), 'item' to
 * `end` exactly, 'delimited' to its item delimiter. r.next is then behind it. Throws DicomError.
 */
export function readDataset(
  r: Reading,
  start: number,
  end: number,
  kind: 'top' | 'item' | 'delimited',
  declared: Encoding,
  depth: number,
  inherited: readonly string[],
  origin: Partial<DatasetOrigin> = {},
): Dataset {
  const { bytes } = r;
  const encoding = actualEncoding(r, start, end, declared);
  const elements = new Map<number, Element>();
  let charset = inherited;
  let at = start;
  let last = 0;
  let next = -1;
  while (at < end) {
    if (kind === 'top' && (end - at < 8 || bytes[at + 1] === 0) && isTrailing(bytes, at, end, last)) break;
    if (end - at < 8) throw overrun(r, at, 8, last);
    const tag = tagAt(bytes, at, encoding.littleEndian);
    if (tag === ITEM_DELIMITER && (kind === 'delimited' || (kind === 'item' && at + 8 === end))) {
      next = at + 8;
      break;
    }
    if (tag >>> 16 === 0xfffe) throw new DicomError('BAD_ELEMENT', 'an item or delimiter where an element must start', { tag, offset: at });
    // PS3.10 7.1: written again, in its order, it would be taken for the file meta.
    if (tag >>> 16 === 2) throw new DicomError('BAD_ELEMENT', 'an element of the file meta in the dataset', { tag, offset: at });
    if (elements.has(tag)) throw new DicomError('DUPLICATE_ELEMENT', 'the tag stands twice in its dataset', { tag, offset: at });
    const element = kind === 'top' ? readTopElement(r, at, end, tag, encoding, charset) : readElement(r, at, end, encoding, depth, charset);
    if (tag === SPECIFIC_CHARACTER_SET) charset = charsetOf(r, element);
    else if (tag === PIXEL_REPRESENTATION) r.signed = element.value[encoding.littleEndian ? 0 : 1] === 1;
    elements.set(tag, element);
    last = tag;
    at = r.next;
  }
  if (kind === 'delimited' && next < 0) throw overrun(r, at, 8, last);
  r.next = next < 0 ? at : next;
  return new ReadDataset(elements.size === 0 ? NO_ELEMENTS : elements, charset, {
    ...origin,
    bytes,
    start,
    end: at,
    encoding,
  });
}
