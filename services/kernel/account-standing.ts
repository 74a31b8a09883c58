// Where one event, one verdict or one research study stands. Parts of the account's fold; pure.
import {
  byAge,
  eventKey,
  newest,
  parkedKey,
  revisionKey,
  type AccountInput,
  type Anonymised,
  type Assessed,
  type ClinicalVerdict,
  type Facts,
  type Parked,
  type ResearchVerdict,
} from './account-facts.ts';
import type { Code } from './codes.ts';
import type { ClinicalKey, ResearchStudyId } from './ids.ts';
import type { EventIn } from './stage.ts';

export type StudyState = 'released' | 'waiting' | 'excluded' | 'rejected' | 'withdrawn' | 'outOfScope' | 'unaccounted';

export const MILESTONES = ['sent', 'available', 'stored', 'anonymised', 'assessed', 'selected', 'labelled', 'released'] as const;
export type Milestone = (typeof MILESTONES)[number];

/** EXPIRED: the PACS still lists it, and what became of it is older than the clinical log keeps. */
export type StandingCode = Code | 'RELEASED' | 'IN_QUEUE' | 'EXPIRED';

export interface Standing {
  readonly state: StudyState;
  readonly code: StandingCode;
  /** Furthest point of the way that the counted revision reached. */
  readonly reached: Milestone;
  /** True when it waits for a person: it lies in a dead-letter topic. */
  readonly dead?: boolean;
  /** Code of the newest revision, when the study stands where an earlier one does. */
  readonly note?: StandingCode;
}

export interface Fold {
  readonly input: AccountInput;
  readonly facts: Facts;
  /** What is older may have left the clinical topics of verdicts and stored studies. */
  readonly outcomesKeptSinceMs: number;
}

/** Where an event stands that its stage has parked; undefined when no record holds it any more. */
function parkedAt(fold: Fold, stage: string, e: EventIn, reached: Milestone): Standing | undefined {
  const parked = openIn(fold, fold.facts.parked.get(parkedKey(stage, e.id)) ?? []);
  return parked && { state: 'waiting', code: parked.code, reached, dead: parked.dead };
}

/** The newest record that still holds the event: a dead letter, or a retry that its stage has not consumed. One that
 * was consumed has led to an outcome, to a later record, or to nothing. */
function openIn({ input }: Fold, parked: readonly Parked[]): Parked | undefined {
  const waits = parked.find((p) => !p.dead && p.offset >= input.committed(`${p.stage}.retry`, p.topic, p.partition));
  if (waits !== undefined) return waits;
  return parked[0]?.dead === true ? parked[0] : undefined;
}

/** Parked records of a study in the clinical zone that still hold their event, the newest first. */
export function openParks(fold: Fold, key: ClinicalKey): Parked[] {
  const { parked, parkedOf } = fold.facts;
  return [...(parkedOf.get(key) ?? [])].flatMap((at) => openIn(fold, parked.get(at) ?? []) ?? []).toSorted(byAge);
}

/** The newest that holds an event which the log no longer has: announcements and stored studies are kept for 30 days, dead letters for 90. */
export function outlivingPark(fold: Fold, key: ClinicalKey): Parked | undefined {
  const { available, stored } = fold.facts;
  const inLog = new Set([...(available.get(key) ?? []), ...(stored.get(key) ?? [])].map((e) => e.id));
  return openParks(fold, key).find((p) => !inLog.has(p.eventId));
}

/** Where a study stands whose parked record this is. */
export function parkedStanding({ stage, code, dead }: Parked): Standing {
  return { state: 'waiting', code, reached: stage === 'ingest' ? 'available' : 'stored', dead };
}

/** Where an event without an outcome stands: parked, still in the queue (a copy of it, too), or lost. */
export function pending(fold: Fold, stage: string, e: EventIn, reached: Milestone): Standing {
  const { input, facts } = fold;
  const parked = parkedAt(fold, stage, e, reached);
  if (parked !== undefined) return parked;
  const last = facts.lastOffset.get(eventKey(e)) ?? e.offset;
  if (last >= input.committed(stage, e.topic, e.partition)) return { state: 'waiting', code: 'IN_QUEUE', reached };
  return { state: 'unaccounted', code: facts.parked.get(parkedKey(stage, e.id))?.[0]?.code ?? 'IN_QUEUE', reached };
}

/** As `pending`, for a clinical event: what is too old to have its outcome in the log is not lost. */
export function pendingClinical(fold: Fold, stage: string, e: EventIn, reached: Milestone): Standing {
  const standing = pending(fold, stage, e, reached);
  if (standing.state !== 'unaccounted' || e.timeMs >= fold.outcomesKeptSinceMs) return standing;
  return { state: 'waiting', code: 'EXPIRED', reached };
}

type AnyVerdict = ClinicalVerdict | ResearchVerdict;
export const isRejection = (v: AnyVerdict): boolean => v.type.endsWith('StudyRejected');

/** A verdict's state; undefined when it leaves the question to another revision. */
export function verdictState(verdicts: readonly AnyVerdict[] | undefined, reached: Milestone): Standing | undefined {
  const rejections = verdicts?.filter(isRejection) ?? [];
  if (rejections.length > 0) {
    const { code } = newest(rejections, (v) => v.timeMs).value;
    return { state: code === 'PATIENT_WITHDRAWN' ? 'withdrawn' : 'rejected', code, reached };
  }
  if (verdicts === undefined || verdicts.length === 0) return undefined;
  const { code } = newest(verdicts, (v) => v.timeMs).value;
  if (code === 'DUPLICATE_OF') return { state: 'excluded', code, reached };
  // The gateway sees the change too and announces the newer revision: until then the study waits.
  return { state: 'waiting', code, reached };
}

/** Codes under which a revision waits for another one: it is not where its study stands when that one has ended. */
const LEFT_TO_ANOTHER: readonly StandingCode[] = ['SUPERSEDED', 'STUDY_CHANGED', 'EXPIRED'];

/**
 * Where a study stands, from its revisions, the newest first. The newest counts. When it was rejected or is left out of scope, an
 * earlier one that went on does, with the newest's code noted. A loss is never hidden by another revision.
 */
export function foremost(revisions: readonly (() => Standing)[]): Standing | undefined {
  const [first, ...earlier] = revisions;
  const own = first?.();
  // Readers judge the study that was selected, whichever revision they were shown.
  if (own === undefined || !['rejected', 'outOfScope'].includes(own.state) || own.reached === 'selected' || own.reached === 'labelled')
    return own;
  for (const standingOf of earlier) {
    const standing = standingOf();
    if (standing.state === 'rejected' || LEFT_TO_ANOTHER.includes(standing.code)) continue;
    return { ...standing, note: own.code };
  }
  return own;
}

/** A release stands whatever a later revision meets: that is only noted. */
export function underRelease(newestRevision: Standing): Standing {
  const { code } = newestRevision;
  return { state: 'released', code: 'RELEASED', reached: 'released', ...(code === 'RELEASED' ? {} : { note: code }) };
}

/** Longest wait in a retry topic, and then some: a record that was parked has been consumed by then, if its stage runs. */
const RETRIED_WITHIN_MS = 2 * 3_600_000;

/** A revision of which select has told nothing: parked or lost; undefined when it waits for its round. */
function withoutDecision(fold: Fold, e: Assessed, reached: Milestone): Standing | undefined {
  const { facts } = fold;
  const parked = parkedAt(fold, 'select', e, reached);
  if (parked !== undefined) return parked;
  const cut = facts.cut.get(`${e.topic}/${e.partition}`);
  if (cut === undefined || e.offset >= cut.end) return undefined;
  // What came late, by a retry or a replay, is a candidate of a later round: the cut had gone over its offset before.
  const parkedMs = facts.parked.get(parkedKey('select', e.id))?.[0]?.timeMs;
  if (parkedMs !== undefined && cut.closedMs <= parkedMs + RETRIED_WITHIN_MS) return undefined;
  return { state: 'unaccounted', code: 'AWAITING_ROUND', reached };
}

/** Where this revision itself is held up behind its assessment; undefined when it is not. */
function heldUp(fold: Fold, e: Assessed, isSkipped: boolean, reached: Milestone): Standing | undefined {
  const at = revisionKey(e.value.studyId, e.value.revision);
  const { facts } = fold;
  const labelled = facts.labelledRevisions.get(at);
  const selected = facts.selectedRevisions.get(at);
  // Release tells of no study before a version has it: what it could not take in would be missing in each without a word.
  const atRelease = [labelled, selected].map((one) => one && parkedAt(fold, 'release', one, reached)).find((one) => one !== undefined);
  if (labelled !== undefined) return atRelease;
  if (selected === undefined) return isSkipped || facts.excludedRevisions.has(at) ? undefined : withoutDecision(fold, e, reached);
  const queued = pending(fold, 'label-queue', selected, reached);
  // Below the commit the task stands in the readers' database: it waits for people, not for a stage.
  return queued.state === 'unaccounted' ? atRelease : queued;
}

function afterAssessed(fold: Fold, e: Assessed): Standing {
  const { facts } = fold;
  const id = e.value.studyId;
  const reached = facts.labelled.has(id) ? 'labelled' : facts.selected.has(id) ? 'selected' : 'assessed';
  const late = verdictState(facts.researchVerdicts.get(revisionKey(id, e.value.revision)), reached);
  if (late?.state === 'rejected' || late?.state === 'withdrawn') return late;
  // What was decided of another revision of the study hides neither a loss nor a dead letter of this one.
  const held = heldUp(fold, e, late !== undefined, reached);
  if (held !== undefined) return held;
  if (reached === 'labelled') return { state: 'waiting', code: 'AWAITING_RELEASE', reached };
  if (reached === 'selected') return { state: 'waiting', code: 'AWAITING_READING', reached };
  const excluded = facts.excluded.get(id);
  if (excluded !== undefined) return { state: 'excluded', code: excluded.value.code, reached };
  return late ?? { state: 'waiting', code: 'AWAITING_ROUND', reached };
}

function revisionStanding(fold: Fold, e: Anonymised): Standing {
  const at = revisionKey(e.value.studyId, e.value.revision);
  const assessed = fold.facts.assessed.get(at);
  if (assessed !== undefined) return afterAssessed(fold, assessed);
  return verdictState(fold.facts.researchVerdicts.get(at), 'anonymised') ?? pending(fold, 'assess', e, 'anonymised');
}

/** Codes at the end of the way to a release: the revision that was released bears them, so they say nothing of a later one. */
const BEFORE_RELEASE: readonly StandingCode[] = ['AWAITING_RELEASE', 'AWAITING_READING'];

export function researchStanding(fold: Fold, id: ResearchStudyId, anonymised: readonly Anonymised[]): Standing {
  const { facts } = fold;
  const e = newest(anonymised, (r) => r.value.ordinal);
  if (facts.withdrawn.has(e.value.subjectId) || facts.withdrawnStudies.has(id))
    return { state: 'withdrawn', code: 'PATIENT_WITHDRAWN', reached: 'anonymised' };
  const revisions = [...new Map(anonymised.map((r) => [r.value.revision, r])).values()].toSorted(
    (a, b) => b.value.ordinal - a.value.ordinal || (a.id > b.id ? -1 : 1),
  );
  // After a merge the earlier ones are of another subject, and what was erased of that one tells nothing of this study.
  const standing =
    foremost(revisions.filter((r) => !facts.withdrawn.has(r.value.subjectId)).map((r) => () => revisionStanding(fold, r))) ??
    revisionStanding(fold, e);
  if (!facts.released.has(id) || (standing.state === 'unaccounted' && revisions.length > 1)) return standing;
  const isReleasedOne = revisions.length === 1 || BEFORE_RELEASE.includes(standing.code);
  return underRelease(isReleasedOne ? { ...standing, code: standing.note ?? 'RELEASED' } : standing);
}
