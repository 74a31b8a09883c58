// What a record of an event topic is to the archive: an event, no good one, or one that only another reader can judge.
import type { Code } from '../kernel/codes.ts';
import { Fault } from '../kernel/fault.ts';
import { centreOfTopic, typeOfTopic } from '../kernel/route.ts';
import type { EventIn } from '../kernel/stage.ts';
import type { BusRecord } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';

/** Last millisecond of the year 9999, and the greatest BIGINT: what a column can hold. */
const LATEST_MS = Date.UTC(10_000, 0, 1) - 1;
const GREATEST = 2n ** 63n - 1n;

/** Codes of a record that a newer archiver, or the registry's earlier ids, can read: until then its partition waits. */
export const waitsForReader = (error: unknown): error is Fault =>
  error instanceof Fault && (error.code === 'SCHEMA_AHEAD' || error.code === 'SCHEMA_ID_MISMATCH');

/**
 * The event, or why it is none: as the stages judge it, and what no column can hold.
 * @throws Fault SCHEMA_AHEAD or SCHEMA_ID_MISMATCH for what may be a good event to another reader, unless it is given up
 */
export function judge(record: BusRecord, codec: EventCodec, isGivenUp = false): EventIn | Code {
  let event: EventIn;
  try {
    event = codec.decode(record);
  } catch (error) {
    if (error instanceof Fault && error.code === 'BAD_EVENT') return error.code;
    // No version and no registry makes an event of this topic of what says itself that it is another.
    if (waitsForReader(error) && record.headers['ce_type'] !== typeOfTopic(record.topic)) return 'BAD_EVENT';
    if (waitsForReader(error) && isGivenUp) return error.code;
    throw error;
  }
  if (typeOfTopic(record.topic) !== event.type || event.timeMs < 0 || event.timeMs > LATEST_MS) return 'BAD_EVENT';
  if (event.sequence !== undefined && event.sequence > GREATEST) return 'BAD_EVENT';
  const centre = centreOfTopic(record.topic);
  return centre !== undefined && 'centre' in event.value && event.value.centre !== centre ? 'CENTRE_MISMATCH' : event;
}
