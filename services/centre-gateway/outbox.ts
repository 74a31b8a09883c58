// A centre's outbox rows as runtime/outbox.ts publishes them.
import type { OutboxRow, OutboxSource } from '../ports/outbox.ts';
import type { State } from './state.ts';

/** Sent rows kept for a look back; older ones go. */
const KEEP_SENT = 1000;

interface Row {
  readonly sequence: number;
  readonly event_id: string;
  readonly topic: string;
  readonly key: string;
  readonly value: Uint8Array;
  readonly headers: string;
}

export function outboxOf(state: State, centre: string): OutboxSource {
  return {
    next: async (limit) =>
      state
        .all<Row>(
          'SELECT sequence, event_id, topic, key, value, headers FROM outbox WHERE centre = ? AND sent_ms IS NULL ORDER BY sequence LIMIT ?',
          centre,
          limit,
        )
        .map((r): OutboxRow => ({
          sequence: BigInt(r.sequence),
          eventId: r.event_id,
          topic: r.topic,
          key: r.key,
          value: r.value,
          headers: JSON.parse(r.headers) as Record<string, string>,
        })),
    markSent: async (sequences) => {
      state.transaction(() => {
        for (const sequence of sequences)
          state.run('UPDATE outbox SET sent_ms = ? WHERE centre = ? AND sequence = ?', state.nowMs(), centre, sequence);
        state.run(
          'DELETE FROM outbox WHERE centre = ? AND sent_ms IS NOT NULL AND sequence <= (SELECT outbox_sequence FROM centre WHERE centre = ?) - ?',
          centre,
          centre,
          KEEP_SENT,
        );
      });
    },
    depth: async () => outboxDepth(state, centre),
  };
}

/** Rows that wait to be published. */
export function outboxDepth(state: State, centre: string): number {
  return state.get<{ n: number }>('SELECT count(*) AS n FROM outbox WHERE centre = ? AND sent_ms IS NULL', centre)?.n ?? 0;
}
