// Datasets from plain records of keyword and value, in the study's character set.

import { tagOf, vrOf } from '../../dicom/dictionary.ts';
import type { Dataset, Element, Vr } from '../../dicom/model.ts';
import { element, sequence } from '../../dicom/values.ts';
import { isLocalisedVr } from '../../dicom/vr.ts';
import { newDataset, withElements } from '../../dicom/write.ts';
import type { TextEncoding } from './people.ts';

export type Value = string | number | readonly string[] | readonly number[] | Uint8Array | Element | readonly Attributes[];
/** By DICOM keyword; `[]` and `''` give an empty element, an element object is taken as it is. */
export interface Attributes {
  readonly [keyword: string]: Value;
}

let cp1251: Map<string, number> | undefined;

/** Bytes of a text in CP1251; signs that it does not have become '?'. */
export function windows1251(text: string): Uint8Array {
  if (cp1251 === undefined) {
    const all = new TextDecoder('windows-1251').decode(Uint8Array.from({ length: 256 }, (_, i) => i));
    cp1251 = new Map([...all].map((sign, i) => [sign, i]));
  }
  const table = cp1251;
  return Uint8Array.from([...text], (sign) => table.get(sign) ?? 0x3f);
}

/** A dataset of these attributes; SpecificCharacterSet is added where `top` says that it is no item. */
export function makeDataset(attributes: Attributes, encoding: TextEncoding, top = true): Dataset {
  const charset = encoding.declared === undefined ? [] : [encoding.declared];
  const elements = Object.entries(attributes).map(([keyword, value]) => makeElement(keyword, value, encoding));
  if (top && encoding.declared !== undefined) elements.push(makeElement('SpecificCharacterSet', encoding.declared, encoding));
  return withElements(newDataset({ charset }), elements);
}

function isElement(value: Value): value is Element {
  return typeof value === 'object' && 'tag' in value && 'vr' in value && typeof value.tag === 'number';
}

function makeElement(keyword: string, value: Value, encoding: TextEncoding): Element {
  if (isElement(value)) return value;
  const tag = tagOf(keyword);
  const vr: Vr = vrOf(tag) ?? 'LO';
  if (vr === 'SQ') {
    const items = value as readonly Attributes[];
    return sequence(
      tag,
      items.map((item) => makeDataset(item, encoding, false)),
    );
  }
  const plain = value as string | number | readonly string[] | readonly number[] | Uint8Array;
  return makeText(tag, vr, plain, encoding);
}

/** An element of any tag; localised text in the study's encoding, declared or not. */
export function makeText(
  tag: number,
  vr: Vr,
  value: string | number | readonly string[] | readonly number[] | Uint8Array,
  encoding: TextEncoding,
): Element {
  const charset = encoding.declared === undefined ? [] : [encoding.declared];
  if (encoding.name === 'windows-1251' && isLocalisedVr(vr) && typeof value === 'string') {
    return element(tag, vr, windows1251(value));
  }
  return element(tag, vr, value, { littleEndian: true, charset });
}
