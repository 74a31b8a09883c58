// Encodes datasets into byte parts. What was read and not changed is passed through as it stood; what is
// written anew gets defined lengths: they are known here, they let readers skip, and no value can be
// mistaken for a delimiter. Only where the header does not say SQ (UN, private tags in implicit VR) the
// undefined length stays that marks a sequence as one (PS3.5 6.2.2 note 2).
import { DicomError } from './dicom-error.ts';
import { vrOf } from './dictionary.ts';
import { ReadDataset, ReadElement } from './model.ts';
import type { Dataset, Element, Encoding } from './model.ts';
import { ITEM, SEQUENCE_DELIMITER, UNDEFINED_LENGTH } from './read-header.ts';
import type { Sink } from './sink.ts';
import { isLocalisedVr, isLongVr, swapUnit } from './vr.ts';

const SPECIFIC_CHARACTER_SET = 0x00080005;
const IMPLICIT_LITTLE: Encoding = { littleEndian: true, explicitVr: false };

const isSame = (a: Encoding, b: Encoding): boolean => a.littleEndian === b.littleEndian && a.explicitVr === b.explicitVr;

const sameTerms = (a: readonly string[], b: readonly string[]): boolean =>
  a === b || (a.length === b.length && a.every((term, i) => term === b[i]));

/** Value bytes with the byte order changed, number by number. A rest too short for a number stays. */
export function swapped(element: Element): Uint8Array {
  const unit = swapUnit(element.vr);
  if (unit === 1 || element.value.length < unit) return element.value;
  const out = element.value.slice();
  for (let i = 0; i + unit <= out.length; i += unit) out.subarray(i, i + unit).reverse();
  return out;
}

/** Whether any text in the dataset, items excepted, is more than ASCII. */
function hasForeignText(dataset: Dataset): boolean {
  for (const element of dataset.elements.values()) {
    if (isLocalisedVr(element.vr) && element.value.some((byte) => byte >= 0x80 || byte === 0x1b)) return true;
  }
  return false;
}

/** Elements ascending by tag; the same order costs nothing when it is one already. */
export function inTagOrder(elements: ReadonlyMap<number, Element>): Iterable<Element> {
  let last = -1;
  for (const tag of elements.keys()) {
    if (tag < last) return [...elements.values()].toSorted((a, b) => a.tag - b.tag);
    last = tag;
  }
  return elements.values();
}

/**
 * Writes a dataset in `target`. Where its character set is not the one around it and it says so nowhere,
 * a Specific Character Set is put in (PS3.3 C.12.1.1.2), so that its text still reads the same.
 */
export function writeDataset(sink: Sink, dataset: Dataset, target: Encoding, inherited: readonly string[]): void {
  const lacksCharset =
    dataset.charset.length > 0 &&
    !sameTerms(dataset.charset, inherited) &&
    !dataset.elements.has(SPECIFIC_CHARACTER_SET) &&
    hasForeignText(dataset);
  const origin = ReadDataset.originOf(dataset);
  if (origin !== undefined && isSame(origin.encoding, target) && !lacksCharset) {
    sink.passThrough(origin);
    return;
  }
  let pending = lacksCharset;
  for (const element of inTagOrder(dataset.elements)) {
    if (pending && element.tag > SPECIFIC_CHARACTER_SET) {
      writeCharset(sink, dataset, target);
      pending = false;
    }
    writeElement(sink, element, dataset, target);
  }
  if (pending) writeCharset(sink, dataset, target);
}

function writeCharset(sink: Sink, dataset: Dataset, target: Encoding): void {
  const terms = dataset.charset.join('\\');
  const value = Uint8Array.from(terms.length % 2 === 0 ? terms : `${terms} `, (c) => c.charCodeAt(0));
  writeElement(sink, { tag: SPECIFIC_CHARACTER_SET, vr: 'CS', value }, dataset, target);
}

function writeElement(sink: Sink, element: Element, from: Dataset, target: Encoding): void {
  const origin = ReadElement.originOf(element);
  if (origin !== undefined && isSame(origin.encoding, target)) {
    sink.passThrough(origin);
    return;
  }
  if (element.items !== undefined) writeSequence(sink, element, element.items, from.charset, target);
  else if (element.fragments !== undefined) writeFragments(sink, element, element.fragments, target);
  else writeValue(sink, element, from, target);
}

/** A header of an element; returns where its length stands. */
function writeHeader(sink: Sink, tag: number, vr: Element['vr'], length: number, target: Encoding): (length: number) => void {
  const le = target.littleEndian;
  const isLong = target.explicitVr && isLongVr(vr);
  const view = sink.reserve(isLong ? 12 : 8);
  view.setUint16(0, tag >>> 16, le);
  view.setUint16(2, tag & 0xffff, le);
  if (target.explicitVr) {
    view.setUint8(4, vr.charCodeAt(0));
    view.setUint8(5, vr.charCodeAt(1));
  }
  const setLength = (value: number): void => {
    if (value > UNDEFINED_LENGTH) throw new DicomError('LIMIT_EXCEEDED', 'a value of 4 GiB or more', { tag });
    if (!target.explicitVr) view.setUint32(4, value, le);
    else if (isLong) view.setUint32(8, value, le);
    else view.setUint16(6, value, le);
  };
  setLength(length);
  return setLength;
}

function writeValue(sink: Sink, element: Element, from: Dataset, target: Encoding): void {
  const { tag, vr } = element;
  const value = from.littleEndian === target.littleEndian ? element.value : swapped(element);
  const odd = value.length % 2;
  const length = value.length + odd;
  // What outgrows a 16-bit length is written as UN (PS3.5 6.2.2).
  const isShort = target.explicitVr && !isLongVr(vr);
  writeHeader(sink, tag, isShort && length > 0xffff ? 'UN' : vr, length, target);
  sink.push(value);
  if (odd === 1) sink.reserve(1).setUint8(0, swapUnit(vr) > 1 || vr === 'UI' || vr === 'OB' || vr === 'UN' ? 0 : 0x20);
}

function writeItemHeader(sink: Sink, tag: number, length: number, target: Encoding): DataView {
  const view = sink.reserve(8);
  view.setUint16(0, tag >>> 16, target.littleEndian);
  view.setUint16(2, tag & 0xffff, target.littleEndian);
  view.setUint32(4, length, target.littleEndian);
  return view;
}

function writeSequence(sink: Sink, element: Element, items: readonly Dataset[], charset: readonly string[], target: Encoding): void {
  const isUn = element.vr === 'UN' && target.explicitVr;
  const isOpen = isUn || (!target.explicitVr && vrOf(element.tag) !== 'SQ');
  const inner = isUn ? IMPLICIT_LITTLE : target;
  const setLength = writeHeader(sink, element.tag, isUn ? 'UN' : 'SQ', isOpen ? UNDEFINED_LENGTH : 0, target);
  const start = sink.length;
  for (const item of items) {
    const header = writeItemHeader(sink, ITEM, 0, inner);
    const itemStart = sink.length;
    writeDataset(sink, item, inner, charset);
    const length = sink.length - itemStart;
    if (length >= UNDEFINED_LENGTH) throw new DicomError('LIMIT_EXCEEDED', 'an item of 4 GiB or more', { tag: element.tag });
    header.setUint32(4, length, inner.littleEndian);
  }
  if (isOpen) writeItemHeader(sink, SEQUENCE_DELIMITER, 0, inner);
  else setLength(sink.length - start);
}

function writeFragments(sink: Sink, element: Element, fragments: readonly Uint8Array[], target: Encoding): void {
  if (!target.explicitVr) throw new DicomError('BAD_VALUE', 'fragments in implicit VR (PS3.5 A.4 wants explicit)', { tag: element.tag });
  writeHeader(sink, element.tag, element.vr === 'UN' ? 'OB' : element.vr, UNDEFINED_LENGTH, target);
  for (const fragment of fragments) {
    const odd = fragment.length % 2;
    writeItemHeader(sink, ITEM, fragment.length + odd, target);
    sink.push(fragment);
    if (odd === 1) sink.reserve(1);
  }
  writeItemHeader(sink, SEQUENCE_DELIMITER, 0, target);
}
