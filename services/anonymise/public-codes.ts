// A code of a public scheme says nothing of the place; a local one may, so its item is left out.
import { TAG } from '../dicom/dictionary.ts';
import { text } from '../dicom/values.ts';
import type { Dataset } from '../dicom/model.ts';

/** CodeValue, LongCodeValue, CodingSchemeDesignator: an item that holds one of them is a code. */
export const CODE_TAGS: ReadonlySet<number> = new Set([TAG.CodeValue, TAG.LongCodeValue, TAG.CodingSchemeDesignator]);

export const holdsCode = (item: Dataset): boolean => [...CODE_TAGS].some((tag) => item.elements.has(tag));

const SNOMED_RT = /^[A-Z]{1,2}-[0-9A-F]{3,6}$/;

/**
 * Coding schemes of PS3.16 Table 8-1 that CT images use, and the form of their codes. A code of any other scheme is a
 * text of the hospital's own, and so is a value that has not the form: its item goes.
 */
const SCHEMES: ReadonlyMap<string, RegExp> = new Map([
  ['DCM', /^(?:\d{6}|CT|MR|PT|NM|US|DX|CR|XA|SR|SEG|M|F|O)$/],
  ['SCT', /^\d{6,18}$/],
  ['SRT', SNOMED_RT],
  ['SNM3', SNOMED_RT],
  ['99SDM', SNOMED_RT],
  ['LN', /^\d{1,7}-\d$/],
  ['RADLEX', /^(?:RID|RPID)\d{1,6}$/],
  ['FMA', /^\d{4,6}$/],
  [
    'UCUM',
    /^(?:1|%|[cmun]?m|[cm]m2|[cm]m3|m?[lL]|[kmu]?g|m?s|min|h|d|a|k?Hz|keV|kV|m?A|mAs|mA\.s|mGy|mGy\.cm|mSv|\[?hnsf'U\]?|mg\/m[lL]|m[lL]\/s)$/,
  ],
  ['UMLS', /^C\d{7}$/],
  ['I10', /^[A-Z]\d{2}(?:\.\d{1,2})?$/],
  ['I9', /^(?:\d{3}|V\d{2}|E\d{3})(?:\.\d{1,2})?$/],
  ['NCIt', /^C\d{3,6}$/],
  ['RXNORM', /^\d{3,7}$/],
]);

/** Whether scheme and code are public ones by their form. */
export const isPublic = (scheme: string | undefined, value: string | undefined): boolean =>
  scheme !== undefined && value !== undefined && SCHEMES.get(scheme)?.test(value) === true;

/** Whether an item of a code sequence (PS3.3 8.8) has a public scheme and codes of its form. */
export const isPublicCode = (item: Dataset): boolean => {
  const scheme = text(item, TAG.CodingSchemeDesignator);
  const values = [text(item, TAG.CodeValue), text(item, TAG.LongCodeValue)].filter((value) => value !== undefined);
  return values.length > 0 && values.every((value) => isPublic(scheme, value));
};
