// How much memory a record takes, near enough: whoever writes it chooses which of its parts is large. In the log it takes less,
// since a header is no object there (services/runtime/retry.ts counts that).
import type { OutgoingRecord } from '../ports/event-bus.ts';

/** What a header takes beside its text: a record may have a hundred thousand of a few letters. */
const HEADER_BYTES = 64;

export function memoryBytes({ key, value, headers }: Pick<OutgoingRecord, 'key' | 'value' | 'headers'>): number {
  const text = Object.entries(headers).reduce((sum, [k, v]) => sum + Buffer.byteLength(k) + Buffer.byteLength(v) + HEADER_BYTES, 0);
  return value.byteLength + Buffer.byteLength(key) + text;
}
