// One pure fold of events to exactly one state per study: sent = released + waiting + excluded +
// rejected + withdrawn + outOfScope + unaccounted (docs/services/account.md).
import type { Code } from './codes.ts';
import { clinicalKey, parseClinicalKey, type ClinicalKey, type ResearchStudyId, type SubjectId } from './ids.ts';
import type { EventIn } from './stage.ts';

export type StudyState = 'released' | 'waiting' | 'excluded' | 'rejected' | 'withdrawn' | 'outOfScope' | 'unaccounted';

export interface StudyAccount {
  /** Clinical key, or `intake|<id>` of a study that never entered a PACS. */
  readonly key: string;
  readonly centre: string;
  readonly state: StudyState;
  readonly code: Code | 'RELEASED' | 'IN_QUEUE';
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
  /** Outbox sequences that a source drew and the log does not have: `<source>#<sequence>`. */
  readonly missing: readonly string[];
}

/** A record that waits in a retry topic or lies in a dead one. */
export interface Parked {
  readonly stage: string;
  readonly key: string;
  readonly code: Code;
  /** `ce_id` of the event that is parked. */
  readonly eventId: string;
  /** In the dead-letter topic, not in a retry one. */
  readonly dead: boolean;
}

export interface AccountInput {
  /** Every event of every topic, in any order. */
  readonly events: Iterable<EventIn>;
  readonly parked: Iterable<Parked>;
  /** Research id of each study that the vault links. */
  readonly lineage: ReadonlyMap<ClinicalKey, ResearchStudyId>;
  /** First offset that a stage has not finished: an event below it must have an outcome. */
  committed(stage: string, topic: string, partition: number): bigint;
}

type Of<T extends EventIn['type']> = EventIn<T>;
type Available = Of<'ctstream.clinical.v1.StudyAvailable'>;
type Anonymised = Of<'ctstream.research.v1.StudyAnonymised'>;
type Assessed = Of<'ctstream.research.v1.StudyAssessed'>;
type Selected = Of<'ctstream.research.v1.StudySelected'>;

interface Verdict {
  readonly kind: 'rejected' | 'skipped';
  readonly stage: string;
  readonly code: Code;
}

interface Facts {
  census: Map<ClinicalKey, { state: string; code: Code | null; takenAtMs: number }>;
  refused: { centre: string; id: string; unit: string; code: Code; files: number }[];
  available: Map<ClinicalKey, Available[]>;
  stored: Map<string, Of<'ctstream.clinical.v1.StudyStored'>>;
  clinicalVerdicts: Map<string, Verdict[]>;
  anonymised: Map<ResearchStudyId, Anonymised[]>;
  assessed: Map<string, Assessed>;
  researchVerdicts: Map<string, Verdict[]>;
  selected: Map<ResearchStudyId, Selected>;
  excluded: Map<ResearchStudyId, Code>;
  labelled: Set<string>;
  released: Set<string>;
  withdrawn: Set<SubjectId>;
  cut: Map<string, bigint>;
  parked: Map<string, Parked>;
  sequences: Map<string, { seen: Set<bigint>; highest: bigint }>;
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

function emptyFacts(): Facts {
  return {
    census: new Map(),
    refused: [],
    available: new Map(),
    stored: new Map(),
    clinicalVerdicts: new Map(),
    anonymised: new Map(),
    assessed: new Map(),
    researchVerdicts: new Map(),
    selected: new Map(),
    excluded: new Map(),
    labelled: new Set(),
    released: new Set(),
    withdrawn: new Set(),
    cut: new Map(),
    parked: new Map(),
    sequences: new Map(),
  };
}

function noteSequence(facts: Facts, source: string, sequence: bigint, seen: boolean): void {
  const entry = facts.sequences.get(source) ?? { seen: new Set<bigint>(), highest: 0n };
  if (seen) entry.seen.add(sequence);
  if (sequence > entry.highest) entry.highest = sequence;
  facts.sequences.set(source, entry);
}

const revisionKey = (study: string, revision: string): string => `${study}#${revision}`;

function noteClinical(facts: Facts, e: EventIn): void {
  switch (e.type) {
    case 'ctstream.clinical.v1.Census':
      noteSequence(facts, e.source, BigInt(e.value.outboxSequence), false);
      for (const s of e.value.studies) {
        const key = clinicalKey(e.value.centre, s.studyInstanceUid);
        const before = facts.census.get(key);
        if (before === undefined || before.takenAtMs <= e.value.takenAtMs) {
          facts.census.set(key, { state: s.state, code: s.code as Code | null, takenAtMs: e.value.takenAtMs });
        }
      }
      return;
    case 'ctstream.clinical.v1.IntakeRefused':
      facts.refused.push({ centre: e.value.centre, id: e.value.intakeId, unit: e.value.unit, code: e.value.code, files: e.value.files });
      return;
    case 'ctstream.clinical.v1.StudyAvailable':
      push(facts.available, clinicalKey(e.value.centre, e.value.studyInstanceUid), e);
      return;
    case 'ctstream.clinical.v1.StudyStored':
      facts.stored.set(revisionKey(clinicalKey(e.value.centre, e.value.studyInstanceUid), e.value.revision), e);
      return;
    case 'ctstream.clinical.v1.StudyRejected':
    case 'ctstream.clinical.v1.StudySkipped': {
      const kind = e.type.endsWith('Rejected') ? 'rejected' : 'skipped';
      const key = revisionKey(clinicalKey(e.value.centre, e.value.studyInstanceUid), e.value.revision);
      push(facts.clinicalVerdicts, key, { kind, stage: e.value.stage, code: e.value.code });
      return;
    }
  }
}

function noteResearch(facts: Facts, e: EventIn): void {
  switch (e.type) {
    case 'ctstream.research.v1.StudyAnonymised':
      push(facts.anonymised, e.value.studyId, e);
      return;
    case 'ctstream.research.v1.StudyAssessed':
      facts.assessed.set(revisionKey(e.value.studyId, e.value.revision), e);
      return;
    case 'ctstream.research.v1.StudyRejected':
    case 'ctstream.research.v1.StudySkipped': {
      const kind = e.type.endsWith('Rejected') ? 'rejected' : 'skipped';
      push(facts.researchVerdicts, revisionKey(e.value.studyId, e.value.revision), { kind, stage: e.value.stage, code: e.value.code });
      return;
    }
    case 'ctstream.research.v1.StudySelected':
      facts.selected.set(e.value.studyId, e);
      return;
    case 'ctstream.research.v1.StudyExcluded':
      facts.excluded.set(e.value.studyId, e.value.code);
      return;
    case 'ctstream.research.v1.SelectionRoundClosed':
      for (const c of e.value.cut) {
        const at = `${c.topic}/${c.partition}`;
        const end = BigInt(c.endOffset);
        if (end > (facts.cut.get(at) ?? -1n)) facts.cut.set(at, end);
      }
      return;
    case 'ctstream.research.v1.StudyLabelled':
      facts.labelled.add(e.value.studyId);
      return;
    case 'ctstream.research.v1.DatasetReleased':
      for (const id of e.value.studies) facts.released.add(id);
      return;
    case 'ctstream.research.v1.SubjectWithdrawn':
      facts.withdrawn.add(e.value.subjectId);
      return;
  }
}

function gather(input: AccountInput): Facts {
  const facts = emptyFacts();
  const seen = new Set<string>();
  for (const e of input.events) {
    if (e.sequence !== undefined) noteSequence(facts, e.source, e.sequence, true);
    // Kafka may hold an id twice; the account may not.
    if (seen.has(e.id)) continue;
    seen.add(e.id);
    if (e.type.startsWith('ctstream.clinical.')) noteClinical(facts, e);
    else noteResearch(facts, e);
  }
  for (const p of input.parked) {
    const at = `${p.stage}#${p.eventId}`;
    if (p.dead || facts.parked.get(at)?.dead !== true) facts.parked.set(at, p);
  }
  return facts;
}

interface Standing {
  readonly state: StudyState;
  readonly code: StudyAccount['code'];
  readonly reached: Milestone;
  readonly dead?: boolean;
}

/** Where an event without an outcome stands: parked, still in the queue, or lost. */
function pending(input: AccountInput, facts: Facts, stage: string, e: EventIn, reached: Milestone): Standing {
  const parked = facts.parked.get(`${stage}#${e.id}`);
  if (parked !== undefined) return { state: 'waiting', code: parked.code, reached, dead: parked.dead };
  if (e.offset >= input.committed(stage, e.topic, e.partition)) return { state: 'waiting', code: 'IN_QUEUE', reached };
  return { state: 'unaccounted', code: 'IN_QUEUE', reached };
}

/** A verdict's state; undefined when it leaves the question to another revision. */
function verdictState(verdicts: readonly Verdict[] | undefined, reached: Milestone): Standing | undefined {
  const rejected = verdicts?.find((v) => v.kind === 'rejected');
  if (rejected !== undefined) return { state: 'rejected', code: rejected.code, reached };
  const skipped = verdicts?.find((v) => v.kind === 'skipped');
  if (skipped === undefined) return undefined;
  if (skipped.code === 'DUPLICATE_OF') return { state: 'excluded', code: skipped.code, reached };
  // The gateway sees the change too and announces the newer revision: until then the study waits.
  return { state: 'waiting', code: skipped.code, reached };
}

function newest<E extends { readonly value: object }>(list: readonly E[], order: (e: E) => number): E {
  return list.reduce((a, b) => (order(b) > order(a) ? b : a));
}

function afterAssessed(input: AccountInput, facts: Facts, e: Assessed): Standing {
  const id = e.value.studyId;
  if (facts.released.has(id)) return { state: 'released', code: 'RELEASED', reached: 'released' };
  const reached = facts.labelled.has(id) ? 'labelled' : facts.selected.has(id) ? 'selected' : 'assessed';
  const late = verdictState(facts.researchVerdicts.get(revisionKey(id, e.value.revision)), reached);
  if (late !== undefined && late.state === 'rejected') return late;
  if (reached === 'labelled') return { state: 'waiting', code: 'AWAITING_RELEASE', reached };
  const selected = facts.selected.get(id);
  if (selected !== undefined) {
    const queued = pending(input, facts, 'label-queue', selected, reached);
    // Below the commit the task stands in the readers' database: it waits for people, not for a stage.
    return queued.state === 'unaccounted' ? { state: 'waiting', code: 'AWAITING_READING', reached } : queued;
  }
  const excluded = facts.excluded.get(id);
  if (excluded !== undefined) return { state: 'excluded', code: excluded, reached };
  const parked = facts.parked.get(`select#${e.id}`);
  if (parked !== undefined) return { state: 'waiting', code: parked.code, reached, dead: parked.dead };
  if (e.offset < (facts.cut.get(`${e.topic}/${e.partition}`) ?? -1n)) return { state: 'unaccounted', code: 'AWAITING_ROUND', reached };
  return late ?? { state: 'waiting', code: 'AWAITING_ROUND', reached };
}

function researchStanding(input: AccountInput, facts: Facts, id: ResearchStudyId, revisions: readonly Anonymised[]): Standing {
  const e = newest(revisions, (r) => r.value.ordinal);
  if (facts.withdrawn.has(e.value.subjectId)) return { state: 'withdrawn', code: 'PATIENT_WITHDRAWN', reached: 'anonymised' };
  if (facts.released.has(id)) return { state: 'released', code: 'RELEASED', reached: 'released' };
  const assessed = facts.assessed.get(revisionKey(id, e.value.revision));
  if (assessed !== undefined) return afterAssessed(input, facts, assessed);
  return (
    verdictState(facts.researchVerdicts.get(revisionKey(id, e.value.revision)), 'anonymised') ??
    pending(input, facts, 'assess', e, 'anonymised')
  );
}

function clinicalStanding(input: AccountInput, facts: Facts, key: ClinicalKey): Standing {
  const revisions = facts.available.get(key);
  if (revisions === undefined) {
    const listed = facts.census.get(key);
    if (listed?.state === 'outOfScope') return { state: 'outOfScope', code: listed.code ?? 'OUT_OF_SCOPE', reached: 'sent' };
    if (listed?.state === 'pending') return { state: 'waiting', code: listed.code ?? 'NOT_YET_STABLE', reached: 'sent' };
    return { state: 'unaccounted', code: 'NOT_ANNOUNCED', reached: 'sent' };
  }
  const e = newest(revisions, (r) => r.value.sequence);
  const at = revisionKey(key, e.value.revision);
  const verdicts = facts.clinicalVerdicts.get(at);
  const stored = facts.stored.get(at);
  if (stored === undefined) return verdictState(verdicts, 'available') ?? pending(input, facts, 'ingest', e, 'available');
  const id = input.lineage.get(key);
  const revisionsThere = id === undefined ? undefined : facts.anonymised.get(id);
  const verdict = verdictState(
    verdicts?.filter((v) => v.stage === 'anonymise'),
    'stored',
  );
  if (verdict?.state === 'rejected') {
    return verdict.code === 'PATIENT_WITHDRAWN' ? { ...verdict, state: 'withdrawn' } : verdict;
  }
  if (id !== undefined && revisionsThere !== undefined) return researchStanding(input, facts, id, revisionsThere);
  return verdict ?? pending(input, facts, 'anonymise', stored, 'stored');
}

function missingSequences(facts: Facts): string[] {
  const missing: string[] = [];
  for (const [source, { seen, highest }] of facts.sequences) {
    // A log whose start has expired begins above 1: only gaps within what is there, and at its end, are losses.
    const first = seen.size === 0 ? 1n : [...seen].reduce((a, b) => (a < b ? a : b));
    for (let n = first; n <= highest; n += 1n) if (!seen.has(n)) missing.push(`${source}#${n}`);
  }
  return missing.sort();
}

function total(studies: readonly StudyAccount[], facts: Facts): Account {
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
  for (const r of facts.refused) if (r.unit !== 'study') count(r.code, r.files);
  return { studies, totals, reached, reasons, missing: missingSequences(facts) };
}

/** Folds the log to one state per study. Pure; the order of the events does not matter. */
export function account(input: AccountInput): Account {
  const facts = gather(input);
  const keys = new Set<ClinicalKey>([...facts.census.keys(), ...facts.available.keys()]);
  const studies: StudyAccount[] = [...keys]
    .sort()
    .map((key) => ({ key, centre: parseClinicalKey(key).centre, dead: false, ...clinicalStanding(input, facts, key) }));
  for (const r of facts.refused) {
    if (r.unit === 'study')
      studies.push({ key: `intake|${r.id}`, centre: r.centre, state: 'rejected', code: r.code, reached: 'sent', dead: false });
  }
  return total(studies, facts);
}
