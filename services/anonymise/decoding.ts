// Text as it may have been meant. Scanners in Russia write CP1251 without declaring it, or under
// ISO_IR 100; so a text is read in every encoding that it may be in.
import { decodeFlagged } from '../dicom/charset.ts';
import type { Vr } from '../dicom/model.ts';

const cyrillic = ['windows-1251', 'koi8-r', 'ibm866', 'iso-8859-5'].map((label) => new TextDecoder(label));
const utf8 = new TextDecoder('utf-8', { fatal: true });

const trimmed = (text: string): string => text.replace(/[\0 ]+$/, '');
const isAscii = (bytes: Uint8Array): boolean => bytes.every((byte) => byte < 0x80 && byte !== 0x1b);

/**
 * Every reading of the bytes without doubles, the likeliest first: the declared one where its
 * character set has all the bytes. One for plain ASCII.
 */
export const decodings = (bytes: Uint8Array, charset: readonly string[], vr: Vr): readonly string[] => {
  const declared = decodeFlagged(bytes, charset, vr);
  if (isAscii(bytes)) return [trimmed(declared.text)];
  const isTrusted = !declared.isMalformed && !declared.isUnknownCharset;
  const readings = new Set<string>(isTrusted ? [trimmed(declared.text)] : []);
  try {
    readings.add(trimmed(utf8.decode(bytes)));
  } catch {
    // not UTF-8: one reading less
  }
  for (const decoder of cyrillic) readings.add(trimmed(decoder.decode(bytes)));
  return [...readings.add(trimmed(declared.text))];
};
