// What a de-identified file says of itself: PatientIdentityRemoved, the method and its codes (PS3.15
// E.1.1, PS3.16 CID 7050).
import { TAG } from '../dicom/dictionary.ts';
import { element, sequence } from '../dicom/values.ts';
import { newDataset, withElements } from '../dicom/write.ts';
import type { Dataset, Element } from '../dicom/model.ts';

/** Each value within 64 characters (LO). The restriction of 113108 has to be said. */
export const DEIDENTIFICATION_METHOD: readonly string[] = [
  'ctstream: DICOM PS3.15 2026d Annex E, options by code',
  'Patient characteristics kept: age, sex, size, weight only',
  'Dates moved by whole weeks; times start at 12:00',
  'Images with burned-in text are refused, not altered',
];

const CODES: readonly (readonly [value: string, meaning: string])[] = [
  ['113100', 'Basic Application Confidentiality Profile'],
  ['113101', 'Clean Pixel Data Option'],
  ['113105', 'Clean Descriptors Option'],
  ['113107', 'Retain Longitudinal Temporal Information Modified Dates Option'],
  ['113108', 'Retain Patient Characteristics Option'],
  ['113111', 'Retain Safe Private Option'],
];

/** Every value that stands in an item of DeidentificationMethodCodeSequence. */
export const METHOD_CODE_TEXTS: ReadonlySet<string> = new Set(['DCM', ...CODES.flat()]);

/** The elements, for a dataset of this byte order and VR form. */
export const methodElements = (like: Dataset): readonly Element[] => {
  const { littleEndian, explicitVr, charset } = like;
  const items = CODES.map(([value, meaning]) =>
    withElements(newDataset({ littleEndian, explicitVr, charset }), [
      element(TAG.CodeValue, 'SH', value, like),
      element(TAG.CodingSchemeDesignator, 'SH', 'DCM', like),
      element(TAG.CodeMeaning, 'LO', meaning, like),
    ]),
  );
  return [
    element(TAG.PatientIdentityRemoved, 'CS', 'YES', like),
    element(TAG.DeidentificationMethod, 'LO', DEIDENTIFICATION_METHOD, like),
    sequence(TAG.DeidentificationMethodCodeSequence, items),
    element(TAG.LongitudinalTemporalInformationModified, 'CS', 'MODIFIED', like),
  ];
};
