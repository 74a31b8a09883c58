// Where a record goes that could not be handled: to wait for another try, or to the dead letters. The bytes and
// headers stay as they were; what happened is added in headers that begin with `ct-`.
import { createHash } from 'node:crypto';
import type { EventType } from '../../schemas/events.gen.ts';
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import type { Code } from '../kernel/codes.ts';
import { isCode } from '../kernel/codes.ts';
import { Fault } from '../kernel/fault.ts';
import { centreOfTopic, deadTopic, retryTopic } from '../kernel/route.ts';
import type { Stage, Zone } from '../kernel/stage.ts';
import type { BusRecord, EventBus, OutgoingRecord } from '../ports/event-bus.ts';

export const HEADER = {
  originTopic: 'ct-origin-topic',
  originPartition: 'ct-origin-partition',
  originOffset: 'ct-origin-offset',
  attempt: 'ct-attempt',
  /** Of those tries, the ones that failed because something was away. */
  away: 'ct-away',
  code: 'ct-code',
  due: 'ct-due',
  stage: 'ct-stage',
  /** The bytes stayed where they were first read; this is their digest. */
  sha256: 'ct-sha256',
  /** On the record of a replay: the dead letter that it replays. */
  replays: 'ct-replays',
} as const;

export const RETRY_DELAYS = Object.entries(topicsFile.retry.delays) as [string, number][];

/** Topics in which a stage's records wait. */
export function retryTopics(zone: Zone, stage: string): string[] {
  return RETRY_DELAYS.map(([delay]) => retryTopic(zone, stage, delay));
}

/** What decides about a stage's waiting records. */
export type StageTopics = Pick<Stage<EventType, never>, 'name' | 'zone' | 'consumes'>;

/** A record as its stage first read it. */
export interface Origin {
  /** Place, key and headers of the first reading; bytes too, unless `reference` is there. */
  readonly record: BusRecord;
  /** Tries that failed before this one. */
  readonly attempts: number;
  /** Of those, the ones that failed because something was away: they say nothing against the record. */
  readonly away: number;
  /** SHA-256 of the bytes that stayed in the log at the record's place, because they were too large to be parked. */
  readonly reference?: string;
}

/** Whether the record comes from the stage's own retry topics. */
export function isRetry(stage: StageTopics, record: BusRecord): boolean {
  return retryTopics(stage.zone, stage.name).includes(record.topic);
}

/**
 * Where a record was first read and how often it was tried. Only the stage's own retry topics may say so: whoever writes
 * a main topic could name another centre's topic in these headers, so there they are taken off and not believed.
 * Undefined when a waiting record's headers say nothing that can be.
 */
export function originOf(stage: StageTopics, record: BusRecord): Origin | undefined {
  const { headers } = record;
  const own = Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith('ct-')));
  if (!isRetry(stage, record)) return { record: { ...record, headers: own }, attempts: 0, away: 0 };
  return parkedOrigin(record, (topic) => isConsumed(stage, topic));
}

/** What a parked record's headers say of its first reading; undefined when that can't be believed. */
function parkedOrigin(record: BusRecord, isConsumedTopic: (topic: string) => boolean): Origin | undefined {
  const { headers } = record;
  const own = Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith('ct-')));
  const topic = headers[HEADER.originTopic] ?? '';
  const partition = numberIn(headers[HEADER.originPartition], 9);
  const offset = numberIn(headers[HEADER.originOffset], 19);
  const attempts = numberIn(headers[HEADER.attempt], 9);
  const away = numberIn(headers[HEADER.away] ?? '0', 9);
  const reference = headers[HEADER.sha256];
  if (!isConsumedTopic(topic) || partition === undefined || offset === undefined) return undefined;
  if (attempts === undefined || away === undefined) return undefined;
  if (reference !== undefined && !/^[0-9a-f]{64}$/.test(reference)) return undefined;
  return {
    record: { ...record, topic, partition: Number(partition), offset, headers: own },
    attempts: Number(attempts),
    away: Number(away),
    ...(reference === undefined ? {} : { reference }),
  };
}

function numberIn(text: string | undefined, digits: number): bigint | undefined {
  return text !== undefined && text.length <= digits && /^\d+$/.test(text) ? BigInt(text) : undefined;
}

function isConsumed(stage: StageTopics, topic: string): boolean {
  const centre = centreOfTopic(topic);
  return stage.consumes.includes(topic) || (centre !== undefined && stage.consumes.includes(topic.replace(`.${centre}.`, '.<centre>.')));
}

/**
 * How long a waiting record still has to wait, milliseconds. Never longer than its topic's delay: whoever parked it may have
 * had a clock that was hours ahead.
 * @param delaysMs in place of the delays of schemas/topics.json, in its order
 */
export function waitOf(record: BusRecord, nowMs: number, delaysMs?: readonly number[]): number {
  const wait = Number(record.headers[HEADER.due] ?? 0) - nowMs;
  const step = RETRY_DELAYS.findIndex(([name]) => record.topic.endsWith(`.retry.${name}`));
  return wait > 0 ? Math.min(wait, delaysMs?.[step] ?? RETRY_DELAYS[step]?.[1] ?? 0) : 0;
}

/** Its record waits because the process ended in the middle of its job. */
export const diedBefore = (record: BusRecord): boolean => record.headers[HEADER.code] === 'PROCESS_DIED';

/**
 * Part of its delay that a record waits. One that may have ended the process and those that were done beside it would else come
 * again together each time, and the others would go to the dead letters with it: they part, by their own places.
 */
function partOfDelay(fault: Fault, { topic, partition, offset }: BusRecord): number {
  if (fault.code !== 'PROCESS_DIED') return 1;
  return 0.5 + createHash('sha256').update(`${topic}/${partition}/${offset}`).digest().readUInt32BE(0) / 2 ** 33;
}

export interface Failure {
  readonly record: OutgoingRecord;
  readonly where: 'retry' | 'dead';
  readonly code: Code;
  readonly attempt: number;
}

/**
 * A dependency that is away for long must not fill the dead letters: its records wait at the last step, as those of a newer version
 * do, and erasures that are not due yet. Nor must these tries count when the record fails otherwise later: after a night without its
 * PACS a study would have none left.
 */
const WAITS_FOR_EVER = /^(?:SCHEMA_|ERASURE_PENDING$|PACS_|STORE_|DATABASE_|VAULT_|BUS_)/;

/**
 * Where a record goes that only waited for its turn (5m). Not to 30s: what has just failed, or is replayed by a person, shall not
 * stand behind it; nor to 1h, where it would stand behind what is not due for an hour.
 */
const NO_TURN_STEP = 1;

/**
 * The retry or dead record after a failed try, or after a wait that was none. Never throws: it is what happens to records that
 * nothing else can take.
 */
export function afterFailure(o: {
  stage: StageTopics;
  record: BusRecord;
  fault: Fault;
  nowMs: number;
  delaysMs?: readonly number[] | undefined;
}): Failure {
  const { stage, record, fault } = o;
  const origin = originOf(stage, record) ?? { record, attempts: 0, away: 0 };
  const attempt = origin.attempts + (fault.onlyWaited ? 0 : 1);
  const isAway = !fault.onlyWaited && WAITS_FOR_EVER.test(fault.code);
  const away = origin.away + (isAway ? 1 : 0);
  const failed = Math.max(attempt - away, 0);
  const last = RETRY_DELAYS.length;
  const dead = !fault.retryable || (failed > last && !fault.onlyWaited && !isAway);
  const step = fault.onlyWaited ? NO_TURN_STEP : Math.min(isAway ? away : Math.max(failed, 1), last) - 1;
  const [name, stated] = RETRY_DELAYS[step] ?? ['1h', 3_600_000];
  const delayMs = fault.onlyWaited ? 0 : Math.round((o.delaysMs?.[step] ?? stated) * partOfDelay(fault, origin.record));
  const ours: Record<string, string> = {
    [HEADER.originTopic]: origin.record.topic,
    [HEADER.originPartition]: String(origin.record.partition),
    [HEADER.originOffset]: String(origin.record.offset),
    [HEADER.attempt]: String(attempt),
    ...(away > 0 ? { [HEADER.away]: String(away) } : {}),
    [HEADER.code]: fault.code,
    ...(dead ? { [HEADER.stage]: stage.name } : { [HEADER.due]: String(o.nowMs + delayMs) }),
  };
  const topic = dead ? deadTopic(stage.zone, stage.name) : retryTopic(stage.zone, stage.name, name);
  return { record: { topic, ...contentOf(record, origin, ours) }, where: dead ? 'dead' : 'retry', code: fault.code, attempt };
}

/** Most bytes of key, value and headers that are parked as they are: what the retry and dead topics take, less room for the frame. */
export const PARK_BYTES = Math.min(topicsFile.retry.maxMessageBytes, topicsFile.dead.maxMessageBytes) - 65_536;

/**
 * Key, bytes and headers as they were; or, when they are more than the topics take (a compressed record may hold any
 * amount), a reference: no bytes, their SHA-256, and of the headers only those that name the event.
 */
function contentOf(record: BusRecord, origin: Origin, ours: Record<string, string>): Omit<OutgoingRecord, 'topic'> {
  const theirs = origin.record.headers;
  const whole = { key: record.key, value: record.value, headers: { ...theirs, ...ours } };
  if (origin.reference !== undefined) return { ...whole, headers: { ...whole.headers, [HEADER.sha256]: origin.reference } };
  if (loggedBytes(whole) <= PARK_BYTES) return whole;
  const short = Object.entries(theirs).filter(([name, text]) => NAMING.includes(name) && text.length <= 256);
  const sha256 = createHash('sha256').update(record.value).digest('hex');
  return {
    key: Buffer.byteLength(record.key) <= 1024 ? record.key : createHash('sha256').update(record.key).digest('hex'),
    value: new Uint8Array(),
    headers: { ...Object.fromEntries(short), ...ours, [HEADER.sha256]: sha256 },
  };
}

const NAMING = ['ce_id', 'ce_type', 'ce_source', 'ce_time', 'traceparent'];

/** Size of a record as the log holds it, near enough. */
function loggedBytes(r: Omit<OutgoingRecord, 'topic'>): number {
  const headers = Object.entries(r.headers).reduce((sum, [k, v]) => sum + Buffer.byteLength(k) + Buffer.byteLength(v) + 10, 0);
  return r.value.byteLength + Buffer.byteLength(r.key) + headers;
}

/**
 * The record that a reference stands for, from its first place.
 * @throws Fault BAD_EVENT when that place no longer has them.
 */
export async function wholeRecord(bus: EventBus, origin: Origin, signal: AbortSignal): Promise<BusRecord> {
  const { topic, partition, offset } = origin.record;
  // Asked first: what a client says that is to read what the log does not have is no word about this record.
  const there = (await bus.ends([topic])).filter((e) => e.partition === partition && e.first <= offset && offset < e.end);
  const place = there.map((e) => ({ ...e, first: offset, end: offset + 1n }));
  for await (const found of bus.read(place, signal)) {
    if (createHash('sha256').update(found.value).digest('hex') !== origin.reference) break;
    const headers = Object.fromEntries(Object.entries(found.headers).filter(([name]) => !name.startsWith('ct-')));
    return { ...found, headers };
  }
  throw new Fault('BAD_EVENT', false, `${topic}/${partition}: offset ${offset} no longer has the bytes that wait`);
}

const READERS = new Map(topicsFile.topics.map((t) => [t.name as string, t.readers as readonly string[]]));

/** Where a dead letter's record was first read; undefined when nothing says so that can be believed. */
export function originOfLetter(stage: string, dead: BusRecord): Origin | undefined {
  return parkedOrigin(dead, (topic) => {
    const centre = centreOfTopic(topic);
    const name = centre === undefined ? topic : topic.replace(`.${centre}.`, '.<centre>.');
    return READERS.get(name)?.includes(stage) === true;
  });
}

/** Name of a dead letter for people and headers, `<stage>/<partition>/<offset>` of its place in the stage's dead-letter topic. */
export function letterId(stage: string, dead: Pick<BusRecord, 'partition' | 'offset'>): string {
  return `${stage}/${dead.partition}/${dead.offset}`;
}

/**
 * The record as it was before it failed, to be handled again at once: for `dead replay`. Bytes, key, `ce_id`,
 * `traceparent` and first place stay, so what comes of it has the ids that it would have had.
 */
export function replayRecord(zone: Zone, dead: BusRecord, nowMs: number): OutgoingRecord {
  const stage = dead.headers[HEADER.stage];
  if (stage === undefined) throw new Error('not a dead letter: it names no stage');
  const headers: Record<string, string> = {
    ...dead.headers,
    [HEADER.attempt]: '0',
    [HEADER.due]: String(nowMs),
    [HEADER.replays]: letterId(stage, dead),
  };
  delete headers[HEADER.stage];
  delete headers[HEADER.away];
  return { topic: retryTopic(zone, stage, RETRY_DELAYS[0]?.[0] ?? '30s'), key: dead.key, value: dead.value, headers };
}

/** Code that a retry or dead record carries. */
export function codeOfFailure(record: BusRecord): Code | undefined {
  const code = record.headers[HEADER.code];
  return code !== undefined && isCode(code) ? code : undefined;
}
