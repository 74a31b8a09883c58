// Text to and from bytes by Specific Character Set (PS3.3 C.12.1.1.2, PS3.5 6.1.2), code extensions by
// ISO 2022 included. Lenient by default: what a file declares wrongly still reads, and is flagged.
import { bytesInMulti, bytesInSet, ESCAPES, halfOf, isPairSet, pairChar, parseTerm, upperHalf } from './charset-tables.ts';
import type { SetId, Term } from './charset-tables.ts';
import { DicomError } from './dicom-error.ts';
import type { Vr } from './model.ts';
import { isSingleValueVr } from './vr.ts';

export interface Decoded {
  readonly text: string;
  /** A term is unknown: the bytes were read as ISO 8859-1. */
  readonly isUnknownCharset: boolean;
  /** Bytes that the declared sets do not have, 8-bit text that declares none included. */
  readonly isMalformed: boolean;
}

const ESC = 0x1b;
const REPLACEMENT = '\uFFFD';

/** Text of value bytes, backslashes kept. `vr` decides which delimiters end a code extension. */
export function decode(bytes: Uint8Array, terms: readonly string[], vr: Vr, options: { strict?: boolean } = {}): string {
  const decoded = decodeFlagged(bytes, terms, vr);
  if (options.strict === true && decoded.isUnknownCharset)
    throw new DicomError('UNKNOWN_CHARSET', 'an unknown term of Specific Character Set');
  if (options.strict === true && decoded.isMalformed) throw new DicomError('BAD_TEXT', 'text that its character set does not have');
  return decoded.text;
}

/** The same, never throwing: what is wrong is said beside the text. */
export function decodeFlagged(bytes: Uint8Array, terms: readonly string[], vr: Vr): Decoded {
  const known = terms.map(parseTerm);
  const isUnknownCharset = known.includes(undefined);
  if (isPlain(bytes)) return { text: latin1(bytes), isUnknownCharset, isMalformed: false };
  if (isUnknownCharset) return { text: latin1(bytes), isUnknownCharset, isMalformed: false };
  const sets = known.filter((term) => term !== undefined);
  const multi = sets.find((term) => term.kind === 'multi');
  if (multi !== undefined) {
    const text = new TextDecoder(multi.label, { ignoreBOM: true }).decode(bytes);
    return { text, isUnknownCharset, isMalformed: text.includes(REPLACEMENT) };
  }
  return { ...decodeExtended(bytes, sets, vr), isUnknownCharset };
}

/** Whether a character set name is one that DICOM defines, or a known misspelling of one. */
export function isKnownCharset(term: string): boolean {
  return parseTerm(term) !== undefined;
}

function isPlain(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] ?? 0;
    if (byte >= 0x80 || byte === ESC) return false;
  }
  return true;
}

/** ISO 8859-1, byte by byte. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

/** Text without trailing NULs and spaces. A loop: a regular expression takes quadratic time on runs of spaces. */
export function withoutPad(text: string): string {
  let end = text.length;
  while (end > 0 && (text[end - 1] === ' ' || text[end - 1] === '\0')) end--;
  return text.slice(0, end);
}

/** Whether a character ends all code extensions (PS3.5 6.1.2.5.3): line ends, tabs, value and name delimiters. */
function isDelimiter(code: number, vr: Vr): boolean {
  if (code >= 0x09 && code <= 0x0d) return true;
  if (code === 0x5c) return !isSingleValueVr(vr);
  return vr === 'PN' && (code === 0x5e || code === 0x3d);
}

/** Set that G1 holds at the start of a value: the right half of the first term's. */
const initialG1 = (sets: readonly Term[]): SetId | undefined => {
  const first = sets[0];
  return first === undefined || first.set === 'ascii' || halfOf(first.set) === 'g0' ? undefined : first.set;
};

function escapeAt(bytes: Uint8Array, at: number): (typeof ESCAPES)[number] | undefined {
  return ESCAPES.find(([sequence]) => [...sequence].every((char, i) => bytes[at + 1 + i] === char.charCodeAt(0)));
}

/** Bytes of single-byte sets and of ISO 2022 extensions, by a small state machine. */
function decodeExtended(bytes: Uint8Array, sets: readonly Term[], vr: Vr): { text: string; isMalformed: boolean } {
  const startG1 = initialG1(sets);
  // Writers forget the escape of a Korean or Chinese set that they declare second; then it is the only one meant.
  const spareG1 = sets.map((term) => term.set).find((set) => isPairSet(set) && halfOf(set) === 'g1');
  let g0: SetId = 'ascii';
  let g1 = startG1;
  let text = '';
  let isMalformed = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === ESC) {
      const escape = escapeAt(bytes, at);
      if (escape === undefined) isMalformed = true;
      else if (escape[1] === 'g0') g0 = escape[2];
      else g1 = escape[2];
      at += escape?.[0].length ?? 0;
      if (escape === undefined) text += '\x1b';
      continue;
    }
    const isControl = byte < 0x21 || byte === 0x7f;
    const set = byte >= 0x80 ? (g1 ?? spareG1) : g0;
    if (byte < 0x80 && (isControl || set === 'ascii')) {
      text += String.fromCharCode(byte);
      if (isDelimiter(byte, vr)) {
        g0 = 'ascii';
        g1 = startG1;
      }
    } else if (set !== undefined && isPairSet(set)) {
      const second = bytes[at + 1] ?? 0;
      const fits = (second & 0x7f) > 0x20 && (second & 0x7f) < 0x7f && second >= 0x80 === byte >= 0x80;
      const char = fits ? pairChar(set, byte, second) : REPLACEMENT;
      text += char;
      isMalformed ||= char === REPLACEMENT;
      if (fits) at++;
    } else {
      const char = typeof set === 'number' ? upperHalf(set)[byte - 0x80] : undefined;
      isMalformed ||= char === undefined || char === REPLACEMENT;
      text += char ?? String.fromCharCode(byte);
    }
  }
  return { text, isMalformed };
}

/**
 * Bytes of a text in the declared sets; with several terms by ISO 2022 escapes, which end before each
 * delimiter and at the end of the value (PS3.5 6.1.2.5.3). Throws DicomError UNENCODABLE_TEXT, UNKNOWN_CHARSET.
 */
export function encode(text: string, terms: readonly string[], vr: Vr = 'LO'): Uint8Array {
  // Only ASCII has as many bytes in UTF-8 as it has characters.
  if (Buffer.byteLength(text) === text.length) return new Uint8Array(Buffer.from(text, 'latin1'));
  const sets = terms.map((term) => {
    const known = parseTerm(term);
    if (known === undefined) throw new DicomError('UNKNOWN_CHARSET', 'an unknown term of Specific Character Set');
    return known;
  });
  const multi = sets.find((term) => term.kind === 'multi');
  if (multi?.label === 'utf-8' && text.isWellFormed()) return new TextEncoder().encode(text);
  if (multi !== undefined) {
    return Uint8Array.from([...text].flatMap((char) => bytesInMulti(multi.label, char) ?? unencodable()));
  }
  return encodeExtended(text, sets, vr);
}

function unencodable(): never {
  throw new DicomError('UNENCODABLE_TEXT', 'a character that the declared character set does not have');
}

/** Whether every character can be written in the declared sets. */
export function canEncode(text: string, terms: readonly string[]): boolean {
  try {
    encode(text, terms);
    return true;
  } catch (error) {
    if (error instanceof DicomError) return false;
    throw error;
  }
}

function escapeBytes(set: SetId): readonly number[] {
  const sequence = ESCAPES.find(([, , id]) => id === set)?.[0] ?? '(B';
  return [ESC, ...Array.from(sequence, (char) => char.charCodeAt(0))];
}

function encodeExtended(text: string, sets: readonly Term[], vr: Vr): Uint8Array {
  const startG1 = initialG1(sets);
  const choices = [...new Set(sets.map((term) => term.set))].filter((set) => set !== 'ascii');
  const out: number[] = [];
  let g0: SetId = 'ascii';
  let g1 = startG1;
  const leaveG0 = (): void => {
    // Back to the first term's G0, which is JIS X 0201 romaji beside half-width katakana.
    if (g0 !== 'ascii') out.push(ESC, 0x28, sets[0]?.set === 13 ? 0x4a : 0x42);
    g0 = 'ascii';
  };
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    if (code < 0x80) {
      leaveG0();
      out.push(code);
      // Readers may or may not reset G1 here; not knowing, the next use says it again.
      if (isDelimiter(code, vr) && g1 !== startG1) g1 = undefined;
      continue;
    }
    const set: SetId | undefined = [g0, g1, ...choices].find(
      (one) => one !== undefined && one !== 'ascii' && bytesInSet(one, char) !== undefined,
    );
    if (set === undefined) unencodable();
    const half = halfOf(set);
    if (half === 'g1') leaveG0();
    if ((half === 'g0' ? g0 : g1) !== set) out.push(...escapeBytes(set));
    if (half === 'g0') g0 = set;
    else g1 = set;
    out.push(...(bytesInSet(set, char) ?? []));
  }
  leaveG0();
  return Uint8Array.from(out);
}
