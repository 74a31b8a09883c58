// Text as it may have been meant. Scanners in Russia write CP1251 without declaring it, or under
// ISO_IR 100; so a text is read in every encoding that it may be in.
import { decodeFlagged, withoutPad } from '../dicom/charset.ts';
import type { Vr } from '../dicom/model.ts';

const cyrillic = ['windows-1251', 'koi8-r', 'ibm866', 'iso-8859-5'].map((label) => new TextDecoder(label));
const utf8 = new TextDecoder('utf-8', { fatal: true });

const isAscii = (bytes: Uint8Array): boolean => bytes.every((byte) => byte < 0x80 && byte !== 0x1b);

// Two-byte letters of Latin and Cyrillic, and typographic signs. Other scripts come from CP866 bytes that
// happen to be valid UTF-8.
const PLAUSIBLE = /^(?:\p{ASCII}|\p{Script=Latin}|\p{Script=Cyrillic}|\p{Mn}|[\u00a0-\u00bf\u2010-\u2122])*$/u;

/** The text when the bytes can only be meant as UTF-8. */
const certainUtf8 = (bytes: Uint8Array): string | undefined => {
  try {
    const text = utf8.decode(bytes);
    return PLAUSIBLE.test(text) ? withoutPad(text) : undefined;
  } catch {
    return undefined;
  }
};

/**
 * Every reading of the bytes without doubles, the likeliest first: UTF-8 where they are, then the declared
 * one where its character set has all the bytes. One for plain ASCII.
 */
export const decodings = (bytes: Uint8Array, charset: readonly string[], vr: Vr): readonly string[] => {
  const declared = decodeFlagged(bytes, charset, vr);
  if (isAscii(bytes)) return [withoutPad(declared.text)];
  const certain = certainUtf8(bytes);
  // Read as anything else it is noise, whose words meet those of other noise.
  if (certain !== undefined) return [certain];
  const isTrusted = !declared.isMalformed && !declared.isUnknownCharset;
  const readings = new Set<string>(isTrusted ? [withoutPad(declared.text)] : []);
  for (const decoder of cyrillic) readings.add(withoutPad(decoder.decode(bytes)));
  return [...readings.add(withoutPad(declared.text))];
};

const LATIN: ReadonlySet<string> = new Set(['', 'ISO_IR 6', 'ISO_IR 100', 'ISO 2022 IR 6', 'ISO 2022 IR 100']);

/** A word of a text, and whether the reading that it is from may well be the one that was meant. */
export interface ReadWord {
  word: string;
  isLikely: boolean;
}

/**
 * Words of every reading. Likely: the first one, and CP1251 where Latin letters or none are declared. The
 * others are kept for long words: they may be right, but short words of a wrong reading meet everywhere.
 */
export const wordsOf = (
  bytes: Uint8Array,
  charset: readonly string[],
  vr: Vr,
  split: (text: string) => readonly string[],
): readonly ReadWord[] => {
  const readings = decodings(bytes, charset, vr);
  const likely = likelyOf(bytes, charset, readings);
  return readings.flatMap((reading) => split(reading).map((word) => ({ word, isLikely: likely.has(reading) })));
};

const likelyOf = (bytes: Uint8Array, charset: readonly string[], readings: readonly string[]): ReadonlySet<string> => {
  const first = readings[0] ?? '';
  const isLatin = readings.length > 1 && charset.every((term) => LATIN.has(term));
  return new Set(isLatin ? [first, withoutPad(cyrillic[0]?.decode(bytes) ?? '')] : [first]);
};

/** Letters from which on a word of an unlikely reading counts. */
export const MIN_UNLIKELY = 5;
