// One pure fold of events to exactly one state per study: sent = released + waiting + excluded +
// rejected + withdrawn + outOfScope + unaccounted (docs/decisions/0011-account-as-a-fold.md).
import {
  gather,
  newest,
  revisionKey,
  type AccountInput,
  type Anonymised,
  type Assessed,
  type BadCount,
  type ClinicalVerdict,
  type Facts,
  type Parked,
  type ResearchVerdict,
  type Status,
  type Stored,
} from './account-facts.ts';
import { isCode, type Code } from './codes.ts';
import { outgoingId } from './event-ids.ts';
import { parseClinicalKey, type ClinicalKey, type ClinicalRevision, type ResearchStudyId } from './ids.ts';
import { outboxGaps } from './outbox-gaps.ts';
import type { EventIn } from './stage.ts';

export type { AccountInput, BadCount, BadRecord, Parked } from './account-facts.ts';

export type StudyState = 'released' | 'waiting' | 'excluded' | 'rejected' | 'withdrawn' | 'outOfScope' | 'unaccounted';

export interface StudyAccount {
  /** Clinical key, or `intake|<centre>|<id>` of a study that never entered a PACS. */
  readonly key: string;
  readonly centre: string;
  readonly state: StudyState;
  /** EXPIRED: the PACS still lists it, and what became of it is older than the clinical log keeps. */
  readonly code: Code | 'RELEASED' | 'IN_QUEUE' | 'EXPIRED';
  /** Furthest point of the way that the study's newest revision reached. */
  readonly reached: Milestone;
  /** True when it waits for a person: it lies in a dead-letter topic. */
  readonly dead: boolean;
}

export const MILESTONES = ['sent', 'available', 'stored', 'anonymised', 'assessed', 'selected', 'labelled', 'released'] as const;
export type Milestone = (typeof MILESTONES)[number];

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

interface Standing {
  readonly state: StudyState;
  readonly code: StudyAccount['code'];
  readonly reached: Milestone;
  readonly dead?: boolean;
}

interface Fold {
  readonly input: AccountInput;
  readonly facts: Facts;
  /** What is older may have left the clinical topics of verdicts and stored studies. */
  readonly outcomesKeptSinceMs: number;
}

/** The newest record that still holds the event: a dead letter, or a retry that its stage has not consumed. One that
 * was consumed has led to an outcome, to a later record, or to nothing. */
function openPark(input: AccountInput, facts: Facts, stage: string, e: EventIn): Parked | undefined {
  const parked = facts.parked.get(`${stage}#${e.id}`) ?? [];
  const waits = parked.find((p) => !p.dead && p.offset >= input.committed(`${stage}.retry`, p.topic, p.partition));
  if (waits !== undefined) return waits;
  return parked[0]?.dead === true ? parked[0] : undefined;
}

/** Where an event without an outcome stands: parked, still in the queue, or lost. */
function pending({ input, facts }: Fold, stage: string, e: EventIn, reached: Milestone): Standing {
  const parked = openPark(input, facts, stage, e);
  if (parked !== undefined) return { state: 'waiting', code: parked.code, reached, dead: parked.dead };
  if (e.offset >= input.committed(stage, e.topic, e.partition)) return { state: 'waiting', code: 'IN_QUEUE', reached };
  return { state: 'unaccounted', code: facts.parked.get(`${stage}#${e.id}`)?.[0]?.code ?? 'IN_QUEUE', reached };
}

/** As `pending`, for a clinical event: what is too old to have its outcome in the log is not lost. */
function pendingClinical(fold: Fold, stage: string, e: EventIn, reached: Milestone): Standing {
  const standing = pending(fold, stage, e, reached);
  if (standing.state !== 'unaccounted' || e.timeMs >= fold.outcomesKeptSinceMs) return standing;
  return { state: 'waiting', code: 'EXPIRED', reached };
}

type AnyVerdict = ClinicalVerdict | ResearchVerdict;
const isRejection = (v: AnyVerdict): boolean => v.type.endsWith('StudyRejected');

/** A verdict's state; undefined when it leaves the question to another revision. */
function verdictState(verdicts: readonly AnyVerdict[] | undefined, reached: Milestone): Standing | undefined {
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

/** Verdicts on one announcement: rejections of its revision, whichever announced it, and skips of itself. */
function verdictsOn(facts: Facts, stage: string, key: ClinicalKey, revision: string, e: EventIn): ClinicalVerdict[] {
  const skip = outgoingId(stage, e.id, 'ctstream.clinical.v1.StudySkipped', 0);
  return (facts.clinicalVerdicts.get(key) ?? []).filter((v) => v.value.revision === revision && (isRejection(v) || v.id === skip));
}

function afterAssessed(fold: Fold, e: Assessed): Standing {
  const { input, facts } = fold;
  const id = e.value.studyId;
  if (facts.released.has(id)) return { state: 'released', code: 'RELEASED', reached: 'released' };
  const reached = facts.labelled.has(id) ? 'labelled' : facts.selected.has(id) ? 'selected' : 'assessed';
  const late = verdictState(facts.researchVerdicts.get(revisionKey(id, e.value.revision)), reached);
  if (late?.state === 'rejected' || late?.state === 'withdrawn') return late;
  if (reached === 'labelled') return { state: 'waiting', code: 'AWAITING_RELEASE', reached };
  const selected = facts.selected.get(id);
  if (selected !== undefined) {
    const queued = pending(fold, 'label-queue', selected, reached);
    // Below the commit the task stands in the readers' database: it waits for people, not for a stage.
    return queued.state === 'unaccounted' ? { state: 'waiting', code: 'AWAITING_READING', reached } : queued;
  }
  const excluded = facts.excluded.get(id);
  if (excluded !== undefined) return { state: 'excluded', code: excluded.value.code, reached };
  const parked = openPark(input, facts, 'select', e);
  if (parked !== undefined) return { state: 'waiting', code: parked.code, reached, dead: parked.dead };
  if (e.offset < (facts.cut.get(`${e.topic}/${e.partition}`) ?? -1n)) return { state: 'unaccounted', code: 'AWAITING_ROUND', reached };
  return late ?? { state: 'waiting', code: 'AWAITING_ROUND', reached };
}

function researchStanding(fold: Fold, id: ResearchStudyId, revisions: readonly Anonymised[]): Standing {
  const { facts } = fold;
  const e = newest(revisions, (r) => r.value.ordinal);
  if (facts.withdrawn.has(e.value.subjectId)) return { state: 'withdrawn', code: 'PATIENT_WITHDRAWN', reached: 'anonymised' };
  if (facts.released.has(id)) return { state: 'released', code: 'RELEASED', reached: 'released' };
  const at = revisionKey(id, e.value.revision);
  const assessed = facts.assessed.get(at);
  if (assessed !== undefined) return afterAssessed(fold, assessed);
  return verdictState(facts.researchVerdicts.get(at), 'anonymised') ?? pending(fold, 'assess', e, 'anonymised');
}

function knownToResearch(fold: Fold, key: ClinicalKey): Standing | undefined {
  const id = fold.input.lineage.get(key);
  const revisions = id === undefined ? undefined : fold.facts.anonymised.get(id);
  return id === undefined || revisions === undefined ? undefined : researchStanding(fold, id, revisions);
}

function afterStored(fold: Fold, key: ClinicalKey, stored: Stored): Standing {
  const verdicts = verdictsOn(fold.facts, 'anonymise', key, stored.value.revision, stored).filter((v) => v.value.stage === 'anonymise');
  const verdict = verdictState(verdicts, 'stored');
  if (verdict?.state === 'rejected' || verdict?.state === 'withdrawn') return verdict;
  return knownToResearch(fold, key) ?? verdict ?? pendingClinical(fold, 'anonymise', stored, 'stored');
}

function statusState(s: Status): Standing {
  const code = s.value.code !== null && isCode(s.value.code) ? s.value.code : 'EXPIRED';
  if (s.value.state === 'rejected' && code !== 'EXPIRED') return { state: 'rejected', code, reached: 'available' };
  return { state: 'waiting', code, reached: s.value.state === 'stored' ? 'stored' : 'available' };
}

/** Where a revision stands once it is stored; undefined when it is not. */
function storedStanding(fold: Fold, key: ClinicalKey, revision: ClinicalRevision): Standing | undefined {
  const stored = fold.facts.stored.get(key)?.filter((s) => s.value.revision === revision) ?? [];
  if (stored.length === 0) return undefined;
  return afterStored(
    fold,
    key,
    newest(stored, (s) => s.offset),
  );
}

/** What the log still says of a study whose announcement has left it: what the research zone knows, else the newest
 * stored revision, verdict, or word to the centre. */
function remembered(fold: Fold, key: ClinicalKey): Standing | undefined {
  const { facts } = fold;
  const known = knownToResearch(fold, key);
  if (known !== undefined) return known;
  const verdicts = facts.clinicalVerdicts.get(key) ?? [];
  const all = [...(facts.stored.get(key) ?? []), ...verdicts, ...(facts.statuses.get(key) ?? [])];
  if (all.length === 0) return undefined;
  const { revision } = newest(all, (e) => e.timeMs).value;
  const stored = storedStanding(fold, key, revision);
  if (stored !== undefined) return stored;
  const verdict = verdictState(
    verdicts.filter((v) => v.value.revision === revision),
    'available',
  );
  if (verdict !== undefined) return verdict;
  return statusState(
    newest(
      (facts.statuses.get(key) ?? []).filter((s) => s.value.revision === revision),
      (s) => s.timeMs,
    ),
  );
}

/** True when the study's announcement may have left the log: its topic's start has moved, and no census since then
 * is without the study. */
function mayHaveExpired({ input, facts }: Fold, key: ClinicalKey): boolean {
  const { centre } = parseClinicalKey(key);
  const since = [...input.moved].filter(([place]) => place.startsWith(`ct.clinical.${centre}.study-available.`)).map(([, ms]) => ms);
  if (since.length === 0) return false;
  const kept = Math.max(...since);
  const first = facts.firstListedMs.get(key) ?? -Infinity;
  return ![...(facts.censusesMs.get(centre) ?? [])].some((ms) => ms >= kept && ms < first);
}

function unannounced(fold: Fold, key: ClinicalKey): Standing {
  const known = remembered(fold, key);
  if (known !== undefined) return known;
  const listed = fold.facts.census.get(key);
  if (listed?.state === 'outOfScope') return { state: 'outOfScope', code: listed.code ?? 'OUT_OF_SCOPE', reached: 'sent' };
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

function clinicalStanding(fold: Fold, key: ClinicalKey): Standing {
  const { facts } = fold;
  const withdrawn = withdrawnStanding(fold, key);
  if (withdrawn !== undefined) return withdrawn;
  const revisions = facts.available.get(key);
  if (revisions === undefined) return unannounced(fold, key);
  const e = newest(revisions, (r) => r.value.sequence);
  const { revision } = e.value;
  const stored = storedStanding(fold, key, revision);
  if (stored !== undefined) return stored;
  const standing =
    verdictState(verdictsOn(facts, 'ingest', key, revision, e), 'available') ?? pendingClinical(fold, 'ingest', e, 'available');
  return standing.code === 'EXPIRED' ? (remembered(fold, key) ?? standing) : standing;
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

/** Folds the log to one state per study. Pure; the order of the events does not matter. */
export function account(input: AccountInput): Account {
  const facts = gather(input);
  const fold: Fold = { input, facts, outcomesKeptSinceMs: outcomesKeptSince(input) };
  const keys = new Set<ClinicalKey>([...facts.census.keys(), ...facts.available.keys()]);
  const studies: StudyAccount[] = [...keys]
    .sort()
    .map((key) => ({ key, centre: parseClinicalKey(key).centre, dead: false, ...clinicalStanding(fold, key) }));
  for (const [id, { value }] of facts.refused) {
    if (value.unit === 'study')
      studies.push({ key: `intake|${id}`, centre: value.centre, state: 'rejected', code: value.code, reached: 'sent', dead: false });
  }
  return total(studies, fold);
}
