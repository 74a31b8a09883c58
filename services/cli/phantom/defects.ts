// The ways in which a phantom study can be wrong, one name each, and what each is there to show.

export const DEFECTS = {
  tilt: 'gantry tilted 7 degrees: slices are sheared against each other',
  oblique: 'slices 15 degrees off the axial plane',
  gap: 'one slice in the middle of each axial series is missing',
  'variable-spacing': 'the upper half of each axial series has one and a half times the distance',
  'duplicate-slice': 'one position twice in each axial series, with another SOP Instance UID',
  padding: 'pixel padding value outside the reconstruction circle (not an error)',
  'burned-in-text': 'identity drawn into the axial slices, Burned In Annotation YES',
  'burned-in-text-undeclared': 'identity drawn into the axial slices, nothing says so',
  'mixed-patients': 'the second half of each axial series names another patient',
  'no-patient-identity': 'Patient ID is empty',
  truncated: 'one axial file ends in the middle',
  'empty-uid': 'Study, Series and SOP Instance UIDs are empty',
  'no-pixels': 'axial slices without Pixel Data',
  'not-dicom': 'a text file with the name of a slice',
  contrast: 'contrast agent given, vessels bright',
  'contrast-uncertain': 'agent said to be none, contrast sequence present',
  'short-coverage': '150 mm only: lungs are cut at both ends',
  lossy: 'Lossy Image Compression 01, though stored uncompressed',
  'embedded-overlay': 'an overlay in the unused bits of the pixels',
} as const;

export type Defect = keyof typeof DEFECTS;

export const DEFECT_NAMES = Object.keys(DEFECTS) as Defect[];

/** Whether a word that somebody typed names a defect. */
export function isDefect(word: string): word is Defect {
  return Object.hasOwn(DEFECTS, word);
}
