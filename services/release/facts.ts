// From what the log says to what belongs into a version: pure, and the same for every order of the facts.
import type { EventRecord, ResearchStudyRejected, StudyLabelled, StudySelected } from '../../schemas/events.gen.ts';

export type FactType =
  | 'ctstream.research.v1.StudySelected'
  | 'ctstream.research.v1.StudyLabelled'
  | 'ctstream.research.v1.StudyExcluded'
  | 'ctstream.research.v1.StudyRejected';
export type Fact = Extract<EventRecord, { type: FactType }>;

/** A study of the version: selected, graded, and rejected by nobody. */
export interface Member {
  readonly selected: StudySelected;
  readonly labelled: StudyLabelled;
}

export interface Exclusion {
  readonly studyId: string;
  /** The stage that left it out. */
  readonly stage: string;
  readonly code: string;
}

export interface Contents {
  /** Sorted by research study id. */
  readonly members: readonly Member[];
  readonly exclusions: readonly Exclusion[];
  /** Studies that are selected and in no revision graded or rejected yet, or graded in one whose selection has not come. */
  readonly waiting: number;
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const revisionKey = (v: { studyId: string; revision: string }): string => `${v.studyId}|${v.revision}`;

/**
 * Splits the studies of the facts into members, exclusions (one row per stage and code) and those that wait. Of a study
 * the newest graded revision is the member: an older one stands until the newer is read, but for one of another subject
 * (a patient was merged in the PACS): nothing is released under whom the newest does not name. What is told of a revision
 * whose selection is not among the facts may be of the newest: an identity seen there is taken as seen in all of the
 * study, and a grade there keeps the study waiting for that selection.
 */
export function contentsOf(facts: readonly Fact[]): Contents {
  const selected = new Map<string, StudySelected>();
  const labelled = new Map<string, StudyLabelled>();
  const rejected = new Set<string>();
  const visible = new Map<string, ResearchStudyRejected>();
  const left: Exclusion[] = [];
  for (const fact of facts) {
    const key = revisionKey(fact.value);
    if (fact.type === 'ctstream.research.v1.StudySelected') {
      const known = selected.get(key);
      // Two cohorts chose it: which of them is named must not depend on the order.
      if (known === undefined || fact.value.cohort < known.cohort) selected.set(key, fact.value);
    } else if (fact.type === 'ctstream.research.v1.StudyLabelled') labelled.set(key, fact.value);
    else if (fact.type === 'ctstream.research.v1.StudyRejected') {
      rejected.add(key);
      if (fact.value.code === 'IDENTITY_VISIBLE') visible.set(key, fact.value);
      left.push({ studyId: fact.value.studyId, stage: fact.value.stage, code: fact.value.code });
    } else left.push({ studyId: fact.value.studyId, stage: 'select', code: fact.value.code });
  }
  const shown = shownUntil([...visible.keys()].flatMap((key) => selected.get(key) ?? []));
  const shownSomewhere = studiesUnselected(visible, selected);
  const readUnselected = studiesUnselected(labelled, selected);
  const newest = newestOf([...selected.values()]);
  const members = new Map<string, Member>();
  const waiting = new Set<string>();
  for (const [key, s] of selected) {
    const l = labelled.get(key);
    if (rejected.has(key) || s.ordinal <= (shown.get(s.studyId) ?? -Infinity) || shownSomewhere.has(s.studyId)) continue;
    if (newest.get(s.studyId)?.subjectId !== s.subjectId) continue;
    if (l === undefined || readUnselected.has(s.studyId)) waiting.add(s.studyId);
    else if ((members.get(s.studyId)?.selected.ordinal ?? 0) < s.ordinal) members.set(s.studyId, { selected: s, labelled: l });
  }
  const rows = new Map(left.filter((e) => !members.has(e.studyId)).map((e) => [`${e.studyId}|${e.stage}|${e.code}`, e]));
  return {
    members: [...members.values()].sort((a, b) => byText(a.selected.studyId, b.selected.studyId)),
    exclusions: [...rows.entries()].sort(([a], [b]) => byText(a, b)).map(([, e]) => e),
    waiting: [...waiting].filter((studyId) => !members.has(studyId)).length,
  };
}

/** By study the newest selected revision. Equal ordinals (which should not be) fall to the revision's id. */
export function newestOf<R extends { readonly studyId: string; readonly ordinal: number; readonly revision: string }>(
  revisions: readonly R[],
): Map<string, R> {
  const newest = new Map<string, R>();
  for (const s of revisions) {
    const known = newest.get(s.studyId);
    if (known === undefined || s.ordinal > known.ordinal || (s.ordinal === known.ordinal && s.revision > known.revision))
      newest.set(s.studyId, s);
  }
  return newest;
}

/** Studies of the revisions that are not among the selected ones. */
function studiesUnselected(
  told: ReadonlyMap<string, { readonly studyId: string }>,
  selected: ReadonlyMap<string, StudySelected>,
): Set<string> {
  return new Set([...told].flatMap(([key, { studyId }]) => (selected.has(key) ? [] : [studyId])));
}

/** By study the newest revision that showed an identity: the older ones are of the same images, and out too. */
function shownUntil(visible: readonly StudySelected[]): Map<string, number> {
  const shown = new Map<string, number>();
  for (const s of visible) shown.set(s.studyId, Math.max(s.ordinal, shown.get(s.studyId) ?? -Infinity));
  return shown;
}
