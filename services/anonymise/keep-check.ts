// A value that may stay still has to look like what its attribute holds: numbers are numbers, and no
// id of this patient or place. Code strings and technical texts are in closed-values.ts.
import { attributeOf } from '../dicom/dictionary.ts';
import { parseDate } from './dates.ts';

// Each digit can match in one place only: else a long value that is none takes hours.
const NUMBER = /^ *[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)? *$/;
const WIDTHS: ReadonlyMap<string, number> = new Map([
  ['US', 2],
  ['SS', 2],
  ['UL', 4],
  ['SL', 4],
  ['FL', 4],
  ['FD', 8],
  ['AT', 4],
  ['UV', 8],
  ['SV', 8],
]);

export const isBinaryNumber = (vr: string): boolean => WIDTHS.has(vr);

/** Values of a CT attribute of any number of values. */
const MAX_VALUES = 16;

/** Whether binary numbers are no more than the attribute has (PS3.6): what is longer may be a text. */
export const areAsMany = (tag: number, vr: string, bytes: number): boolean => {
  const width = WIDTHS.get(vr);
  const most = Number(/\d+$/.exec(attributeOf(tag)?.vm ?? '')?.[0] ?? MAX_VALUES);
  return width === undefined || (bytes % width === 0 && bytes <= width * most);
};

/** Whether one of several numbers is a day of this century or the last (20200412, 20200412.0915) or as long as a phone or a policy. */
export const holdsDayOrId = (value: string): boolean =>
  value.split('\\').some((one) => {
    const digits = /^[ +-]*0*(\d{8,})(?:\.\d*)? *\0?$/.exec(one)?.[1] ?? '';
    return digits.length > 8 || (/^(?:19|20)/.test(digits) && parseDate(digits) !== undefined);
  });

/** DS has 16 bytes at most (PS3.5 6.2); some writers take a few more. What is far longer is a place for anything. */
const [MAX_NUMBER, MAX_NUMBERS] = [32, 4096];

/** DS or IS: every value a number, empty ones allowed. */
export const areNumbers = (value: string): boolean =>
  value.length <= MAX_NUMBERS && value.split('\\').every((one) => one.trim() === '' || (one.length <= MAX_NUMBER && NUMBER.test(one)));

/** Digits from which on a number that equals an identifier is taken for it: a shorter one is in every header. */
const MIN_DIGITS = { IS: 4, DS: 6 } as const;
/** The same of a number that is a part of a place's or a device's name. A shorter one is a model, a room, a row: CT-1000. */
const MIN_DIGITS_OF_PART = 6;

/** The numbers of one identifying value that no number of a header may be, as they are written and without leading zeros. */
export const namingNumbers = (tokens: readonly string[], isPerson: boolean): string[] => {
  const isDigits = (token: string): boolean => /^\d+$/.test(token);
  const isWhole = tokens.every(isDigits);
  const found = tokens.filter((token) => isDigits(token) && (isPerson || isWhole || token.length >= MIN_DIGITS_OF_PART));
  // An id in groups: 123-456.
  if (isPerson && isWhole && tokens.length > 1) found.push(tokens.join(''));
  return found.flatMap((digits) => [digits, digits.replace(/^0+/, '')]);
};

/** Whether a whole value of IS, or the integer part of one of DS, is a number of `numbers`. */
export const namesByNumber = (value: string, vr: 'IS' | 'DS', numbers: ReadonlySet<string>): boolean =>
  value.split('\\').some((one) => {
    const written = /^[ +-]*(\d*)/.exec(one)?.[1] ?? '';
    const digits = written.replace(/^0+/, '');
    // With its zeros, as an id is written: 000123.
    const isLong = digits.length >= MIN_DIGITS[vr] || (written.startsWith('0') && written.length >= MIN_DIGITS[vr]);
    return isLong && (numbers.has(written) || (digits.length >= MIN_DIGITS[vr] && numbers.has(digits)));
  });

/** Words of code strings in CT headers that are no clinical words; a person may have such a name. */
export const CS_TERMS: ReadonlySet<string> = new Set(
  `original primary derived secondary axial localizer other yes no modified unmodified monochrome1 monochrome2 identity
   hfs hfp ffs ffp hfdr hfdl ffdr ffdl cw cc spiral constant_angle stationary free helix hu us volume none hu_mod
   sampled mixed wedge butterfly flat medium large small body product research lin linear sigmoid linear_exact
   m f o r l a p h ct som5 ct_som5 spi seq add xyz_ec partialbody wholebody`.split(/\s+/),
);
