// Does each written value have the form that its tag's action promises? The verifier's own reading of the
// actions: emptied is empty, a dummy is the constant, a cleaned text is words of the vocabulary.
import { withoutPad } from '../../dicom/charset.ts';
import { tagOf } from '../../dicom/dictionary.ts';
import { cleanText } from '../clean-text.ts';
import type { Profile } from '../profile/profile.ts';
import { latin1 } from './second-reader.ts';
import type { SeenElement } from './second-reader.ts';
import type { Add } from './verify.ts';

const OURS: ReadonlySet<number> = new Set(
  [
    'SpecificCharacterSet',
    'PatientIdentityRemoved',
    'DeidentificationMethod',
    'LongitudinalTemporalInformationModified',
    'PatientID',
    'PatientName',
    'PatientBirthDate',
    'PatientAge',
  ].map(tagOf),
);
const SEX = tagOf('PatientSex');

const asText = (one: SeenElement): string => withoutPad(latin1(one.value));
const NUMBER = /^(?: *[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)? *)?$/;
/** Value by value: one expression over millions of them takes more stack than there is. */
const areNumbers = (text: string): boolean => text.split('\\').every((value) => NUMBER.test(value));

/** Every element whose value is none that its action gives. */
export const checkActions = (elements: readonly SeenElement[], profile: Profile, add: Add): void => {
  for (const one of elements) {
    const group = one.tag >>> 16;
    if (group === 2 || (group & 1) === 1 || OURS.has(one.tag) || one.path.startsWith('(0012,0064)')) continue;
    if (one.value.length > 0 && !isOfAction(one, profile)) add('element', one.path);
  }
};

const isOfAction = (one: SeenElement, profile: Profile): boolean => {
  const rule = profile.ruleOf(one.tag);
  switch (rule?.action) {
    case undefined:
    case 'remove':
    case 'empty':
    case 'recurse':
      return false;
    case 'dummy':
      return isDummy(one);
    case 'clean':
      return isCleaned(one) || (rule.fallback === 'dummy' && isDummy(one));
    case 'characteristic':
      return one.tag === SEX ? /^[MFO]$/.test(asText(one)) : areNumbers(asText(one)) && Number(asText(one)) < 700;
    case 'shift':
      return /^[\d.\\ ]*$/.test(asText(one));
    default:
      return (one.vr !== 'DS' && one.vr !== 'IS') || areNumbers(asText(one));
  }
};

/** PS3.15 E.1, action D: what we write, whatever stood there. */
const isDummy = (one: SeenElement): boolean => {
  const value = asText(one);
  if (one.vr === 'UI') return /^2\.25\.\d+$/.test(value);
  return (
    /^(?:ANONYMIZED|about:blank|000Y|19700101(?:120000)?|120000|0)?$/.test(value) && (value !== '' || one.value.every((byte) => byte === 0))
  );
};

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Whether cleaning again, with no word of anybody, would take nothing away. What is not ASCII is written as UTF-8 only. */
const isCleaned = (one: SeenElement): boolean => {
  let reading: string;
  try {
    reading = withoutPad(utf8.decode(one.value));
  } catch {
    return false;
  }
  return reading.split('\\').every((value) => cleanText(value, NOBODY).replaceAll(' ', '') === value.replaceAll(' ', ''));
};
const NOBODY: ReadonlySet<string> = new Set();
