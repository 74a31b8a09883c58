// First look at an instance, before anything changes: whose it is, when it was made, and every word
// that names this patient or the place. The whole study is surveyed before its first file is written.
import { TAG, vrOf } from '../dicom/dictionary.ts';
import { items, text, texts } from '../dicom/values.ts';
import type { Dataset, Element, Vr } from '../dicom/model.ts';
import { isTextVr } from '../dicom/vr.ts';
import { tokensOf } from './clean-text.ts';
import { ageAt, parseDate, parseTime, safeAge } from './dates.ts';
import type { Moment } from './dates.ts';
import { MIN_UNLIKELY, wordsOf } from './decoding.ts';
import type { ReadWord } from './decoding.ts';
import type { StatedIdentity } from './identity.ts';
import { namingNumbers } from './keep-check.ts';
import { spokenAs } from './name-forms.ts';
import type { Profile } from './profile/profile.ts';
import { ALWAYS_NEW } from './value-key.ts';
import type { FirstSight } from './value-key.ts';
import { MANUFACTURERS, UNITS, VOCABULARY } from './vocabulary.ts';

/** What a patient's file says of the patient: raw values, clinical zone only. */
export const statedIdentity = (dataset: Dataset): StatedIdentity => ({
  patientIds: texts(dataset, TAG.PatientID),
  issuer: issuerOf(dataset),
  others: items(dataset, TAG.OtherPatientIDsSequence).flatMap((item) => {
    const id = text(item, TAG.PatientID);
    const issuer = issuerOf(item);
    return id !== undefined && issuer !== undefined ? [{ id, issuer }] : [];
  }),
});

const issuerOf = (dataset: Dataset): string | undefined => {
  const qualifiers = items(dataset, TAG.IssuerOfPatientIDQualifiersSequence)[0];
  return text(dataset, TAG.IssuerOfPatientID) ?? (qualifiers ? text(qualifiers, TAG.UniversalEntityID) : undefined);
};

const PAIRS: readonly (readonly [date: number, time: number])[] = [
  [TAG.StudyDate, TAG.StudyTime],
  [TAG.SeriesDate, TAG.SeriesTime],
  [TAG.AcquisitionDate, TAG.AcquisitionTime],
  [TAG.ContentDate, TAG.ContentTime],
];

/** When the study began, by this instance: the earliest of its times. */
export const startOf = (dataset: Dataset): Moment | undefined => {
  const pairs = PAIRS.map(([date, time]) => momentOf(text(dataset, date) ?? '', text(dataset, time) ?? ''));
  const stamp = /^(\d{8})(\d{2}[\d.]*)/.exec(text(dataset, TAG.AcquisitionDateTime) ?? '');
  const moments = [...pairs, momentOf(stamp?.[1] ?? '', stamp?.[2] ?? '')].filter((moment) => moment !== undefined);
  let first: Moment | undefined;
  for (const moment of moments) first = earlier(first, moment);
  return first;
};

const momentOf = (date: string, time: string): Moment | undefined => {
  const timeUs = parseTime(time);
  return timeUs === undefined ? undefined : { day: parseDate(date), timeUs };
};

/**
 * The earlier of two moments; a known day goes before an unknown one. Midnight to the second is what
 * consoles write for 'no time', so it counts only when nothing else does.
 */
export const earlier = (a: Moment | undefined, b: Moment | undefined): Moment | undefined => {
  if (a === undefined || b === undefined) return a ?? b;
  if ((a.timeUs === 0n) !== (b.timeUs === 0n)) return a.timeUs === 0n ? b : a;
  if (a.day === undefined || b.day === undefined) return a.day === undefined && b.day !== undefined ? b : a;
  return a.day < b.day || (a.day === b.day && a.timeUs <= b.timeUs) ? a : b;
};

/** PatientAge as it may stay, else the age from birth and study date, both before they change. */
export const ageOf = (dataset: Dataset): string | undefined => {
  const stated = safeAge(text(dataset, TAG.PatientAge) ?? '');
  if (stated !== undefined) return stated;
  const study = text(dataset, TAG.StudyDate) ?? text(dataset, TAG.SeriesDate) ?? text(dataset, TAG.AcquisitionDate);
  const computed = ageAt(text(dataset, TAG.PatientBirthDate) ?? '', study ?? '');
  return computed === undefined ? undefined : safeAge(computed);
};

const PERSON_TAGS: ReadonlySet<number> = new Set([
  TAG.PatientID,
  TAG.OtherPatientIDs,
  TAG.PatientBirthName,
  TAG.PatientMotherBirthName,
  TAG.MedicalRecordLocator,
]);

/** Folded words that name this study's people and places. */
export interface Identifiers {
  /** Names and patient ids: gone from every text, even where the vocabulary has the word. */
  person: Set<string>;
  /** Places, devices, numbers: gone unless they are clinical words. */
  other: Set<string>;
  /** Digits of both that no number may be (keep-check.ts). */
  numbers: Set<string>;
}

export const noIdentifiers = (): Identifiers => ({ person: new Set(), other: new Set(), numbers: new Set() });

/**
 * Adds the words of every attribute that does not stay, nested ones too; `isNew` says which values are not in
 * yet, `before` are elements of the top level that are in.
 */
export const collectIdentifiers = (
  dataset: Dataset,
  profile: Profile,
  into: Identifiers,
  isNew: FirstSight = ALWAYS_NEW,
  before?: ReadonlyMap<number, Element>,
): void => {
  for (const element of dataset.elements.values()) {
    if (before?.get(element.tag) === element) continue;
    for (const item of element.items ?? []) collectIdentifiers(item, profile, into, isNew);
    // A name is one whatever VR the file states for it: some archives write UN.
    const vr = vrOf(element.tag) ?? element.vr;
    const isPerson = vr === 'PN' || element.vr === 'PN' || PERSON_TAGS.has(element.tag);
    if (!isPerson && !isIdentifying(element.tag, vr, profile)) continue;
    if (!isNew(element.tag, element.vr, dataset.charset, element.value)) continue;
    const words = wordsOf(element.value, dataset.charset, vr, tokensOf);
    if (isPerson) addWords(words, into.person, isPersonWord, spokenAs);
    else addWords(words, into.other, isPlaceWord);
    for (const number of namingNumbers(
      words.map(({ word }) => word),
      isPerson,
    ))
      into.numbers.add(number);
  }
};

const isIdentifying = (tag: number, vr: Vr, profile: Profile): boolean => {
  if (!isTextVr(vr) || vr === 'UI' || vr === 'CS') return false;
  const action = profile.ruleOf(tag)?.action;
  if (tag === TAG.PatientBirthDate) return true;
  if (vr === 'DS' || vr === 'IS' || vr === 'DA' || vr === 'TM' || vr === 'DT') return false;
  return action === 'remove' || action === 'empty' || action === 'dummy';
};

const addWords = (
  words: readonly ReadWord[],
  into: Set<string>,
  isWord: (word: string) => boolean,
  others: (word: string) => readonly string[] = () => [],
): void => {
  for (const { word, isLikely } of words) {
    if (!isWord(word) || (!isLikely && word.length < MIN_UNLIKELY)) continue;
    for (const one of [word, ...others(word)]) into.add(one);
  }
};

// One letter is an initial: cleaning drops capitals that stand alone anyway.
const isPersonWord = (word: string): boolean => word.length > 1 || /^\d$/.test(word);
const isPlaceWord = (word: string): boolean =>
  word.length >= (/^\d+$/.test(word) ? 3 : 2) && !VOCABULARY.has(word) && !UNITS.has(word) && !MANUFACTURERS.has(word);
