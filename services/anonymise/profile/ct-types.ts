// What PS3.3 A.3 (CT Image IOD) and its modules ask of an attribute that Table E.1-1 names: type 1
// needs a value, type 2 may be empty, everything else may go. Resolves the conditional actions (X/Z/D).

export type AttributeType = 1 | 2 | 3;

// Conditional types count as what they ask when their condition holds. Only attributes of the top
// level and of sequences that we keep; anything not named here is type 3 in a CT image.
const TYPE_1 = [
  'SOPClassUID',
  'SOPInstanceUID',
  'StudyInstanceUID',
  'SeriesInstanceUID',
  'FrameOfReferenceUID',
  'Modality',
  'ImageType',
  'ReferencedSOPClassUID',
  'ReferencedSOPInstanceUID',
  'CodeValue',
  'CodeMeaning',
  'CodingSchemeDesignator',
  'MediaStorageSOPInstanceUID',
  'MediaStorageSOPClassUID',
] as const;

const TYPE_2 = [
  'PatientName',
  'PatientID',
  'PatientBirthDate',
  'PatientSex',
  'StudyDate',
  'StudyTime',
  'StudyID',
  'AccessionNumber',
  'ReferringPhysicianName',
  'Manufacturer',
  'SeriesNumber',
  'InstanceNumber',
  'AcquisitionNumber',
  'PositionReferenceIndicator',
  'ContrastBolusAgent',
  'KVP',
  'SliceThickness',
  'Laterality',
  'ContentDate',
  'ContentTime',
  'PatientOrientation',
] as const;

const types: ReadonlyMap<string, AttributeType> = new Map<string, AttributeType>([
  ...TYPE_1.map((keyword): [string, AttributeType] => [keyword, 1]),
  ...TYPE_2.map((keyword): [string, AttributeType] => [keyword, 2]),
]);

/** The type of an attribute in a CT image, by keyword; 3 when the IOD can do without it. */
export const ctTypeOf = (keyword: string | undefined): AttributeType => (keyword === undefined ? undefined : types.get(keyword)) ?? 3;
