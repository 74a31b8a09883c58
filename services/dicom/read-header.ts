// Element headers (PS3.5 7.1): tag, VR and length in each form, the forms that writers get wrong included.
import { DicomError } from './dicom-error.ts';
import { isSignedByPixelRepresentation, vrOf } from './dictionary.ts';
import type { Encoding, Vr } from './model.ts';
import type { HeaderMemory } from './header-memory.ts';
import { LONG_BY_INDEX, VR_BY_CODE, VRS } from './vr.ts';

export const UNDEFINED_LENGTH = 0xffffffff;
export const ITEM = 0xfffee000;
export const SEQUENCE_DELIMITER = 0xfffee0dd;
export const IMPLICIT: Encoding = { littleEndian: true, explicitVr: false };

/** What is being read, and what is left of the limits. */
export interface Reading {
  readonly bytes: Uint8Array;
  readonly maxDepth: number;
  /** Elements, items and fragments that may still come. */
  budget: number;
  /** Position behind what was read last. */
  next: number;
  /** Pixel Representation seen last: what an implicit 'US or SS' is (PS3.3 C.7.6.3). */
  signed: boolean;
  /** Elements of the files before that equal ones need not be read again from. */
  readonly memory?: HeaderMemory | undefined;
}

/** How the header at a position reads. */
export interface Header {
  tag: number;
  vr: Vr;
  length: number;
  /** Where the value starts. */
  at: number;
}

export function u16(bytes: Uint8Array, at: number, littleEndian: boolean): number {
  const a = bytes[at] ?? 0;
  const b = bytes[at + 1] ?? 0;
  return littleEndian ? a | (b << 8) : (a << 8) | b;
}

export function u32(bytes: Uint8Array, at: number, littleEndian: boolean): number {
  const low = u16(bytes, littleEndian ? at : at + 2, littleEndian);
  const high = u16(bytes, littleEndian ? at + 2 : at, littleEndian);
  return ((high << 16) | low) >>> 0;
}

/** Tag at a position, unsigned. */
export function tagAt(bytes: Uint8Array, at: number, littleEndian: boolean): number {
  return ((u16(bytes, at, littleEndian) << 16) | u16(bytes, at + 2, littleEndian)) >>> 0;
}

/** The index of a known VR at a position, 0 for none. */
export function vrIndexAt(bytes: Uint8Array, at: number): number {
  return VR_BY_CODE[((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)] ?? 0;
}

/** Counts one more element, item or fragment. Throws LIMIT_EXCEEDED. */
export function spend(r: Reading, cost: number, offset: number): void {
  r.budget -= cost;
  if (r.budget < 0) throw new DicomError('LIMIT_EXCEEDED', 'more elements and items than allowed', { offset });
}

export function overrun(r: Reading, from: number, length: number, tag: number): DicomError {
  return from + length > r.bytes.length
    ? new DicomError('TRUNCATED', 'the file ends inside a value', { tag, offset: from })
    : new DicomError('BAD_ELEMENT', 'a value runs over the end of its item or sequence', { tag, offset: from });
}

/** Whether an element of this header could be followed by what really follows. */
function isPlausible(bytes: Uint8Array, h: Header, end: number, littleEndian: boolean): boolean {
  if (h.length === UNDEFINED_LENGTH) {
    if (h.at + 8 > end) return false;
    const first = tagAt(bytes, h.at, littleEndian);
    return first === ITEM || first === SEQUENCE_DELIMITER;
  }
  const next = h.at + h.length;
  if (next > end) return false;
  return end - next < 8 || tagAt(bytes, next, littleEndian) > h.tag;
}

export function implicitHeader(r: Reading, at: number, tag: number, littleEndian: boolean): Header {
  const length = u32(r.bytes, at + 4, littleEndian);
  let vr = vrOf(tag) ?? 'UN';
  if (vr === 'US' && r.signed && isSignedByPixelRepresentation(tag)) vr = 'SS';
  return { tag, vr, length, at: at + 8 };
}

/** Header of an explicit element whose VR letters are unknown: the first form that what follows bears out. */
function unknownVrHeader(r: Reading, at: number, tag: number, end: number, littleEndian: boolean): Header {
  const vr = vrOf(tag) ?? 'UN';
  const long: Header = { tag, vr, length: u32(r.bytes, at + 8, littleEndian), at: at + 12 };
  const short: Header = { tag, vr, length: u16(r.bytes, at + 6, littleEndian), at: at + 8 };
  // A VR of a later edition has the long form (PS3.5 7.1.2); old writers put '??' or NULs in the short one.
  if (u16(r.bytes, at + 6, true) === 0 && long.at <= end && isPlausible(r.bytes, long, end, littleEndian)) return long;
  if (isPlausible(r.bytes, short, end, littleEndian)) return short;
  const implicit = implicitHeader(r, at, tag, littleEndian);
  if (isPlausible(r.bytes, implicit, end, littleEndian)) return implicit;
  if (end - at < 12) throw overrun(r, at, 12, tag);
  throw new DicomError('BAD_ELEMENT', 'no known VR and no reading of its length fits', { tag, offset: at });
}

export function explicitHeader(r: Reading, at: number, tag: number, end: number, littleEndian: boolean): Header {
  const index = vrIndexAt(r.bytes, at + 4);
  if (index === 0) return unknownVrHeader(r, at, tag, end, littleEndian);
  const vr = VRS[index - 1] ?? 'UN';
  if (LONG_BY_INDEX[index] === 0) return { tag, vr, length: u16(r.bytes, at + 6, littleEndian), at: at + 8 };
  if (at + 12 > end) throw overrun(r, at, 12, tag);
  return { tag, vr, length: u32(r.bytes, at + 8, littleEndian), at: at + 12 };
}

/**
 * Whether what starts at a position really has the VR form that was declared: writers put implicit
 * items into explicit files and the other way round. Only a clear case overrules the declaration.
 */
export function actualEncoding(r: Reading, at: number, end: number, declared: Encoding): Encoding {
  if (end - at < 8) return declared;
  const { littleEndian, explicitVr } = declared;
  const hasVr = vrIndexAt(r.bytes, at + 4) !== 0;
  if (hasVr === explicitVr) return declared;
  const tag = tagAt(r.bytes, at, littleEndian);
  const implicitFits = isPlausible(r.bytes, implicitHeader(r, at, tag, littleEndian), end, littleEndian);
  if (explicitVr) return implicitFits && littleEndian ? IMPLICIT : declared;
  if (implicitFits) return declared;
  const long = LONG_BY_INDEX[vrIndexAt(r.bytes, at + 4)] === 1 && end - at < 12;
  const explicitFits = !long && isPlausible(r.bytes, explicitHeader(r, at, tag, end, littleEndian), end, littleEndian);
  return explicitFits ? { littleEndian, explicitVr: true } : declared;
}
