// A pipeline in a few lines that does only what the real one may do, for walks through the account: it writes the events
// and parked records that gateway, stages, readers, operators and the vault would write, and keeps their offsets.
import type { EventRecord } from '../../schemas/events.gen.ts';
import type { AccountInput, Parked } from '../../services/kernel/accounting.ts';
import type { Code } from '../../services/kernel/codes.ts';
import { outgoingId } from '../../services/kernel/event-ids.ts';
import {
  centreId,
  clinicalKey,
  type CentreId,
  type ClinicalKey,
  type ResearchRevision,
  type ResearchStudyId,
  type StudyInstanceUid,
} from '../../services/kernel/ids.ts';
import { topicOf } from '../../services/kernel/route.ts';
import type { EventIn } from '../../services/kernel/stage.ts';

/** Room between two offsets for copies. */
export const STEP = 10n;
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
/** As schemas/topics.json has it. */
const [CLINICAL, DEAD, RETRY] = [30 * DAY, 90 * DAY, 98 * DAY];

interface Study {
  readonly n: number;
  readonly uid: StudyInstanceUid;
  readonly centre: CentreId;
  readonly key: ClinicalKey;
  /** What the PACS has. */
  content: number;
  count: number;
  listed: boolean;
  inScope: boolean;
  /** What the gateway announced last; undefined when it has to look. */
  announced: string | undefined;
  everAnnounced: boolean;
  pendingListed: boolean;
  withdrawn: boolean;
}

type Values = Record<string, unknown>;
export interface AccountWorld {
  /** One step: which, of which study, with which luck (0-9). */
  act(op: number, study: number, luck: number): void;
  input(): AccountInput;
  readonly events: readonly EventIn[];
}

export const OPS = 17;
/** One step more: days pass, and the clinical log forgets. */
export const AGE = OPS;

/** Studies of so many centres in turn. */
export function accountWorld(size: number, centres = 1): AccountWorld {
  const events: EventIn[] = [];
  const parked: Parked[] = [];
  const ends = new Map<string, bigint>();
  const committed = new Map<string, bigint>();
  const parkedEvent = new Map<Parked, EventIn>();
  const replayed = new Set<Parked>();
  const expired = new Set<EventIn | Parked>();
  const lineage = new Map<ClinicalKey, ResearchStudyId>();
  const denied = new Set<ClinicalKey>();
  let now = 1_000_000;
  let sequence = 1_000_000;
  let censuses = 0;
  const studies = Array.from({ length: size }, (_, n): Study => {
    const uid = `1.2.${n}` as StudyInstanceUid;
    const centre = centreId(`c0${1 + (n % centres)}`);
    const key = clinicalKey(centre, uid);
    const flags = { listed: false, inScope: n !== 2, everAnnounced: false, pendingListed: false, withdrawn: false };
    return { n, uid, centre, key, content: 0, count: 0, announced: undefined, ...flags };
  });

  const put = (type: EventRecord['type'], value: Values, id: string): EventIn => {
    const record = { type, value } as unknown as EventRecord;
    const topic = topicOf(record);
    const offset = ends.get(topic) ?? 0n;
    ends.set(topic, offset + STEP);
    const e = { ...record, id, source: 'x', timeMs: now, topic, partition: 0, offset, key: 'k' } as EventIn;
    events.push(e);
    return e;
  };
  const park = (stage: string, e: EventIn, code: Code, where: 'retry' | 'dead', replays?: Parked): void => {
    const topic = `ct.${e.topic.split('.')[1]}.${stage}.${where === 'dead' ? 'dead' : 'retry.30s'}`;
    const offset = ends.get(topic) ?? 0n;
    ends.set(topic, offset + STEP);
    const id = replays === undefined ? undefined : `${replays.stage}/${replays.partition}/${replays.offset}`;
    const p: Parked = {
      stage,
      key: 'studyInstanceUid' in e.value ? clinicalKey(e.value.centre, e.value.studyInstanceUid) : 'k',
      code,
      eventId: e.id,
      dead: where === 'dead',
      topic,
      partition: 0,
      offset,
      timeMs: now,
      replays: id,
    };
    parked.push(p);
    parkedEvent.set(p, e);
  };
  const next = <T extends EventIn['type']>(stage: string, type: T): EventIn<T> | undefined => {
    const e = events.find((x) => x.type === type && x.offset >= (committed.get(`${stage} ${x.topic}`) ?? 0n));
    if (e !== undefined) committed.set(`${stage} ${e.topic}`, e.offset + STEP);
    return e as EventIn<T> | undefined;
  };
  const all = <T extends EventIn['type']>(type: T): EventIn<T>[] => events.filter((e): e is EventIn<T> => e.type === type);
  const studiesOf = (centre: CentreId): Study[] => studies.filter((s) => s.centre === centre);
  const studyOf = (n: number): Study => studies[n % size] as Study;
  const ofUid = (uid: string): Study => studies.find((s) => s.uid === uid) as Study;
  const ofResearch = (id: string): Study => studyOf(Number(id.slice(1)));
  const revisionOf = (s: Study): string => `r${s.content}`;

  const verdict = (stage: string, e: EventIn, what: 'StudyRejected' | 'StudySkipped', code: Code): void => {
    const zone = e.type.split('.')[1] as 'clinical' | 'research';
    const type = `ctstream.${zone}.v1.${what}` as const;
    const v = e.value as unknown as Values;
    const about = zone === 'clinical' ? { centre: v['centre'], studyInstanceUid: v['studyInstanceUid'] } : { studyId: v['studyId'] };
    put(type, { ...about, revision: v['revision'], stage, code }, outgoingId(stage, e.id, type, 0));
  };

  /** As services/ingest/standing.ts judges. */
  const storedBefore = (e: EventIn<'ctstream.clinical.v1.StudyAvailable'>): { again?: EventIn; superseded: boolean; revision: string } => {
    const { studyInstanceUid, revision } = e.value;
    const stored = all('ctstream.clinical.v1.StudyStored').filter((s) => s.value.studyInstanceUid === studyInstanceUid);
    const announced = (r: string): string => r.split('@')[0] ?? '';
    const order = (s: { value: { sequence: number } }): number => s.value.sequence;
    const same = stored.filter((s) => announced(s.value.revision) === revision).toSorted((a, b) => order(a) - order(b));
    const own = same.findLast((s) => order(s) <= order(e)) ?? same[0];
    const overtaken =
      own !== undefined && stored.some((s) => announced(s.value.revision) !== revision && order(s) > order(own) && order(s) < order(e));
    const superseded = stored.some((s) => order(s) > order(e));
    if (own !== undefined && !overtaken) return { again: own, superseded: false, revision };
    return { superseded, revision: own === undefined ? revision : `${revision}@${order(e)}` };
  };

  const ingest = (e: EventIn<'ctstream.clinical.v1.StudyAvailable'>, luck: number): void => {
    const s = ofUid(e.value.studyInstanceUid);
    const { again, superseded, revision } = storedBefore(e);
    if (again !== undefined) return void put(again.type, again.value as unknown as Values, again.id);
    if (superseded) return verdict('ingest', e, 'StudySkipped', 'SUPERSEDED');
    if (luck === 0) return park('ingest', e, 'PACS_ERROR', 'retry');
    if (luck === 1) return park('ingest', e, 'CONFLICTING_COPY', 'dead');
    if (!s.listed || revisionOf(s) !== e.value.revision) {
      verdict('ingest', e, s.listed ? 'StudySkipped' : 'StudyRejected', s.listed ? 'STUDY_CHANGED' : 'STUDY_VANISHED');
      if (s.announced === e.value.revision) s.announced = undefined;
      return;
    }
    if (luck === 2) return verdict('ingest', e, 'StudyRejected', 'MIXED_PATIENTS');
    if (luck === 3) return verdict('ingest', e, 'StudySkipped', 'DUPLICATE_OF');
    put('ctstream.clinical.v1.StudyStored', { ...e.value, revision } as unknown as Values, `stored-${s.n}-${revision}`);
  };

  const anonymise = (e: EventIn<'ctstream.clinical.v1.StudyStored'>, luck: number): void => {
    const s = ofUid(e.value.studyInstanceUid);
    if (s.withdrawn) return verdict('anonymise', e, 'StudyRejected', 'PATIENT_WITHDRAWN');
    const known = all('ctstream.research.v1.StudyAnonymised').filter((a) => a.value.studyId === `S${s.n}`);
    const again = known.find((a) => a.value.revision === `q-${e.value.revision}`);
    if (again !== undefined) return void put(again.type, again.value as unknown as Values, again.id);
    const later = all('ctstream.clinical.v1.StudyStored').some(
      (o) => o.value.studyInstanceUid === s.uid && o.value.sequence > e.value.sequence,
    );
    if (later) return verdict('anonymise', e, 'StudySkipped', 'SUPERSEDED');
    if (luck === 0) return park('anonymise', e, 'VAULT_UNAVAILABLE', 'retry');
    if (luck === 1) return park('anonymise', e, 'HELD_BURNED_IN_TEXT', 'dead');
    if (luck === 2) return verdict('anonymise', e, 'StudyRejected', 'NOTHING_KEPT');
    lineage.set(s.key, `S${s.n}` as ResearchStudyId);
    const revision = `q-${e.value.revision}`;
    const ordinal = 1 + Math.max(0, ...known.map((a) => a.value.ordinal));
    put(
      'ctstream.research.v1.StudyAnonymised',
      { studyId: `S${s.n}`, subjectId: `P${s.n}`, revision, ordinal },
      `anonymised-${s.n}-${revision}`,
    );
  };

  const assess = (e: EventIn<'ctstream.research.v1.StudyAnonymised'>, luck: number): void => {
    if (ofResearch(e.value.studyId).withdrawn) return verdict('assess', e, 'StudySkipped', 'PATIENT_WITHDRAWN');
    const done = all('ctstream.research.v1.StudyAssessed').filter((a) => a.value.studyId === e.value.studyId);
    const again = done.find((a) => a.value.revision === e.value.revision);
    if (again !== undefined) return void put(again.type, again.value as unknown as Values, again.id);
    if (done.some((a) => a.value.ordinal > e.value.ordinal)) return verdict('assess', e, 'StudySkipped', 'SUPERSEDED');
    if (luck === 0) return park('assess', e, 'STORE_UNAVAILABLE', 'retry');
    if (luck === 1) return park('assess', e, 'UNEXPECTED', 'dead');
    if (luck === 2) return verdict('assess', e, 'StudyRejected', 'GANTRY_TILT');
    put(
      'ctstream.research.v1.StudyAssessed',
      e.value as unknown as Values,
      outgoingId('assess', e.id, 'ctstream.research.v1.StudyAssessed', 0),
    );
  };

  const handle = (stage: string, e: EventIn, luck: number): void => {
    if (stage === 'ingest') ingest(e as EventIn<'ctstream.clinical.v1.StudyAvailable'>, luck);
    else if (stage === 'anonymise') anonymise(e as EventIn<'ctstream.clinical.v1.StudyStored'>, luck);
    else assess(e as EventIn<'ctstream.research.v1.StudyAnonymised'>, luck);
  };

  const retry = (luck: number): void => {
    const p = parked.find((x) => !x.dead && x.offset >= (committed.get(`${x.stage}.retry ${x.topic}`) ?? 0n));
    const e = p === undefined ? undefined : parkedEvent.get(p);
    if (p === undefined || e === undefined) return;
    committed.set(`${p.stage}.retry ${p.topic}`, p.offset + STEP);
    handle(p.stage, e, luck);
  };

  const replay = (luck: number): void => {
    const open = parked.filter((p) => p.dead && !replayed.has(p) && !expired.has(p));
    const p = open[luck % Math.max(1, open.length)];
    const e = p === undefined ? undefined : parkedEvent.get(p);
    if (p === undefined || e === undefined) return;
    replayed.add(p);
    park(p.stage, e, p.code, 'retry', p);
  };

  const census = (centre: CentreId, luck: number): void => {
    censuses += 1;
    const lines = studiesOf(centre).flatMap((s): Values[] => {
      const line = { studyInstanceUid: s.uid, instanceCount: s.count, code: null };
      if (!s.listed) {
        const gone = s.pendingListed && !s.everAnnounced && luck < 5;
        s.pendingListed = false;
        // When it is back it is announced again, whatever it then is.
        s.announced = undefined;
        return gone ? [{ ...line, instanceCount: 0, state: 'outOfScope', code: 'STUDY_VANISHED' }] : [];
      }
      s.pendingListed = s.inScope && s.announced === undefined;
      if (!s.inScope) return [{ ...line, state: 'outOfScope', code: 'OUT_OF_SCOPE' }];
      return s.pendingListed
        ? [{ ...line, state: 'pending', code: luck < 3 ? 'NOT_ANNOUNCED' : luck < 5 ? 'PACS_INCONSISTENT' : 'NOT_YET_STABLE' }]
        : [{ ...line, state: 'announced' }];
    });
    const common = { centre, censusId: `n${censuses}`, takenAtMs: now, page: 1, pages: 1, outboxSequence: 0 };
    put('ctstream.clinical.v1.Census', { ...common, studies: lines }, `census-${censuses}`);
  };

  const announce = (s: Study): void => {
    if (!s.listed || !s.inScope || s.announced === revisionOf(s)) return;
    sequence += 1;
    [s.announced, s.everAnnounced] = [revisionOf(s), true];
    const value = { centre: s.centre, studyInstanceUid: s.uid, revision: revisionOf(s), sequence, instanceCount: s.count };
    put('ctstream.clinical.v1.StudyAvailable', value, `available-${s.n}-${events.length}`);
  };

  /** A selection round over everything that is assessed. */
  const round = (luck: number): void => {
    const assessed = all('ctstream.research.v1.StudyAssessed');
    const decided = new Set(
      [...all('ctstream.research.v1.StudySelected'), ...all('ctstream.research.v1.StudyExcluded')].map((e) => e.value.studyId),
    );
    for (const e of new Map(assessed.map((a) => [a.id, a])).values()) {
      const { studyId, ordinal } = e.value;
      if (ofResearch(studyId).withdrawn || all('ctstream.research.v1.StudySkipped').some((v) => v.id.endsWith(`of ${e.id}`))) continue;
      const newer = assessed.some((a) => a.value.studyId === studyId && a.value.ordinal > ordinal);
      if (newer || decided.has(studyId)) {
        const v = { studyId, revision: e.value.revision, stage: 'select', code: newer ? 'SUPERSEDED' : 'ALREADY_DECIDED' };
        put('ctstream.research.v1.StudySkipped', v, `skip of ${e.id}`);
      } else if (luck < 2)
        put('ctstream.research.v1.StudyExcluded', { studyId, revision: e.value.revision, code: 'COHORT_FULL' }, `excluded-${studyId}`);
      else put('ctstream.research.v1.StudySelected', { studyId, revision: e.value.revision }, `selected-${studyId}`);
      if (!newer) decided.add(studyId);
    }
    const topic = 'ct.research.study-assessed.v1';
    const cut = [{ topic, partition: 0, endOffset: Number(ends.get(topic) ?? 0n) }];
    put('ctstream.research.v1.SelectionRoundClosed', { cohort: 'a', cut }, `round-${events.length}`);
  };

  const read = (luck: number): void => {
    const done = new Set<string>([
      ...all('ctstream.research.v1.StudyLabelled').map((e) => e.value.studyId),
      ...all('ctstream.research.v1.StudyRejected').flatMap((e) => (e.value.stage === 'label-queue' ? [e.value.studyId] : [])),
    ]);
    const task = all('ctstream.research.v1.StudySelected').find(
      (e) =>
        !done.has(e.value.studyId) && e.offset < (committed.get(`label-queue ${e.topic}`) ?? 0n) && !ofResearch(e.value.studyId).withdrawn,
    );
    if (task === undefined) return;
    if (luck === 0) verdict('label-queue', task, 'StudyRejected', 'READER_REJECTED');
    else
      put(
        'ctstream.research.v1.StudyLabelled',
        { studyId: task.value.studyId, revision: task.value.revision },
        `labelled-${task.value.studyId}`,
      );
  };

  const release = (): void => {
    const ready = all('ctstream.research.v1.StudyLabelled').map((e) => e.value.studyId);
    const kept = ready.filter((id) => !ofResearch(id).withdrawn);
    if (kept.length > 0)
      put('ctstream.research.v1.DatasetReleased', { version: `v${events.length}`, studies: kept }, `release-${events.length}`);
  };

  const withdraw = (s: Study): void => {
    if (s.withdrawn || !lineage.has(s.key)) return;
    s.withdrawn = true;
    denied.add(s.key);
    lineage.delete(s.key);
    put('ctstream.research.v1.SubjectWithdrawn', { subjectId: `P${s.n}` }, `withdrawn-${s.n}`);
  };

  const scan = (s: Study, luck: number): void => {
    const isBack = !s.listed && s.content > 0;
    // Now and then it is set back to what it was; and what a PACS had deleted may come back as it was.
    if (!isBack || luck < 5) s.content = luck === 9 && s.content > 1 ? s.content - 1 : s.content + 1;
    [s.count, s.listed] = [100 + s.content, true];
  };

  const loseGateway = (centre: CentreId, luck: number): void => {
    for (const s of studiesOf(centre)) s.announced = undefined;
    sequence += luck < 5 ? -500 : 1000;
  };

  const isConsumed = (e: EventIn): boolean => {
    const stage = ({ StudyAvailable: 'ingest', StudyStored: 'anonymise' } as const)[e.type.split('.')[3] ?? ''];
    return stage === undefined || e.offset < (committed.get(`${stage} ${e.topic}`) ?? 0n);
  };
  /** Retention takes the oldest; a stage that is behind for longer stops, and that is another story. */
  const age = (luck: number): void => {
    now += (3 + 2 * luck) * DAY;
    const kept = new Set<string>();
    for (const e of events) {
      if (!e.type.startsWith('ctstream.clinical.') || kept.has(e.topic)) continue;
      if (e.timeMs < now - CLINICAL && isConsumed(e)) expired.add(e);
      else kept.add(e.topic);
    }
    for (const p of parked) {
      const isDone = p.dead || p.offset < (committed.get(`${p.stage}.retry ${p.topic}`) ?? 0n);
      if (isDone && p.timeMs < now - (p.dead ? DEAD : RETRY)) expired.add(p);
    }
  };

  return {
    get events() {
      return events.filter((e) => !expired.has(e));
    },
    act(op, n, luck) {
      now += MINUTE;
      const s = studyOf(n);
      const first = <T extends EventIn['type']>(stage: string, type: T): void => {
        const e = next(stage, type);
        if (e !== undefined && stage !== 'label-queue') handle(stage, e, luck);
      };
      const steps: (() => void)[] = [
        () => scan(s, luck),
        () => announce(s),
        () => announce(s),
        () => first('ingest', 'ctstream.clinical.v1.StudyAvailable'),
        () => first('ingest', 'ctstream.clinical.v1.StudyAvailable'),
        () => first('anonymise', 'ctstream.clinical.v1.StudyStored'),
        () => first('anonymise', 'ctstream.clinical.v1.StudyStored'),
        () => first('assess', 'ctstream.research.v1.StudyAnonymised'),
        () => round(luck),
        () => first('label-queue', 'ctstream.research.v1.StudySelected'),
        () => read(luck),
        release,
        () => (luck < 5 ? retry(luck + 2) : replay(luck)),
        () => retry(luck),
        () => census(s.centre, luck),
        () =>
          luck < 3
            ? withdraw(s)
            : luck < 5
              ? loseGateway(s.centre, luck * 2 - 2)
              : luck < 8
                ? void (s.listed = false)
                : void (s.inScope = luck === 8 || !s.inScope),
        () => void (now += 3 * 60 * MINUTE),
        () => age(luck),
      ];
      steps[op % steps.length]?.();
    },
    input: () => ({
      events: events.filter((e) => !expired.has(e)),
      bad: [],
      parked: parked.filter((p) => !expired.has(p)),
      lineage: new Map(lineage),
      researchRevision: (key, revision) => (lineage.has(key) ? (`q-${revision}` as ResearchRevision) : undefined),
      denied: new Set(denied),
      committed: (group, topic) => committed.get(`${group} ${topic}`) ?? 0n,
      moved: new Map([...expired].flatMap((e) => ('type' in e ? [[`${e.topic}/0`, now - CLINICAL] as const] : []))),
    }),
  };
}
