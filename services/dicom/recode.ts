// Moves a dataset to another character set: every text that is more than ASCII is decoded and encoded again.
import { decode, encode, isKnownCharset, withoutPad } from './charset.ts';
import { DicomError } from './dicom-error.ts';
import { TAG } from './dictionary.ts';
import type { Dataset, Element } from './model.ts';
import { element } from './values.ts';
import { isLocalisedVr } from './vr.ts';
import { withElements } from './write.ts';

/**
 * The dataset in the character set of `terms`, items included, which then inherit it. ASCII text keeps its
 * bytes. `assumed` replaces what the dataset declares, for files that declare wrongly. Throws DicomError
 * UNENCODABLE_TEXT (never to ISO_IR 192 or GB18030), UNKNOWN_CHARSET.
 */
export function withCharset(dataset: Dataset, terms: readonly string[], assumed?: readonly string[]): Dataset {
  if (!terms.every(isKnownCharset)) throw new DicomError('UNKNOWN_CHARSET', 'an unknown term to recode to');
  const recoded = recode(dataset, terms, assumed);
  return terms.length === 0
    ? withElements(recoded, [], [TAG.SpecificCharacterSet])
    : withElements(recoded, [element(TAG.SpecificCharacterSet, 'CS', terms)]);
}

function recode(dataset: Dataset, terms: readonly string[], assumed?: readonly string[]): Dataset {
  const from = assumed ?? dataset.charset;
  const changes: Element[] = [];
  for (const one of dataset.elements.values()) {
    if (one.items !== undefined) {
      // Items lose their own declaration: one character set for all.
      const items = one.items.map((item) => recode(item, terms, assumed));
      if (items.some((item, i) => item !== one.items?.[i])) changes.push({ ...one, items });
    } else if (isLocalisedVr(one.vr) && one.value.some((byte) => byte >= 0x80 || byte === 0x1b)) {
      changes.push(recodeText(one, from, terms));
    }
  }
  const edited = withElements(dataset, changes, [TAG.SpecificCharacterSet]);
  return { ...edited, charset: terms };
}

function recodeText(one: Element, from: readonly string[], terms: readonly string[]): Element {
  try {
    return element(one.tag, one.vr, encode(withoutPad(decode(one.value, from, one.vr)), terms, one.vr));
  } catch (error) {
    if (error instanceof DicomError) throw new DicomError(error.code, 'text that can not be recoded', { tag: one.tag });
    throw error;
  }
}
