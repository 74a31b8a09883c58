// Retain Safe Private (113111): a private element stays only when its creator and number are known
// safe and its value has the form that the maker documents: numbers, or a text of a closed grammar.
import { text } from '../dicom/values.ts';
import type { Dataset, Element, Vr } from '../dicom/model.ts';
import { tokensOf } from './clean-text.ts';
import { wordsOf } from './decoding.ts';
import { areNumbers, namesByNumber } from './keep-check.ts';
import type { TextForm } from './profile/private-tags.gen.ts';
import { creatorTagOf, safePrivate } from './profile/private-tags.ts';
import type { SafePrivate } from './profile/private-tags.ts';
import type { Identifiers } from './survey.ts';

const WIDTH: Readonly<Record<'US' | 'SS' | 'UL' | 'SL' | 'FL' | 'FD', number>> = { US: 2, SS: 2, UL: 4, SL: 4, FL: 4, FD: 8 };
/** More numbers than any of the listed elements has. */
const MAX_NUMBERS = 16;

/** What texts may be, each value whole. */
const GRAMMAR: Readonly<Record<TextForm, RegExp>> = {
  pitch: /^\/?(?:\d(?:\.\d{1,4})?|\.\d{1,4}):1$/,
  acquisition: /^(?:AXIAL|HELIX|HELICAL|SURVIEW)$/,
  phantom: /^(?:BODY|HEAD)$/,
  // Right, left, anterior, posterior, superior, inferior.
  side: /^[RLAPSI]$/,
};

/** The element as it stands when it is safe, else undefined. */
export const safePrivateElement = (one: Element, dataset: Dataset, identifiers: Identifiers): Element | undefined => {
  if ((one.tag & 0xffff) <= 0xff || one.items !== undefined || one.fragments !== undefined) return undefined;
  const creator = text(dataset, creatorTagOf(one.tag));
  const known = creator === undefined ? undefined : safePrivate(one.tag, creator);
  if (known === undefined) return undefined;
  // Implicit VR and some archives leave UN; another VR than the maker's means another meaning.
  const stated: Vr = one.vr;
  if (!known.vrs.includes(stated) && (stated !== 'UN' || namesSomebody(one.value, dataset, identifiers))) return undefined;
  return hasSafeForm(one.value, known, identifiers.numbers) ? one : undefined;
};

/** Whether bytes whose VR nobody states are a text with a name or an id in it: letters of other scripts look like any number. */
const namesSomebody = (value: Uint8Array, { charset }: Dataset, { person, other }: Identifiers): boolean =>
  wordsOf(value, charset, 'LO', tokensOf).some(
    ({ word }) => word.length > 1 && !/^\d+$/.test(word) && (person.has(word) || other.has(word)),
  );

/** Whether a value is what the maker documents, and no number in it one of `numbers`. */
export const hasSafeForm = (value: Uint8Array, { vrs: [vr], form }: SafePrivate, numbers: ReadonlySet<string>): boolean => {
  const ascii = Buffer.from(value.buffer, value.byteOffset, value.length).toString('latin1');
  if (form !== undefined) return hasTextForm(ascii, form);
  return vr === 'DS' || vr === 'IS' ? areSafeNumbers(ascii.replace(/\0$/, ''), vr, numbers) : areSafeBinaries(ascii, vr);
};

/** The words of a grammar stay whoever has them as a name: they are looked at whole, before any identifier. */
const hasTextForm = (ascii: string, form: TextForm): boolean => {
  const values = ascii.replace(/[ \0]$/, '').split('\\');
  return values.length <= MAX_NUMBERS && values.every((one) => GRAMMAR[form].test(one));
};

const areSafeNumbers = (ascii: string, vr: 'DS' | 'IS', numbers: ReadonlySet<string>): boolean => {
  // Eight digits in a row may be a date or a number of a person.
  const values = ascii.split('\\');
  const isLong = values.some((one) => /^ *\d{8}/.test(one));
  return areNumbers(ascii) && values.length <= MAX_NUMBERS && !isLong && !namesByNumber(ascii, vr, numbers);
};

const areSafeBinaries = (bytes: string, vr: Vr): boolean => {
  if (!(vr in WIDTH)) return false;
  const width = WIDTH[vr as keyof typeof WIDTH];
  // Letters or digits in a row are a text under a number's VR.
  return bytes.length % width === 0 && bytes.length / width <= MAX_NUMBERS && !/[A-Za-z]{5}|\d{6}/.test(bytes);
};
