// Every real CT file de-identified by itself, for other programs to judge: source and result side by side.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { studyClock } from '../../services/anonymise/dates.ts';
import { DEFAULT_IDENTITY_RULES, subjectIdentity } from '../../services/anonymise/identity.ts';
import { cleanInstance } from '../../services/anonymise/instance.ts';
import { compileProfile } from '../../services/anonymise/profile/profile.ts';
import { Refusal } from '../../services/anonymise/refusal.ts';
import { newSurvey, surveyInstance } from '../../services/anonymise/study-survey.ts';
import { tagOf } from '../../services/dicom/dictionary.ts';
import { readDicom } from '../../services/dicom/read.ts';
import { element } from '../../services/dicom/values.ts';
import { withElements, writeDicom } from '../../services/dicom/write.ts';
import { centreId } from '../../services/kernel/ids.ts';
import { REAL_FILES } from '../shared/real-files.ts';

export interface CleanedFile {
  /** Path of the original, or of the one that was given UIDs. */
  source: string;
  /** Path of the result; undefined when there is none, and why. */
  written: string | undefined;
  code: string | undefined;
}

const FOLDERS = ['chest', 'geometry', 'edge/transfer-syntaxes', 'edge/encapsulation'];

/** Every file of the folders that hold CT, sorted. */
export const ctSources = (): string[] =>
  FOLDERS.filter((folder) => existsSync(join(REAL_FILES, folder)))
    .flatMap((folder) =>
      readdirSync(join(REAL_FILES, folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name)),
    )
    .sort();

const profile = compileProfile();

/** The series whose Study, Series and SOP UIDs are empty would be refused whole: it is given some, and an id. */
const EMPTY_UIDS = 'siemens-biograph-j2k';

const named = (source: string, at: number, outDir: string): string => {
  if (!source.includes(EMPTY_UIDS)) return source;
  const file = readDicom(readFileSync(source));
  const root = '1.2.643.100.70';
  const changes = [
    element(tagOf('StudyInstanceUID'), 'UI', `${root}.1`),
    element(tagOf('SeriesInstanceUID'), 'UI', `${root}.2`),
    element(tagOf('SOPInstanceUID'), 'UI', `${root}.3.${at}`),
    element(tagOf('PatientID'), 'LO', 'J2K-1'),
  ];
  const meta = withElements(file.meta, [element(tagOf('MediaStorageSOPInstanceUID'), 'UI', `${root}.3.${at}`)]);
  mkdirSync(join(outDir, '../named'), { recursive: true });
  const path = join(outDir, '../named', `${at}.dcm`);
  writeFileSync(path, writeDicom({ ...file, meta, dataset: withElements(file.dataset, changes) }));
  return path;
};

/** De-identifies each file as a study of its own into `outDir`/<number>.dcm. */
export const cleanEach = (sources: readonly string[], outDir: string): CleanedFile[] =>
  sources.map((original, at) => {
    const source = named(original, at, outDir);
    const bytes = readFileSync(source);
    const survey = newSurvey(profile, centreId('oracle'), DEFAULT_IDENTITY_RULES);
    const refused = surveyInstance(survey, 'one', bytes);
    if (refused !== undefined) return { source, written: undefined, code: refused };
    const identity = subjectIdentity(createHash('sha256').update(source).digest());
    const subject = { identity, clock: studyClock(identity.shiftDays, survey.start), identifiers: survey.identifiers, profile };
    try {
      const clean = cleanInstance(bytes, subject, survey.verifierIdentifiers);
      if (clean.findings.length > 0) return { source, written: undefined, code: 'HELD_BY_VERIFIER' };
      const written = join(outDir, `${String(at).padStart(4, '0')}.dcm`);
      writeFileSync(written, clean.bytes);
      return { source, written, code: undefined };
    } catch (error) {
      if (error instanceof Refusal) return { source, written: undefined, code: error.code };
      throw error;
    }
  });

/** How many of all files were written, and how many refused by which code. */
export const cleanedSummary = (): (readonly [outcome: string, files: number])[] => {
  const work = mkdtempSync(join(tmpdir(), 'ctstream-cleaned-'));
  try {
    mkdirSync(join(work, 'out'));
    const counts = new Map<string, number>();
    for (const { code = 'written' } of cleanEach(ctSources(), join(work, 'out'))) counts.set(code, (counts.get(code) ?? 0) + 1);
    return [...counts].sort(([a], [b]) => (a === 'written' ? -1 : b === 'written' ? 1 : a < b ? -1 : 1));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
};
