// Pass one over a study: every instance is looked at before the first is written. Decides what stays,
// whose study it is, when it began, and what must not be found in the result.
import { DicomError } from '../dicom/dicom-error.ts';
import { TAG } from '../dicom/dictionary.ts';
import { headerMemory } from '../dicom/header-memory.ts';
import type { HeaderMemory } from '../dicom/header-memory.ts';
import { readDicom } from '../dicom/read.ts';
import { text } from '../dicom/values.ts';
import type { DicomFile, Element } from '../dicom/model.ts';
import type { Code } from '../kernel/codes.ts';
import { isCode } from '../kernel/codes.ts';
import type { CentreId } from '../kernel/ids.ts';
import type { PatientKey } from '../ports/identity-vault.ts';
import { textDetector } from './burned-in-text.ts';
import type { SeriesText, TextDetector } from './burned-in-text.ts';
import { ageBandOf } from './dates.ts';
import type { Moment } from './dates.ts';
import { makerOf } from './closed-values.ts';
import { dispositionOf } from './disposition.ts';
import { filledUp, patientKeyOf } from './identity.ts';
import type { IdentityRules, StatedIdentity } from './identity.ts';
import { seenPixels } from './pixels-seen.ts';
import type { Profile } from './profile/profile.ts';
import { ageOf, collectIdentifiers, earlier, noIdentifiers, startOf, statedIdentity } from './survey.ts';
import type { Identifiers } from './survey.ts';
import { firstSight } from './value-key.ts';
import type { FirstSight } from './value-key.ts';
import type { SourceFacts } from './verify/source-facts.ts';
import { noStudyIdentifiers } from './verify/study-identifiers.ts';
import type { StudyIdentifiers } from './verify/study-identifiers.ts';
import { collectFromOriginal } from './verify/verify.ts';

/** What is said of a study in the research zone: nothing finer. */
export interface StudyFacts {
  ageBand: string;
  sex: string;
  manufacturer: string;
}

interface KeptInstance {
  series: string;
  /** Name that the caller gave, unique in the study. */
  name: string;
}

export interface StudySurvey {
  profile: Profile;
  centre: CentreId;
  rules: IdentityRules;
  kept: KeptInstance[];
  dropped: Map<Code, number>;
  /** Series of which nothing is kept, and why. */
  refusedSeries: Map<string, Code>;
  detector: TextDetector;
  /** Every distinct identity that a file states, and whether a kept image states it. */
  stated: Map<string, { identity: StatedIdentity; isKept: boolean }>;
  start: Moment | undefined;
  identifiers: Identifiers;
  verifierIdentifiers: StudyIdentifiers;
  /** What the verifier compares a result with, by name; none for what it has to read again. */
  sources: Map<string, SourceFacts>;
  /** What the header of the next file is read with, and the elements of the last one. */
  headers: HeaderMemory;
  before: ReadonlyMap<number, Element>;
  /** Values whose words are in `identifiers`, and those in `verifierIdentifiers`. */
  isNew: { ours: FirstSight; verifiers: FirstSight };
  /** Facts of the kept instance whose UID comes first, so that the order of arrival does not matter. */
  facts: (StudyFacts & { sopInstanceUid: string }) | undefined;
}

export const newSurvey = (profile: Profile, centre: CentreId, rules: IdentityRules): StudySurvey => ({
  profile,
  centre,
  rules,
  kept: [],
  dropped: new Map(),
  refusedSeries: new Map(),
  detector: textDetector(),
  stated: new Map(),
  start: undefined,
  identifiers: noIdentifiers(),
  verifierIdentifiers: noStudyIdentifiers(),
  sources: new Map(),
  headers: headerMemory(),
  before: new Map(),
  isNew: { ours: firstSight(), verifiers: firstSight() },
  facts: undefined,
});

/** Adds one instance. Returns the code when it is left behind, undefined when it is kept so far. */
export const surveyInstance = (survey: StudySurvey, name: string, bytes: Uint8Array): Code | undefined => {
  const result = surveyFile(survey, name, bytes);
  return typeof result === 'string' ? result : undefined;
};

/**
 * The same; the file when it is kept so far. `isRepeat`: another file of the study has its UID and is surveyed
 * elsewhere. The survey holds on to nothing of `bytes`, the file does.
 */
export const surveyFile = (survey: StudySurvey, name: string, bytes: Uint8Array, isRepeat = false): DicomFile | Code => {
  let file: DicomFile;
  try {
    file = readDicom(bytes, {}, survey.headers);
  } catch (error) {
    return drop(survey, codeOfDicomError(error));
  }
  collectIdentifiers(file.dataset, survey.profile, survey.identifiers, survey.isNew.ours, survey.before);
  survey.before = file.dataset.elements;
  let facts: SourceFacts | undefined;
  try {
    facts = collectFromOriginal(bytes, survey.verifierIdentifiers, survey.isNew.verifiers);
  } catch {
    // A kept instance that the second reader can't read is held when it is verified.
  }
  // The header first: what it drops is not decoded.
  const byHeader = dispositionOf(file, 'before');
  const seen = byHeader.kind === 'kept' ? seenPixels(file) : undefined;
  const disposition = byHeader.kind === 'kept' ? dispositionOf(file, seen) : byHeader;
  noteIdentity(survey, file, disposition.kind === 'kept');
  if (disposition.kind === 'dropped') {
    if (POISONS_SERIES.has(disposition.code)) survey.refusedSeries.set(text(file.dataset, TAG.SeriesInstanceUID) ?? '', disposition.code);
    return drop(survey, disposition.code);
  }
  survey.start = earlier(survey.start, startOf(file.dataset));
  const series = text(file.dataset, TAG.SeriesInstanceUID) ?? '';
  survey.kept.push({ series, name });
  if (facts !== undefined) survey.sources.set(name, facts);
  survey.detector.add(series, file.dataset, seen, isRepeat, name);
  noteFacts(survey, file);
  return file;
};

/** Counts an instance that is left behind unread. */
export const leaveUnread = (survey: StudySurvey, code: Code): void => void drop(survey, code);

/** Text in one slice of a series means text in its neighbours too, seen or not. */
const POISONS_SERIES: ReadonlySet<Code> = new Set<Code>(['BURNED_IN_TEXT', 'EMBEDDED_OVERLAY']);

const drop = (survey: StudySurvey, code: Code): Code => {
  survey.dropped.set(code, (survey.dropped.get(code) ?? 0) + 1);
  return code;
};

/** A survey of some files of a study, as it goes from thread to thread. */
export interface SurveyPart extends Pick<
  StudySurvey,
  'kept' | 'dropped' | 'refusedSeries' | 'stated' | 'start' | 'identifiers' | 'verifierIdentifiers' | 'sources' | 'facts'
> {
  strokes: ReadonlyMap<string, SeriesText>;
}

export const partOf = ({
  kept,
  dropped,
  refusedSeries,
  stated,
  start,
  identifiers,
  verifierIdentifiers,
  sources,
  facts,
  detector,
}: StudySurvey): SurveyPart => ({
  kept,
  dropped,
  refusedSeries,
  stated,
  start,
  identifiers,
  verifierIdentifiers,
  sources,
  facts,
  strokes: detector.seen(),
});

/** The part of a whole study's survey that decides on it: without the words, the strokes and what results are compared with. */
export const decisiveOf = (survey: StudySurvey): SurveyPart => {
  refuseDrawnText(survey);
  return {
    ...partOf(survey),
    identifiers: noIdentifiers(),
    verifierIdentifiers: noStudyIdentifiers(),
    sources: new Map(),
    strokes: new Map(),
  };
};

/** Adds what was seen of other files of the study; the order does not matter. */
export const mergePart = (survey: StudySurvey, part: SurveyPart): void => {
  survey.kept.push(...part.kept);
  for (const [code, count] of part.dropped) survey.dropped.set(code, (survey.dropped.get(code) ?? 0) + count);
  for (const [series, code] of part.refusedSeries) survey.refusedSeries.set(series, code);
  for (const [name, one] of part.stated)
    survey.stated.set(name, { ...one, isKept: one.isKept || survey.stated.get(name)?.isKept === true });
  survey.start = earlier(survey.start, part.start);
  survey.detector.merge(part.strokes);
  for (const kind of ['person', 'other', 'numbers'] as const) for (const word of part.identifiers[kind]) survey.identifiers[kind].add(word);
  for (const kind of ['words', 'numbers', 'stems', 'uids', 'byteForms'] as const)
    for (const word of part.verifierIdentifiers[kind]) survey.verifierIdentifiers[kind].add(word);
  for (const [name, facts] of part.sources) survey.sources.set(name, facts);
  const isFirst = survey.facts === undefined || (part.facts !== undefined && part.facts.sopInstanceUid < survey.facts.sopInstanceUid);
  if (isFirst) survey.facts = part.facts;
};

/** The code of an unreadable file. Anything that is no DicomError is a bug and goes on. */
export const codeOfDicomError = (error: unknown): Code => {
  if (!(error instanceof DicomError)) throw error;
  return isCode(error.code) ? error.code : 'BAD_ELEMENT';
};

const noteIdentity = (survey: StudySurvey, file: DicomFile, isKept: boolean): void => {
  const identity = statedIdentity(file.dataset);
  const name = JSON.stringify(identity);
  survey.stated.set(name, { identity, isKept: isKept || survey.stated.get(name)?.isKept === true });
};

/** The patients that the study names, and whether a kept image names none. */
const patientsOf = ({ stated, centre, rules }: StudySurvey): { keys: PatientKey[]; hasNoIdentity: boolean } => {
  const keys = new Map<string, PatientKey>();
  let hasNoIdentity = false;
  const all = [...stated.values()].map(({ identity }) => identity);
  for (const { identity, isKept } of stated.values()) {
    const key = patientKeyOf(filledUp(identity, all), centre, rules);
    // A screen without a patient says nothing against the others; an image without one can't be placed.
    if (key === 'NO_PATIENT_IDENTITY') hasNoIdentity ||= isKept;
    else keys.set(JSON.stringify([key.namespace, key.patientId]), key);
  }
  return { keys: [...keys.values()], hasNoIdentity };
};

const noteFacts = (survey: StudySurvey, file: DicomFile): void => {
  const { dataset } = file;
  const sopInstanceUid = text(dataset, TAG.SOPInstanceUID) ?? '';
  if (survey.facts !== undefined && survey.facts.sopInstanceUid <= sopInstanceUid) return;
  const sex = (text(dataset, TAG.PatientSex) ?? '').toUpperCase();
  survey.facts = {
    sopInstanceUid,
    ageBand: ageBandOf(ageOf(dataset)),
    sex: /^[MFO]$/.test(sex) ? sex : 'unknown',
    manufacturer: makerOf(text(dataset, TAG.Manufacturer) ?? ''),
  };
};

export type Conclusion =
  /** `key`: the one patient that the study names, where there is exactly one. */
  | { kind: 'refused'; code: Code; detail: string; key?: PatientKey }
  | {
      kind: 'accepted';
      key: PatientKey;
      kept: ReadonlySet<string>;
      dropped: readonly { code: Code; count: number }[];
      facts: StudyFacts;
      /** Kept series in which the detector found text: a person looks at them before anything is published. */
      textIn: ReadonlySet<string>;
    };

const refuseDrawnText = ({ detector, refusedSeries }: StudySurvey): void => {
  for (const series of detector.found()) if (!refusedSeries.has(series)) refusedSeries.set(series, 'BURNED_IN_TEXT');
};

/**
 * What the whole survey says: one patient, something to keep, or why not. Series in which the detector found
 * text are left out, or kept to be held, where there is somebody who looks at what is held.
 */
export const conclude = (survey: StudySurvey, drawnText: 'leave out' | 'hold' = 'leave out'): Conclusion => {
  if (drawnText === 'leave out') refuseDrawnText(survey);
  const textIn = new Set(survey.detector.found().filter((series) => !survey.refusedSeries.has(series)));
  const kept = new Set(survey.kept.filter(({ series }) => !survey.refusedSeries.has(series)).map(({ name }) => name));
  const dropped = new Map(survey.dropped);
  for (const { series } of survey.kept) {
    const code = survey.refusedSeries.get(series);
    if (code !== undefined) dropped.set(code, (dropped.get(code) ?? 0) + 1);
  }
  const list = [...dropped].map(([code, count]) => ({ code, count })).sort((a, b) => (a.code < b.code ? -1 : 1));
  const detail = list.map(({ code, count }) => `${count} ${code}`).join(', ');
  const { keys, hasNoIdentity } = patientsOf(survey);
  if (keys.length > 1) return { kind: 'refused', code: 'MIXED_PATIENTS', detail: `${keys.length} patient ids in one study` };
  const [key] = keys;
  const named = key === undefined ? {} : { key };
  if (kept.size === 0 || survey.facts === undefined)
    return { kind: 'refused', code: reasonForNothing(list.map(({ code }) => code)), detail, ...named };
  if (key === undefined || hasNoIdentity) return { kind: 'refused', code: 'NO_PATIENT_IDENTITY', detail: '(0010,0020)', ...named };
  const { ageBand, sex, manufacturer } = survey.facts;
  return { kind: 'accepted', key, kept, dropped: list, facts: { ageBand, sex, manufacturer }, textIn };
};

/** When nothing is kept, the most telling of the codes, else NOTHING_KEPT. */
const reasonForNothing = (codes: readonly Code[]): Code =>
  (
    [
      'BURNED_IN_TEXT',
      'EMBEDDED_OVERLAY',
      'NOT_JUDGED_PIXELS',
      'MISSING_UID',
      'NO_PIXELS',
      'TRUNCATED',
      'BAD_ELEMENT',
      'DUPLICATE_ELEMENT',
      'BAD_DEFLATE',
      'LIMIT_EXCEEDED',
      'NOT_DICOM',
    ] as const
  ).find((code) => codes.includes(code)) ?? 'NOTHING_KEPT';
