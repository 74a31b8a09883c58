// What the log says, gathered for the account: by study and revision, each event once, whatever their order. Pure.
import type { Code } from './codes.ts';
import {
  clinicalKey,
  type ClinicalKey,
  type ClinicalRevision,
  type ResearchRevision,
  type ResearchStudyId,
  type SubjectId,
} from './ids.ts';
import type { DrawnNumber, MovedStarts } from './outbox-gaps.ts';
import { centreOfTopic, typeOfTopic } from './route.ts';
import type { EventIn } from './stage.ts';

/** A record that waits in a retry topic or lies in a dead one. */
export interface Parked {
  readonly stage: string;
  /** Of the event that is parked: a clinical key or a research id. Empty when it can't be believed. */
  readonly key: string;
  readonly code: Code;
  /** `ce_id` of the event that is parked. */
  readonly eventId: string;
  /** In the dead-letter topic, not in a retry one. */
  readonly dead: boolean;
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  /** When it was parked. */
  readonly timeMs: number;
  /** Of a replay: the dead letter that it replays, `<stage>/<partition>/<offset>`. */
  readonly replays?: string | undefined;
}

/** A record of an event topic that is no good event. */
export interface BadRecord {
  readonly topic: string;
  readonly code: Code;
  /** Of a record that is an event, but of a version or a registry that the reader does not know. */
  readonly key?: string | undefined;
  /** Place in its source's outbox, where its headers say one: it is unreadable, not missing. */
  readonly drawn?: DrawnNumber | undefined;
}

export interface BadCount {
  readonly topic: string;
  readonly code: Code;
  readonly records: number;
}

export interface AccountInput {
  /** Every event of every topic, in any order; of censuses what census-lines.ts keeps is enough. */
  readonly events: Iterable<EventIn>;
  /** Records that could not be decoded. */
  readonly bad: Iterable<BadRecord>;
  readonly parked: Iterable<Parked>;
  /** Research id of each study that the vault links. */
  readonly lineage: ReadonlyMap<ClinicalKey, ResearchStudyId>;
  /** What anonymise calls a stored revision of a study that the vault links; undefined for other studies. */
  researchRevision(key: ClinicalKey, revision: ClinicalRevision): ResearchRevision | undefined;
  /** Studies that the vault refuses because their patients withdrew: also before that is told, and after the log forgot. */
  readonly denied: ReadonlySet<ClinicalKey>;
  /** First offset that a group has not finished: an event below a stage's must have an outcome. The group of a
   * stage's retry topics is `<stage>.retry`. */
  committed(group: string, topic: string, partition: number): bigint;
  /** Partitions whose oldest records have expired. */
  readonly moved: MovedStarts;
}

export type Of<T extends EventIn['type']> = EventIn<T>;
export type Census = Of<'ctstream.clinical.v1.Census'>;
export type Available = Of<'ctstream.clinical.v1.StudyAvailable'>;
export type Stored = Of<'ctstream.clinical.v1.StudyStored'>;
export type Status = Of<'ctstream.clinical.v1.StudyStatus'>;
export type ClinicalVerdict = Of<'ctstream.clinical.v1.StudyRejected'> | Of<'ctstream.clinical.v1.StudySkipped'>;
export type ResearchVerdict = Of<'ctstream.research.v1.StudyRejected'> | Of<'ctstream.research.v1.StudySkipped'>;
export type Anonymised = Of<'ctstream.research.v1.StudyAnonymised'>;
export type Assessed = Of<'ctstream.research.v1.StudyAssessed'>;
export type Selected = Of<'ctstream.research.v1.StudySelected'>;
type Labelled = Of<'ctstream.research.v1.StudyLabelled'>;
type Excluded = Of<'ctstream.research.v1.StudyExcluded'>;
type Refused = Of<'ctstream.clinical.v1.IntakeRefused'>;

export interface Listed {
  readonly state: string;
  readonly code: Code | null;
  readonly takenAtMs: number;
  /** 0 when the server does not say. */
  readonly instanceCount: number;
  /** First census since when every one of them listed this count. */
  readonly countSinceMs: number;
}

export interface Cut {
  readonly end: bigint;
  readonly closedMs: number;
}

export interface Facts {
  /** Newest line of each study, and when it was first listed. */
  readonly census: Map<ClinicalKey, Listed>;
  /** Newest census of each centre of which every page is there. */
  readonly wholeCensusMs: Map<string, number>;
  readonly firstListedMs: Map<ClinicalKey, number>;
  /** Times of each centre's censuses. */
  readonly censusesMs: Map<string, Set<number>>;
  /** By centre and intake id. */
  readonly refused: Map<string, Refused>;
  /** In the order of the log, the newest first: all of a study lie in one partition. */
  readonly available: Map<ClinicalKey, Available[]>;
  readonly stored: Map<ClinicalKey, Stored[]>;
  readonly clinicalVerdicts: Map<ClinicalKey, ClinicalVerdict[]>;
  readonly statuses: Map<ClinicalKey, Status[]>;
  readonly anonymised: Map<ResearchStudyId, Anonymised[]>;
  readonly assessed: Map<string, Assessed>;
  readonly researchVerdicts: Map<string, ResearchVerdict[]>;
  readonly selected: Map<ResearchStudyId, Selected>;
  readonly excluded: Map<ResearchStudyId, Excluded>;
  /** By revision, and which of them a cohort left out: another cohort may select them. */
  readonly selectedRevisions: Map<string, Selected>;
  readonly excludedRevisions: Set<string>;
  readonly labelled: Set<string>;
  readonly labelledRevisions: Map<string, Labelled>;
  readonly released: Set<string>;
  readonly withdrawn: Set<SubjectId>;
  /** Studies that a withdrawal named: whole, whoever their revisions were of. */
  readonly withdrawnStudies: Set<ResearchStudyId>;
  /** Of each partition the end of the newest cut, and when the newest round with one was closed. */
  readonly cut: Map<string, Cut>;
  /** By stage and event id, the newest first; without dead letters that were replayed. */
  readonly parked: Map<string, Parked[]>;
  /** Of a study in the clinical zone, the keys in `parked`. */
  readonly parkedOf: Map<ClinicalKey, Set<string>>;
  /** Last offset of each event that the log holds more than once, by topic and id. */
  readonly lastOffset: Map<string, bigint>;
  readonly numbers: DrawnNumber[];
  readonly bad: Map<string, BadCount>;
  /** Studies (clinical key or research id) with an event that can't be read yet, and why. */
  readonly unread: Map<string, Code>;
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

/** The greatest by `order`; of equals the one with the greatest id, so that the order of the list does not matter. */
export function newest<E extends { readonly id: string }>(list: readonly E[], order: (e: E) => number | bigint): E {
  return list.reduce((a, b) => {
    const [x, y] = [order(a), order(b)];
    return y > x || (y === x && b.id > a.id) ? b : a;
  });
}

function keep<K, E extends EventIn>(map: Map<K, E>, key: K, e: E): void {
  const before = map.get(key);
  map.set(key, before === undefined ? e : newest([before, e], (x) => x.offset));
}

function emptyFacts(): Facts {
  return {
    census: new Map(),
    wholeCensusMs: new Map(),
    firstListedMs: new Map(),
    censusesMs: new Map(),
    refused: new Map(),
    available: new Map(),
    stored: new Map(),
    clinicalVerdicts: new Map(),
    statuses: new Map(),
    anonymised: new Map(),
    assessed: new Map(),
    researchVerdicts: new Map(),
    selected: new Map(),
    excluded: new Map(),
    selectedRevisions: new Map(),
    excludedRevisions: new Set(),
    labelled: new Set(),
    labelledRevisions: new Map(),
    released: new Set(),
    withdrawn: new Set(),
    withdrawnStudies: new Set(),
    cut: new Map(),
    parked: new Map(),
    parkedOf: new Map(),
    lastOffset: new Map(),
    numbers: [],
    bad: new Map(),
    unread: new Map(),
  };
}

export const revisionKey = (study: string, revision: string): string => `${study}#${revision}`;

/** In the order of the log: a centre's censuses lie in one partition as they were taken, also when its clock was set back. So
 * what was read before need not be kept (census-lines.ts). */
function byCensusOrder(a: Census, b: Census): number {
  const line = (e: Census): string => `${e.value.centre}|${e.value.censusId}|${e.value.page}`;
  if (a.partition !== b.partition) return a.partition - b.partition;
  if (a.offset !== b.offset) return a.offset < b.offset ? -1 : 1;
  return a.value.takenAtMs - b.value.takenAtMs || (line(a) < line(b) ? -1 : 1);
}

function noteCensuses(facts: Facts, censuses: readonly Census[]): void {
  const pages = new Map<string, Set<number>>();
  for (const e of censuses.toSorted(byCensusOrder)) {
    const { centre, takenAtMs, censusId, page } = e.value;
    facts.numbers.push({ ...drawnOf(e, BigInt(e.value.outboxSequence)), seen: false });
    facts.censusesMs.set(centre, (facts.censusesMs.get(centre) ?? new Set()).add(takenAtMs));
    const seen = (pages.get(`${centre}|${censusId}`) ?? new Set()).add(page);
    pages.set(`${centre}|${censusId}`, seen);
    if (seen.size === e.value.pages) facts.wholeCensusMs.set(centre, takenAtMs);
    for (const s of e.value.studies) {
      const key = clinicalKey(centre, s.studyInstanceUid);
      if (!facts.firstListedMs.has(key)) facts.firstListedMs.set(key, takenAtMs);
      const before = facts.census.get(key);
      const countSinceMs = before !== undefined && before.instanceCount === s.instanceCount ? before.countSinceMs : takenAtMs;
      const { state, instanceCount } = s;
      facts.census.set(key, { state, code: s.code as Code | null, takenAtMs, instanceCount, countSinceMs });
    }
  }
}

function noteClinical(facts: Facts, e: EventIn): void {
  switch (e.type) {
    case 'ctstream.clinical.v1.IntakeRefused':
      return keep(facts.refused, `${e.value.centre}|${e.value.intakeId}`, e);
    case 'ctstream.clinical.v1.StudyAvailable':
      return push(facts.available, clinicalKey(e.value.centre, e.value.studyInstanceUid), e);
    case 'ctstream.clinical.v1.StudyStored':
      return push(facts.stored, clinicalKey(e.value.centre, e.value.studyInstanceUid), e);
    case 'ctstream.clinical.v1.StudyStatus':
      return push(facts.statuses, clinicalKey(e.value.centre, e.value.studyInstanceUid), e);
    case 'ctstream.clinical.v1.StudyRejected':
    case 'ctstream.clinical.v1.StudySkipped':
      return push(facts.clinicalVerdicts, clinicalKey(e.value.centre, e.value.studyInstanceUid), e);
  }
}

function noteResearch(facts: Facts, e: EventIn): void {
  switch (e.type) {
    case 'ctstream.research.v1.StudyAnonymised':
      return push(facts.anonymised, e.value.studyId, e);
    case 'ctstream.research.v1.StudyAssessed':
      return keep(facts.assessed, revisionKey(e.value.studyId, e.value.revision), e);
    case 'ctstream.research.v1.StudyRejected':
    case 'ctstream.research.v1.StudySkipped':
      return push(facts.researchVerdicts, revisionKey(e.value.studyId, e.value.revision), e);
    case 'ctstream.research.v1.StudySelected':
      keep(facts.selectedRevisions, revisionKey(e.value.studyId, e.value.revision), e);
      return keep(facts.selected, e.value.studyId, e);
    case 'ctstream.research.v1.StudyExcluded':
      facts.excludedRevisions.add(revisionKey(e.value.studyId, e.value.revision));
      return keep(facts.excluded, e.value.studyId, e);
    case 'ctstream.research.v1.SelectionRoundClosed':
      for (const c of e.value.cut) {
        const at = `${c.topic}/${c.partition}`;
        const [before, end] = [facts.cut.get(at), BigInt(c.endOffset)];
        facts.cut.set(at, {
          end: before !== undefined && before.end > end ? before.end : end,
          closedMs: Math.max(before?.closedMs ?? e.timeMs, e.timeMs),
        });
      }
      return;
    case 'ctstream.research.v1.StudyLabelled':
      facts.labelled.add(e.value.studyId);
      return keep(facts.labelledRevisions, revisionKey(e.value.studyId, e.value.revision), e);
    case 'ctstream.research.v1.DatasetReleased':
      for (const id of e.value.studies) facts.released.add(id);
      return;
    case 'ctstream.research.v1.SubjectWithdrawn':
      facts.withdrawn.add(e.value.subjectId);
      for (const id of e.value.studies ?? []) facts.withdrawnStudies.add(id);
      return;
  }
}

function drawnOf(e: EventIn, sequence: bigint): DrawnNumber {
  return { source: e.source, sequence, topic: e.topic, partition: e.partition, timeMs: e.timeMs, seen: true };
}

/** Why an event may not be believed: its topic, which only one writer may write, says what it is and whose. */
export function faultOfEvent(e: EventIn): Code | undefined {
  if (typeOfTopic(e.topic) !== e.type) return 'BAD_EVENT';
  const centre = centreOfTopic(e.topic);
  return centre !== undefined && 'centre' in e.value && e.value.centre !== centre ? 'CENTRE_MISMATCH' : undefined;
}

function noteBad(facts: Facts, topic: string, code: Code): void {
  const at = `${topic} ${code}`;
  facts.bad.set(at, { topic, code, records: (facts.bad.get(at)?.records ?? 0) + 1 });
}

/** Newest first; of one time the dead letter, then the later delay: both come after what they follow. */
export function byAge(a: Parked, b: Parked): number {
  if (a.timeMs !== b.timeMs) return b.timeMs - a.timeMs;
  if (a.dead !== b.dead) return a.dead ? -1 : 1;
  if (a.topic !== b.topic) return a.topic < b.topic ? -1 : 1;
  return a.offset === b.offset ? 0 : a.offset > b.offset ? -1 : 1;
}

/** Kafka may hold an id twice; the facts may not. An id belongs to one topic: a gateway that writes a foreign id does
 * not hide the event that has it. Of copies the first counts, whatever order they are read in. */
function firstOfEach(facts: Facts, events: Iterable<EventIn>): EventIn[] {
  const first = new Map<string, EventIn>();
  for (const e of events) {
    if (e.sequence !== undefined) facts.numbers.push(drawnOf(e, e.sequence));
    const fault = faultOfEvent(e);
    if (fault !== undefined) {
      noteBad(facts, e.topic, fault);
      continue;
    }
    const id = eventKey(e);
    const before = first.get(id);
    if (before === undefined || e.offset < before.offset) first.set(id, e);
    const last = facts.lastOffset.get(id);
    if (before !== undefined && (last === undefined || e.offset > last))
      facts.lastOffset.set(id, e.offset > before.offset ? e.offset : before.offset);
  }
  return [...first.values()];
}

/** Name of an event over all topics. */
export const eventKey = (e: EventIn): string => `${e.topic}#${e.id}`;

export const parkedKey = (stage: string, eventId: string): string => `${stage}#${eventId}`;

const STUDY_KEY = /^[a-z0-9-]{1,24}\|[0-9.]{1,64}$/;

/** The study whose event is parked; undefined for other events, and for records that are no good events: they say nothing. */
export function studyOfParked({ topic, key, code }: Parked): ClinicalKey | undefined {
  const isEvent = code !== 'BAD_EVENT' && code !== 'CENTRE_MISMATCH';
  return isEvent && topic.startsWith('ct.clinical.') && STUDY_KEY.test(key) ? (key as ClinicalKey) : undefined;
}

function gatherParked(facts: Facts, parked: readonly Parked[]): void {
  const replayed = new Set(parked.map((p) => p.replays));
  for (const p of parked) {
    // What came of a replay stands for itself, whatever the clocks of the operator and the stage were.
    if (p.dead && replayed.has(`${p.stage}/${p.partition}/${p.offset}`)) continue;
    push(facts.parked, parkedKey(p.stage, p.eventId), p);
    const key = studyOfParked(p);
    if (key !== undefined) facts.parkedOf.set(key, (facts.parkedOf.get(key) ?? new Set()).add(parkedKey(p.stage, p.eventId)));
  }
  for (const list of facts.parked.values()) list.sort(byAge);
}

/** Gathers everything; the order of the input does not matter. */
export function gather(input: AccountInput): Facts {
  const facts = emptyFacts();
  const censuses: Census[] = [];
  for (const e of firstOfEach(facts, input.events)) {
    if (e.type === 'ctstream.clinical.v1.Census') censuses.push(e);
    else if (e.type.startsWith('ctstream.clinical.')) noteClinical(facts, e);
    else noteResearch(facts, e);
  }
  noteCensuses(facts, censuses);
  for (const list of facts.available.values()) list.sort(byLogOrder);
  for (const b of input.bad) {
    noteBad(facts, b.topic, b.code);
    const centre = centreOfTopic(b.topic);
    // A centre speaks of its own studies only.
    if (b.key !== undefined && (centre === undefined || b.key.startsWith(`${centre}|`))) facts.unread.set(b.key, b.code);
    if (b.drawn !== undefined) facts.numbers.push(b.drawn);
  }
  gatherParked(facts, [...input.parked]);
  return facts;
}

/** Newest first. Not by the gateway's number: that is its clock after its database was lost, and a clock can go back. */
function byLogOrder(a: Available, b: Available): number {
  if (a.offset !== b.offset) return a.offset > b.offset ? -1 : 1;
  return b.value.sequence - a.value.sequence || (a.id > b.id ? -1 : 1);
}
