// The decision of a selection round: a pure function of the cohort, the candidates up to the cut and
// what was decided before. In what order the candidates came does not matter.
import { createHmac } from 'node:crypto';
import type { Code } from '../kernel/codes.ts';
import type { Cohort, Quota } from './cohort.ts';

/** What the rules look at of an assessed study. */
export interface Candidate {
  readonly studyId: string;
  readonly subjectId: string;
  readonly site: string;
  readonly revision: string;
  readonly ordinal: number;
  readonly estimatedClass: number;
  readonly uncertain: boolean;
  readonly sex: string;
  readonly ageBand: string;
  readonly kernel: string;
  readonly contrast: string;
}

/** A revision that an earlier round of this cohort selected, excluded, or took in the place of an older one. */
export interface EarlierDecision {
  readonly studyId: string;
  readonly ordinal: number;
  readonly subjectId: string;
  readonly site: string;
  readonly cell: string;
  readonly outcome: 'selected' | 'revised' | 'excluded';
}

export type Decision<C extends Candidate = Candidate> =
  | { readonly outcome: 'selected' | 'revised'; readonly candidate: C; readonly cell: string }
  | {
      readonly outcome: 'excluded' | 'skipped';
      readonly candidate: C;
      readonly cell: string;
      readonly code: Code;
      readonly detail: string;
    };

/** Quota cell of a study: estimated class, sex, age band. Unknown age or sex is a cell of its own. */
export function cellOf(c: Pick<Candidate, 'estimatedClass' | 'sex' | 'ageBand'>): string {
  return `CT-${c.estimatedClass}/${c.sex}/${c.ageBand}`;
}

/** What the round has taken so far, earlier rounds included. */
interface Tally {
  size: number;
  readonly subjects: Set<string>;
  readonly bySite: Map<string, number>;
  readonly byQuota: number[];
}

function inQuota(quota: Quota, cell: string): boolean {
  const [cls, sex, ageBand] = cell.split('/');
  return (
    (quota.class === undefined || cls === `CT-${quota.class}`) &&
    (quota.sex === undefined || sex === quota.sex) &&
    (quota.ageBand === undefined || ageBand === quota.ageBand)
  );
}

function count(tally: Tally, cohort: Cohort, taken: { subjectId: string; site: string; cell: string }): void {
  tally.size += 1;
  tally.subjects.add(taken.subjectId);
  tally.bySite.set(taken.site, (tally.bySite.get(taken.site) ?? 0) + 1);
  for (const [i, quota] of cohort.quotas.entries()) if (inQuota(quota, taken.cell)) tally.byQuota[i] = (tally.byQuota[i] ?? 0) + 1;
}

/**
 * A study takes one place, by what was selected first. Its revisions may name another subject, after a merge of patients:
 * that one has a study then. Did the first subject withdraw, the place is still taken.
 */
function countEarlier(tally: Tally, cohort: Cohort, earlier: readonly EarlierDecision[]): void {
  const placed = new Set<string>();
  const rank = (e: EarlierDecision): number => (e.outcome === 'selected' ? -1 : e.ordinal);
  for (const e of earlier.toSorted((a, b) => rank(a) - rank(b))) {
    if (e.outcome === 'excluded') continue;
    if (placed.has(e.studyId)) tally.subjects.add(e.subjectId);
    else count(tally, cohort, e);
    placed.add(e.studyId);
  }
}

/** The first rule against a study; undefined when it may be taken. What the study itself is comes before what is full. */
function reasonAgainst(c: Candidate, cell: string, cohort: Cohort, tally: Tally): { code: Code; detail: string } | undefined {
  if (cohort.kernel !== 'any' && c.kernel !== cohort.kernel)
    return { code: 'KERNEL_NOT_WANTED', detail: `kernel ${c.kernel}, the cohort takes ${cohort.kernel}` };
  if (cohort.contrast !== 'any' && c.contrast === 'given')
    return { code: 'CONTRAST_NOT_WANTED', detail: `contrast ${c.contrast}, the cohort takes ${cohort.contrast}` };
  if (cohort.contrast === 'none' && c.contrast !== 'none')
    return { code: 'CONTRAST_UNCERTAIN', detail: `contrast ${c.contrast}, the cohort takes none` };
  if (cohort.onePerPatient && tally.subjects.has(c.subjectId)) return { code: 'PATIENT_ALREADY_SELECTED', detail: 'one study per patient' };
  if (tally.size >= cohort.size) return { code: 'COHORT_FULL', detail: `size ${cohort.size}` };
  if ((tally.bySite.get(c.site) ?? 0) >= cohort.perCentreCap) return { code: 'CENTRE_CAP', detail: `${cohort.perCentreCap} per centre` };
  const full = cohort.quotas.findIndex((quota, i) => inQuota(quota, cell) && (tally.byQuota[i] ?? 0) >= quota.size);
  if (full >= 0) return { code: 'QUOTA_FULL', detail: `quota ${full + 1} of the cohort file, size ${cohort.quotas[full]?.size ?? 0}` };
  return undefined;
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Candidates in the order in which the rules look at them: a function of what they are, never of when they came. */
function ranked<C extends Candidate>(candidates: readonly C[], cohort: Cohort): C[] {
  const tie = new Map(candidates.map((c) => [c.studyId, createHmac('sha256', cohort.seed).update(c.studyId).digest('hex')]));
  const uncertain = (c: C): number => (cohort.uncertainFirst && c.uncertain ? 0 : 1);
  const severity = (c: C): number => (cohort.severeFirst ? -c.estimatedClass : 0);
  return candidates.toSorted(
    (a, b) =>
      uncertain(a) - uncertain(b) ||
      severity(a) - severity(b) ||
      byText(tie.get(a.studyId) ?? '', tie.get(b.studyId) ?? '') ||
      byText(a.studyId, b.studyId),
  );
}

/** The newest revision of each study, and the older ones. Equal ordinals (which should not be) fall to the revision's id. */
function newestOnly<C extends Candidate>(candidates: readonly C[]): { newest: C[]; older: C[] } {
  const byStudy = new Map<string, C>();
  const older: C[] = [];
  for (const c of candidates) {
    const known = byStudy.get(c.studyId);
    const newer = known === undefined || c.ordinal > known.ordinal || (c.ordinal === known.ordinal && c.revision > known.revision);
    if (newer) byStudy.set(c.studyId, c);
    const loser = newer ? known : c;
    if (loser !== undefined) older.push(loser);
  }
  return { newest: [...byStudy.values()], older };
}

/**
 * Decides a round: one decision per candidate. Selected is final, so limits count the earlier rounds too.
 *
 * - `withdrawn`: the subjects that had withdrawn when the round closed. They are absent: no decision, and no place taken.
 *   A replay knows erased revisions in their place, and leaves these out itself.
 * - Of an undecided study's revisions the newest counts, the others are skipped `SUPERSEDED`.
 * - A newer revision of a selected study takes its place: revised, whatever is full. Of an excluded one it is skipped
 *   `ALREADY_DECIDED`. An older one than was decided is skipped `SUPERSEDED`.
 * - All others are selected or excluded with the first rule against them.
 */
export function decide<C extends Candidate>(input: {
  readonly cohort: Cohort;
  readonly candidates: readonly C[];
  readonly earlier: readonly EarlierDecision[];
  readonly withdrawn: ReadonlySet<string>;
}): Decision<C>[] {
  const { cohort } = input;
  const isThere = (c: { readonly subjectId: string }): boolean => !input.withdrawn.has(c.subjectId);
  const candidates = input.candidates.filter(isThere);
  const earlier = input.earlier.filter(isThere);
  const decided = decidedStudies(earlier);
  const tally: Tally = { size: 0, subjects: new Set(), bySite: new Map(), byQuota: [] };
  countEarlier(tally, cohort, earlier);

  const late = candidates.filter((c) => c.ordinal <= (decided.get(c.studyId)?.ordinal ?? -Infinity));
  const { newest, older } = newestOnly(candidates.filter((c) => !late.includes(c)));
  const again = newest.filter((c) => decided.has(c.studyId)).toSorted(bySort);
  for (const c of again) if (decided.get(c.studyId)?.isSelected === true) tally.subjects.add(c.subjectId);
  const decisions: Decision<C>[] = ranked(
    newest.filter((c) => !decided.has(c.studyId)),
    cohort,
  ).map((candidate) => {
    const cell = cellOf(candidate);
    const against = reasonAgainst(candidate, cell, cohort, tally);
    if (against !== undefined) return { outcome: 'excluded', candidate, cell, ...against };
    count(tally, cohort, { ...candidate, cell });
    return { outcome: 'selected', candidate, cell };
  });
  for (const c of again) decisions.push(decided.get(c.studyId)?.isSelected === true ? revised(c) : excludedBefore(c));
  for (const c of [...older, ...late].toSorted(bySort)) decisions.push(supersededBy(c));
  return decisions;
}

const bySort = (a: Candidate, b: Candidate): number => byText(a.studyId, b.studyId) || byText(a.revision, b.revision);

/** Of each study whether it has a place, and the newest revision that was decided. */
function decidedStudies(earlier: readonly EarlierDecision[]): Map<string, { ordinal: number; isSelected: boolean }> {
  const decided = new Map<string, { ordinal: number; isSelected: boolean }>();
  for (const e of earlier) {
    const known = decided.get(e.studyId);
    const isSelected = e.outcome !== 'excluded' || known?.isSelected === true;
    decided.set(e.studyId, { ordinal: Math.max(e.ordinal, known?.ordinal ?? 0), isSelected });
  }
  return decided;
}

function revised<C extends Candidate>(candidate: C): Decision<C> {
  return { outcome: 'revised', candidate, cell: cellOf(candidate) };
}

function excludedBefore<C extends Candidate>(candidate: C): Decision<C> {
  const detail = 'an earlier round excluded another revision of the study';
  return { outcome: 'skipped', candidate, cell: cellOf(candidate), code: 'ALREADY_DECIDED', detail };
}

function supersededBy<C extends Candidate>(candidate: C): Decision<C> {
  const detail = 'a newer revision of the study is a candidate or was decided';
  return { outcome: 'skipped', candidate, cell: cellOf(candidate), code: 'SUPERSEDED', detail };
}
