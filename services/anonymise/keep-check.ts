// A value that may stay still has to look like what its attribute holds: numbers are numbers, and no
// id of this patient or place. Code strings and technical texts are in closed-values.ts.
import type { Vr } from '../dicom/model.ts';

const NUMBER = /^ *[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)? *$/;
const BINARY: ReadonlySet<Vr> = new Set<Vr>(['US', 'SS', 'UL', 'SL', 'FL', 'FD', 'AT', 'UV', 'SV']);

export const isBinaryNumber = (vr: Vr): boolean => BINARY.has(vr);

/** DS or IS: every value a number, empty ones allowed. */
export const areNumbers = (value: string): boolean => value.split('\\').every((one) => one.trim() === '' || NUMBER.test(one));

const named = new WeakMap<Set<string>, { size: number; numbers: Set<string> }>();

/** Numbers among the words that name, without leading zeros. */
const numbersOf = (words: Set<string>): ReadonlySet<string> => {
  const known = named.get(words);
  if (known?.size === words.size) return known.numbers;
  const numbers = new Set([...words].filter((word) => /^\d+$/.test(word)).map((word) => word.replace(/^0+/, '')));
  named.set(words, { size: words.size, numbers });
  return numbers;
};

/** Digits from which on a number that equals an identifier is taken for it: a shorter one is in every header. */
const MIN_DIGITS = { IS: 4, DS: 6 } as const;

/** Whether a whole value of IS, or the integer part of one of DS, is a number of one of the word lists. */
export const namesByNumber = (value: string, vr: 'IS' | 'DS', ...words: readonly Set<string>[]): boolean =>
  value.split('\\').some((one) => {
    const digits = (/^[ +-]*0*(\d*)/.exec(one)?.[1] ?? '').trim();
    return digits.length >= MIN_DIGITS[vr] && words.some((list) => numbersOf(list).has(digits));
  });

/** Words of code strings in CT headers that are no clinical words; a person may have such a name. */
export const CS_TERMS: ReadonlySet<string> = new Set(
  `original primary derived secondary axial localizer other yes no modified unmodified monochrome1 monochrome2 identity
   hfs hfp ffs ffp hfdr hfdl ffdr ffdl cw cc spiral constant_angle stationary free helix hu us volume none hu_mod
   sampled mixed wedge butterfly flat medium large small body product research lin linear sigmoid linear_exact
   m f o r l a p h ct som5 ct_som5 spi seq add xyz_ec partialbody wholebody`.split(/\s+/),
);
