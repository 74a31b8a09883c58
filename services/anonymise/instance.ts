// Pass two, one instance: de-identify, write, read again with the other parser, compare.
import { readDicom } from '../dicom/read.ts';
import { TAG } from '../dicom/dictionary.ts';
import { text } from '../dicom/values.ts';
import { writeDicom } from '../dicom/write.ts';
import { deidentifyInstance } from './deidentify.ts';
import type { StudySubject } from './deidentify.ts';
import { verifyInstance } from './verify/verify.ts';
import type { Finding } from './verify/verify.ts';
import type { StudyIdentifiers } from './verify/study-identifiers.ts';

export interface CleanInstance {
  bytes: Uint8Array;
  /** Research UIDs. */
  sopInstanceUid: string;
  seriesInstanceUid: string;
  sopClassUid: string;
  transferSyntaxUid: string;
  modality: string;
  /** Any finding holds the study. */
  findings: readonly Finding[];
}

/** The instance as it may be published once it has no findings. Throws Refusal and DicomError. */
export const cleanInstance = (original: Uint8Array, subject: StudySubject, verifierIdentifiers: StudyIdentifiers): CleanInstance => {
  const file = deidentifyInstance(readDicom(original), subject);
  const bytes = writeDicom(file);
  const findings = verifyInstance(original, bytes, {
    identifiers: verifierIdentifiers,
    profile: subject.profile,
    pseudonym: subject.identity.pseudonym,
    shiftDays: subject.clock.shiftDays,
  });
  const value = (tag: number): string => text(file.dataset, tag) ?? '';
  return {
    bytes,
    sopInstanceUid: value(TAG.SOPInstanceUID),
    seriesInstanceUid: value(TAG.SeriesInstanceUID),
    sopClassUid: value(TAG.SOPClassUID),
    transferSyntaxUid: file.transferSyntaxUid,
    modality: value(TAG.Modality),
    findings,
  };
};
