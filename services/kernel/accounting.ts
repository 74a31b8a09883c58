// One pure fold of events to exactly one state per study: sent = released + waiting + excluded +
// rejected + withdrawn + outOfScope + unaccounted (docs/decisions/0011-account-as-a-fold.md).
import {
  eventKey,
  gather,
  newest,
  type AccountInput,
  type Available,
  type BadCount,
  type ClinicalVerdict,
  type Facts,
  type Status,
  type Stored,
  type Listed,
} from './account-facts.ts';
import {
  foremost,
  isRejection,
  MILESTONES,
  openParks,
  outlivingPark,
  parkedStanding,
  pendingClinical,
  researchStanding,
  underRelease,
  verdictState,
  type Fold,
  type Milestone,
  type Standing,
  type StandingCode,
  type StudyState,
} from './account-standing.ts';
import { isCode } from './codes.ts';
import { returnedRevision } from './digest.ts';
import { outgoingId } from './event-ids.ts';
import { parseClinicalKey, type ClinicalKey, type ClinicalRevision } from './ids.ts';
import { outboxGaps } from './outbox-gaps.ts';
import type { EventIn } from './stage.ts';

export type { AccountInput, BadCount, BadRecord, Parked } from './account-facts.ts';
export { MILESTONES, type Milestone, type StudyState } from './account-standing.ts';

export interface StudyAccount {
  /** Clinical key, or `intake|<centre>|<id>` of a study that never entered a PACS. */
  readonly key: string;
  readonly centre: string;
  readonly state: StudyState;
  readonly code: StandingCode;
  /** Furthest point of the way that the revision reached that counts. */
  readonly reached: Milestone;
  /** True when it waits for a person: it lies in a dead-letter topic. */
  readonly dead: boolean;
  /** Code of the newest revision, when the study stands where an earlier one does. */
  readonly note?: StandingCode;
}

export interface Account {
  readonly studies: readonly StudyAccount[];
  readonly totals: Readonly<Record<StudyState | 'sent', number>>;
  /** Studies whose newest revision reached each milestone. */
  readonly reached: Readonly<Record<Milestone, number>>;
  /** How many studies (and refused single files) bear each code. */
  readonly reasons: Readonly<Record<string, number>>;
  /** Outbox numbers that a source drew and the log does not have: `<source>#<number>` or `<source>#<first>-<last>`. */
  readonly missing: readonly string[];
  /** Records that are no good events, by topic and code: they are not in the account. */
  readonly bad: readonly BadCount[];
}

/**
 * Verdicts on one event: a skip of itself, and rejections of its revision, unless `others` with the same revision had
 * them: a study that vanished and came back is announced again as the same revision.
 */
function verdictsOn(
  facts: Facts,
  stage: string,
  key: ClinicalKey,
  revision: string,
  e: EventIn,
  others: readonly EventIn[],
): ClinicalVerdict[] {
  const skip = outgoingId(stage, e.id, 'ctstream.clinical.v1.StudySkipped', 0);
  const foreign = new Set(others.filter((o) => o.id !== e.id).map((o) => outgoingId(stage, o.id, 'ctstream.clinical.v1.StudyRejected', 0)));
  return (facts.clinicalVerdicts.get(key) ?? []).filter(
    (v) => v.value.revision === revision && (v.id === skip || (isRejection(v) && !foreign.has(v.id))),
  );
}

function knownToResearch(fold: Fold, key: ClinicalKey): Standing | undefined {
  const id = fold.input.lineage.get(key);
  const revisions = id === undefined ? undefined : fold.facts.anonymised.get(id);
  return id === undefined || revisions === undefined ? undefined : researchStanding(fold, id, revisions);
}

function afterStored(fold: Fold, key: ClinicalKey, stored: Stored): Standing {
  const verdicts = verdictsOn(fold.facts, 'anonymise', key, stored.value.revision, stored, []).filter((v) => v.value.stage === 'anonymise');
  const verdict = verdictState(verdicts, 'stored');
  if (verdict?.state === 'rejected' || verdict?.state === 'withdrawn') return verdict;
  const known = knownToResearch(fold, key);
  if (known !== undefined && (verdict !== undefined || !isMissingInResearch(fold, key, stored))) return known;
  const own = verdict ?? pendingClinical(fold, 'anonymise', stored, 'stored');
  return own.code === 'EXPIRED' ? (known ?? own) : own;
}

/** Earlier revisions of the study crossed the boundary and this one did not: they say nothing of it. */
function isMissingInResearch({ input, facts }: Fold, key: ClinicalKey, { value }: Stored): boolean {
  const id = input.lineage.get(key);
  const revision = input.researchRevision(key, value.revision);
  if (id === undefined || revision === undefined) return false;
  return facts.anonymised.get(id)?.every((e) => e.value.revision !== revision) ?? true;
}

function statusState(s: Status): Standing {
  const code = s.value.code !== null && isCode(s.value.code) ? s.value.code : 'EXPIRED';
  if (code === 'DUPLICATE_OF') return { state: 'excluded', code, reached: 'available' };
  if (s.value.state === 'rejected' && code !== 'EXPIRED') return { state: 'rejected', code, reached: 'available' };
  return { state: 'waiting', code, reached: s.value.state === 'stored' ? 'stored' : 'available' };
}

/** Where a revision stands once it is stored; undefined when it is not. */
function storedStanding(fold: Fold, key: ClinicalKey, revision: ClinicalRevision): Standing | undefined {
  const stored = fold.facts.stored.get(key)?.filter((s) => s.value.revision === revision) ?? [];
  if (stored.length === 0) return undefined;
  const e = newest(stored, (s) => s.offset);
  return afterStored(fold, key, e);
}

/**
 * The stored revision that an announcement led to, as services/ingest/standing.ts judges it: one that came back after
 * another (A, B, A) is stored under a revision of its own and the announcement's sequence. `earlier` is the one of before:
 * ingest told that again when it judged before the other was stored.
 */
function storedFor(facts: Facts, key: ClinicalKey, e: Available): { readonly stored?: Stored; readonly earlier?: Stored } {
  const all = facts.stored.get(key) ?? [];
  const { revision, sequence } = e.value;
  const exact = all.filter((s) => s.value.sequence === sequence);
  if (exact.length > 0) return { stored: newest(exact, (s) => s.offset) };
  const announced = new Map((facts.available.get(key) ?? []).map((a) => [a.value.sequence, a.value.revision]));
  // The announcement that it was stored for may have left the log: then its revision tells.
  const isSame = (s: Stored): boolean =>
    (announced.get(s.value.sequence) ?? s.value.revision) === revision || s.value.revision === returnedRevision(revision, s.value.sequence);
  const same = all.filter(isSame).toSorted((a, b) => a.value.sequence - b.value.sequence);
  const own = same.findLast((s) => s.value.sequence <= sequence) ?? same[0];
  if (own === undefined) return {};
  const overtaken = all.some((s) => !isSame(s) && s.value.sequence > own.value.sequence && s.value.sequence < sequence);
  return overtaken ? { earlier: own } : { stored: own };
}

interface Told {
  readonly standing: Standing;
  readonly timeMs: number;
}

/** The newest of what the clinical log says of a study without its announcement: a stored revision, a verdict, a word to the centre. */
function lastTold(fold: Fold, key: ClinicalKey): Told | undefined {
  const { facts } = fold;
  const verdicts = facts.clinicalVerdicts.get(key) ?? [];
  const statuses = facts.statuses.get(key) ?? [];
  const all = [...(facts.stored.get(key) ?? []), ...verdicts, ...statuses];
  if (all.length === 0) return undefined;
  const { value, timeMs } = newest(all, (e) => e.timeMs);
  const isOfRevision = (e: ClinicalVerdict | Status): boolean => e.value.revision === value.revision;
  const standing =
    storedStanding(fold, key, value.revision) ??
    verdictState(verdicts.filter(isOfRevision), 'available') ??
    statusState(newest(statuses.filter(isOfRevision), (s) => s.timeMs));
  return { standing, timeMs };
}

/**
 * What is still known of a study whose announcement has left the log: by the research zone, by the rest of the log, or by
 * a parked record, which holds the event that the log has lost.
 */
function remembered(fold: Fold, key: ClinicalKey): Standing | undefined {
  const known = knownToResearch(fold, key);
  const parked = outlivingPark(fold, key);
  if (parked === undefined) return known ?? lastTold(fold, key)?.standing;
  const own = parkedStanding(parked);
  if (known !== undefined) {
    // A later revision that can't be taken counts, as while its event is there.
    if (parked.timeMs <= anonymisedAtMs(fold, key)) return known;
    return known.state === 'released' ? underRelease(own) : own;
  }
  const told = lastTold(fold, key);
  if (told === undefined || told.timeMs <= parked.timeMs || told.standing.code === 'EXPIRED') return own;
  return foremost([() => told.standing, () => own]);
}

function anonymisedAtMs({ input, facts }: Fold, key: ClinicalKey): number {
  const id = input.lineage.get(key);
  const anonymised = id === undefined ? [] : (facts.anonymised.get(id) ?? []);
  return Math.max(-Infinity, ...anonymised.map((e) => e.timeMs));
}

/** True when the study's announcement may have left the log: its topic's start has moved, and no census since then
 * is without the study (a gateway announces again what comes back after such a census). */
function mayHaveExpired({ input, facts }: Fold, key: ClinicalKey): boolean {
  const { centre } = parseClinicalKey(key);
  const since = [...input.moved].filter(([place]) => place.startsWith(`ct.clinical.${centre}.study-available.`)).map(([, ms]) => ms);
  if (since.length === 0) return false;
  const kept = Math.max(...since);
  const first = facts.firstListedMs.get(key) ?? -Infinity;
  return ![...(facts.censusesMs.get(centre) ?? [])].some((ms) => ms >= kept && ms < first);
}

const VANISHED: Standing = { state: 'rejected', code: 'STUDY_VANISHED', reached: 'sent' };

/** What a census lists and nothing is announced of: by the rule, or since it is gone. */
function leftOut({ code }: Listed): Standing {
  return code === 'STUDY_VANISHED' ? VANISHED : { state: 'outOfScope', code: code ?? 'OUT_OF_SCOPE', reached: 'sent' };
}

/** A whole census since then is without it. */
function isGone({ wholeCensusMs }: Facts, key: ClinicalKey, { takenAtMs }: Listed): boolean {
  return takenAtMs < (wholeCensusMs.get(parseClinicalKey(key).centre) ?? -Infinity);
}

/** A study that was never announced: what the newest census says of it. */
function unannounced(fold: Fold, key: ClinicalKey): Standing {
  const known = remembered(fold, key);
  if (known !== undefined) return known;
  const listed = fold.facts.census.get(key);
  // It came and went before its time to be announced.
  if (listed?.state === 'pending' && isGone(fold.facts, key, listed)) return VANISHED;
  if (listed?.state === 'outOfScope') return leftOut(listed);
  if (listed?.state === 'pending') return { state: 'waiting', code: listed.code ?? 'NOT_YET_STABLE', reached: 'sent' };
  if (mayHaveExpired(fold, key)) return { state: 'waiting', code: 'EXPIRED', reached: 'sent' };
  return { state: 'unaccounted', code: 'NOT_ANNOUNCED', reached: 'sent' };
}

/** Withdrawn for good, whatever revision comes: the vault refuses the study, or anonymise said so. The links are gone, so
 * nothing after `stored` is known of it. */
function withdrawnStanding({ input, facts }: Fold, key: ClinicalKey): Standing | undefined {
  const isTold = facts.clinicalVerdicts.get(key)?.some((v) => isRejection(v) && v.value.code === 'PATIENT_WITHDRAWN') === true;
  if (!isTold && !input.denied.has(key)) return undefined;
  const reached = facts.stored.has(key) ? 'stored' : facts.available.has(key) ? 'available' : 'sent';
  return { state: 'withdrawn', code: 'PATIENT_WITHDRAWN', reached };
}

function announcedStanding(fold: Fold, key: ClinicalKey, e: Available, all: readonly Available[]): Standing {
  const { facts } = fold;
  const { stored, earlier } = storedFor(facts, key, e);
  if (stored !== undefined) return afterStored(fold, key, stored);
  const verdict = verdictState(verdictsOn(facts, 'ingest', key, e.value.revision, e, all), 'available');
  // Nothing later was announced, so nothing later comes: ingest went by the number of a gateway whose clock went back.
  if (verdict?.code === 'SUPERSEDED' && e === all[0] && all.some((a) => a.value.sequence > e.value.sequence))
    return { state: 'waiting', code: 'SEQUENCE_WENT_BACK', reached: 'available' };
  const standing = verdict ?? pendingClinical(fold, 'ingest', e, 'available');
  const isToldAgain = earlier !== undefined && facts.lastOffset.has(eventKey(earlier));
  return standing.state === 'unaccounted' && isToldAgain ? afterStored(fold, key, earlier) : standing;
}

/** A gateway looks at a study at least so often: what its PACS lists otherwise for longer should have been announced. */
export const SETTLE_MS = 2 * 3_600_000;

/**
 * What the newest census says against the announcement: other instances for too long; waiting anew after it vanished; or out of
 * scope after it changed, so that what it changed to is not announced.
 */
function listedOtherwise({ facts }: Fold, key: ClinicalKey, e: Available, standing: Standing): Standing | undefined {
  const listed = facts.census.get(key);
  if (listed === undefined || listed.takenAtMs < e.timeMs) return undefined;
  if (standing.code === 'STUDY_CHANGED' && listed.state === 'outOfScope') return leftOut(listed);
  if (isGone(facts, key, listed)) return undefined;
  if (standing.code === 'STUDY_VANISHED' && listed.state === 'pending')
    return { state: 'waiting', code: listed.code ?? 'NOT_YET_STABLE', reached: 'sent' };
  const isOther = listed.instanceCount > 0 && listed.instanceCount !== e.value.instanceCount && listed.state !== 'outOfScope';
  const sinceMs = Math.max(listed.countSinceMs, e.timeMs);
  if (!isOther || listed.takenAtMs - sinceMs <= SETTLE_MS) return undefined;
  return { state: 'waiting', code: 'NOT_ANNOUNCED', reached: standing.reached };
}

function clinicalStanding(fold: Fold, key: ClinicalKey): Standing {
  const { facts } = fold;
  const withdrawn = withdrawnStanding(fold, key);
  if (withdrawn !== undefined) return withdrawn;
  const all = facts.available.get(key);
  const [e] = all ?? [];
  if (all === undefined || e === undefined) return unannounced(fold, key);
  const own = announcedStanding(fold, key, e, all);
  if (own.state === 'unaccounted' || own.state === 'withdrawn') return own;
  const now = listedOtherwise(fold, key, e, own) ?? own;
  const known = knownToResearch(fold, key);
  if (known?.state === 'released') return now.state === 'released' ? now : underRelease(now);
  if (now.code === 'EXPIRED') return remembered(fold, key) ?? now;
  const earlier = all.slice(1).map((a) => () => announcedStanding(fold, key, a, all));
  const parked = outlivingPark(fold, key);
  const outliving = parked === undefined ? [] : [() => parkedStanding(parked)];
  return foremost([() => now, ...(known === undefined ? [] : [() => known]), ...earlier, ...outliving]) ?? now;
}

function total(studies: readonly StudyAccount[], { input, facts }: Fold): Account {
  const totals: Record<StudyState | 'sent', number> = {
    sent: studies.length,
    released: 0,
    waiting: 0,
    excluded: 0,
    rejected: 0,
    withdrawn: 0,
    outOfScope: 0,
    unaccounted: 0,
  };
  const reached = Object.fromEntries(MILESTONES.map((m) => [m, 0])) as Record<Milestone, number>;
  const reasons: Record<string, number> = {};
  const count = (code: string, n = 1): void => void (reasons[code] = (reasons[code] ?? 0) + n);
  for (const s of studies) {
    totals[s.state] += 1;
    for (const m of MILESTONES.slice(0, MILESTONES.indexOf(s.reached) + 1)) reached[m] += 1;
    if (s.state !== 'released') count(s.code);
  }
  for (const r of facts.refused.values()) if (r.value.unit !== 'study') count(r.value.code, r.value.files);
  const bad = [...facts.bad.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, b]) => b);
  return { studies, totals, reached, reasons, missing: outboxGaps(facts.numbers, input.moved), bad };
}

/** The time since when the city's clinical topics have all their records. */
function outcomesKeptSince(input: AccountInput): number {
  const since = [...input.moved].filter(([place]) => place.startsWith('ct.clinical.study-')).map(([, ms]) => ms);
  return Math.max(-Infinity, ...since);
}

/** What an event would say that the reader can't read yet is not lost: the study waits for a reader of its version. */
function untilRead({ input, facts }: Fold, key: ClinicalKey, standing: Standing): Standing {
  if (standing.state !== 'unaccounted') return standing;
  const code = facts.unread.get(key) ?? facts.unread.get(input.lineage.get(key) ?? '');
  return code === undefined ? standing : { state: 'waiting', code, reached: standing.reached };
}

/** Folds the log to one state per study. Pure; the order of the events does not matter. */
export function account(input: AccountInput): Account {
  const facts = gather(input);
  const fold: Fold = { input, facts, outcomesKeptSinceMs: outcomesKeptSince(input) };
  const parked = [...facts.parkedOf.keys()].filter((key) => openParks(fold, key).length > 0);
  const keys = new Set<ClinicalKey>([...facts.census.keys(), ...facts.available.keys(), ...parked]);
  const studies: StudyAccount[] = [...keys]
    .sort()
    .map((key) => ({ key, centre: parseClinicalKey(key).centre, dead: false, ...untilRead(fold, key, clinicalStanding(fold, key)) }));
  for (const [id, { value }] of facts.refused) {
    if (value.unit === 'study')
      studies.push({ key: `intake|${id}`, centre: value.centre, state: 'rejected', code: value.code, reached: 'sent', dead: false });
  }
  return total(studies, fold);
}
