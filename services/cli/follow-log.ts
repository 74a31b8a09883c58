// Reads the log on from where it stopped and folds it to the account: what `account`, `status` and the demo show.
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import { researchRevision, researchStudyId } from '../anonymise/identity.ts';
import { studyOfParked } from '../kernel/account-facts.ts';
import { account, type Account, type BadRecord, type Parked } from '../kernel/accounting.ts';
import { censusLines } from '../kernel/census-lines.ts';
import { isCode } from '../kernel/codes.ts';
import { clinicalKey, type ClinicalKey } from '../kernel/ids.ts';
import { Fault } from '../kernel/fault.ts';
import { centreOfTopic, typeOfTopic } from '../kernel/route.ts';
import type { EventIn } from '../kernel/stage.ts';
import type { BusRecord, EventBus, TopicEnd } from '../ports/event-bus.ts';
import { HEADER } from '../runtime/retry.ts';
import { CONSUMED_TOPICS } from './consumed-topics.ts';
import type { AccountPorts } from './deployment.ts';

/** Topics whose events say that others must be there: their ends are taken first. */
const FIRST = ['ct.clinical.<centre>.census.v1', 'ct.research.selection-round-closed.v1'];
const REST = topicsFile.topics.map((t) => t.name).filter((name) => !FIRST.includes(name));
const STAGES = Object.keys(topicsFile.stages);
const PARKED_TOPICS = Object.entries(topicsFile.stages).map(([stage, zone]) => `ct.${zone}.${stage}.*`);

const place = (topic: string, partition: number): string => `${topic}/${partition}`;

export interface LogFollower {
  /** The account up to now. Offsets, then ends, then the vault's links are taken in this order, so that what
   * happens meanwhile can only make a study look less far than it is, never lost. */
  account(signal: AbortSignal): Promise<Account>;
}

export interface StageLag {
  readonly stage: string;
  readonly records: number;
  readonly oldestMs: number;
}

/** A centre speaks of its own studies only: it could put another's key on what it announces. */
function keyOfParked({ key, headers }: BusRecord): string {
  const centre = centreOfTopic(headers[HEADER.originTopic] ?? '');
  return centre === undefined || key.startsWith(`${centre}|`) ? key : '';
}

function parkedOf(record: BusRecord): Parked {
  const code = record.headers['ct-code'] ?? '';
  const stage = record.topic.split('.')[2] ?? '';
  return {
    stage,
    key: keyOfParked(record),
    code: isCode(code) ? code : 'UNEXPECTED',
    eventId: record.headers['ce_id'] ?? '',
    dead: record.topic.endsWith('.dead'),
    topic: record.topic,
    partition: record.partition,
    offset: record.offset,
    timeMs: record.timestampMs,
    replays: record.headers['ct-replays'],
  };
}

/** A record that the codec refuses. It is counted: one bad record of one centre must not hide all others' studies. */
function badOf(record: BusRecord, code: BadRecord['code']): BadRecord {
  const { topic, partition, timestampMs: timeMs, headers } = record;
  const sequence = headers['ce_sequence'];
  const source = headers['ce_source'];
  const bad = { topic, code, ...(code.startsWith('SCHEMA_') ? { key: record.key } : {}) };
  if (source === undefined || sequence === undefined || !/^\d{1,19}$/.test(sequence)) return bad;
  return { ...bad, drawn: { source, sequence: BigInt(sequence), topic, partition, timeMs, seen: true } };
}

/** Topic name with `<centre>` in the place of the centre, as schemas/topics.json has it. */
function templateOf(topic: string): string {
  const centre = centreOfTopic(topic);
  return centre === undefined ? topic : topic.replace(`.${centre}.`, '.<centre>.');
}

const RETENTION_MS = new Map(topicsFile.topics.map((t) => [t.name as string, t.retentionMs]));

/** Since when a partition whose start has moved has all its records; undefined for one that has lost none, and for a
 * topic that is kept for ever: there a moved start is a loss. */
function keptSince(end: TopicEnd, nowMs: number): number | undefined {
  const retentionMs = RETENTION_MS.get(templateOf(end.topic));
  return end.first > 0n && retentionMs !== undefined && retentionMs > 0 ? nowMs - retentionMs : undefined;
}

const greater = (a: bigint, b: bigint): bigint => (a > b ? a : b);

/** When the event happened; of a record that is none, when it was written. */
function timeOf({ headers, timestampMs }: BusRecord): number {
  const timeMs = Date.parse(headers['ce_time'] ?? '');
  return Number.isNaN(timeMs) ? timestampMs : timeMs;
}

/** Topics that a stage may read: its group has offsets in those of them that it consumes. */
function readableBy(stage: string): string[] {
  return topicsFile.topics.filter((t) => t.readers.includes(stage)).map((t) => t.name);
}

async function committedOffsets(bus: EventBus): Promise<Map<string, bigint>> {
  const found = new Map<string, bigint>();
  for (const [stage, zone] of Object.entries(topicsFile.stages)) {
    const topics = await bus.topics(readableBy(stage));
    const retries = await bus.topics([`ct.${zone}.${stage}.retry.*`]);
    for (const [group, names] of [
      [stage, topics],
      [`${stage}.retry`, retries],
    ] as const) {
      for (const c of await bus.committed(group, names)) found.set(`${group}#${place(c.topic, c.partition)}`, c.offset);
    }
  }
  return found;
}

/** Lag of every stage: records not finished, and the age of the oldest. It asks Kafka alone: whoever watches it needs no vault. */
export async function stageLags(bus: EventBus, signal: AbortSignal): Promise<StageLag[]> {
  const committed = await committedOffsets(bus);
  const ends = await bus.ends(await bus.topics([...new Set([...CONSUMED_TOPICS.values()].flat())]));
  /** Where each stage goes on, by partition. */
  const open = new Map<string, { readonly stage: string; readonly from: bigint }[]>();
  const unread: TopicEnd[] = [];
  for (const e of ends) {
    const at = place(e.topic, e.partition);
    const consumers = STAGES.filter((stage) => CONSUMED_TOPICS.get(stage)?.includes(templateOf(e.topic)) === true);
    const waiting = consumers.map((stage) => ({ stage, from: greater(committed.get(`${stage}#${at}`) ?? 0n, e.first) }));
    open.set(at, waiting);
    const first = waiting.reduce((least, { from }) => (from < least ? from : least), e.end);
    if (first < e.end) unread.push({ ...e, first });
  }
  const lags = new Map(STAGES.map((stage) => [stage, { records: 0, sinceMs: Infinity }]));
  for await (const record of bus.read(unread, signal))
    for (const { stage, from } of open.get(place(record.topic, record.partition)) ?? []) {
      const lag = lags.get(stage);
      if (lag === undefined || record.offset < from) continue;
      lag.records += 1;
      lag.sinceMs = Math.min(lag.sinceMs, timeOf(record));
    }
  const nowMs = Date.now();
  return [...lags].map(([stage, { records, sinceMs }]) => ({
    stage,
    records,
    oldestMs: records === 0 ? 0 : Math.max(0, nowMs - sinceMs),
  }));
}

/** Follows all topics of a deployment from their start. */
export function followLog(ports: Omit<AccountPorts, 'close'>): LogFollower {
  const next = new Map<string, bigint>();
  const events: EventIn[] = [];
  const censuses = censusLines();
  const parked: Parked[] = [];
  const bad: BadRecord[] = [];
  const moved = new Map<string, number>();

  const note = (record: BusRecord): void => {
    if (typeOfTopic(record.topic) === undefined) {
      parked.push(parkedOf(record));
      return;
    }
    try {
      const event = ports.codec.decode(record);
      if (event.type === 'ctstream.clinical.v1.Census') censuses.note(event);
      else events.push(event);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      bad.push(badOf(record, error.code));
    }
  };

  /** Studies that the clinical zone names. */
  const studies = (): Set<ClinicalKey> => {
    const named = new Set<ClinicalKey>([...censuses.keys(), ...parked.flatMap((p) => studyOfParked(p) ?? [])]);
    for (const { value } of events) if ('studyInstanceUid' in value) named.add(clinicalKey(value.centre, value.studyInstanceUid));
    return named;
  };

  const readNew = async (patterns: readonly string[], signal: AbortSignal): Promise<void> => {
    const ends = await ports.bus.ends(await ports.bus.topics(patterns));
    for (const e of ends) {
      const since = keptSince(e, Date.now());
      if (since !== undefined) moved.set(place(e.topic, e.partition), since);
    }
    const fresh: TopicEnd[] = ends
      .map((e) => {
        // What was deleted since the last look can't be waited for.
        const from = next.get(place(e.topic, e.partition)) ?? e.first;
        return { ...e, first: from < e.first ? e.first : from };
      })
      .filter((e) => e.first < e.end);
    if (fresh.length === 0) return;
    for await (const record of ports.bus.read(fresh, signal)) note(record);
    for (const e of fresh) next.set(place(e.topic, e.partition), e.end);
  };

  /** The secret of each study that the vault links. */
  const secrets = async (signal: AbortSignal): Promise<Map<ClinicalKey, Uint8Array>> => {
    const links = new Map<ClinicalKey, Uint8Array>();
    for await (const l of ports.vault.lineages(signal)) links.set(clinicalKey(l.centre, l.studyInstanceUid), l.secret);
    return links;
  };

  return {
    async account(signal) {
      const committed = await committedOffsets(ports.bus);
      await readNew(FIRST, signal);
      await readNew([...REST, ...PARKED_TOPICS], signal);
      const linked = await secrets(signal);
      return account({
        events: [...events, ...censuses.events()],
        bad,
        parked,
        moved,
        lineage: new Map([...linked].map(([key, secret]) => [key, researchStudyId(secret)])),
        researchRevision: (key, revision) => {
          const secret = linked.get(key);
          return secret && researchRevision(secret, revision);
        },
        denied: await ports.vault.denied([...studies()], signal),
        committed: (group, topic, partition) => committed.get(`${group}#${place(topic, partition)}`) ?? 0n,
      });
    },
  };
}
