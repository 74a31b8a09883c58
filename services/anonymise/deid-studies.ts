// The studies of a folder, from the list of its files to the last one published: who surveys and cleans
// what on which thread, and what the vault is asked when.
import { renameSync, rmSync } from 'node:fs';
import { centreId } from '../kernel/ids.ts';
import type { CentreId, StudyInstanceUid } from '../kernel/ids.ts';
import { revisionOf } from '../kernel/digest.ts';
import type { Code } from '../kernel/codes.ts';
import type { DeidFolderOptions, DeidFolderResult, RefusedFile } from './deid-folder.ts';
import type { DeidPool } from './deid-pool.ts';
import type { Cleaned, Head, StudyFile } from './deid-work.ts';
import { DEFAULT_IDENTITY_RULES } from './identity.ts';
import { compileProfile } from './profile/profile.ts';
import type { Profile } from './profile/profile.ts';
import { conclude, mergePart, newSurvey } from './study-survey.ts';
import type { Conclusion, StudySurvey } from './study-survey.ts';
import type { Finding } from './verify/verify.ts';

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
  /** Files in OUT of an earlier run that no file of IN has accounted for so far. */
  standing: Set<string>;
  /** Cleaned, and not yet under their names. */
  finished: Finished[];
}

/** Files per task: small enough that all threads end at the same time, large enough that tasks cost nothing. */
const FILES_PER_TASK = 8;
const HEADS_PER_TASK = 64;

/** De-identifies the files `names`; adds to `result` what became of each, and takes what it accounts for out of `standing`. */
export const deidStudies = async (
  names: readonly string[],
  pool: DeidPool,
  options: DeidFolderOptions,
  result: DeidFolderResult,
  standing: Set<string>,
): Promise<void> => {
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
    standing,
    finished: [],
  });
};

const inPieces = <T>(list: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(list.length / size) }, (_, i) => list.slice(i * size, (i + 1) * size));

const groupByStudy = async (pool: DeidPool, names: readonly string[], refused: RefusedFile[]): Promise<Study[]> => {
  const heads: Head[] = (await Promise.all(inPieces(names, HEADS_PER_TASK).map((piece) => pool.run('heads', piece)))).flat();
  const studies = new Map<string, Study>();
  const copies = new Map<string, number>();
  const places = new Map<string, number>();
  for (const { name, uids } of heads) {
    if (typeof uids === 'string') {
      refused.push({ file: name, code: uids });
      continue;
    }
    const study = studies.get(uids.study) ?? { no: studies.size, studyInstanceUid: uids.study, files: [] };
    const key = `${study.no}/${uids.series}/${uids.sop}`;
    const copy = (copies.get(key) ?? 0) + 1;
    copies.set(key, copy);
    const place = `${uids.series}/${uids.sop}`;
    const nth = (places.get(place) ?? 0) + 1;
    places.set(place, nth);
    study.files.push({ name, series: uids.series, sop: uids.sop, copy, nth });
    studies.set(uids.study, study);
  }
  return [...studies.values()];
};

/** Each study is surveyed, asked for and cleaned while its files are in memory; finished ones are published together. */
const eachStudy = async (studies: readonly Study[], run: Run): Promise<void> => {
  const shared = isShared(studies, run.pool.threads);
  await inLanes(studies, shared, run, async (study, thread) => {
    const surveyed = await surveyedStudy({ study, thread }, run);
    const secret = await secretOf(surveyed, run);
    if (typeof secret !== 'string') await cleanedStudy({ ...surveyed, secret }, run);
    else {
      refuse(surveyed, secret, run.result);
      run.onStudyDone(study.files.length);
      await forget(surveyed, run.pool);
    }
  });
  await publishFinished(run);
};

/** Where a study is worked on: by one thread, which then knows all of it, or by all when it is undefined. */
interface Place {
  study: Study;
  thread: number | undefined;
}

/** The i-th piece of a study stays on the thread that surveyed it: that one has its files in memory. */
const threadOf = ({ thread }: Place, i: number, pool: DeidPool): number => thread ?? i % pool.threads;

/** A study of so many files is worked on by one thread in any case: what is known of a shared one is sent about. */
const FILES_OF_ONE_THREAD = 32;

/** The studies that all threads share: those with which one thread would end long after the others. */
const isShared = (studies: readonly Study[], threads: number): ((study: Study) => boolean) => {
  const all = studies.reduce((sum, { files }) => sum + files.length, 0);
  return ({ files }) => threads > 1 && files.length > Math.max(FILES_OF_ONE_THREAD, all / threads / 2);
};

/** Studies that a thread has in hand: while one waits for its last answer the next goes on. */
const LANES = 2;

/** `work` on each study: the shared ones on all threads, the rest on whichever takes it first. */
const inLanes = async (
  studies: readonly Study[],
  shared: (study: Study) => boolean,
  { pool, options }: Run,
  work: (study: Study, thread: number | undefined) => Promise<void>,
): Promise<void> => {
  const lane = async (queue: Iterable<Study>, thread: number | undefined): Promise<void> => {
    for (const study of queue) {
      options.signal?.throwIfAborted();
      await work(study, thread);
    }
  };
  const bySize = studies.toSorted((a, b) => b.files.length - a.files.length);
  const own = bySize.filter((study) => !shared(study)).values();
  const common = bySize.filter(shared).values();
  const lanes = Array.from({ length: pool.threads }, (_, thread) => Array.from({ length: LANES }, () => lane(own, thread))).flat();
  await Promise.all([...lanes, lane(common, undefined), lane(common, undefined)]);
};

interface Surveyed extends Place {
  /** Why single files are left out. */
  codes: Map<string, Code>;
  /** What the study is cleaned with where all threads share it; else its thread keeps it. */
  survey: StudySurvey;
  conclusion: Conclusion;
}

interface Accepted extends Surveyed {
  secret: Uint8Array;
}

const surveyedStudy = async (place: Place, { pool, centre, profile, options }: Run): Promise<Surveyed> => {
  const { no, files } = place.study;
  const { thread } = place;
  const pieces = inPieces(files, FILES_PER_TASK);
  const found = await Promise.all(pieces.map((piece, i) => pool.on(threadOf(place, i, pool), 'survey', no, centre, piece)));
  const codes = new Map(found.flat().map(({ name, code }) => [name, code]));
  const survey = newSurvey(profile, centre, options.rules ?? DEFAULT_IDENTITY_RULES);
  const parts = thread === undefined ? await pool.all('surveyedPart', no) : [await pool.on(thread, 'surveyedWhole', no)];
  for (const part of parts) if (part !== undefined) mergePart(survey, part);
  const conclusion = conclude(survey);
  return { ...place, codes, survey, conclusion };
};

/** The patient's secret, or why the study is refused. */
const secretOf = async ({ study, conclusion }: Surveyed, { options, centre }: Run): Promise<Uint8Array | Code> => {
  if (conclusion.kind === 'refused') return conclusion.code;
  const keys = await options.vault.subject(conclusion.key, options.signal);
  if (keys === 'denied') return 'PATIENT_WITHDRAWN';
  const revision = revisionOf(study.files.map(({ name }) => ({ seriesInstanceUid: '', sopInstanceUid: name })));
  await options.vault.study(keys, centre, study.studyInstanceUid as StudyInstanceUid, revision, options.signal);
  return keys.secret;
};

const refuse = (
  { study, codes }: Surveyed,
  code: Code,
  result: DeidFolderResult,
  findings: ReadonlyMap<string, readonly Finding[]> = new Map(),
): void => {
  for (const { name } of study.files) {
    const found = findings.get(name);
    result.refused.push({ file: name, code: codes.get(name) ?? code, ...(found === undefined ? {} : { findings: found }) });
  }
};

const cleanedStudy = async (accepted: Accepted, run: Run): Promise<void> => {
  const { study, conclusion } = accepted;
  const kept = conclusion.kind === 'accepted' ? conclusion.kept : new Set<string>();
  const cleaned = await cleanStudy(accepted, kept, run.pool);
  run.finished.push({ accepted, kept, cleaned });
  run.onStudyDone(study.files.length);
  if (run.finished.reduce((sum, one) => sum + one.cleaned.length, 0) >= FILES_PER_PUBLISHING) await publishFinished(run);
};

/** Files that bear passing names at most; what the vault answered is synced to disk once for all of them. */
const FILES_PER_PUBLISHING = 2000;

/**
 * Gives finished studies their names. First what the vault answered has to outlast a crash: a file with a pseudonym that
 * nobody knows any more would part its patient from later studies. A sync waits for files that are being written too, so
 * that one for each study took much of the time.
 */
const publishFinished = async (run: Run): Promise<void> => {
  const finished = run.finished.splice(0);
  await run.options.settle?.();
  for (const one of finished) publishStudy(one, run);
};

interface Finished {
  accepted: Accepted;
  kept: ReadonlySet<string>;
  cleaned: readonly Cleaned[];
}

const publishStudy = ({ accepted, kept, cleaned }: Finished, run: Run): void => {
  const { result } = run;
  const { study, survey, codes } = accepted;
  const findings = new Map(cleaned.flatMap(({ name, result: one }) => ('held' in one ? [[name, one.held] as const] : [])));
  publish(cleaned, findings.size > 0, codes, run);
  if (findings.size > 0) return refuse(accepted, 'HELD_BY_VERIFIER', result, findings);
  const seriesOf = new Map(survey.kept.map(({ name, series }) => [name, series]));
  for (const { name } of study.files) {
    const code = codes.get(name) ?? (kept.has(name) ? undefined : survey.refusedSeries.get(seriesOf.get(name) ?? ''));
    if (code !== undefined) result.refused.push({ file: name, code });
  }
};

const cleanStudy = async (accepted: Accepted, kept: ReadonlySet<string>, pool: DeidPool): Promise<Cleaned[]> => {
  const { study, thread, survey, secret } = accepted;
  const pieces = inPieces(study.files, FILES_PER_TASK);
  const { start, identifiers, verifierIdentifiers, sources } = survey;
  const prepared =
    thread === undefined
      ? pool.all('prepare', study.no, secret, { start, identifiers, verifierIdentifiers, sources })
      : pool.on(thread, 'prepare', study.no, secret);
  const cleaned = pieces.map((piece, i) =>
    pool.on(
      threadOf(accepted, i, pool),
      'clean',
      study.no,
      piece.filter(({ name }) => kept.has(name)),
    ),
  );
  const [results] = await Promise.all([Promise.all(cleaned), prepared]);
  await forget(accepted, pool);
  return results.flat();
};

const forget = async ({ study, thread }: Place, pool: DeidPool): Promise<void> => {
  await (thread === undefined ? pool.all('forget', study.no) : pool.on(thread, 'forget', study.no));
};

/** Gives the files their final names once all of the study are verified; else none of them stays. */
const publish = (cleaned: readonly Cleaned[], isHeld: boolean, codes: Map<string, Code>, { result, standing }: Run): void => {
  for (const { name, result: one } of cleaned) {
    if ('held' in one) continue;
    if ('code' in one) {
      codes.set(name, one.code);
      continue;
    }
    standing.delete('partial' in one ? one.final : one.kept);
    if (isHeld) rmSync('partial' in one ? one.partial : one.kept, { force: true });
    else {
      if ('partial' in one) renameSync(one.partial, one.final);
      result.written += 1;
      result.bytes += one.bytes;
      result.emptied += 'emptied' in one ? one.emptied : 0;
    }
  }
};
