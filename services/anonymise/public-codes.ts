// A code of a public scheme says nothing of the place; a local one may, so its item is left out.
import { TAG } from '../dicom/dictionary.ts';
import { text } from '../dicom/values.ts';
import type { Dataset } from '../dicom/model.ts';
import { PUBLIC_CODING_SCHEMES } from './profile/allow-list.ts';

/** CodeValue, LongCodeValue, CodingSchemeDesignator: an item that holds one of them is a code. */
export const CODE_TAGS: ReadonlySet<number> = new Set([TAG.CodeValue, TAG.LongCodeValue, TAG.CodingSchemeDesignator]);

export const holdsCode = (item: Dataset): boolean => [...CODE_TAGS].some((tag) => item.elements.has(tag));

const CODE = /^[A-Za-z0-9._-]{1,32}$/;

/** Whether scheme and code are public ones by their form. */
export const isPublic = (scheme: string | undefined, value: string | undefined): boolean =>
  scheme !== undefined && PUBLIC_CODING_SCHEMES.has(scheme) && value !== undefined && CODE.test(value);

/** Whether an item of a code sequence (PS3.3 8.8) has a public scheme and a code of its usual form. */
export const isPublicCode = (item: Dataset): boolean =>
  isPublic(text(item, TAG.CodingSchemeDesignator), text(item, TAG.CodeValue) ?? text(item, TAG.LongCodeValue)) &&
  [TAG.CodeValue, TAG.LongCodeValue].every((tag) => CODE.test(text(item, tag) ?? '0'));
