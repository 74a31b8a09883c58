// Publishing for every Kafka client: who sends what when. The client only sends one request.
import type { EventBus, OutgoingRecord } from '../ports/event-bus.ts';
import { busFault } from './kafka-client.ts';
import { within } from './kafka-offsets.ts';
import { recordBytes } from './record-bytes.ts';

export interface Sender {
  /** One request with all of these; rejects with the client's own error. */
  send(records: readonly OutgoingRecord[]): Promise<void>;
  close(): Promise<void>;
}

export interface Publisher {
  readonly publish: EventBus['publish'];
  close(): Promise<void>;
}

interface Waiting {
  readonly records: readonly OutgoingRecord[];
  readonly bytes: number;
  resolve(): void;
  reject(error: unknown): void;
}

/** Least size at which a request is sent without looking for more records. A larger record goes alone: its topic decides. */
const REQUEST_BYTES = 512 * 1024;

/** Longest wait for requests under way when the bus closes. */
const CLOSE_MS = 5000;

/**
 * One request at a time, with everything that came in meanwhile in the next one: fast under load, no wait when
 * idle, and a retried request can't overtake another, so records of a key keep their order.
 */
export function publisher(sender: Sender): Publisher {
  const queue: Waiting[] = [];
  let pumping: Promise<void> | undefined;

  const sendFor = async (waiting: readonly Waiting[]): Promise<void> => {
    try {
      await sender.send(waiting.flatMap((w) => w.records));
      for (const w of waiting) w.resolve();
    } catch (error) {
      // One refused topic must not fail its neighbours: each caller gets its own answer.
      if (waiting.length > 1) for (const w of waiting) await sendFor([w]);
      else for (const w of waiting) w.reject(busFault(error, `publishing to ${[...new Set(w.records.map((r) => r.topic))].join(', ')}`));
    }
  };

  const pump = async (): Promise<void> => {
    // Callers of the same tick go together.
    await Promise.resolve();
    while (queue.length > 0) {
      const batch: Waiting[] = [];
      let bytes = 0;
      while (queue[0] !== undefined && (batch.length === 0 || bytes + queue[0].bytes <= REQUEST_BYTES)) {
        bytes += queue[0].bytes;
        batch.push(queue[0]);
        queue.shift();
      }
      await sendFor(batch);
    }
    pumping = undefined;
  };

  /** Whoever aborts waits no longer. What was not sent yet never is; what is on its way may arrive, with the ids of the next try. */
  const enqueue = (records: readonly OutgoingRecord[], bytes: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const settled = (): void => signal?.removeEventListener('abort', leave);
      const waiting: Waiting = {
        records,
        bytes,
        resolve: () => (settled(), resolve()),
        reject: (error) => (settled(), reject(error)),
      };
      const leave = (): void => {
        const at = queue.indexOf(waiting);
        if (at >= 0) queue.splice(at, 1);
        reject(signal?.reason);
      };
      signal?.throwIfAborted();
      signal?.addEventListener('abort', leave, { once: true });
      queue.push(waiting);
      pumping ??= pump();
    });

  return {
    publish: async (records, signal) => {
      let chunk: OutgoingRecord[] = [];
      let bytes = 0;
      for (const record of records) {
        const size = recordBytes(record);
        if (chunk.length > 0 && bytes + size > REQUEST_BYTES) {
          await enqueue(chunk, bytes, signal);
          chunk = [];
          bytes = 0;
        }
        chunk.push(record);
        bytes += size;
      }
      if (chunk.length > 0) await enqueue(chunk, bytes, signal);
    },
    close: async () => {
      if (pumping !== undefined) await within(CLOSE_MS, pumping);
      await sender.close();
    },
  };
}
