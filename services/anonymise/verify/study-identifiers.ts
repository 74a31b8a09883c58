// What must not be found: every word, number and UID of the originals that says who or where. Gathered
// by the verifier from the originals themselves, not taken from the de-identifier.
import { tagOf } from '../../dicom/dictionary.ts';
import { isWellKnownUid } from '../../dicom/uid.ts';
import { tokensOf } from '../clean-text.ts';
import { MIN_UNLIKELY, wordsOf } from '../decoding.ts';
import { ALWAYS_NEW } from '../value-key.ts';
import type { FirstSight } from '../value-key.ts';
import { MANUFACTURERS, UNITS, VOCABULARY } from '../vocabulary.ts';
import type { SeenElement, SeenFile } from './second-reader.ts';
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
const BIRTH_DATE = tagOf('PatientBirthDate');
/** Letters and digits from which on a word is looked for anywhere in the bytes. */
const MIN_LETTERS = 6;
const MIN_DIGITS = 8;

export interface StudyIdentifiers {
  /** Folded words, from two letters on: a single one is an initial. */
  words: Set<string>;
  /** Stems of longer names, for other endings. */
  stems: Set<string>;
  /** Original UIDs that are not well known. */
  uids: Set<string>;
  /** Byte strings that may stand nowhere. */
  byteForms: Set<string>;
}

export const noStudyIdentifiers = (): StudyIdentifiers => ({ words: new Set(), stems: new Set(), uids: new Set(), byteForms: new Set() });

/** Adds what one original says, dropped instances included: a dose report names the patient too. */
export const addIdentifiers = (
  file: SeenFile,
  charset: readonly string[],
  into: StudyIdentifiers,
  isNew: FirstSight = ALWAYS_NEW,
): void => {
  for (const element of file.elements) {
    const { tag, vr, value } = element;
    const isPerson = vr === 'PN';
    if (tag >>> 16 === 2 || !(vr === 'UI' || isPerson || tag === BIRTH_DATE || IDENTIFYING.has(tag))) continue;
    if (!isNew(tag, vr, charset, value)) continue;
    if (vr === 'UI') addUids(element, into);
    else addWords(element, charset, into, isPerson);
  }
};

const addUids = (element: SeenElement, into: StudyIdentifiers): void => {
  for (const value of latin1(element.value).split('\\')) {
    const uid = value.replace(/[\0 ]+$/, '');
    if (uid.length >= MIN_DIGITS && !isWellKnownUid(uid)) into.uids.add(uid);
  }
};

const addWords = (element: SeenElement, charset: readonly string[], into: StudyIdentifiers, isPerson: boolean): void => {
  for (const { word, isLikely } of wordsOf(element.value, charset, 'LO', tokensOf)) {
    if (into.words.has(word) || (isPerson ? word.length < 2 : isNoName(word)) || (!isLikely && word.length < MIN_UNLIKELY)) continue;
    for (const spelling of [word, ...transliterations(word)]) addSpelling(spelling, into);
  }
};

// Ids and places contain clinical words and short numbers that every header has; alone they name nobody.
const isNoName = (word: string): boolean =>
  VOCABULARY.has(word) || UNITS.has(word) || MANUFACTURERS.has(word) || (/^\d+$/.test(word) ? word.length < 3 : word.length < 2);

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

export const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
