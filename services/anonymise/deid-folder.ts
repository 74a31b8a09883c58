// De-identifies a folder of DICOM files: `ctstream deid IN OUT`. What would leave a centre, seen without
// any of the stages. Refused files are listed with their codes; OUT holds DICOM files only.
import { mkdir, readdir, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { DicomError } from '../dicom/dicom-error.ts';
import { TAG } from '../dicom/dictionary.ts';
import { readDicom } from '../dicom/read.ts';
import { text } from '../dicom/values.ts';
import { centreId } from '../kernel/ids.ts';
import type { CentreId, ClinicalRevision, StudyInstanceUid } from '../kernel/ids.ts';
import { revisionOf } from '../kernel/digest.ts';
import type { Code } from '../kernel/codes.ts';
import type { IdentityVault } from '../ports/identity-vault.ts';
import { studyClock } from './dates.ts';
import type { StudySubject } from './deidentify.ts';
import { DEFAULT_IDENTITY_RULES, subjectIdentity } from './identity.ts';
import type { IdentityRules } from './identity.ts';
import { cleanInstance } from './instance.ts';
import { compileProfile } from './profile/profile.ts';
import { Refusal } from './refusal.ts';
import { codeOfDicomError, conclude, newSurvey, surveyInstance } from './study-survey.ts';
import type { StudySurvey } from './study-survey.ts';

export interface RefusedFile {
  /** Path under IN. */
  file: string;
  code: Code;
}

export interface DeidFolderResult {
  written: number;
  refused: RefusedFile[];
  seconds: number;
  /** Of the files written. */
  bytes: number;
}

export interface DeidFolderOptions {
  vault: IdentityVault;
  /** Whose patients these are: bare ids of two centres are never the same patient. */
  centre?: CentreId;
  rules?: IdentityRules;
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

/** IN and OUT overlap, or OUT holds something already. */
export class FolderError extends Error {
  override name = 'FolderError';
}

interface StudyFiles {
  studyInstanceUid: string;
  files: string[];
}

/**
 * Writes every file of `inDir` that may leave to `outDir` as `<study>/<series>/<instance>.dcm`. Nothing of
 * a study is written when the verifier finds something in one of its files. Throws FolderError, Fault.
 */
export const deidFolder = async (inDir: string, outDir: string, options: DeidFolderOptions): Promise<DeidFolderResult> => {
  const startedMs = performance.now();
  await refuseOverlap(inDir, outDir);
  const refused: RefusedFile[] = [];
  const names = await filesUnder(inDir);
  const studies = await groupByStudy(inDir, names, refused);
  const result: DeidFolderResult = { written: 0, refused, seconds: 0, bytes: 0 };
  let done = refused.length;
  options.onProgress?.(done, names.length);
  for (const study of studies) {
    options.signal?.throwIfAborted();
    await deidStudy(inDir, outDir, study, options, result);
    done += study.files.length;
    options.onProgress?.(done, names.length);
  }
  refused.sort((a, b) => (a.file < b.file ? -1 : 1));
  result.seconds = (performance.now() - startedMs) / 1000;
  return result;
};

const refuseOverlap = async (inDir: string, outDir: string): Promise<void> => {
  await mkdir(outDir, { recursive: true });
  const [from, to] = [await realpath(inDir), await realpath(outDir)];
  const isWithin = (inner: string, outer: string): boolean => inner === outer || inner.startsWith(outer + sep);
  if (isWithin(to, from) || isWithin(from, to)) throw new FolderError('IN and OUT must lie beside each other, not within');
  if ((await readdir(to)).length > 0) throw new FolderError('OUT must be empty');
};

const filesUnder = async (dir: string): Promise<string[]> => {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)))
    .sort();
};

const groupByStudy = async (inDir: string, names: readonly string[], refused: RefusedFile[]): Promise<StudyFiles[]> => {
  const studies = new Map<string, StudyFiles>();
  for (const name of names) {
    try {
      const { dataset } = readDicom(await readFile(resolve(inDir, name)));
      const studyInstanceUid = text(dataset, TAG.StudyInstanceUID);
      if (studyInstanceUid === undefined || text(dataset, TAG.SOPInstanceUID) === undefined || text(dataset, TAG.SeriesInstanceUID) === undefined) {
        refused.push({ file: name, code: dataset.elements.has(TAG.SOPClassUID) ? 'MISSING_UID' : 'NOT_DICOM' });
        continue;
      }
      const study = studies.get(studyInstanceUid) ?? { studyInstanceUid, files: [] };
      study.files.push(name);
      studies.set(studyInstanceUid, study);
    } catch (error) {
      refused.push({ file: name, code: codeOfDicomError(error) });
    }
  }
  return [...studies.values()];
};

const deidStudy = async (inDir: string, outDir: string, study: StudyFiles, options: DeidFolderOptions, result: DeidFolderResult): Promise<void> => {
  const centre = options.centre ?? centreId('local');
  const survey = newSurvey(compileProfile(), centre, options.rules ?? DEFAULT_IDENTITY_RULES);
  const codes = new Map<string, Code>();
  for (const name of study.files) {
    const code = surveyInstance(survey, name, await readFile(resolve(inDir, name)));
    if (code !== undefined) codes.set(name, code);
  }
  const conclusion = conclude(survey);
  const refuseRest = (code: Code): void => {
    for (const file of study.files) result.refused.push({ file, code: codes.get(file) ?? code });
  };
  if (conclusion.kind === 'refused') return refuseRest(conclusion.code);
  const keys = await options.vault.subject(conclusion.key, options.signal);
  if (keys === 'denied') return refuseRest('PATIENT_WITHDRAWN');
  const revision: ClinicalRevision = revisionOf(study.files.map((name) => ({ seriesInstanceUid: '', sopInstanceUid: name })));
  await options.vault.study(keys.subjectRow, centre, study.studyInstanceUid as StudyInstanceUid, revision, options.signal);
  const subject = subjectOf(survey, keys.secret);
  const outputs = await cleanFiles(inDir, outDir, study.files.filter((name) => conclusion.kept.has(name)), subject, survey, codes);
  if (outputs === 'held') return refuseRest('HELD_BY_VERIFIER');
  for (const { partial, final, bytes } of outputs) {
    await rename(partial, final);
    result.written += 1;
    result.bytes += bytes;
  }
  const seriesOf = new Map(survey.kept.map(({ name, series }) => [name, series]));
  for (const file of study.files) {
    const code = codes.get(file) ?? (conclusion.kept.has(file) ? undefined : survey.refusedSeries.get(seriesOf.get(file) ?? ''));
    if (code !== undefined) result.refused.push({ file, code });
  }
};

/** Keys of one study: identity by the patient's secret, clock by the study's start. */
export const subjectOf = (survey: StudySurvey, secret: Uint8Array): StudySubject => {
  const identity = subjectIdentity(secret);
  return { identity, clock: studyClock(identity.shiftDays, survey.start), identifiers: survey.identifiers, profile: survey.profile };
};

interface Output {
  partial: string;
  final: string;
  bytes: number;
}

// Nothing of a study gets its final name before all of it is verified. Files with the same UID are all
// written, numbered: which of them is right is for the reader of the folder to say.
const cleanFiles = async (
  inDir: string, outDir: string, names: readonly string[], subject: StudySubject, survey: StudySurvey, codes: Map<string, Code>,
): Promise<Output[] | 'held'> => {
  const outputs: Output[] = [];
  const seen = new Map<string, number>();
  const drop = async (): Promise<'held'> => {
    for (const { partial } of outputs) await rm(partial, { force: true });
    return 'held';
  };
  for (const name of names) {
    try {
      const clean = cleanInstance(await readFile(resolve(inDir, name)), subject, survey.verifierIdentifiers);
      if (clean.findings.length > 0) return await drop();
      const copy = (seen.get(clean.sopInstanceUid) ?? 0) + 1;
      seen.set(clean.sopInstanceUid, copy);
      const folder = join(outDir, subject.identity.pseudonym, clean.seriesInstanceUid);
      await mkdir(folder, { recursive: true });
      const final = join(folder, `${clean.sopInstanceUid}${copy === 1 ? '' : `-${copy}`}.dcm`);
      await writeFile(`${final}.partial`, clean.bytes);
      outputs.push({ partial: `${final}.partial`, final, bytes: clean.bytes.length });
    } catch (error) {
      if (error instanceof Refusal) codes.set(name, error.code);
      else if (error instanceof DicomError) codes.set(name, codeOfDicomError(error));
      else {
        await drop();
        throw error;
      }
    }
  }
  return outputs;
};
