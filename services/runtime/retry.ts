// Where a record goes that could not be handled: to wait for another try, or to the dead letters. The bytes and
// headers stay as they were; what happened is added in headers that begin with `ct-`.
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import type { Code } from '../kernel/codes.ts';
import { isCode } from '../kernel/codes.ts';
import { Fault } from '../kernel/fault.ts';
import { deadTopic, retryTopic } from '../kernel/route.ts';
import type { Zone } from '../kernel/stage.ts';
import type { BusRecord, OutgoingRecord } from '../ports/event-bus.ts';

export const HEADER = {
  originTopic: 'ct-origin-topic',
  originPartition: 'ct-origin-partition',
  originOffset: 'ct-origin-offset',
  attempt: 'ct-attempt',
  code: 'ct-code',
  due: 'ct-due',
  stage: 'ct-stage',
} as const;

export const RETRY_DELAYS = Object.entries(topicsFile.retry.delays) as [string, number][];

/** Topics in which a stage's records wait. */
export function retryTopics(zone: Zone, stage: string): string[] {
  return RETRY_DELAYS.map(([delay]) => retryTopic(zone, stage, delay));
}

/** A record from a retry topic with the place it was first read from; any other record as it is. */
export function originOf(record: BusRecord): BusRecord {
  const topic = record.headers[HEADER.originTopic];
  if (topic === undefined) return record;
  return {
    ...record,
    topic,
    partition: Number(record.headers[HEADER.originPartition] ?? -1),
    offset: BigInt(record.headers[HEADER.originOffset] ?? -1),
  };
}

/** Tries that failed before this one. */
export function attemptsOf(record: BusRecord): number {
  return Number(record.headers[HEADER.attempt] ?? 0);
}

/** When a waiting record may be tried again, milliseconds since 1970. */
export function dueOf(record: BusRecord): number {
  const due = Number(record.headers[HEADER.due] ?? 0);
  return Number.isFinite(due) ? due : 0;
}

/** Code of an error: a fault's own, UNEXPECTED for what nobody foresaw. */
export function faultOf(error: unknown): Fault {
  return error instanceof Fault ? error : new Fault('UNEXPECTED', true, 'an unforeseen error', { cause: error });
}

export interface Failure {
  readonly record: OutgoingRecord;
  readonly where: 'retry' | 'dead';
  readonly code: Code;
  readonly attempt: number;
}

/** The retry or dead record after a failed try. SCHEMA_AHEAD is never dead: it waits for the update of this stage. */
export function afterFailure(o: {
  stage: string;
  zone: Zone;
  record: BusRecord;
  fault: Fault;
  nowMs: number;
  delaysMs?: readonly number[] | undefined;
}): Failure {
  const { record, fault } = o;
  const origin = originOf(record);
  const attempt = attemptsOf(record) + 1;
  const last = RETRY_DELAYS.length;
  const dead = !fault.retryable || (attempt > last && fault.code !== 'SCHEMA_AHEAD');
  const step = Math.min(attempt, last) - 1;
  const [name, stated] = RETRY_DELAYS[step] ?? ['1h', 3_600_000];
  const headers: Record<string, string> = {
    ...record.headers,
    [HEADER.originTopic]: origin.topic,
    [HEADER.originPartition]: String(origin.partition),
    [HEADER.originOffset]: String(origin.offset),
    [HEADER.attempt]: String(attempt),
    [HEADER.code]: fault.code,
  };
  delete headers[HEADER.due];
  if (dead) headers[HEADER.stage] = o.stage;
  else headers[HEADER.due] = String(o.nowMs + (o.delaysMs?.[step] ?? stated));
  const topic = dead ? deadTopic(o.zone, o.stage) : retryTopic(o.zone, o.stage, name);
  return { record: { topic, key: record.key, value: record.value, headers }, where: dead ? 'dead' : 'retry', code: fault.code, attempt };
}

/** The record as it was before it failed, to be handled again at once: for `dead replay`. */
export function replayRecord(zone: Zone, dead: BusRecord, nowMs: number): OutgoingRecord {
  const stage = dead.headers[HEADER.stage];
  if (stage === undefined) throw new Error('not a dead letter: it names no stage');
  const headers: Record<string, string> = { ...dead.headers, [HEADER.attempt]: '0', [HEADER.due]: String(nowMs) };
  delete headers[HEADER.stage];
  return { topic: retryTopic(zone, stage, RETRY_DELAYS[0]?.[0] ?? '30s'), key: dead.key, value: dead.value, headers };
}

/** Code that a retry or dead record carries. */
export function codeOfFailure(record: BusRecord): Code | undefined {
  const code = record.headers[HEADER.code];
  return code !== undefined && isCode(code) ? code : undefined;
}
