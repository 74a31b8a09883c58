// What a rule makes of one element that is no sequence: kept, mapped, moved, cleaned, or its fallback.
import { latin1, withoutPad } from '../dicom/charset.ts';
import { attributeOf, keywordOf, TAG, tagOf, vrOf } from '../dicom/dictionary.ts';
import { element, texts } from '../dicom/values.ts';
import type { Dataset, Element, Vr } from '../dicom/model.ts';
import { isSingleValueVr } from '../dicom/vr.ts';
import { cleanText } from './clean-text.ts';
import { shiftDate, shiftDateTime, shiftTime } from './dates.ts';
import type { Judged, Walk } from './deidentify.ts';
import { decodings } from './decoding.ts';
import { isClosedTag, isClosedValue, isOpenImageType } from './closed-values.ts';
import { areAsMany, areNumbers, holdsDayOrId, isBinaryNumber, namesByNumber } from './keep-check.ts';
import { CODE_TAGS } from './public-codes.ts';
import type { Rule } from './profile/profile.ts';
import { remembered, valueKey } from './value-key.ts';

const LONG_TEXT: ReadonlySet<Vr> = new Set<Vr>(['LO', 'SH', 'ST', 'LT', 'UT', 'UC', 'PN', 'AE', 'UR']);

/** The element to write, or undefined to leave it out. */
export const judgeElement = (one: Element, source: Dataset, walk: Walk): Element | undefined => {
  const rule = walk.profile.ruleOf(one.tag);
  if (rule === undefined || rule.action === 'remove') return undefined;
  const vr = one.vr === 'UN' ? (vrOf(one.tag) ?? 'UN') : one.vr;
  if (attributeOf(one.tag)?.vrs.includes(vr) !== true) return fallback(one.tag, rule, walk);
  // The swap that UN's little endian needs in a big endian file is not worth its risk.
  if (one.vr === 'UN' && isBinaryNumber(vr) && !source.littleEndian) return fallback(one.tag, rule, walk);
  if (rule.action === 'empty' || rule.action === 'dummy') return fallback(one.tag, rule, walk);
  if (one.value.length === 0 && one.fragments === undefined) return element(one.tag, vr, new Uint8Array(0));
  const judged = judge({ tag: one.tag, vr, value: one.value, original: one }, source, rule, walk);
  // In the VR that it was judged as: what says UN is looked at by nobody.
  if (judged === 'same') return one.vr === vr ? one : element(one.tag, vr, one.value);
  return judged === 'fallback' ? fallback(one.tag, rule, walk) : judged;
};

/** byAction, remembered for texts: they repeat from slice to slice. Nothing of an original file is held on to. */
const judge = (one: Subject, source: Dataset, rule: Rule, walk: Walk): Judged => {
  const isText = (rule.action === 'clean' || rule.action === 'keep') && (LONG_TEXT.has(one.vr) || one.vr === 'CS');
  // What is written also depends on the output's character set.
  const key = isText ? valueKey(one.tag, one.vr, [...walk.charset, '', ...source.charset], one.value) : undefined;
  const known = key === undefined ? undefined : walk.memory.get(key);
  if (known !== undefined) return known;
  const needed = walk.needsUnicode;
  walk.needsUnicode = false;
  const result = byAction(one, source, rule, walk) ?? 'fallback';
  const judged = result === one.original ? 'same' : result;
  // A text that needs Unicode has to say so each time.
  if (!walk.needsUnicode) remembered(walk.memory, key, () => judged);
  walk.needsUnicode ||= needed;
  return judged;
};

interface Subject {
  tag: number;
  vr: Vr;
  value: Uint8Array;
  original: Element;
}

const byAction = (one: Subject, source: Dataset, rule: Rule, walk: Walk): Element | undefined => {
  switch (rule.action) {
    case 'uid':
      return mapUids(one, walk);
    case 'shift':
      return shift(one, source, walk);
    case 'clean':
      return clean(one, source, walk);
    case 'keep':
      return keep(one, walk);
    case 'characteristic':
      return characteristic(one, source);
    default:
      return undefined;
  }
};

const asciiOf = (bytes: Uint8Array): string => withoutPad(latin1(bytes));

const mapUids = (one: Subject, walk: Walk): Element | undefined => {
  const values = asciiOf(one.value)
    .split('\\')
    .map((value) => value.trim());
  return element(
    one.tag,
    'UI',
    values.map((value) => (value === '' ? '' : walk.identity.mapUid(value))),
  );
};

const shift = (one: Subject, source: Dataset, walk: Walk): Element | undefined => {
  const values = asciiOf(one.value).split('\\');
  const times = one.vr === 'DA' ? pairedTimes(one.tag, source) : [];
  const moved = values.map((value, i) => {
    if (value.trim() === '') return '';
    if (one.vr === 'DA') return shiftDate(walk.clock, value, times[i]);
    if (one.vr === 'DT') return shiftDateTime(walk.clock, value);
    // Nobody knows by how much: it would stay as it was.
    return walk.clock.start === undefined ? undefined : shiftTime(walk.clock, value);
  });
  return moved.some((value) => value === undefined)
    ? undefined
    : element(
        one.tag,
        one.vr,
        moved.map((value) => value ?? ''),
      );
};

const pairs = new Map<number, number | undefined>();

/** Values of the TM attribute that belongs to a DA one: StudyTime to StudyDate. */
const pairedTimes = (tag: number, source: Dataset): readonly string[] => {
  if (!pairs.has(tag)) pairs.set(tag, timeTagOf(tag));
  const time = pairs.get(tag);
  return time === undefined ? [] : texts(source, time);
};

const timeTagOf = (tag: number): number | undefined => {
  const keyword = keywordOf(tag) ?? '';
  const partner = keyword.replace('Date', 'Time');
  if (partner === keyword) return undefined;
  try {
    return vrOf(tagOf(partner)) === 'TM' ? tagOf(partner) : undefined;
  } catch {
    return undefined;
  }
};

/** No text of people's, and what looks for dates and addresses in one takes as long as the square of its run. */
const NO_WORDS = /\S{300}/;

// Of all readings of the bytes the one that leaves most clinical words is what was meant; in a wrong one single
// letters may look like words.
const clean = (one: Subject, source: Dataset, walk: Walk): Element | undefined => {
  const identifiers = union(walk.identifiers.person, walk.identifiers.other);
  let best: { text: string; words: number } | undefined;
  for (const reading of decodings(one.value, source.charset, one.vr)) {
    const values = isSingleValueVr(one.vr) ? [reading] : reading.split('\\');
    const text = values.map((value) => (NO_WORDS.test(value) ? '' : cleanText(value, identifiers))).join('\\');
    const words = (text.match(/[\p{L}\p{M}]{3,}/gu) ?? []).join('').length;
    if (best === undefined || words > best.words) best = { text, words };
  }
  return best === undefined || best.text.replaceAll('\\', '') === '' ? undefined : textElement(one, best.text, walk);
};

const unions = new WeakMap<Set<string>, Set<string>>();

const union = (person: Set<string>, other: Set<string>): Set<string> => {
  const found = unions.get(person);
  if (found !== undefined) return found;
  const both = new Set([...person, ...other]);
  unions.set(person, both);
  return both;
};

const keep = (one: Subject, walk: Walk): Element | undefined => {
  if (one.tag === TAG.PixelData) return one.original;
  if (isBinaryNumber(one.vr)) return areAsMany(one.tag, one.vr, one.value.length) ? one.original : undefined;
  if (one.vr === 'UI') return mapUids(one, walk);
  const text = asciiOf(one.value);
  if (one.vr === 'DS' || one.vr === 'IS') {
    return areNumbers(text) && !holdsDayOrId(text) && !namesByNumber(text, one.vr, walk.identifiers.numbers) ? one.original : undefined;
  }
  if (isOpenImageType(one.tag, text)) return element(one.tag, 'CS', text.split('\\').slice(0, 3));
  if (isClosedTag(one.tag)) return isClosedValue(one.tag, text) ? one.original : element(one.tag, one.vr, new Uint8Array(0));
  // Codes of public schemes: their items were judged whole.
  return CODE_TAGS.has(one.tag) ? one.original : undefined;
};

const textElement = (one: Subject, text: string, walk: Walk): Element => {
  const isAscii = !/\P{ASCII}/u.test(text);
  if (!isAscii) walk.needsUnicode = walk.charset[0] !== 'ISO_IR 192';
  // The first pass only finds out: its bytes are thrown away when it needs Unicode.
  const charset = isAscii || walk.needsUnicode ? ['ISO_IR 192'] : walk.charset;
  return element(one.tag, one.vr, text, { littleEndian: true, charset });
};

/** Age, sex, size and weight only (113108, restricted); age is set with the patient's other attributes. */
const characteristic = (one: Subject, source: Dataset): Element | undefined => {
  const value = texts(source, one.tag)[0] ?? '';
  if (one.tag === TAG.PatientSex) return /^[MFO]$/i.test(value) ? element(one.tag, 'CS', value.toUpperCase()) : undefined;
  if (one.tag === TAG.PatientAge) return undefined;
  return areNumbers(value) && Number(value) > 0 && Number(value) < 700 ? element(one.tag, 'DS', value) : undefined;
};

const fallback = (tag: number, rule: Rule, walk: Walk): Element | undefined => {
  const vr = vrOf(tag) ?? 'UN';
  if (rule.fallback === 'remove') return undefined;
  if (vr === 'SQ') return { tag, vr, value: new Uint8Array(0), items: [] };
  return rule.fallback === 'empty' ? element(tag, vr, new Uint8Array(0)) : dummy(tag, vr, walk);
};

const DUMMIES: Readonly<Partial<Record<Vr, string | number>>> = {
  AE: 'ANONYMIZED',
  CS: 'ANONYMIZED',
  LO: 'ANONYMIZED',
  LT: 'ANONYMIZED',
  PN: 'ANONYMIZED',
  SH: 'ANONYMIZED',
  ST: 'ANONYMIZED',
  UC: 'ANONYMIZED',
  UT: 'ANONYMIZED',
  UR: 'about:blank',
  AS: '000Y',
  DA: '19700101',
  TM: '120000',
  DT: '19700101120000',
  DS: '0',
  IS: '0',
  US: 0,
  SS: 0,
  UL: 0,
  SL: 0,
  FL: 0,
  FD: 0,
  SV: 0,
  UV: 0,
  AT: 0,
};

/** Basic action D: a value that is valid and says nothing (PS3.15 E.1). */
const dummy = (tag: number, vr: Vr, walk: Walk): Element => {
  if (vr === 'UI') return element(tag, vr, walk.identity.mapUid(`dummy ${tag}`));
  const value = DUMMIES[vr];
  return element(tag, vr, value ?? new Uint8Array(2));
};
