// A value that may stay still has to look like what its attribute holds: numbers are numbers, code
// strings are code strings, and no word in a text names this patient or place.
import type { Vr } from '../dicom/model.ts';
import { fold, MANUFACTURERS, VOCABULARY } from './vocabulary.ts';
import type { Identifiers } from './survey.ts';

const NUMBER = /^ *[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)? *$/;
// PS3.5 6.2 allows upper case, digits, space and underscore; scanners add these.
const CODE_STRING = /^[A-Za-z0-9 _.+\-/]*$/;
const BINARY: ReadonlySet<Vr> = new Set<Vr>(['US', 'SS', 'UL', 'SL', 'FL', 'FD', 'AT', 'UV', 'SV']);
const TOKEN = /[\p{L}\p{M}\p{N}]+/gu;

export const isBinaryNumber = (vr: Vr): boolean => BINARY.has(vr);

/** DS or IS: every value a number, empty ones allowed. */
export const areNumbers = (value: string): boolean => value.split('\\').every((one) => one.trim() === '' || NUMBER.test(one));

/** CS: every value of the form, and no word of it a person's name that no scanner writes. */
export const areCodeStrings = (value: string, identifiers: Identifiers): boolean =>
  CODE_STRING.test(value.replaceAll('\\', ' ')) &&
  value.split('\\').every((one) => one.trim().length <= 16) &&
  (fold(value).match(TOKEN) ?? []).every((word) => !names(word, identifiers));

/** Short technical text without the words that name this patient or place; control characters go too. */
export const withoutNames = (text: string, identifiers: Identifiers): string =>
  text
    .replace(/\p{Cc}/gu, ' ')
    .replace(TOKEN, (word) => (names(fold(word), identifiers) ? '' : word))
    .replace(/ {2,}/g, ' ')
    .trim();

// One letter is an initial, and a kernel (L, B); alone it names nobody.
const names = (word: string, { person, other }: Identifiers): boolean =>
  word.length > 1 && !VOCABULARY.has(word) && !MANUFACTURERS.has(word) && !CS_TERMS.has(word) && (person.has(word) || other.has(word));

/** Words of code strings in CT headers that are no clinical words; a person may have such a name. */
export const CS_TERMS: ReadonlySet<string> = new Set(
  `original primary derived secondary axial localizer other yes no modified unmodified monochrome1 monochrome2 identity
   hfs hfp ffs ffp hfdr hfdl ffdr ffdl cw cc spiral constant_angle stationary free helix hu us volume none hu_mod
   sampled mixed wedge butterfly flat medium large small body product research lin linear sigmoid linear_exact
   m f o r l a p h ct som5 ct_som5 spi seq add xyz_ec partialbody wholebody`.split(/\s+/),
);
