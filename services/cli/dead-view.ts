// Dead letters as people see and choose them: filters, lines, and events without what identifies. Pure.
import { InvalidArgumentError } from 'commander';
import { sha256Hex } from '../kernel/digest.ts';
import type { EventIn } from '../kernel/stage.ts';
import { studyNameOf, type DeadLetter } from '../runtime/dead-letters.ts';

export interface LetterFilter {
  readonly stage?: string;
  readonly code?: string;
  readonly centre?: string;
  /** Milliseconds. */
  readonly olderThan?: number;
  readonly newerThan?: number;
  readonly topic?: string;
  readonly partition?: number;
  readonly offset?: number;
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `30m`, `1h` or `7d` in milliseconds. */
export function parseAge(text: string): number {
  const match = /^(\d{1,9})([smhd])$/.exec(text);
  if (match === null) throw new InvalidArgumentError('an age such as 90s, 30m, 1h or 7d');
  return Number(match[1]) * (UNITS[match[2] ?? ''] ?? 0);
}

/** True when a filter leaves something out: nobody replays everything by leaving out a word. */
export function isNarrowed(f: LetterFilter): boolean {
  return [f.stage, f.code, f.centre, f.olderThan, f.newerThan, f.topic, f.partition, f.offset].some((v) => v !== undefined);
}

/** The letters that fit; only open ones unless `all`. */
export function choose(letters: readonly DeadLetter[], f: LetterFilter, nowMs: number, all: boolean): DeadLetter[] {
  return letters.filter((l) => {
    const from = l.origin?.record;
    return (
      (all || l.state === 'open') &&
      (f.stage === undefined || l.stage === f.stage) &&
      (f.code === undefined || l.code === f.code) &&
      (f.centre === undefined || l.centre === f.centre) &&
      (f.olderThan === undefined || nowMs - l.atMs > f.olderThan) &&
      (f.newerThan === undefined || nowMs - l.atMs < f.newerThan) &&
      (f.topic === undefined || from?.topic === f.topic) &&
      (f.partition === undefined || from?.partition === f.partition) &&
      (f.offset === undefined || from?.offset === BigInt(f.offset))
    );
  });
}

/** A header's text as a terminal may have it: whoever wrote a poisoned record chose it. */
const plain = (text: string | undefined): string => (text ?? '').replace(/\p{Cc}/gu, '?').slice(0, 128);

/** A letter as JSON. The study is named by its UID only when `identified`. */
export function letterLine(l: DeadLetter, identified: boolean): Record<string, unknown> {
  const { headers, value, key } = l.record;
  const from = l.origin?.record;
  return {
    id: l.id,
    state: l.state,
    stage: l.stage,
    code: l.code,
    attempts: l.attempts,
    deadSince: new Date(l.atMs).toISOString(),
    ...(l.centre === undefined ? {} : { centre: l.centre }),
    study: plain(identified ? key : studyNameOf(l)),
    eventId: plain(l.eventId),
    eventType: plain(l.eventType),
    eventTime: plain(headers['ce_time']),
    traceparent: plain(headers['traceparent']),
    ...(from === undefined ? {} : { from: `${from.topic}/${from.partition}/${from.offset}` }),
    bytes: value.byteLength,
    ...(l.origin?.reference === undefined ? { sha256: sha256Hex(value) } : { reference: l.origin.reference }),
  };
}

/** The event without what names the study, unless `identified`; or why it can't be read. */
export function shownEvent(
  letter: DeadLetter,
  read: { readonly event: EventIn } | { readonly unreadable: string },
  identified: boolean,
): unknown {
  if ('unreadable' in read) return { unreadable: read.unreadable };
  const { type, source, value } = read.event;
  const uid = 'studyInstanceUid' in value ? value.studyInstanceUid : undefined;
  const hide = (_: string, v: unknown): unknown => {
    if (typeof v === 'bigint') return v.toString();
    // Also inside object names, which begin with centre and study.
    return typeof v === 'string' && uid !== undefined && !identified ? v.replaceAll(uid, studyNameOf(letter)) : v;
  };
  return JSON.parse(JSON.stringify({ type, source, value }, hide)) as unknown;
}
