// The last look before anything is published: the written file, read by another parser, against the
// original. Findings name a check and a place, never a value. Any finding holds the study.
import { withoutPad } from '../../dicom/charset.ts';
import { attributeOf, tagOf, vrOf } from '../../dicom/dictionary.ts';
import { IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, isWellKnownUid } from '../../dicom/uid.ts';
import { MIN_UNLIKELY, wordsOf } from '../decoding.ts';
import { DEIDENTIFICATION_METHOD, METHOD_CODE_TEXTS } from '../method.ts';
import { areDefinedCharsets, isClosedTag, isClosedValue } from '../closed-values.ts';
import { areAsMany, CS_TERMS, holdsDayOrId, namesByNumber } from '../keep-check.ts';
import { isPublic } from '../public-codes.ts';
import { hasSafeForm } from '../private-elements.ts';
import { isSafeCreator, safePrivate } from '../profile/private-tags.ts';
import type { Profile } from '../profile/profile.ts';
import { joinedTokensOf, tokensOf } from '../clean-text.ts';
import { remembered, valueKey } from '../value-key.ts';
import type { FirstSight } from '../value-key.ts';
import { MANUFACTURERS, VOCABULARY } from '../vocabulary.ts';
import { byteSearch } from './byte-search.ts';
import { checkActions } from './actions.ts';
import { isBareStream, placesForNotes, samePixels } from './pixels.ts';
import { checkTimes } from './times.ts';
import { placedIn, sourceFacts, sourceOf } from './source-facts.ts';
import type { Source, SourceFacts } from './source-facts.ts';
import { find, latin1, NOTHING_SEEN, seeFile } from './second-reader.ts';
import type { Region, SeenElement, SeenFile } from './second-reader.ts';
import { isInflectionOf } from './spellings.ts';
import { addIdentifiers } from './study-identifiers.ts';
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
  mediaInstance: tagOf('MediaStorageSOPInstanceUID'),
};
/** What stands there in every result, whatever the source says. */
const OUR_VALUES: readonly (readonly [tag: number, value: string])[] = [
  [tagOf('ImplementationClassUID'), IMPLEMENTATION_CLASS_UID],
  [tagOf('ImplementationVersionName'), IMPLEMENTATION_VERSION_NAME],
  [T.removed, 'YES'],
  [T.method, DEIDENTIFICATION_METHOD.join('\\')],
  [T.modified, 'MODIFIED'],
];
/** Written by us whatever the source says. */
const OURS: ReadonlySet<number> = new Set([T.charset, T.removed, T.method, T.methodCodes, T.modified, T.patientId, T.patientName]);
const META: ReadonlySet<number> = new Set([0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013]);
const NUMERIC = new Set(['DS', 'IS', 'US', 'SS', 'UL', 'SL', 'FL', 'FD', 'AT', 'SV', 'UV', 'AS', 'DA', 'TM', 'DT', 'UI']);

/** The last original that was gathered from, by what it was gathered into. */
const lastOriginals = new WeakMap<StudyIdentifiers, { seen: SeenFile; charset: string }>();

/**
 * Gathers an original's words by the verifier's own reader, and what to compare the result with, so that
 * it is read so only once. Throws when it can't be read.
 */
export const collectFromOriginal = (original: Uint8Array, into: StudyIdentifiers, isNew?: FirstSight): SourceFacts | undefined => {
  const last = lastOriginals.get(into);
  const seen = seeFile(original, last?.seen ?? NOTHING_SEEN, undefined, 'any');
  const charset = charsetOf(seen);
  // What the file before has as well is in already, if it reads the same.
  addIdentifiers(charset.join('\\') === last?.charset ? seen.fresh : seen.pieces, charset, into, isNew);
  lastOriginals.set(into, { seen, charset: charset.join('\\') });
  return sourceFacts(seen, original);
};

/** Every reason not to publish `written`, made from `original`. None: it may be published. `facts` are those of `original`. */
export const verifyInstance = (original: Uint8Array, written: Uint8Array, expected: Expected, facts?: SourceFacts): readonly Finding[] => {
  const findings: Finding[] = [];
  const add = (check: Check, where: string): void => void findings.push({ check, where });
  const memory = memoryOf(expected);
  let source: Source;
  let result: SeenFile;
  try {
    source = facts === undefined ? sourceOf(seeFile(original, undefined, undefined, 'any')) : placedIn(original, facts);
    result = seeFile(written, memory.last?.seen ?? NOTHING_SEEN);
  } catch {
    return [{ check: 'unreadable', where: 'file' }];
  }
  const charset = charsetOf(result);
  // What the file before has as well was found right there, against the same identifiers.
  const pieces = charset.join('\\') === memory.last?.charset ? result.fresh : result.pieces;
  const elements = pieces.flatMap((piece) => piece.elements);
  checkMeta(source, result, add);
  checkTags(elements, expected, add);
  checkWords(elements, charset, expected, memory, add);
  checkUids(elements, expected.identifiers, add);
  checkAge(elements, add);
  checkActions(elements, expected.profile, add);
  checkTimes(source, result, expected, memory.times, add);
  checkCodes(elements, add);
  checkBytes(result, memory, add);
  checkPixels(source, result, add);
  memory.last = findings.length === 0 ? { seen: result, charset: charset.join('\\') } : undefined;
  return findings;
};

export type Add = (check: Check, where: string) => void;

const textOf = (element: SeenElement | undefined): string => (element === undefined ? '' : withoutPad(latin1(element.value)));
const charsetOf = (file: SeenFile): string[] => {
  const text = textOf(find(file, T.charset));
  return text === '' ? [] : text.split('\\').map((term) => term.trim());
};

const checkMeta = (source: Source, result: SeenFile, add: Add): void => {
  if (result.preamble.some((byte) => byte !== 0)) add('meta', 'preamble');
  for (const { tag, elements } of result.pieces) if (tag >>> 16 === 2 && !META.has(tag)) add('meta', elements[0]?.path ?? '');
  if (find(result, T.patientId) === undefined) add('meta', 'a required attribute is missing');
  for (const [tag, value] of OUR_VALUES)
    if (textOf(find(result, tag)) !== value) add('meta', find(result, tag)?.path ?? 'a required attribute is missing');
  if (textOf(find(result, T.mediaInstance)) !== textOf(find(result, T.sopInstance))) add('meta', '(0002,0003)');
  if (source.syntax !== result.syntax) add('meta', '(0002,0010)');
};

const checkTags = (elements: readonly SeenElement[], { profile, identifiers }: Expected, add: Add): void => {
  for (const one of elements) {
    const group = one.tag >>> 16;
    if (group === 2) continue;
    if ((group & 1) === 1) checkPrivate(one, identifiers, add);
    else if (one.path.startsWith('(0012,0064)[')) {
      if (!METHOD_CODE_TEXTS.has(textOf(one))) add('element', one.path);
    } else if (!(OURS.has(one.tag) && one.depth === 0) && !isAllowed(one.tag, profile)) add('allow-list', one.path);
    else if (!isOfItsVr(one)) add('element', one.path);
  }
};

/** Each check goes by the VR: a date that says UN or LO would be looked at as none. */
const isOfItsVr = ({ tag, vr }: SeenElement): boolean => attributeOf(tag)?.vrs.some((one) => one === vr) === true;

const isAllowed = (tag: number, profile: Profile): boolean => {
  const rule = profile.ruleOf(tag);
  return rule !== undefined && rule.action !== 'remove';
};

const checkPrivate = (one: SeenElement, { numbers }: StudyIdentifiers, add: Add): void => {
  const isCreator = (one.tag & 0xffff) >= 0x10 && (one.tag & 0xffff) <= 0xff;
  const known = one.creator === undefined ? undefined : safePrivate(one.tag, one.creator);
  const isSafe = isCreator ? isSafeCreator(one.tag >>> 16, textOf(one)) : known !== undefined && hasSafeForm(one.value, known, numbers);
  if (!isSafe) add('private', one.path);
};

// (a) By element: every word of every kept text, whatever its length.
const checkWords = (
  elements: readonly SeenElement[],
  charset: readonly string[],
  { identifiers, pseudonym }: Expected,
  memory: StudyMemory,
  add: Add,
): void => {
  for (const one of elements) {
    if (one.tag === T.patientId || one.tag === T.patientName) {
      // In an item a requester or another system named the patient: nobody's name stands there any more.
      if (textOf(one) !== pseudonym && !(one.depth > 0 && textOf(one) === '')) add('element', one.path);
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
    if (!isNumberOfNobody(one, identifiers)) add('element', one.path);
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

/** No id among decimal numbers, no day, and no more binary ones than the attribute has. Private ones are checked by their form. */
const isNumberOfNobody = (one: SeenElement, { numbers }: StudyIdentifiers): boolean => {
  const { tag, vr } = one;
  if (vr === 'IS' || vr === 'DS') return !namesByNumber(textOf(one), vr, numbers) && !holdsDayOrId(textOf(one));
  const isOther = tag >>> 16 === 2 || (tag >>> 16) % 2 === 1;
  return isOther || areAsMany(tag, vr, one.value.length);
};

const hasIdentity = (one: SeenElement, charset: readonly string[], identifiers: StudyIdentifiers): boolean =>
  wordsOf(one.value, charset, 'LO', tokensOf).some(
    ({ word, isLikely }) => (isLikely || word.length >= MIN_UNLIKELY) && identifies(word, one, identifiers),
  ) ||
  // With a number: CHEST-1. Of words alone it would be every PET/CT of a station that is called PETCT2.
  wordsOf(one.value, charset, 'LO', joinedTokensOf).some(
    ({ word, isLikely }) => isLikely && /\d/.test(word) && identifiers.words.has(word),
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

const checkUids = (elements: readonly SeenElement[], { uids }: StudyIdentifiers, add: Add): void => {
  for (const one of elements) {
    const isUid = one.vr === 'UI' || vrOf(one.tag) === 'UI';
    if (!isUid || (one.tag >>> 16 === 2 && one.tag !== T.mediaInstance)) continue;
    for (const uid of textOf(one).split('\\'))
      if (uid !== '' && (uids.has(uid) || !(isWellKnownUid(uid) || /^2\.25\.\d+$/.test(uid)))) add('uid', one.path);
  }
};

const checkAge = (elements: readonly SeenElement[], add: Add): void => {
  for (const one of elements) if (one.tag === T.age && !/^(?:|0[0-8]\d[DWMY]|090Y|\d{3}[DWM])$/.test(textOf(one))) add('age', one.path);
};

const CODE = { value: tagOf('CodeValue'), long: tagOf('LongCodeValue'), scheme: tagOf('CodingSchemeDesignator') };

/** Every item that holds a code holds a public one, and the dataset itself holds none. */
const checkCodes = (elements: readonly SeenElement[], add: Add): void => {
  const items = new Map<string, Map<number, string>>();
  for (const one of elements) {
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
const checkBytes = (result: SeenFile, { search }: StudyMemory, add: Add): void => {
  for (const [i, region] of result.withoutPixels.entries())
    if (search(region.bytes, (index) => isInNumbers(result, region, index)))
      add('byte', i === 0 ? 'before the pixels' : 'behind the pixels');
  const pixels = find(result, T.pixels);
  if (pixels !== undefined && placesForNotes(pixels).some((place) => search(place))) add('byte', '(7FE0,0010)');
};

/** Whether a byte of a region belongs to a value that is all numbers. */
const isInNumbers = ({ pieces, starts, withoutPixels }: SeenFile, { start, of }: Region, index: number): boolean => {
  const isInflated = withoutPixels.some((region) => region.of === 'inflated');
  return pieces.some(({ tag, elements }, i) => {
    if (isInflated && (tag >>> 16 === 2) !== (of === 'file')) return false;
    return elements.some(({ vr, at, value }) => {
      const from = (starts[i] ?? 0) + at - start;
      return (vr === 'UI' || vr === 'DS' || vr === 'IS') && index >= from && index < from + value.length;
    });
  });
};

interface StudyMemory {
  size: number;
  expected: Expected;
  search: ReturnType<typeof byteSearch>;
  /** Whether a value identifies, by valueKey. */
  judged: Map<string, boolean>;
  /** Whether a date or time is one of the source's, moved. */
  times: Map<string, boolean>;
  /** The last file without a finding. */
  last: { seen: SeenFile; charset: string } | undefined;
}

const memories = new WeakMap<StudyIdentifiers, StudyMemory>();

const isSameExpectation = (a: Expected, b: Expected): boolean =>
  a.profile === b.profile && a.pseudonym === b.pseudonym && a.shiftDays === b.shiftDays && a.timeOffsetUs === b.timeOffsetUs;

/** One per study; made anew when identifiers were added, or something else is expected. */
const memoryOf = (expected: Expected): StudyMemory => {
  const { words, numbers, stems, byteForms, uids } = expected.identifiers;
  const size = words.size + numbers.size + stems.size + byteForms.size + uids.size;
  const known = memories.get(expected.identifiers);
  if (known?.size === size && isSameExpectation(known.expected, expected)) return known;
  const search = byteSearch([...byteForms, ...uids]);
  const memory: StudyMemory = { size, expected, search, judged: new Map(), times: new Map(), last: undefined };
  memories.set(expected.identifiers, memory);
  return memory;
};

const checkPixels = ({ pixels }: Source, result: SeenFile, add: Add): void => {
  const after = find(result, T.pixels);
  // Only we write offset tables, and they are empty.
  const hasTable = after?.fragments !== undefined && after.value.length > 0;
  if (pixels === undefined || after === undefined || hasTable || !samePixels(pixels, after) || !isBareStream(after, result.syntax))
    add('pixels', '(7FE0,0010)');
};
