// Dead letters and what became of each, decided from the log alone: still open, waiting again, settled, or replaced by a
// later letter of the same record. And their replay, which refuses what needs none.
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import type { EventType } from '../../schemas/events.gen.ts';
import type { Code } from '../kernel/codes.ts';
import { sha256Hex } from '../kernel/digest.ts';
import { outgoingId } from '../kernel/event-ids.ts';
import { Fault } from '../kernel/fault.ts';
import { centreOfTopic, deadTopic } from '../kernel/route.ts';
import type { EventIn, Zone } from '../kernel/stage.ts';
import type { BusRecord, EventBus, OutgoingRecord } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import { codeOfFailure, HEADER, letterId, originOfLetter, replayRecord, retryTopics, wholeRecord, type Origin } from './retry.ts';

/**
 * - `open`: lies there, and nothing of its record waits or has come out since;
 * - `waiting`: replayed, or back in a retry topic by other means, and not yet handled;
 * - `settled`: handled since, with an outcome;
 * - `replaced`: its record died again; the later letter is the one that counts.
 */
export type LetterState = 'open' | 'waiting' | 'settled' | 'replaced';

export interface DeadLetter {
  /** `<stage>/<partition>/<offset>` of its place in the stage's dead-letter topic. */
  readonly id: string;
  readonly stage: string;
  readonly zone: Zone;
  readonly state: LetterState;
  readonly code: Code;
  /** Tries before it was given up. */
  readonly attempts: number;
  /** When it was given up, milliseconds since 1970. */
  readonly atMs: number;
  /** `ce_id` and `ce_type` of the event; empty when its record has none. */
  readonly eventId: string;
  readonly eventType: string;
  /** Centre of the topic that it came from; undefined for topics of the whole city. */
  readonly centre: string | undefined;
  /** Where it was first read; undefined when its headers say nothing that can be believed. */
  readonly origin: Origin | undefined;
  /** As it lies in the topic. Identified in the clinical zone. */
  readonly record: BusRecord;
}

export interface LetterPorts {
  readonly reads: Pick<EventBus, 'topics' | 'ends' | 'read' | 'committed'>;
  readonly codec: Pick<EventCodec, 'decode'>;
}

export const DEAD_LETTER_STAGES: readonly string[] = Object.keys(topicsFile.stages);
const ZONES = new Map(Object.entries(topicsFile.stages) as [string, Zone][]);

/**
 * Every dead letter of the stages, oldest first. Offsets are taken before the topics' ends, so that what happens
 * meanwhile can only make a letter look less far than it is: waiting, not settled.
 */
export async function readDeadLetters(ports: LetterPorts, stages: readonly string[], signal: AbortSignal): Promise<DeadLetter[]> {
  const { reads } = ports;
  const consumed = await consumedRetries(reads, stages);
  const dead: DeadLetter[] = [];
  const topics = new Map(stages.map((stage) => [deadTopic(zoneOfStage(stage), stage), stage] as const));
  for await (const record of reads.read(await endsOf(reads, [...topics.keys()]), signal)) {
    const stage = topics.get(record.topic);
    if (stage !== undefined) dead.push(letterOf(stage, zoneOfStage(stage), record));
  }
  const concerned = [...new Set(dead.map((l) => l.stage))];
  const waits: Retry[] = [];
  for (const stage of concerned) {
    const ends = await endsOf(reads, retryTopics(zoneOfStage(stage), stage));
    for await (const record of reads.read(ends, signal)) {
      const at = `${record.topic}/${record.partition}`;
      const { [HEADER.replays]: replays } = record.headers;
      const place = placeOf(stage, originOfLetter(stage, record), record);
      waits.push({ place, replays, consumed: record.offset < (consumed.get(at) ?? 0n) });
    }
  }
  const letters = await withOutcomes(judge(dead, waits), ports, signal);
  return letters.sort((a, b) => a.atMs - b.atMs || (a.id < b.id ? -1 : 1));
}

/** @throws Error for a name that is no stage's. */
function zoneOfStage(stage: string): Zone {
  const zone = ZONES.get(stage);
  if (zone === undefined) throw new Error(`no stage ${stage}: one of ${DEAD_LETTER_STAGES.join(', ')}`);
  return zone;
}

/** First record of each retry partition that its stage has not finished. */
async function consumedRetries(reads: LetterPorts['reads'], stages: readonly string[]): Promise<Map<string, bigint>> {
  const found = new Map<string, bigint>();
  for (const stage of stages) {
    const topics = await reads.topics(retryTopics(zoneOfStage(stage), stage));
    for (const c of await reads.committed(`${stage}.retry`, topics)) found.set(`${c.topic}/${c.partition}`, c.offset);
  }
  return found;
}

/** A record that waits or waited in a retry topic. */
interface Retry {
  readonly place: string;
  readonly replays: string | undefined;
  readonly consumed: boolean;
}

async function endsOf(reads: LetterPorts['reads'], names: readonly string[]): ReturnType<EventBus['ends']> {
  return reads.ends(await reads.topics(names));
}

/** A record is known by its first place: an id may be forged, or be in the log twice. */
function placeOf(stage: string, origin: Origin | undefined, record: BusRecord): string {
  const { topic, partition, offset } = origin?.record ?? record;
  return `${stage} ${topic}/${partition}/${offset}`;
}

function letterOf(stage: string, zone: Zone, record: BusRecord): DeadLetter {
  const origin = originOfLetter(stage, record);
  const centre = origin === undefined ? undefined : centreOfTopic(origin.record.topic);
  return {
    id: letterId(stage, record),
    stage,
    zone,
    state: 'open',
    code: codeOfFailure(record) ?? 'UNEXPECTED',
    attempts: origin?.attempts ?? 0,
    atMs: record.timestampMs,
    eventId: record.headers['ce_id'] ?? '',
    eventType: record.headers['ce_type'] ?? '',
    centre: centre ?? centreOfKey(zone, record.key),
    origin,
    record,
  };
}

/** Keys of the clinical zone are `<centre>|<study>`, also in the topics of the whole city. */
function centreOfKey(zone: Zone, key: string): string | undefined {
  return zone === 'clinical' ? /^([a-z0-9-]{1,24})\|/.exec(key)?.[1] : undefined;
}

/** The states as far as the parked records say. Letters of one record have one key, so one partition: their offsets are
 * their order, whatever the clocks were. */
function judge(dead: readonly DeadLetter[], waits: readonly Retry[]): DeadLetter[] {
  const last = new Map<string, bigint>();
  for (const { stage, origin, record } of dead) {
    const place = placeOf(stage, origin, record);
    if (record.offset > (last.get(place) ?? -1n)) last.set(place, record.offset);
  }
  const waiting = new Set(waits.filter((w) => !w.consumed).map((w) => w.place));
  const replayed = new Set(waits.map((w) => w.replays));
  return dead.map((letter) => {
    const place = placeOf(letter.stage, letter.origin, letter.record);
    if (last.get(place) !== letter.record.offset) return { ...letter, state: 'replaced' };
    if (waiting.has(place)) return { ...letter, state: 'waiting' };
    return replayed.has(letter.id) ? { ...letter, state: 'settled' } : letter;
  });
}

/**
 * Letters that nobody replayed, whose event has an outcome all the same: Kafka may hold an event twice, and the other
 * copy went through; or the revision was announced again. Outcomes whose ids hang on a manifest in the research zone
 * can't be told from the event, so a letter of anonymise stays open until it is replayed: that is harmless.
 */
async function withOutcomes(letters: readonly DeadLetter[], { reads, codec }: LetterPorts, signal: AbortSignal): Promise<DeadLetter[]> {
  const open = letters.filter((l) => l.state === 'open');
  const topics = [...new Set(open.map((l) => l.stage))].flatMap((stage) => writtenBy(stage).map((t) => t.name));
  const wanted = new Set(open.flatMap((l) => outcomesOf(l, codec)));
  const found = new Map<string, number>();
  if (wanted.size > 0) {
    for await (const record of reads.read(await endsOf(reads, [...new Set(topics)]), signal)) {
      for (const name of namesOf(record, codec)) if (wanted.has(name)) found.set(name, Math.max(record.timestampMs, found.get(name) ?? 0));
    }
  }
  return letters.map((letter) => {
    if (letter.state !== 'open') return letter;
    const isDone = outcomesOf(letter, codec).some((name) => (found.get(name) ?? -1) >= letter.atMs);
    return isDone ? { ...letter, state: 'settled' } : letter;
  });
}

function writtenBy(stage: string): readonly { readonly name: string; readonly type: string }[] {
  return topicsFile.topics.filter((t) => (t.writers as readonly string[]).includes(stage));
}

/** What any outcome of the letter's event would be called: by its id, or by the stored revision that it announced. */
function outcomesOf(letter: DeadLetter, codec: LetterPorts['codec']): string[] {
  if (letter.eventId === '') return [];
  const { stage, eventId: cause, record } = letter;
  const names = writtenBy(stage).map((t) => idName(outgoingId(stage, cause, t.type as EventType, 0), record.key));
  const event = letter.origin?.reference === undefined ? decoded(letter.origin?.record, codec) : undefined;
  if (event?.type === 'ctstream.clinical.v1.StudyAvailable') names.push(storedName(event.value));
  return names;
}

function namesOf(record: BusRecord, codec: LetterPorts['codec']): string[] {
  const names = [idName(record.headers['ce_id'] ?? '', record.key)];
  const event = record.headers['ce_type'] === 'ctstream.clinical.v1.StudyStored' ? decoded(record, codec) : undefined;
  if (event?.type === 'ctstream.clinical.v1.StudyStored') names.push(storedName(event.value));
  return names;
}

/** With the study's key: a gateway that gives two studies one id hides neither letter. */
const idName = (id: string, key: string): string => `${id} of ${key}`;

const storedName = (v: { readonly centre: string; readonly studyInstanceUid: string; readonly revision: string }): string =>
  `stored ${v.centre}|${v.studyInstanceUid}#${v.revision}`;

function decoded(record: BusRecord | undefined, codec: LetterPorts['codec']): EventIn | undefined {
  try {
    return record === undefined ? undefined : codec.decode(record);
  } catch (error) {
    if (error instanceof Fault) return undefined;
    throw error;
  }
}

/** Name of the letter's study for a screen: of the clinical zone its centre and a short SHA-256 of its key, no UID. */
export function studyNameOf({ zone, centre, record }: DeadLetter): string {
  if (zone === 'research') return record.key.slice(0, 64);
  return `${centre ?? '?'}/${sha256Hex(record.key).slice(0, 12)}`;
}

/** The record as it was first read, from its first place when only a reference was parked. @throws Fault BAD_EVENT when that has none */
export async function wholeLetter({ record, origin }: DeadLetter, reads: EventBus, signal: AbortSignal): Promise<BusRecord> {
  return origin?.reference === undefined ? (origin?.record ?? record) : await wholeRecord(reads, origin, signal);
}

/** The event of a letter, or why it can't be shown. @throws Fault of the bus */
export async function eventOfLetter(
  letter: DeadLetter,
  { reads, codec }: { readonly reads: EventBus; readonly codec: Pick<EventCodec, 'decode'> },
  signal: AbortSignal,
): Promise<{ readonly event: EventIn } | { readonly unreadable: string }> {
  if (letter.origin === undefined) return { unreadable: 'its headers do not say where it came from' };
  try {
    return { event: codec.decode(await wholeLetter(letter, reads, signal)) };
  } catch (error) {
    if (error instanceof Fault && ['BAD_EVENT', 'SCHEMA_AHEAD', 'SCHEMA_ID_MISMATCH'].includes(error.code))
      return { unreadable: error.message };
    throw error;
  }
}

export type ReplayRefusal = 'ALREADY_WAITING' | 'ALREADY_SETTLED' | 'REPLACED' | 'HELD_FOR_A_PERSON' | 'BYTES_GONE' | 'NO_ORIGIN';

/** Why each refusal, for people. */
export const REFUSALS: Readonly<Record<ReplayRefusal, string>> = {
  ALREADY_WAITING: 'it was replayed and waits to be handled',
  ALREADY_SETTLED: 'it was handled since',
  REPLACED: 'it died again: replay the later letter',
  HELD_FOR_A_PERSON: "a person of the security role decides: 'ctstream held list'",
  BYTES_GONE:
    'only a reference was parked and its bytes have left the log: replay the stage before, or have the centre send the study again',
  NO_ORIGIN: 'its headers do not say where it came from, so it would die again',
};

/** Why a letter is not replayed; undefined when it may be. Reads the log only for a letter that is kept by reference. */
export async function refusalOf(letter: DeadLetter, reads: EventBus, signal: AbortSignal): Promise<ReplayRefusal | undefined> {
  if (letter.state === 'waiting') return 'ALREADY_WAITING';
  if (letter.state === 'settled') return 'ALREADY_SETTLED';
  if (letter.state === 'replaced') return 'REPLACED';
  if (letter.code.startsWith('HELD_')) return 'HELD_FOR_A_PERSON';
  if (letter.origin === undefined) return 'NO_ORIGIN';
  if (letter.origin.reference === undefined) return undefined;
  try {
    await wholeLetter(letter, reads, signal);
    return undefined;
  } catch (error) {
    if (error instanceof Fault && error.code === 'BAD_EVENT') return 'BYTES_GONE';
    throw error;
  }
}

const BATCH = 100;

/**
 * Replays open letters, a hundred a batch. What was done stays done when it is broken off: run it again and those are
 * refused. Two people at once may put a letter back twice: its outcomes have the same ids and the effects are the
 * memory, so nothing is doubled.
 */
export async function replayLetters(
  letters: readonly DeadLetter[],
  publish: (records: readonly OutgoingRecord[], signal: AbortSignal) => Promise<void>,
  nowMs: number,
  onDone: (done: number) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let at = 0; at < letters.length; at += BATCH) {
    const batch = letters.slice(at, at + BATCH);
    await publish(
      batch.map((l) => replayRecord(l.zone, l.record, nowMs)),
      signal,
    );
    onDone(at + batch.length);
  }
}
