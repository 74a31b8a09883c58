// `ctstream verify ORIGINAL OUT`: the verifier alone, for somebody who did not make OUT and has no vault. What only
// the patient's secret could tell (the pseudonym, the shift) is checked to be one and the same instead.
import { readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { formatTag, TAG } from '../dicom/dictionary.ts';
import type { Dataset } from '../dicom/model.ts';
import { readDicom } from '../dicom/read.ts';
import { text, texts } from '../dicom/values.ts';
import { parseDate, parseTime } from './dates.ts';
import { originalsUnder } from './deid-folders.ts';
import { compileProfile } from './profile/profile.ts';
import { seenFile, pairsOf } from './verify-pairs.ts';
import type { Pair, Seen } from './verify-pairs.ts';
import { noStudyIdentifiers } from './verify/study-identifiers.ts';
import type { StudyIdentifiers } from './verify/study-identifiers.ts';
import { collectFromOriginal, verifyInstance } from './verify/verify.ts';
import type { Check } from './verify/verify.ts';

/** pseudonym: two of one patient, or one of two. shift: not whole weeks, or not one per patient. mapping: a UID has two new ones, or two have one. */
export type FolderCheck = Check | 'pseudonym' | 'shift' | 'mapping';

export interface FolderFinding {
  /** Path under OUT. */
  file: string;
  check: FolderCheck;
  /** Tag path, or where in the file; never a value. */
  where: string;
}

export interface VerifyFolderResult {
  /** Files of OUT that were compared with their original. */
  checked: number;
  findings: FolderFinding[];
  /** Files of OUT without an original: whatever they are, nobody can say that they may be there. */
  unmatched: string[];
  /** Originals of which nothing is in OUT. */
  left: number;
  seconds: number;
}

/** What can't be read is compared too, and fails. */
const filesOf = async (path: string): Promise<string[]> => {
  if (statSync(path).isFile()) return [path];
  const { files, unreadable } = await originalsUnder(path);
  return [...files, ...unreadable].map((name) => join(path, name));
};

/** Compares two folders, or two files. Throws what the file system throws. */
export const verifyFolders = async (
  originals: string,
  out: string,
  onProgress: (done: number, total: number) => void = () => undefined,
): Promise<VerifyFolderResult> => {
  const startedMs = performance.now();
  const [before, after] = [await filesOf(originals), await filesOf(out)];
  const total = before.length + 2 * after.length;
  let done = 0;
  const tick = <T>(value: T): T => {
    onProgress((done += 1), total);
    return value;
  };
  const identifiers = new Map<string, StudyIdentifiers>();
  const seenBefore = before.map((path) => tick(collected(path, identifiers)));
  const seenAfter = after.map((path) => tick(seenFile(path)));
  const { pairs, unmatched, left } = pairsOf(seenBefore, seenAfter);
  const found = findings(pairs, identifiers, (path) => relative(out, path) || path, tick);
  onProgress(total, total);
  return {
    checked: pairs.length,
    findings: found,
    unmatched: unmatched.map((path) => relative(out, path) || path),
    left: left.length,
    seconds: (performance.now() - startedMs) / 1000,
  };
};

/** An original, and what it says of the patient into the words of its study; reports and screens have words too. */
const collected = (path: string, into: Map<string, StudyIdentifiers>): Seen => {
  const seen = seenFile(path);
  const words = into.get(seen.studyUid) ?? noStudyIdentifiers();
  into.set(seen.studyUid, words);
  try {
    collectFromOriginal(readFileSync(path), words);
  } catch {
    // What the second reader can't read has no result that would be right: it is found when it is verified.
  }
  return seen;
};

interface Known {
  pseudonymOf: Map<string, string>;
  patientOf: Map<string, string>;
  shiftOf: Map<string, number>;
  /** Of the first pair of a study. */
  offsetOf: Map<string, bigint>;
  newUid: Map<string, string>;
  oldUid: Map<string, string>;
}

const findings = (
  pairs: readonly Pair[],
  identifiers: ReadonlyMap<string, StudyIdentifiers>,
  nameOf: (path: string) => string,
  tick: (value: null) => null,
): FolderFinding[] => {
  const known: Known = {
    pseudonymOf: new Map(),
    patientOf: new Map(),
    shiftOf: new Map(),
    offsetOf: new Map(),
    newUid: new Map(),
    oldUid: new Map(),
  };
  const profile = compileProfile();
  const all: FolderFinding[] = [];
  for (const { original, written } of pairs) {
    const add = (check: FolderCheck, where: string): void => void all.push({ file: nameOf(written.path), check, where });
    const [was, is] = [readFileSync(original.path), readFileSync(written.path)];
    const [before, after] = [readDicom(was).dataset, readDicom(is).dataset];
    const patient = JSON.stringify([texts(before, TAG.PatientID), text(before, TAG.IssuerOfPatientID)]);
    checkPseudonym(patient, after, known, add);
    const shiftDays = checkShift(patient, before, after, known, add);
    checkMapping(patient, before, after, known, add);
    const expected = {
      identifiers: identifiers.get(original.studyUid) ?? noStudyIdentifiers(),
      profile,
      pseudonym: known.pseudonymOf.get(patient) ?? '',
      shiftDays,
      ...timeOffset(original.studyUid, before, after, known),
    };
    for (const { check, where } of verifyInstance(was, is, expected)) add(check, where);
    tick(null);
  }
  return all;
};

type AddFinding = (check: FolderCheck, where: string) => void;

/** Whether two things belong to each other and to nothing else. */
const isOneToOne = (a: string, b: string, there: Map<string, string>, back: Map<string, string>): boolean => {
  const isSame = (there.get(a) ?? b) === b && (back.get(b) ?? a) === a;
  if (!there.has(a)) there.set(a, b);
  if (!back.has(b)) back.set(b, a);
  return isSame;
};

const checkPseudonym = (patient: string, after: Dataset, known: Known, add: AddFinding): void => {
  const pseudonym = text(after, TAG.PatientID) ?? '';
  if (pseudonym === '' || !isOneToOne(patient, pseudonym, known.pseudonymOf, known.patientOf)) add('pseudonym', '(0010,0020)');
};

const DATES = ['StudyDate', 'SeriesDate', 'AcquisitionDate', 'ContentDate'] as const;

/** Days by which the patient's dates moved: those of the patient's first date; 0 when there is none. */
const checkShift = (patient: string, before: Dataset, after: Dataset, known: Known, add: AddFinding): number => {
  const moved = DATES.flatMap((keyword) => {
    const [was, is] = [before, after].map((dataset) => parseDate(text(dataset, TAG[keyword]) ?? ''));
    return was === undefined || is === undefined ? [] : [is - was];
  });
  // A pair around midnight may move by a day more: whole weeks first.
  const shift = known.shiftOf.get(patient) ?? moved.find((days) => days % 7 === 0) ?? moved[0];
  if (shift === undefined) return 0;
  known.shiftOf.set(patient, shift);
  if (shift === 0 || shift % 7 !== 0 || moved.some((days) => Math.abs(days - shift) > 1)) add('shift', '(0008,0020)');
  return shift;
};

const DAY_US = 86_400_000_000n;
const TIMES = ['StudyTime', 'SeriesTime', 'AcquisitionTime', 'ContentTime'] as const;

/** Microseconds by which the study's times moved, by the first one that tells. */
const timeOffset = (study: string, before: Dataset, after: Dataset, known: Known): { timeOffsetUs?: bigint } => {
  for (const keyword of TIMES) {
    if (known.offsetOf.has(study)) break;
    const [was, is] = [before, after].map((dataset) => parseTime(text(dataset, TAG[keyword]) ?? ''));
    if (was !== undefined && is !== undefined) known.offsetOf.set(study, (is - was + DAY_US) % DAY_US);
  }
  const offset = known.offsetOf.get(study);
  return offset === undefined ? {} : { timeOffsetUs: offset };
};

const UIDS = [TAG.StudyInstanceUID, TAG.SeriesInstanceUID, TAG.FrameOfReferenceUID, TAG.SOPInstanceUID] as const;

/** Each UID of a patient has one new one, and no new one stands for two. */
const checkMapping = (patient: string, before: Dataset, after: Dataset, known: Known, add: AddFinding): void => {
  for (const tag of UIDS) {
    const [was, is] = [text(before, tag), text(after, tag)];
    if (was === undefined && is === undefined) continue;
    const isMapped = was !== undefined && is !== undefined && isOneToOne(`${patient} ${was}`, is, known.newUid, known.oldUid);
    // A well-known frame is the same for everybody.
    if (!isMapped && was !== is) add('mapping', formatTag(tag));
  }
};
