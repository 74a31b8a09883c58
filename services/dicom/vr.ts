// Value representations by their header form, padding and item width (PS3.5 6.2, 7.1.2).
import type { Vr } from './model.ts';

export const VRS: readonly Vr[] = [
  'AE',
  'AS',
  'AT',
  'CS',
  'DA',
  'DS',
  'DT',
  'FD',
  'FL',
  'IS',
  'LO',
  'LT',
  'OB',
  'OD',
  'OF',
  'OL',
  'OV',
  'OW',
  'PN',
  'SH',
  'SL',
  'SQ',
  'SS',
  'ST',
  'SV',
  'TM',
  'UC',
  'UI',
  'UL',
  'UN',
  'UR',
  'US',
  'UT',
  'UV',
];

/** Explicit VR headers of 12 bytes with a 32-bit length (PS3.5 Table 7.1-1). */
const LONG: ReadonlySet<Vr> = new Set<Vr>(['OB', 'OD', 'OF', 'OL', 'OV', 'OW', 'SQ', 'SV', 'UC', 'UN', 'UR', 'UT', 'UV']);

const TEXT: ReadonlySet<Vr> = new Set<Vr>([
  'AE',
  'AS',
  'CS',
  'DA',
  'DS',
  'DT',
  'IS',
  'LO',
  'LT',
  'PN',
  'SH',
  'ST',
  'TM',
  'UC',
  'UI',
  'UR',
  'UT',
]);

/** Text that Specific Character Set governs (PS3.5 6.1.2.2). */
const LOCALISED: ReadonlySet<Vr> = new Set<Vr>(['LO', 'LT', 'PN', 'SH', 'ST', 'UC', 'UT']);

/** Text that a backslash does not split (PS3.5 6.2). */
const SINGLE: ReadonlySet<Vr> = new Set<Vr>(['LT', 'ST', 'UR', 'UT']);

/** Bytes of one number of a binary VR, also the unit of byte swapping; AT is two 16-bit halves. */
const WIDTH: Readonly<Partial<Record<Vr, number>>> = {
  AT: 2,
  US: 2,
  SS: 2,
  OW: 2,
  UL: 4,
  SL: 4,
  FL: 4,
  OF: 4,
  OL: 4,
  FD: 8,
  OD: 8,
  OV: 8,
  SV: 8,
  UV: 8,
};

export const isLongVr = (vr: Vr): boolean => LONG.has(vr);
export const isTextVr = (vr: Vr): boolean => TEXT.has(vr);
export const isLocalisedVr = (vr: Vr): boolean => LOCALISED.has(vr);
export const isSingleValueVr = (vr: Vr): boolean => SINGLE.has(vr);

/** Bytes to swap together when the byte order changes: 1 for text, OB and UN. */
export const swapUnit = (vr: Vr): number => WIDTH[vr] ?? 1;

/** Known two-letter codes by their two bytes: code -> index in VRS plus 1, 0 for none. */
export const VR_BY_CODE: Uint8Array = (() => {
  const table = new Uint8Array(65536);
  VRS.forEach((vr, i) => {
    table[(vr.charCodeAt(0) << 8) | vr.charCodeAt(1)] = i + 1;
  });
  return table;
})();

/** The same indexing: 1 where the header is long. */
export const LONG_BY_INDEX: Uint8Array = Uint8Array.from([0, ...VRS.map((vr) => (LONG.has(vr) ? 1 : 0))]);
