// Well-known UIDs of the standard, their validity, and new ones under 2.25 (PS3.5 Annex B).
import { UIDS } from './uid.gen.ts';

/** SOP classes that chest CT studies hold or that ctstream writes (PS3.4 Annex B). */
export const SOP_CLASS = {
  CTImageStorage: '1.2.840.10008.5.1.4.1.1.2',
  EnhancedCTImageStorage: '1.2.840.10008.5.1.4.1.1.2.1',
  LegacyConvertedEnhancedCTImageStorage: '1.2.840.10008.5.1.4.1.1.2.2',
  MRImageStorage: '1.2.840.10008.5.1.4.1.1.4',
  ComputedRadiographyImageStorage: '1.2.840.10008.5.1.4.1.1.1',
  DigitalXRayImageStorageForPresentation: '1.2.840.10008.5.1.4.1.1.1.1',
  PositronEmissionTomographyImageStorage: '1.2.840.10008.5.1.4.1.1.128',
  SecondaryCaptureImageStorage: '1.2.840.10008.5.1.4.1.1.7',
  MultiFrameSingleBitSecondaryCaptureImageStorage: '1.2.840.10008.5.1.4.1.1.7.1',
  MultiFrameGrayscaleByteSecondaryCaptureImageStorage: '1.2.840.10008.5.1.4.1.1.7.2',
  MultiFrameGrayscaleWordSecondaryCaptureImageStorage: '1.2.840.10008.5.1.4.1.1.7.3',
  MultiFrameTrueColorSecondaryCaptureImageStorage: '1.2.840.10008.5.1.4.1.1.7.4',
  GrayscaleSoftcopyPresentationStateStorage: '1.2.840.10008.5.1.4.1.1.11.1',
  ColorSoftcopyPresentationStateStorage: '1.2.840.10008.5.1.4.1.1.11.2',
  PseudoColorSoftcopyPresentationStateStorage: '1.2.840.10008.5.1.4.1.1.11.3',
  BlendingSoftcopyPresentationStateStorage: '1.2.840.10008.5.1.4.1.1.11.4',
  RawDataStorage: '1.2.840.10008.5.1.4.1.1.66',
  SpatialRegistrationStorage: '1.2.840.10008.5.1.4.1.1.66.1',
  SegmentationStorage: '1.2.840.10008.5.1.4.1.1.66.4',
  BasicTextSRStorage: '1.2.840.10008.5.1.4.1.1.88.11',
  EnhancedSRStorage: '1.2.840.10008.5.1.4.1.1.88.22',
  ComprehensiveSRStorage: '1.2.840.10008.5.1.4.1.1.88.33',
  Comprehensive3DSRStorage: '1.2.840.10008.5.1.4.1.1.88.34',
  KeyObjectSelectionDocumentStorage: '1.2.840.10008.5.1.4.1.1.88.59',
  ChestCADSRStorage: '1.2.840.10008.5.1.4.1.1.88.65',
  XRayRadiationDoseSRStorage: '1.2.840.10008.5.1.4.1.1.88.67',
  EncapsulatedPDFStorage: '1.2.840.10008.5.1.4.1.1.104.1',
  EncapsulatedCDAStorage: '1.2.840.10008.5.1.4.1.1.104.2',
  RTDoseStorage: '1.2.840.10008.5.1.4.1.1.481.2',
  RTStructureSetStorage: '1.2.840.10008.5.1.4.1.1.481.3',
  RTPlanStorage: '1.2.840.10008.5.1.4.1.1.481.5',
  MediaStorageDirectoryStorage: '1.2.840.10008.1.3.10',
  VerificationSOPClass: '1.2.840.10008.1.1',
} as const;

/** ctstream's own implementation class (PS3.7 D.3.3.2), fixed for ever. */
export const IMPLEMENTATION_CLASS_UID = '2.25.103807803236506075192053146040450122084';
export const IMPLEMENTATION_VERSION_NAME = 'CTSTREAM_01';

export interface KnownUid {
  readonly keyword: string;
  /** `SOP Class`, `Transfer Syntax`, `Coding Scheme`, ... as PS3.6 Table A-1 says it. */
  readonly type: string;
  readonly name: string;
  readonly retired: boolean;
}

const KNOWN: ReadonlyMap<string, KnownUid> = new Map(
  UIDS.trim()
    .split('\n')
    .map((line) => {
      const [uid = '', keyword = '', type = '', retired = '', name = ''] = line.split('|');
      return [uid, { keyword, type, name, retired: retired === 'R' }];
    }),
);

/** Coding schemes that have a UID outside the DICOM root (PS3.16 Table 8-1). */
const FOREIGN_CODING_SCHEMES: ReadonlySet<string> = new Set([
  '2.16.840.1.113883.6.96', // SCT, SNOMED CT
  '2.16.840.1.113883.6.1', // LN, LOINC
  '2.16.840.1.113883.6.8', // UCUM
  '2.16.840.1.113883.6.256', // RADLEX
  '2.16.840.1.113883.6.3', // I10, ICD-10
  '2.16.840.1.113883.6.12', // C4, CPT-4
  '2.16.840.1.113883.6.90', // I10C
  '2.16.840.1.113883.6.24', // MDC
  '2.16.840.1.113883.6.119', // FMA
  '2.16.840.1.113883.3.26.1.1', // NCIt
  '2.16.840.1.113883.6.86', // UMLS
]);

/** Context groups are numbered with every edition (PS3.6 Table A-3); four digits at most so far. */
const CONTEXT_GROUP = /^1\.2\.840\.10008\.6\.1\.[1-9]\d{0,3}$/;

/** What PS3.6 says of a UID; trailing NUL or space must be off. */
export function knownUid(uid: string): KnownUid | undefined {
  return KNOWN.get(uid);
}

/**
 * Whether the standard itself gave this UID (SOP classes, syntaxes, coding schemes, well-known frames and
 * instances, context groups). Anything else under the DICOM root is not taken for well known: fail closed.
 */
export function isWellKnownUid(uid: string): boolean {
  return KNOWN.has(uid) || FOREIGN_CODING_SCHEMES.has(uid) || CONTEXT_GROUP.test(uid);
}

/** Up to 64 characters, components of digits without leading zero (PS3.5 9.1). */
export function isValidUid(uid: string): boolean {
  return uid.length <= 64 && /^(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+$/.test(uid);
}

/**
 * `2.25.<decimal>` of a 128-bit number, big endian (PS3.5 B.2). B.2 means a UUID: the version and variant
 * bits are set to 8 (RFC 9562: free form), so that 122 of the given bits count.
 */
export function uidFromBytes(bytes: Uint8Array): string {
  if (bytes.length !== 16) throw new RangeError('a UID is made from 16 bytes');
  let value = 0n;
  bytes.forEach((byte, i) => {
    const set = i === 6 ? (byte & 0x0f) | 0x80 : i === 8 ? (byte & 0x3f) | 0x80 : byte;
    value = (value << 8n) | BigInt(set);
  });
  return `2.25.${value}`;
}
