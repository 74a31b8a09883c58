// De-identifies a folder of DICOM files: `ctstream deid IN OUT`. What would leave a centre, seen without
// any of the stages. Refused files are listed with their codes; OUT holds DICOM files only.
import { renameSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { centreId } from '../kernel/ids.ts';
import type { CentreId, StudyInstanceUid } from '../kernel/ids.ts';
import { revisionOf } from '../kernel/digest.ts';
import type { Code } from '../kernel/codes.ts';
import type { IdentityVault } from '../ports/identity-vault.ts';
import { filesUnder, refuseOverlap, removePartials } from './deid-folders.ts';
import { deidPool } from './deid-pool.ts';
import type { DeidPool } from './deid-pool.ts';
import type { Cleaned, Head, StudyFile } from './deid-work.ts';
import { DEFAULT_IDENTITY_RULES } from './identity.ts';
import type { IdentityRules } from './identity.ts';
import { compileProfile } from './profile/profile.ts';
import type { Profile } from './profile/profile.ts';
import { conclude, mergePart, newSurvey, partOf } from './study-survey.ts';
import type { Conclusion, StudySurvey, SurveyPart } from './study-survey.ts';

export { FolderError } from './deid-folders.ts';

export interface RefusedFile {
  /** Path under IN. */
  file: string;
  code: Code;
}

export interface DeidFolderResult {
  /** Files of this run and, with `resume`, of earlier ones. */
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
  /** Threads; as many as there are cores unless told. The vault is asked from the caller's thread only. */
  workers?: number;
  /** Goes on with an OUT that an earlier run with the same vault began: what is there stays as it is. */
  resume?: boolean;
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

interface Study {
  no: number;
  studyInstanceUid: string;
  files: StudyFile[];
}

interface Run {
  pool: DeidPool;
  options: DeidFolderOptions;
  centre: CentreId;
  profile: Profile;
  result: DeidFolderResult;
  onStudyDone: (files: number) => void;
}

/** Files per task: small enough that all threads end at the same time, large enough that tasks cost nothing. */
const FILES_PER_TASK = 8;
const HEADS_PER_TASK = 64;

/**
 * Writes every file of `inDir` that may leave to `outDir` as `<subject>/<series>/<instance>.dcm`. Nothing of
 * a study is written when the verifier finds something in one of its files. Throws FolderError, Fault.
 */
export const deidFolder = async (inDir: string, outDir: string, options: DeidFolderOptions): Promise<DeidFolderResult> => {
  const startedMs = performance.now();
  await refuseOverlap(inDir, outDir, options.resume === true);
  const names = await filesUnder(inDir);
  const result: DeidFolderResult = { written: 0, refused: [], seconds: 0, bytes: 0 };
  const threads = Math.min(options.workers ?? availableParallelism(), Math.ceil(names.length / FILES_PER_TASK));
  const pool = deidPool(inDir, outDir, threads);
  try {
    const studies = await groupByStudy(pool, names, result.refused);
    let done = result.refused.length;
    options.onProgress?.(done, names.length);
    const onStudyDone = (files: number): void => options.onProgress?.((done += files), names.length);
    await eachStudy(studies, {
      pool,
      options,
      centre: options.centre ?? centreId('local'),
      profile: compileProfile(),
      result,
      onStudyDone,
    });
  } catch (error) {
    // No file of a study that was not verified to its end stays.
    await pool.close();
    await removePartials(outDir);
    throw error;
  } finally {
    await pool.close();
  }
  result.refused.sort((a, b) => (a.file < b.file ? -1 : 1));
  result.seconds = (performance.now() - startedMs) / 1000;
  return result;
};

const inPieces = <T>(list: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(list.length / size) }, (_, i) => list.slice(i * size, (i + 1) * size));

const groupByStudy = async (pool: DeidPool, names: readonly string[], refused: RefusedFile[]): Promise<Study[]> => {
  const heads: Head[] = (await Promise.all(inPieces(names, HEADS_PER_TASK).map((piece) => pool.run('heads', piece)))).flat();
  const studies = new Map<string, Study>();
  const copies = new Map<string, number>();
  for (const { name, uids } of heads) {
    if (typeof uids === 'string') {
      refused.push({ file: name, code: uids });
      continue;
    }
    const study = studies.get(uids.study) ?? { no: studies.size, studyInstanceUid: uids.study, files: [] };
    const key = `${study.no}/${uids.series}/${uids.sop}`;
    const copy = (copies.get(key) ?? 0) + 1;
    copies.set(key, copy);
    study.files.push({ name, series: uids.series, sop: uids.sop, copy });
    studies.set(uids.study, study);
  }
  return [...studies.values()];
};

/** Files that are surveyed before the first of them is written; what is known of them is in memory. */
const FILES_PER_BATCH = 2000;

/**
 * In batches: all studies are surveyed, then the vault is asked for all, then all are cleaned. The vault
 * syncs each answer to disk, and a sync while files are being written waits for those files too: asked
 * study by study, it took much of the time (an estimate).
 */
const eachStudy = async (studies: readonly Study[], run: Run): Promise<void> => {
  for (const batch of batchesOf(studies)) {
    const surveyed = await inLanes(batch, run, (study) => surveyedStudy(study, run));
    const accepted: Accepted[] = [];
    for (const one of surveyed) {
      const secret = await secretOf(one, run);
      if (typeof secret === 'string') refuseRest(one, secret, run);
      else accepted.push({ ...one, secret });
    }
    await inLanes(accepted, run, (one) => cleanedStudy(one, run));
  }
};

const batchesOf = (studies: readonly Study[]): Study[][] => {
  const batches: Study[][] = [];
  let files = FILES_PER_BATCH;
  for (const study of studies) {
    if (files >= FILES_PER_BATCH) {
      batches.push([]);
      files = 0;
    }
    batches.at(-1)?.push(study);
    files += study.files.length;
  }
  return batches;
};

/** As many at a time as there are threads: while one waits for its last file the next goes on. */
const inLanes = async <T, R>(list: readonly T[], { pool, options }: Run, work: (one: T) => Promise<R>): Promise<R[]> => {
  const results: R[] = [];
  const rest = list.values();
  const lane = async (): Promise<void> => {
    for (const one of rest) {
      options.signal?.throwIfAborted();
      results.push(await work(one));
    }
  };
  await Promise.all(Array.from({ length: pool.threads }, lane));
  return results;
};

interface Surveyed {
  study: Study;
  /** Without what found the text in its pixels. */
  survey: Omit<SurveyPart, 'strokes'>;
  conclusion: Conclusion;
  /** Why single files are left out. */
  codes: Map<string, Code>;
}

interface Accepted extends Surveyed {
  secret: Uint8Array;
}

const surveyedStudy = async (study: Study, run: Run): Promise<Surveyed> => {
  const codes = new Map<string, Code>();
  const survey = await surveyStudy(study, run, codes);
  const conclusion = conclude(survey);
  const { strokes: _, ...part } = partOf(survey);
  return { study, survey: part, conclusion, codes };
};

/** The patient's secret, or why the study is refused. */
const secretOf = async ({ study, conclusion }: Surveyed, { options, centre }: Run): Promise<Uint8Array | Code> => {
  if (conclusion.kind === 'refused') return conclusion.code;
  const keys = await options.vault.subject(conclusion.key, options.signal);
  if (keys === 'denied') return 'PATIENT_WITHDRAWN';
  const revision = revisionOf(study.files.map(({ name }) => ({ seriesInstanceUid: '', sopInstanceUid: name })));
  await options.vault.study(keys.subjectRow, centre, study.studyInstanceUid as StudyInstanceUid, revision, options.signal);
  return keys.secret;
};

const refuseRest = ({ study, codes }: Surveyed, code: Code, { result, onStudyDone }: Run): void => {
  for (const { name } of study.files) result.refused.push({ file: name, code: codes.get(name) ?? code });
  onStudyDone(study.files.length);
};

const cleanedStudy = async (accepted: Accepted, run: Run): Promise<void> => {
  const { study, survey, conclusion, codes, secret } = accepted;
  const kept = conclusion.kind === 'accepted' ? conclusion.kept : new Set<string>();
  const cleaned = await cleanStudy(
    study.files.filter(({ name }) => kept.has(name)),
    study.no,
    survey,
    secret,
    run.pool,
  );
  if (!publish(cleaned, codes, run.result)) return refuseRest(accepted, 'HELD_BY_VERIFIER', run);
  const seriesOf = new Map(survey.kept.map(({ name, series }) => [name, series]));
  for (const { name } of study.files) {
    const code = codes.get(name) ?? (kept.has(name) ? undefined : survey.refusedSeries.get(seriesOf.get(name) ?? ''));
    if (code !== undefined) run.result.refused.push({ file: name, code });
  }
  run.onStudyDone(study.files.length);
};

const surveyStudy = async (
  { no, files }: Study,
  { pool, centre, profile, options }: Run,
  codes: Map<string, Code>,
): Promise<StudySurvey> => {
  const found = await Promise.all(inPieces(files, FILES_PER_TASK).map((piece) => pool.run('survey', no, centre, piece)));
  for (const { name, code } of found.flat()) codes.set(name, code);
  const survey = newSurvey(profile, centre, options.rules ?? DEFAULT_IDENTITY_RULES);
  for (const part of await pool.all('surveyed', no)) if (part !== undefined) mergePart(survey, part);
  return survey;
};

const cleanStudy = async (
  files: readonly StudyFile[],
  no: number,
  survey: Omit<SurveyPart, 'strokes'>,
  secret: Uint8Array,
  pool: DeidPool,
): Promise<Cleaned[]> => {
  const { start, identifiers, verifierIdentifiers, sources } = survey;
  await pool.all('prepare', no, { secret, start, identifiers, verifierIdentifiers, sources });
  const cleaned = await Promise.all(inPieces(files, FILES_PER_TASK).map((piece) => pool.run('clean', no, piece)));
  await pool.all('forget', no);
  return cleaned.flat();
};

/** Gives the files their final names once all of the study are verified; else none of them stays. */
const publish = (cleaned: readonly Cleaned[], codes: Map<string, Code>, result: DeidFolderResult): boolean => {
  const isHeld = cleaned.some((one) => one.result === 'held');
  for (const { name, result: one } of cleaned) {
    if (one === 'held') continue;
    if ('code' in one) {
      codes.set(name, one.code);
    } else if (isHeld) {
      rmSync('partial' in one ? one.partial : one.kept, { force: true });
    } else {
      if ('partial' in one) renameSync(one.partial, one.final);
      result.written += 1;
      result.bytes += one.bytes;
    }
  }
  return !isHeld;
};
