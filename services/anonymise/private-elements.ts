// Retain Safe Private (113111): a private element stays only when its creator and number are known
// safe and its value has the numeric form that the maker documents.
import { text } from '../dicom/values.ts';
import type { Dataset, Element, Vr } from '../dicom/model.ts';
import { areNumbers, namesByNumber } from './keep-check.ts';
import { creatorTagOf, safePrivate } from './profile/private-tags.ts';
import type { Identifiers } from './survey.ts';

const WIDTH: Readonly<Record<'US' | 'SS' | 'UL' | 'SL' | 'FL' | 'FD', number>> = { US: 2, SS: 2, UL: 4, SL: 4, FL: 4, FD: 8 };
/** More numbers than any of the listed elements has. */
const MAX_NUMBERS = 16;

/** The element as it stands when it is safe, else undefined. */
export const safePrivateElement = (one: Element, dataset: Dataset, identifiers: Identifiers): Element | undefined => {
  if ((one.tag & 0xffff) <= 0xff || one.items !== undefined || one.fragments !== undefined) return undefined;
  const creator = text(dataset, creatorTagOf(one.tag));
  const known = creator === undefined ? undefined : safePrivate(one.tag, creator);
  if (known === undefined) return undefined;
  // Implicit VR and some archives leave UN; another VR than the maker's means another meaning.
  const stated: Vr = one.vr;
  if (stated !== known.vr && stated !== 'UN') return undefined;
  return hasSafeForm(one.value, known.vr, identifiers.numbers) ? one : undefined;
};

/** Whether a value is of the numbers that the maker documents, and none of them one of `numbers`. */
export const hasSafeForm = (value: Uint8Array, vr: Vr, numbers: ReadonlySet<string>): boolean => {
  if (vr === 'DS' || vr === 'IS') {
    const ascii = Buffer.from(value.buffer, value.byteOffset, value.length).toString('latin1').replace(/\0$/, '');
    // Eight digits in a row may be a date or a number of a person.
    const values = ascii.split('\\');
    const isLong = values.some((one) => /^ *\d{8}/.test(one));
    return areNumbers(ascii) && values.length <= MAX_NUMBERS && !isLong && !namesByNumber(ascii, vr, numbers);
  }
  if (!(vr in WIDTH)) return false;
  const width = WIDTH[vr as keyof typeof WIDTH];
  return value.length % width === 0 && value.length / width <= MAX_NUMBERS;
};
