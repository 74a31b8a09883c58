// The last look before anything is published: the written file, read by another parser, against the
// original. Findings name a check and a place, never a value. Any finding holds the study.
import { tagOf } from '../../dicom/dictionary.ts';
import { isWellKnownUid } from '../../dicom/uid.ts';
import { MIN_UNLIKELY, wordsOf } from '../decoding.ts';
import { DEIDENTIFICATION_METHOD } from '../method.ts';
import { areDefinedCharsets, isClosedTag, isClosedValue } from '../closed-values.ts';
import { CS_TERMS, namesByNumber } from '../keep-check.ts';
import { isPublic } from '../public-codes.ts';
import { safePrivate } from '../profile/private-tags.ts';
import type { Profile } from '../profile/profile.ts';
import { tokensOf } from '../clean-text.ts';
import { remembered, valueKey } from '../value-key.ts';
import type { FirstSight } from '../value-key.ts';
import { MANUFACTURERS, VOCABULARY } from '../vocabulary.ts';
import { byteSearch } from './byte-search.ts';
import { checkActions } from './actions.ts';
import { isBareStream, placesForNotes, samePixels } from './pixels.ts';
import { checkTimes } from './times.ts';
import { placedIn, sourceFacts, sourceOf } from './source-facts.ts';
import type { Source, SourceFacts } from './source-facts.ts';
import { seeFile } from './second-reader.ts';
import type { SeenElement, SeenFile } from './second-reader.ts';
import { isInflectionOf } from './spellings.ts';
import { addIdentifiers, latin1 } from './study-identifiers.ts';
import type { StudyIdentifiers } from './study-identifiers.ts';

export type Check = 'unreadable' | 'element' | 'byte' | 'uid' | 'date' | 'age' | 'allow-list' | 'private' | 'meta' | 'pixels';

export interface Finding {
  check: Check;
  /** Tag path, or where in the file. */
  where: string;
}

export interface Expected {
  identifiers: StudyIdentifiers;
  profile: Profile;
  /** Pseudonym that PatientID must be. */
  pseudonym: string;
  /** Days by which dates moved. */
  shiftDays: number;
  /** Microseconds by which times moved around the clock; 'unknown': none may stand. Not given: one offset for all. */
  timeOffsetUs?: bigint | 'unknown';
}

const T = {
  charset: tagOf('SpecificCharacterSet'),
  patientId: tagOf('PatientID'),
  patientName: tagOf('PatientName'),
  birthDate: tagOf('PatientBirthDate'),
  age: tagOf('PatientAge'),
  removed: tagOf('PatientIdentityRemoved'),
  method: tagOf('DeidentificationMethod'),
  methodCodes: tagOf('DeidentificationMethodCodeSequence'),
  modified: tagOf('LongitudinalTemporalInformationModified'),
  pixels: tagOf('PixelData'),
  sopInstance: tagOf('SOPInstanceUID'),
  syntax: tagOf('TransferSyntaxUID'),
  mediaInstance: tagOf('MediaStorageSOPInstanceUID'),
};
/** Written by us whatever the source says. */
const OURS: ReadonlySet<number> = new Set([T.charset, T.removed, T.method, T.methodCodes, T.modified, T.patientId, T.patientName]);
const META: ReadonlySet<number> = new Set([0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013]);
const NUMERIC = new Set(['DS', 'IS', 'US', 'SS', 'UL', 'SL', 'FL', 'FD', 'AT', 'SV', 'UV', 'AS', 'DA', 'TM', 'DT', 'UI']);

/**
 * Gathers an original's words by the verifier's own reader, and what to compare the result with, so that
 * it is read so only once. Throws when it can't be read.
 */
export const collectFromOriginal = (original: Uint8Array, into: StudyIdentifiers, isNew?: FirstSight): SourceFacts | undefined => {
  const seen = seeFile(original);
  addIdentifiers(seen, charsetOf(seen), into, isNew);
  return sourceFacts(seen, original);
};

/** Every reason not to publish `written`, made from `original`. None: it may be published. `facts` are those of `original`. */
export const verifyInstance = (original: Uint8Array, written: Uint8Array, expected: Expected, facts?: SourceFacts): readonly Finding[] => {
  const findings: Finding[] = [];
  const add = (check: Check, where: string): void => void findings.push({ check, where });
  let source: Source;
  let result: SeenFile;
  try {
    source = facts === undefined ? sourceOf(seeFile(original)) : placedIn(original, facts);
    result = seeFile(written);
  } catch {
    return [{ check: 'unreadable', where: 'file' }];
  }
  checkMeta(source, result, add);
  checkTags(result, expected.profile, add);
  checkWords(result, expected, add);
  checkUids(result, expected.identifiers, add);
  checkAge(result, add);
  checkActions(result, expected.profile, add);
  checkTimes(source, result, expected, add);
  checkCodes(result, add);
  checkBytes(result, expected.identifiers, add);
  checkPixels(source, result, add);
  return findings;
};

export type Add = (check: Check, where: string) => void;

const find = (file: SeenFile, tag: number): SeenElement | undefined => file.elements.find((one) => one.depth === 0 && one.tag === tag);
const textOf = (element: SeenElement | undefined): string => (element === undefined ? '' : latin1(element.value).replace(/[\0 ]+$/, ''));
const charsetOf = (file: SeenFile): string[] => {
  const text = textOf(find(file, T.charset));
  return text === '' ? [] : text.split('\\').map((term) => term.trim());
};

const checkMeta = (source: Source, result: SeenFile, add: Add): void => {
  if (result.preamble.some((byte) => byte !== 0)) add('meta', 'preamble');
  for (const one of result.elements) if (one.tag >>> 16 === 2 && !META.has(one.tag)) add('meta', one.path);
  for (const tag of [T.patientId, T.removed, T.method, T.modified])
    if (find(result, tag) === undefined) add('meta', 'a required attribute is missing');
  if (textOf(find(result, T.mediaInstance)) !== textOf(find(result, T.sopInstance))) add('meta', '(0002,0003)');
  if (source.syntax !== textOf(find(result, T.syntax))) add('meta', '(0002,0010)');
};

const checkTags = (result: SeenFile, profile: Profile, add: Add): void => {
  for (const one of result.elements) {
    const group = one.tag >>> 16;
    if (group === 2) continue;
    if ((group & 1) === 1) checkPrivate(one, add);
    else if (!OURS.has(one.tag) && !isAllowed(one.tag, profile)) add('allow-list', one.path);
  }
};

const isAllowed = (tag: number, profile: Profile): boolean => {
  const rule = profile.ruleOf(tag);
  return rule !== undefined && rule.action !== 'remove';
};

const checkPrivate = (one: SeenElement, add: Add): void => {
  const isCreator = (one.tag & 0xffff) >= 0x10 && (one.tag & 0xffff) <= 0xff;
  if (isCreator) {
    if (!/^[\x20-\x7e]{1,64}$/.test(textOf(one))) add('private', one.path);
  } else if (one.creator === undefined || safePrivate(one.tag, one.creator) === undefined) add('private', one.path);
};

// (a) By element: every word of every kept text, whatever its length.
const checkWords = (result: SeenFile, { identifiers, pseudonym }: Expected, add: Add): void => {
  const charset = charsetOf(result);
  const memory = memoryOf(identifiers);
  for (const one of result.elements) {
    if (one.tag === T.patientId || one.tag === T.patientName) {
      if (textOf(one) !== pseudonym) add('element', one.path);
      continue;
    }
    if (one.tag === T.charset) {
      if (
        !areDefinedCharsets(
          textOf(one)
            .split('\\')
            .map((term) => term.trim()),
        )
      )
        add('element', one.path);
      continue;
    }
    if ((one.vr === 'IS' || one.vr === 'DS') && namesByNumber(textOf(one), one.vr, identifiers.words)) add('element', one.path);
    if (one.isSequence || one.tag === T.pixels || one.tag >>> 16 === 2 || NUMERIC.has(one.vr) || isOurText(one)) continue;
    // Whole values of closed lists and grammars: what stands there is no word of anybody's.
    if (isClosedTag(one.tag)) {
      if (!isClosedValue(one.tag, textOf(one))) add('element', one.path);
      continue;
    }
    const isHit = remembered(memory.judged, valueKey(one.tag, one.vr, charset, one.value), () => hasIdentity(one, charset, identifiers));
    if (isHit) add('element', one.path);
  }
};

const hasIdentity = (one: SeenElement, charset: readonly string[], identifiers: StudyIdentifiers): boolean =>
  wordsOf(one.value, charset, 'LO', tokensOf).some(
    ({ word, isLikely }) => (isLikely || word.length >= MIN_UNLIKELY) && identifies(word, one, identifiers),
  );

const isOurText = (one: SeenElement): boolean =>
  one.path.startsWith('(0012,0064)') || (one.tag === T.method && textOf(one) === DEIDENTIFICATION_METHOD.join('\\'));

// A clinical word in a cleaned text was judged against the same identifiers, exactly; only another
// ending of a name is not held against it. Code strings and makers have words of their own.
const identifies = (word: string, one: SeenElement, { words, stems }: StudyIdentifiers): boolean => {
  if (isClosedWord(word, one)) return false;
  if (words.has(word)) return true;
  return !VOCABULARY.has(word) && !CS_TERMS.has(word) && !MANUFACTURERS.has(word) && [...stems].some((stem) => isInflectionOf(word, stem));
};

const TECHNICAL: ReadonlySet<number> = new Set(['CodeValue', 'CodingSchemeDesignator'].map(tagOf));

const isClosedWord = (word: string, one: SeenElement): boolean => {
  if (one.vr !== 'CS' && !TECHNICAL.has(one.tag) && (one.tag >>> 16) % 2 === 0) return false;
  return word.length === 1 || VOCABULARY.has(word) || CS_TERMS.has(word) || MANUFACTURERS.has(word);
};

const checkUids = (result: SeenFile, { uids }: StudyIdentifiers, add: Add): void => {
  for (const one of result.elements) {
    if (one.vr !== 'UI' || (one.tag >>> 16 === 2 && one.tag !== T.mediaInstance)) continue;
    for (const uid of textOf(one).split('\\'))
      if (uid !== '' && (uids.has(uid) || !(isWellKnownUid(uid) || /^2\.25\.\d+$/.test(uid)))) add('uid', one.path);
  }
};

const checkAge = (result: SeenFile, add: Add): void => {
  const age = textOf(find(result, T.age));
  if (age !== '' && !/^(?:0[0-8]\d[DWMY]|090Y|\d{3}[DWM])$/.test(age)) add('age', '(0010,1010)');
};

const CODE = { value: tagOf('CodeValue'), long: tagOf('LongCodeValue'), scheme: tagOf('CodingSchemeDesignator') };

/** Every item that holds a code holds a public one, and the dataset itself holds none. */
const checkCodes = (result: SeenFile, add: Add): void => {
  const items = new Map<string, Map<number, string>>();
  for (const one of result.elements) {
    if (one.tag !== CODE.value && one.tag !== CODE.long && one.tag !== CODE.scheme) continue;
    const item = one.path.slice(0, -11);
    items.set(item, (items.get(item) ?? new Map<number, string>()).set(one.tag, textOf(one)));
  }
  for (const [item, code] of items) {
    const values = [code.get(CODE.value), code.get(CODE.long)].filter((value) => value !== undefined);
    if (item === '' || values.length === 0 || !values.every((value) => isPublic(code.get(CODE.scheme), value)))
      add('element', `${item}(0008,0100)`);
  }
};

// (b) By byte: long identifiers and UIDs nowhere outside the pixels, in any encoding.
const checkBytes = (result: SeenFile, identifiers: StudyIdentifiers, add: Add): void => {
  const { search } = memoryOf(identifiers);
  const numbers = result.elements.filter(({ vr }) => vr === 'UI' || vr === 'DS' || vr === 'IS');
  for (const [i, piece] of result.withoutPixels.entries()) {
    const isInNumbers = (index: number): boolean =>
      numbers.some(({ value }) => {
        const start = value.byteOffset - piece.byteOffset;
        return value.buffer === piece.buffer && index >= start && index < start + value.length;
      });
    if (search(piece, isInNumbers)) add('byte', i === 0 ? 'before the pixels' : 'behind the pixels');
  }
  const pixels = find(result, T.pixels);
  if (pixels !== undefined && placesForNotes(pixels).some((place) => search(place))) add('byte', '(7FE0,0010)');
};

interface StudyMemory {
  size: number;
  search: ReturnType<typeof byteSearch>;
  /** Whether a value identifies, by valueKey. */
  judged: Map<string, boolean>;
}

const memories = new WeakMap<StudyIdentifiers, StudyMemory>();

/** One per study; made anew when identifiers were added. */
const memoryOf = (identifiers: StudyIdentifiers): StudyMemory => {
  const { words, stems, byteForms, uids } = identifiers;
  const size = words.size + stems.size + byteForms.size + uids.size;
  const known = memories.get(identifiers);
  if (known?.size === size) return known;
  const memory: StudyMemory = { size, search: byteSearch([...byteForms, ...uids]), judged: new Map() };
  memories.set(identifiers, memory);
  return memory;
};

const checkPixels = ({ pixels }: Source, result: SeenFile, add: Add): void => {
  const after = find(result, T.pixels);
  if (pixels === undefined || after === undefined || !samePixels(pixels, after) || !isBareStream(after, textOf(find(result, T.syntax))))
    add('pixels', '(7FE0,0010)');
};
