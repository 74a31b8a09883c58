// Pass two, one instance: de-identify, write, read again with the other parser, compare.
import type { DicomFile } from '../dicom/model.ts';
import { readDicom } from '../dicom/read.ts';
import { TAG } from '../dicom/dictionary.ts';
import { text } from '../dicom/values.ts';
import { writeDicom, writeDicomParts } from '../dicom/write.ts';
import { isClosedTag } from './closed-values.ts';
import { deidentifyInstance, headersOf } from './deidentify.ts';
import type { StudySubject } from './deidentify.ts';
import { dispositionOf } from './disposition.ts';
import { Refusal } from './refusal.ts';
import { verifyInstance } from './verify/verify.ts';
import type { Finding } from './verify/verify.ts';
import type { SourceFacts } from './verify/source-facts.ts';
import type { StudyIdentifiers } from './verify/study-identifiers.ts';

export interface CleanInstance {
  bytes: Uint8Array;
  /** Research UIDs. */
  sopInstanceUid: string;
  seriesInstanceUid: string;
  sopClassUid: string;
  transferSyntaxUid: string;
  modality: string;
  /** Attributes whose value was none of their closed list, so that they were emptied. */
  emptied: number;
  /** Any finding holds the study. */
  findings: readonly Finding[];
}

/** Gives so many bytes to write into. New ones each time cost more than all checks of a header. */
export type Room = (size: number) => Uint8Array;

export interface CleanOptions {
  room?: Room;
  /** What the survey judged to stay: the file that it read from these very bytes, or these bytes by their hash. Not given when they may be others. */
  judged?: DicomFile | 'these bytes' | undefined;
}

const joinedIn = (room: Room, parts: readonly Uint8Array[]): Uint8Array => {
  const bytes = room(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
};

/** What the verifier finds in a result of `original`, made just now or in an earlier run. */
export const findingsIn = (
  original: Uint8Array,
  written: Uint8Array,
  { identity, clock, profile }: StudySubject,
  identifiers: StudyIdentifiers,
  facts?: SourceFacts,
): readonly Finding[] => {
  const timeOffsetUs = clock.start === undefined ? 'unknown' : clock.timeOffsetUs;
  const expected = { identifiers, profile, pseudonym: identity.pseudonym, shiftDays: clock.shiftDays, timeOffsetUs } as const;
  return verifyInstance(original, written, expected, facts);
};

/** The survey judged a file of this name; that it is this one is not taken on trust. Compressed pixels were decoded there. */
const judge = (source: DicomFile): void => {
  const isNative = source.dataset.elements.get(TAG.PixelData)?.fragments === undefined;
  const disposition = isNative ? dispositionOf(source) : dispositionOf(source, 'before');
  if (disposition.kind === 'dropped') throw new Refusal(disposition.code, 'an instance that may not cross the boundary');
};

/** The instance as it may be published once it has no findings; `facts` are the survey's of this original. Throws Refusal and DicomError. */
export const cleanInstance = (
  original: Uint8Array,
  subject: StudySubject,
  verifierIdentifiers: StudyIdentifiers,
  facts?: SourceFacts,
  { room, judged }: CleanOptions = {},
): CleanInstance => {
  const source = typeof judged === 'object' ? judged : readDicom(original, {}, headersOf(subject));
  if (judged === undefined) judge(source);
  const file = deidentifyInstance(source, subject);
  const bytes = room === undefined ? writeDicom(file) : joinedIn(room, writeDicomParts(file));
  const findings = findingsIn(original, bytes, subject, verifierIdentifiers, facts);
  const value = (tag: number): string => text(file.dataset, tag) ?? '';
  return {
    bytes,
    sopInstanceUid: value(TAG.SOPInstanceUID),
    seriesInstanceUid: value(TAG.SeriesInstanceUID),
    sopClassUid: value(TAG.SOPClassUID),
    transferSyntaxUid: file.transferSyntaxUid,
    modality: value(TAG.Modality),
    emptied: [...file.dataset.elements.values()].filter(
      ({ tag, value: after }) => isClosedTag(tag) && after.length === 0 && (source.dataset.elements.get(tag)?.value.length ?? 0) > 0,
    ).length,
    findings,
  };
};
