// A code of a public scheme says nothing of the place; a local one may, so its item is left out.
import { TAG } from '../dicom/dictionary.ts';
import { text } from '../dicom/values.ts';
import type { Dataset } from '../dicom/model.ts';
import { PUBLIC_CODING_SCHEMES } from './profile/allow-list.ts';

/** Whether an item of a code sequence (PS3.3 8.8) has a public scheme and a code of its usual form. */
export const isPublicCode = (item: Dataset): boolean => {
  const scheme = text(item, TAG.CodingSchemeDesignator);
  const value = text(item, TAG.CodeValue) ?? text(item, TAG.LongCodeValue);
  return scheme !== undefined && PUBLIC_CODING_SCHEMES.has(scheme) && value !== undefined && /^[A-Za-z0-9._-]{1,32}$/.test(value);
};
