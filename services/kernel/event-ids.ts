// Ids of the events that a stage or source publishes.
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import type { EventType } from '../../schemas/events.gen.ts';
import { eventId } from './digest.ts';

const SHARED = new Set(topicsFile.topics.filter((t) => t.writers.length > 1).map((t) => t.type));

/**
 * `ce_id` of an event. Where several stages write one type (rejections, skips, erasures), two of them may have the
 * same cause, so the writer's name belongs to it.
 */
export function outgoingId(writer: string, cause: string, type: EventType, ordinal: number): string {
  return eventId(SHARED.has(type) ? `${cause}/${writer}` : cause, type, ordinal);
}
