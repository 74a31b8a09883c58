// Reads values out of datasets and builds elements: text by character set, numbers by VR and byte order.
import { decode, encode, withoutPad } from './charset.ts';
import { DicomError } from './dicom-error.ts';
import { vrOf } from './dictionary.ts';
import { NO_BYTES, ReadElement } from './model.ts';
import { u16 } from './read-header.ts';
import type { Dataset, Element, Vr } from './model.ts';
import { isLocalisedVr, isSingleValueVr, isTextVr } from './vr.ts';

/** The VR by which a value reads: that of the dictionary where the file only says UN. */
function effectiveVr(element: Element): Vr {
  return element.vr === 'UN' ? (vrOf(element.tag) ?? 'UN') : element.vr;
}

/** The text of an element, pads trimmed, as one string; '' for none and for what is no text. */
export function textOf(element: Element, charset: readonly string[]): string {
  const vr = effectiveVr(element);
  if (vr !== 'UN' && !isTextVr(vr)) return '';
  return trimPad(decode(element.value, isLocalisedVr(vr) || vr === 'UN' ? charset : [], vr), vr);
}

/** The values of a text element, split at backslashes where its VR has several, each trimmed. */
export function textsOf(element: Element, charset: readonly string[]): string[] {
  const vr = effectiveVr(element);
  const whole = textOf(element, charset);
  if (whole === '') return [];
  return isSingleValueVr(vr) ? [whole] : whole.split('\\').map((one) => trimPad(one, vr));
}

/** Trailing pad goes (PS3.5 6.2); leading spaces count only in LT, ST, UT, UC and UR. */
function trimPad(text: string, vr: Vr): string {
  const end = withoutPad(text);
  return isSingleValueVr(vr) || vr === 'UC' ? end : end.replace(/^ +/, '');
}

/** First value as text, `undefined` when the element is missing or empty. Numbers are written in decimal. */
export function text(dataset: Dataset, tag: number): string | undefined {
  const element = dataset.elements.get(tag);
  if (element === undefined || element.value.length === 0) return undefined;
  const vr = effectiveVr(element);
  if (vr === 'UN' || isTextVr(vr)) return ReadElement.textOf(element, dataset.charset, firstText);
  return texts(dataset, tag)[0];
}

function firstText(element: Element, charset: readonly string[]): string | undefined {
  const first = textsOf(element, charset)[0];
  return first === '' ? undefined : first;
}

/** All values as text, [] when the element is missing or empty; single values among them may be ''. */
export function texts(dataset: Dataset, tag: number): string[] {
  const element = dataset.elements.get(tag);
  if (element === undefined || element.value.length === 0) return [];
  const vr = effectiveVr(element);
  return vr === 'UN' || isTextVr(vr) ? textsOf(element, dataset.charset) : numbersOf(element, dataset.littleEndian).map(String);
}

/** First number; `undefined` when missing, empty or not a number. */
export function number(dataset: Dataset, tag: number): number | undefined {
  const element = dataset.elements.get(tag);
  if (element === undefined) return undefined;
  const { value } = element;
  const isOneShort = element.vr === 'US' && value.length >= 2;
  const first = isOneShort ? u16(value, 0, dataset.littleEndian) : numbersOf(element, dataset.littleEndian)[0];
  return first === undefined || !Number.isFinite(first) ? undefined : first;
}

/** All numbers of a DS, IS or binary element; NaN where a DS or IS value is none. AT gives unsigned tags. */
export function numbers(dataset: Dataset, tag: number): number[] {
  const element = dataset.elements.get(tag);
  return element === undefined ? [] : numbersOf(element, dataset.littleEndian);
}

type Getter = (view: DataView, at: number, littleEndian: boolean) => number;

const BINARY: Readonly<Partial<Record<Vr, readonly [number, Getter]>>> = {
  AT: [4, (v, at, le) => ((v.getUint16(at, le) << 16) | v.getUint16(at + 2, le)) >>> 0],
  US: [2, (v, at, le) => v.getUint16(at, le)],
  OW: [2, (v, at, le) => v.getUint16(at, le)],
  SS: [2, (v, at, le) => v.getInt16(at, le)],
  UL: [4, (v, at, le) => v.getUint32(at, le)],
  OL: [4, (v, at, le) => v.getUint32(at, le)],
  SL: [4, (v, at, le) => v.getInt32(at, le)],
  FL: [4, (v, at, le) => v.getFloat32(at, le)],
  OF: [4, (v, at, le) => v.getFloat32(at, le)],
  FD: [8, (v, at, le) => v.getFloat64(at, le)],
  OD: [8, (v, at, le) => v.getFloat64(at, le)],
  SV: [8, (v, at, le) => Number(v.getBigInt64(at, le))],
  UV: [8, (v, at, le) => Number(v.getBigUint64(at, le))],
  OV: [8, (v, at, le) => Number(v.getBigUint64(at, le))],
  OB: [1, (v, at) => v.getUint8(at)],
};

// Each digit can match in one place only, so that long nonsense is refused in linear time.
const DECIMAL = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;

/** Numbers of one element; 64-bit integers beyond 2^53 lose precision. */
export function numbersOf(element: Element, littleEndian: boolean): number[] {
  const vr = effectiveVr(element);
  if (vr === 'DS' || vr === 'IS') return textsOf(element, []).map((one) => (DECIMAL.test(one) ? Number(one) : Number.NaN));
  const binary = BINARY[vr];
  if (binary === undefined) return [];
  const [width, get] = binary;
  const { value } = element;
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const isLittle = element.vr === 'UN' || littleEndian;
  return Array.from({ length: Math.floor(value.length / width) }, (_, i) => get(view, i * width, isLittle));
}

/** First UID, trimmed; `undefined` when missing or empty. */
export function uid(dataset: Dataset, tag: number): string | undefined {
  return text(dataset, tag);
}

/** Items of a sequence, [] when it is missing. */
export function items(dataset: Dataset, tag: number): readonly Dataset[] {
  return dataset.elements.get(tag)?.items ?? [];
}

/** What an element is encoded for; a Dataset is one. Little endian in the default repertoire unless given. */
export interface Like {
  readonly littleEndian: boolean;
  readonly charset: readonly string[];
}

const DEFAULT_LIKE: Like = { littleEndian: true, charset: [] };

/**
 * An element from a value: strings for text VRs (several are joined by a backslash), numbers for DS, IS, AT and
 * binary VRs, bytes for any. Padded to even length: UI and bytes with NUL, text with space. Throws DicomError
 * (BAD_VALUE, UNENCODABLE_TEXT); use sequence() and encapsulated() for those.
 */
export function element(
  tag: number,
  vr: Vr,
  value: string | readonly string[] | number | readonly number[] | Uint8Array,
  like: Like = DEFAULT_LIKE,
): Element {
  const at = tag >>> 0;
  if (vr === 'SQ') throw new DicomError('BAD_VALUE', 'a sequence is made by sequence()', { tag: at });
  if (value instanceof Uint8Array) return { tag: at, vr, value: padded(value, isTextVr(vr) && vr !== 'UI' ? 0x20 : 0) };
  const values: readonly (string | number)[] = typeof value === 'string' || typeof value === 'number' ? [value] : value;
  if (isTextVr(vr)) return { tag: at, vr, value: textBytes(at, vr, values, like) };
  return { tag: at, vr, value: numberBytes(at, vr, values, like.littleEndian) };
}

function textBytes(tag: number, vr: Vr, values: readonly (string | number)[], like: Like): Uint8Array {
  const written = values.map((one) => (typeof one === 'number' ? decimalText(tag, vr, one) : one));
  if (written.length > 1 && isSingleValueVr(vr)) throw new DicomError('BAD_VALUE', 'the VR holds one value only', { tag });
  const bytes = encode(written.join('\\'), isLocalisedVr(vr) ? like.charset : [], vr);
  return padded(bytes, vr === 'UI' ? 0 : 0x20);
}

function padded(bytes: Uint8Array, pad: number): Uint8Array {
  if (bytes.length % 2 === 0) return bytes;
  const out = new Uint8Array(bytes.length + 1);
  out.set(bytes);
  out[bytes.length] = pad;
  return out;
}

/** A number as DS (at most 16 characters, PS3.5 6.2) or IS; other text VRs take the shortest decimal. */
function decimalText(tag: number, vr: Vr, value: number): string {
  if (!Number.isFinite(value)) throw new DicomError('BAD_VALUE', 'not a finite number', { tag });
  if (vr === 'IS' && (!Number.isInteger(value) || Math.abs(value) > 2 ** 31)) {
    throw new DicomError('BAD_VALUE', 'not an integer string of 32 bits', { tag });
  }
  const shortest = String(Object.is(value, -0) ? 0 : value);
  if (vr !== 'DS' || shortest.length <= 16) return shortest;
  for (let digits = 16; digits > 0; digits--) {
    const rounded = Number(value.toPrecision(digits));
    if (!Number.isFinite(rounded)) continue;
    const written = [String(rounded), rounded.toExponential()].find((one) => one.length <= 16);
    if (written !== undefined) return written;
  }
  throw new DicomError('BAD_VALUE', 'the number does not fit a decimal string', { tag });
}

const RANGES: Readonly<Partial<Record<Vr, readonly [number, number]>>> = {
  OB: [0, 255],
  US: [0, 65535],
  OW: [0, 65535],
  SS: [-32768, 32767],
  UL: [0, 4294967295],
  OL: [0, 4294967295],
  AT: [0, 4294967295],
  SL: [-2147483648, 2147483647],
  UV: [0, Number.MAX_SAFE_INTEGER],
  OV: [0, Number.MAX_SAFE_INTEGER],
  SV: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

function numberBytes(tag: number, vr: Vr, values: readonly (string | number)[], littleEndian: boolean): Uint8Array {
  const width = BINARY[vr]?.[0];
  if (width === undefined) throw new DicomError('BAD_VALUE', 'the VR takes bytes only', { tag });
  const out = new Uint8Array(values.length * width);
  const view = new DataView(out.buffer);
  const range = RANGES[vr];
  values.forEach((value, i) => {
    const isBad = typeof value !== 'number' || (range !== undefined && (!Number.isInteger(value) || value < range[0] || value > range[1]));
    if (isBad) throw new DicomError('BAD_VALUE', 'a number that the VR can not hold', { tag });
    putNumber(view, i * width, vr, value, littleEndian);
  });
  return padded(out, 0);
}

function putNumber(view: DataView, at: number, vr: Vr, value: number, le: boolean): void {
  if (vr === 'AT') {
    view.setUint16(at, value >>> 16, le);
    view.setUint16(at + 2, value & 0xffff, le);
  } else if (vr === 'OB') view.setUint8(at, value);
  else if (vr === 'US' || vr === 'OW') view.setUint16(at, value, le);
  else if (vr === 'SS') view.setInt16(at, value, le);
  else if (vr === 'UL' || vr === 'OL') view.setUint32(at, value, le);
  else if (vr === 'SL') view.setInt32(at, value, le);
  else if (vr === 'FL' || vr === 'OF') view.setFloat32(at, value, le);
  else if (vr === 'FD' || vr === 'OD') view.setFloat64(at, value, le);
  else view.setBigInt64(at, BigInt(value), le);
}

/** A sequence of items. */
export function sequence(tag: number, sequenceItems: readonly Dataset[]): Element {
  return { tag: tag >>> 0, vr: 'SQ', value: NO_BYTES, items: sequenceItems };
}

/** Encapsulated pixel data: fragments[0] is the Basic Offset Table (may be empty); odd ones are padded (PS3.5 A.4). */
export function encapsulated(tag: number, fragments: readonly Uint8Array[]): Element {
  return { tag: tag >>> 0, vr: 'OB', value: NO_BYTES, fragments: fragments.map((fragment) => padded(fragment, 0)) };
}
