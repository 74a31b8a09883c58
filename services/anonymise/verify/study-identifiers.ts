// What must not be found: every word, number and UID of the originals that says who or where. Gathered
// by the verifier from the originals themselves, not taken from the de-identifier.
import { withoutPad } from '../../dicom/charset.ts';
import { tagOf, vrOf } from '../../dicom/dictionary.ts';
import { isWellKnownUid } from '../../dicom/uid.ts';
import { tokensOf } from '../clean-text.ts';
import { MIN_UNLIKELY, wordsOf } from '../decoding.ts';
import { namingNumbers } from '../keep-check.ts';
import { spokenAs } from '../name-forms.ts';
import { ALWAYS_NEW } from '../value-key.ts';
import type { FirstSight } from '../value-key.ts';
import { fold, MANUFACTURERS, UNITS, VOCABULARY } from '../vocabulary.ts';
import { latin1 } from './second-reader.ts';
import type { SeenElement, SeenPiece } from './second-reader.ts';
import { byteForms, stemOf, transliterations } from './spellings.ts';

/** Attributes whose words identify; every PN does as well. */
const IDENTIFYING: ReadonlySet<number> = new Set(
  [
    'PatientID',
    'IssuerOfPatientID',
    'OtherPatientIDs',
    'PatientAddress',
    'PatientTelephoneNumbers',
    'PatientTelecomInformation',
    'MedicalRecordLocator',
    'InsurancePlanIdentification',
    'AccessionNumber',
    'StudyID',
    'InstitutionName',
    'InstitutionAddress',
    'InstitutionalDepartmentName',
    'StationName',
    'DeviceSerialNumber',
    'RetrieveAETitle',
    'StationAETitle',
    'ReferringPhysicianAddress',
    'ReferringPhysicianTelephoneNumbers',
    'RequestedProcedureID',
    'ScheduledProcedureStepID',
    'PerformedProcedureStepID',
    'PlacerOrderNumberImagingServiceRequest',
    'FillerOrderNumberImagingServiceRequest',
    'AdmissionID',
    'ServiceEpisodeID',
    'PerformedStationName',
    'PerformedStationAETitle',
    'ScheduledStationName',
    'ScheduledStationAETitle',
    'PerformedLocation',
    'DeviceUID',
    'PersonAddress',
    'PersonTelephoneNumbers',
    'RegionOfResidence',
    'CountryOfResidence',
    'CurrentPatientLocation',
    'PatientInstitutionResidence',
    'RequestingService',
    'ScheduledStudyLocation',
    'GantryID',
    'DetectorID',
    'GeneratorID',
    'CassetteID',
    'PlateID',
    'ResponsibleOrganization',
    'PatientReligiousPreference',
    'ClinicalTrialSubjectID',
    'ClinicalTrialSiteName',
    'ClinicalTrialSiteID',
    'ClinicalTrialSponsorName',
    'ClinicalTrialProtocolID',
  ].map(tagOf),
);
const PATIENT_IDS: ReadonlySet<number> = new Set(['PatientID', 'OtherPatientIDs', 'MedicalRecordLocator'].map(tagOf));
const wholeOf = (text: string): string[] => text.split('\\').map((id) => fold(id).replaceAll(/[^\p{L}\p{M}\p{N}]/gu, ''));
const BIRTH_DATE = tagOf('PatientBirthDate');
/** Letters and digits from which on a word is looked for anywhere in the bytes. */
const MIN_LETTERS = 6;
const MIN_DIGITS = 8;

export interface StudyIdentifiers {
  /** Folded words, from two letters on: a single one is an initial. */
  words: Set<string>;
  /** Digits that no number may be (keep-check.ts). */
  numbers: Set<string>;
  /** Stems of longer names, for other endings. */
  stems: Set<string>;
  /** Original UIDs that are not well known. */
  uids: Set<string>;
  /** Byte strings that may stand nowhere. */
  byteForms: Set<string>;
}

export const noStudyIdentifiers = (): StudyIdentifiers => ({
  words: new Set(),
  numbers: new Set(),
  stems: new Set(),
  uids: new Set(),
  byteForms: new Set(),
});

/** Adds what pieces of an original say, of dropped instances too: a dose report names the patient as well. */
export const addIdentifiers = (
  pieces: readonly SeenPiece[],
  charset: readonly string[],
  into: StudyIdentifiers,
  isNew: FirstSight = ALWAYS_NEW,
): void => {
  for (const element of pieces.flatMap(({ elements }) => elements)) {
    const { tag, vr, value } = element;
    // A name and a UID are what they are whatever VR the file states: some archives write UN.
    const isPerson = vr === 'PN' || vrOf(tag) === 'PN';
    const isUid = vr === 'UI' || vrOf(tag) === 'UI';
    if (tag >>> 16 === 2 || !(isUid || isPerson || tag === BIRTH_DATE || IDENTIFYING.has(tag))) continue;
    if (!isNew(tag, vr, charset, value)) continue;
    if (isUid) addUids(element, into);
    else addWords(element, charset, into, isPerson);
    // An id of clinical words and short numbers names somebody as a whole: CHEST-1.
    if (PATIENT_IDS.has(tag))
      for (const { word } of wordsOf(value, charset, 'LO', wholeOf)) if (/^(?=.*\d)(?=.*\p{L}).{4,}$/u.test(word)) into.words.add(word);
  }
};

const addUids = (element: SeenElement, into: StudyIdentifiers): void => {
  for (const value of latin1(element.value).split('\\')) {
    const uid = withoutPad(value);
    if (uid.length >= MIN_DIGITS && !isWellKnownUid(uid)) into.uids.add(uid);
  }
};

const addWords = (element: SeenElement, charset: readonly string[], into: StudyIdentifiers, isPerson: boolean): void => {
  const read = wordsOf(element.value, charset, 'LO', tokensOf);
  for (const number of namingNumbers(
    read.map(({ word }) => word),
    isPerson || PATIENT_IDS.has(element.tag),
  ))
    into.numbers.add(number);
  for (const { word, isLikely } of read) {
    // A word that is in may be there as a place's, or as another form of a name.
    if ((!isPerson && into.words.has(word)) || (isPerson ? isNobody(word) : isNoName(word)) || (!isLikely && word.length < MIN_UNLIKELY))
      continue;
    for (const spelling of [word, ...transliterations(word)]) addSpelling(spelling, into);
    if (isPerson) for (const form of spokenAs(word)) into.words.add(form);
  }
};

// Ids and places contain clinical words and short numbers that every header has; alone they name nobody.
const isNoName = (word: string): boolean =>
  VOCABULARY.has(word) || UNITS.has(word) || MANUFACTURERS.has(word) || (/^\d+$/.test(word) ? word.length < 3 : word.length < 2);

/** An initial, or two digits: those stand in every header. */
const isNobody = (word: string): boolean => word.length < 2 || /^\d\d$/.test(word);

const addSpelling = (word: string, into: StudyIdentifiers): void => {
  into.words.add(word);
  const stem = stemOf(word);
  if (stem !== undefined) into.stems.add(stem);
  // Public words stand in makers and code strings of every header; by element they are still looked for.
  if (VOCABULARY.has(word) || MANUFACTURERS.has(word)) return;
  const letters = word.replace(/[^\p{L}]/gu, '').length;
  if (letters >= MIN_LETTERS || (/^\d+$/.test(word) && word.length >= MIN_DIGITS))
    for (const form of byteForms(word)) into.byteForms.add(form);
};
