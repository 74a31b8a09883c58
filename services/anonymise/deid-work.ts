// The work of `ctstream deid` that any thread may do: read the heads of files, survey files of a study,
// clean them. What is known of a study stays in the thread from call to call. Knows neither vault nor rules.
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, readSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DicomError } from '../dicom/dicom-error.ts';
import { TAG } from '../dicom/dictionary.ts';
import { readDicom } from '../dicom/read.ts';
import { text } from '../dicom/values.ts';
import type { Code } from '../kernel/codes.ts';
import type { CentreId } from '../kernel/ids.ts';
import { studyClock } from './dates.ts';
import type { Moment } from './dates.ts';
import type { StudySubject } from './deidentify.ts';
import { DEFAULT_IDENTITY_RULES, subjectIdentity } from './identity.ts';
import { codeOfTooLarge, isTooLargeFile } from './instance-limit.ts';
import { cleanInstance, findingsIn } from './instance.ts';
import type { CleanInstance } from './instance.ts';
import { compileProfile } from './profile/profile.ts';
import type { Profile } from './profile/profile.ts';
import { Refusal } from './refusal.ts';
import { reusable, studyShelf } from './shelf.ts';
import type { ShelvedFile } from './shelf.ts';
import type { Identifiers } from './survey.ts';
import { codeOfDicomError, decisiveOf, newSurvey, partOf, surveyFile } from './study-survey.ts';
import type { StudySurvey, SurveyPart } from './study-survey.ts';
import { find, latin1, NOTHING_SEEN, seeFile } from './verify/second-reader.ts';
import type { SeenFile } from './verify/second-reader.ts';
import type { SourceFacts } from './verify/source-facts.ts';
import type { StudyIdentifiers } from './verify/study-identifiers.ts';
import type { Finding } from './verify/verify.ts';

export interface Head {
  name: string;
  /** Or why the file belongs to no study. */
  uids: { study: string; series: string; sop: string } | Code;
}

/** One file of a study. */
export interface StudyFile {
  name: string;
  series: string;
  sop: string;
  /** 1 for the first file with this UID in the study, 2 for the next. */
  copy: number;
  /** The same over all studies: two of one patient may name the same series and instance. */
  nth: number;
}

/** What the survey found that one study is cleaned with, as it goes from thread to thread. */
export interface StudyContext {
  start: Moment | undefined;
  identifiers: Identifiers;
  verifierIdentifiers: StudyIdentifiers;
  sources: ReadonlyMap<string, SourceFacts>;
}

export interface Cleaned {
  name: string;
  /** A verified file under its passing name, one that stood there from an earlier run, or why there is none. */
  result:
    | { partial: string; final: string; bytes: number; emptied: number }
    | { kept: string; bytes: number }
    | { code: Code }
    /** What the verifier found. */
    | { held: readonly Finding[] };
}

export interface DeidFolders {
  inDir: string;
  outDir: string;
  /** OUT may hold files of an earlier run. */
  mayStand: boolean;
}

/** Each call is one task; `no` numbers the studies of a run. */
export interface DeidWork {
  heads(names: readonly string[]): Head[];
  survey(no: number, centre: CentreId, files: readonly StudyFile[]): { name: string; code: Code }[];
  /** What this thread found of a study that others survey too. */
  surveyedPart(no: number): SurveyPart | undefined;
  /** What decides on a study that this thread surveyed alone; what it is cleaned with stays here. */
  surveyedWhole(no: number): SurveyPart | undefined;
  /** `found` is what the threads found together; when not given, what this one found alone. */
  prepare(no: number, secret: Uint8Array, found?: StudyContext): void;
  clean(no: number, files: readonly StudyFile[]): Cleaned[];
  forget(no: number): void;
}

interface Known {
  survey?: StudySurvey;
  subject?: StudySubject;
  context?: StudyContext;
}

/** A study of 75 slices of 0.5 MB fits into what a thread keeps. */
const SHELF_BYTES = 40 * 1024 * 1024;

export const deidWork = ({ inDir, outDir, mayStand }: DeidFolders): DeidWork => {
  const profile = compileProfile();
  const studies = new Map<number, Known>();
  const known = (no: number): Known => {
    const one = studies.get(no) ?? {};
    studies.set(no, one);
    return one;
  };
  const shelf = studyShelf(SHELF_BYTES);
  const passing = reusable();
  const room = reusable();
  const headOf = headReader();
  const makeFolder = folderMaker();
  return {
    heads: (names) => names.map((name) => ({ name, uids: headOf(join(inDir, name)) })),
    survey: (no, centre, files) => {
      const study = known(no);
      const survey = (study.survey ??= newSurvey(profile, centre, DEFAULT_IDENTITY_RULES));
      return files.flatMap(({ name, copy }) => {
        const bytes = originalIn(join(inDir, name), (size) => shelf.add(no, name, size)?.bytes ?? passing(size));
        if (bytes === undefined) return [{ name, code: UNREADABLE }];
        const result = surveyFile(survey, name, bytes, copy > 1);
        if (typeof result === 'string') return [{ name, code: result }];
        const shelved = shelf.kept(no, name);
        // A file that became shorter while it was read left old bytes behind its own: it is read again.
        if (shelved?.bytes.length === bytes.length) shelved.file = result;
        return [];
      });
    },
    surveyedPart: (no) => {
      const { survey } = studies.get(no) ?? {};
      studies.delete(no);
      return survey === undefined ? undefined : partOf(survey);
    },
    surveyedWhole: (no) => {
      const { survey } = studies.get(no) ?? {};
      if (survey === undefined) return undefined;
      const { start, identifiers, verifierIdentifiers, sources } = survey;
      studies.set(no, { context: { start, identifiers, verifierIdentifiers, sources } });
      return decisiveOf(survey);
    },
    prepare: (no, secret, found) => {
      const context = found ?? studies.get(no)?.context;
      if (context === undefined) throw new Error('a study is prepared before it is surveyed');
      studies.set(no, { context, subject: subjectOf(secret, context, profile) });
    },
    clean: (no, files) => {
      const { subject, context } = known(no);
      if (subject === undefined || context === undefined) throw new Error('a study is cleaned before it is prepared');
      return files.map((file) => {
        const kept = shelf.kept(no, file.name);
        const bytes = kept?.file === undefined ? originalIn(join(inDir, file.name), passing) : kept.bytes;
        if (bytes === undefined) return { name: file.name, result: { code: UNREADABLE } };
        const original = kept?.file === undefined ? { bytes } : kept;
        return { name: file.name, result: cleanFile({ outDir, mayStand, file, original, subject, context, room, makeFolder }) };
      });
    },
    forget: (no) => {
      studies.delete(no);
      shelf.clear(no);
    },
  };
};

/** Keys of one study: identity by the patient's secret, clock by the study's start. */
const subjectOf = (secret: Uint8Array, { start, identifiers }: StudyContext, profile: Profile): StudySubject => {
  const identity = subjectIdentity(secret);
  return { identity, clock: studyClock(identity.shiftDays, start), identifiers, profile };
};

/** Makes a folder unless it is the one that was made last: a series is written file after file. */
const folderMaker = (): ((folder: string) => void) => {
  let last = '';
  return (folder) => {
    if (folder !== last) mkdirSync(folder, { recursive: true });
    last = folder;
  };
};

/** A file, or its start, in the bytes that `room` gives. */
const readInto = (path: string, room: (size: number) => Uint8Array, limitBytes = Number.POSITIVE_INFINITY): Uint8Array => {
  const file = openSync(path, 'r');
  try {
    const bytes = room(Math.min(fstatSync(file).size, limitBytes));
    let filled = 0;
    for (let got = -1; got !== 0 && filled < bytes.length; filled += got)
      got = readSync(file, bytes, filled, bytes.length - filled, filled);
    return bytes.subarray(0, filled);
  } finally {
    closeSync(file);
  }
};

const UNREADABLE = 'FILE_UNREADABLE';

/** A file of IN in the bytes that `room` gives; undefined when the system does not let it be read. */
const originalIn = (path: string, room: (size: number) => Uint8Array, limitBytes?: number): Uint8Array | undefined => {
  try {
    return readInto(path, room, limitBytes);
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) return undefined;
    throw error;
  }
};

/** Holds the UIDs of nearly every file; where it does not, the whole file is read. */
const HEAD_BYTES = 8 * 1024;

type HeadOf = (path: string) => Head['uids'];

/** Reads heads one after the other, each with the one before to lean on. */
const headReader = (): HeadOf => {
  let last = NOTHING_SEEN;
  const room = reusable();
  const whole = (path: string): Head['uids'] => {
    const bytes = originalIn(path, room);
    return bytes === undefined ? UNREADABLE : wholeHead(bytes);
  };
  return (path) => {
    const start = originalIn(path, room, HEAD_BYTES);
    if (start === undefined) return UNREADABLE;
    const isTooLarge = isTooLargeFile(path);
    try {
      last = seeFile(start, last, TAG.SeriesInstanceUID + 1);
    } catch {
      return isTooLarge ? codeOfTooLarge(undefined) : whole(path);
    }
    if (isTooLarge) return codeOfTooLarge(firstUid(last, TAG.SOPClassUID));
    const [study, series, sop] = [TAG.StudyInstanceUID, TAG.SeriesInstanceUID, TAG.SOPInstanceUID].map((tag) => firstUid(last, tag));
    return study && series && sop ? { study, series, sop } : whole(path);
  };
};

const firstUid = (file: SeenFile, tag: number): string | undefined => {
  const value = find(file, tag)?.value;
  return value === undefined ? undefined : latin1(value).split('\\')[0]?.replace(/\0.*$/s, '').trim();
};

const wholeHead = (bytes: Uint8Array): Head['uids'] => {
  try {
    const { dataset, meta } = readDicom(bytes);
    const [study, series, sop] = [TAG.StudyInstanceUID, TAG.SeriesInstanceUID, TAG.SOPInstanceUID].map((tag) => text(dataset, tag));
    if (study === undefined || series === undefined || sop === undefined)
      return codeWithoutUids(text(meta, TAG.MediaStorageSOPClassUID), meta.elements.size > 0 || dataset.elements.has(TAG.SOPClassUID));
    return { study, series, sop };
  } catch (error) {
    return codeOfDicomError(error);
  }
};

const MEDIA_DIRECTORY = '1.2.840.10008.1.3.10';

/** A bare dataset of a few elements may be any file by chance. */
const codeWithoutUids = (sopClassUid: string | undefined, isSureDicom: boolean): Code =>
  sopClassUid === MEDIA_DIRECTORY ? 'MEDIA_DIRECTORY' : isSureDicom ? 'MISSING_UID' : 'NOT_DICOM';

/** The head named other UIDs than the file has: the two readers disagree about it. */
const otherwiseNamed = (clean: CleanInstance, { sop, series }: StudyFile, { identity }: StudySubject): Finding[] => [
  ...(clean.sopInstanceUid === identity.mapUid(sop) ? [] : [{ check: 'uid', where: '(0008,0018)' } as const]),
  ...(clean.seriesInstanceUid === identity.mapUid(series) ? [] : [{ check: 'uid', where: '(0020,000E)' } as const]),
];

interface Cleaning {
  outDir: string;
  mayStand: boolean;
  file: StudyFile;
  original: ShelvedFile;
  subject: StudySubject;
  context: StudyContext;
  room: (size: number) => Uint8Array;
  makeFolder: (folder: string) => void;
}

// Files with the same UID are all written, numbered: which of them is right is for the reader of the
// folder to say.
const cleanFile = ({ outDir, mayStand, file, original, subject, context, room, makeFolder }: Cleaning): Cleaned['result'] => {
  const folder = join(outDir, subject.identity.pseudonym, subject.identity.mapUid(file.series));
  const final = join(folder, `${subject.identity.mapUid(file.sop)}${file.nth === 1 ? '' : `-${file.nth}`}.dcm`);
  const facts = context.sources.get(file.name);
  try {
    if (mayStand && statSync(final, { throwIfNoEntry: false }) !== undefined) {
      // Made when less of the study may have been known: another file may name other people.
      const standing = readFileSync(final);
      if (findingsIn(original.bytes, standing, subject, context.verifierIdentifiers, facts).length === 0)
        return { kept: final, bytes: standing.length };
      rmSync(final);
    }
    const clean = cleanInstance(original.bytes, subject, context.verifierIdentifiers, facts, { room, judged: original.file });
    const held = [...clean.findings, ...otherwiseNamed(clean, file, subject)];
    if (held.length > 0) return { held };
    makeFolder(folder);
    writeFileSync(`${final}.partial`, clean.bytes);
    return { partial: `${final}.partial`, final, bytes: clean.bytes.length, emptied: clean.emptied };
  } catch (error) {
    if (error instanceof Refusal) return { code: error.code };
    if (error instanceof DicomError) return { code: codeOfDicomError(error) };
    throw error;
  }
};
