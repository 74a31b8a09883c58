// What a stage's handler may answer. It cannot publish, commit or retry: runtime/ does.
import type { EventRecord } from '../../schemas/events.gen.ts';
import type { Code } from './codes.ts';

/** An event that a handler wants published, before it has an id. */
export type NewEvent = EventRecord & {
  /** Overrides the id of the consumed event as the cause of `ce_id`. An event that crosses the trust
   * boundary must set it (to its manifest's SHA-256): no clinical id may be its ancestor. */
  readonly cause?: string;
};

export type Outcome =
  | { readonly kind: 'emit'; readonly events: readonly NewEvent[] }
  | { readonly kind: 'skip'; readonly code: Code; readonly detail: string; readonly events: readonly NewEvent[] }
  | { readonly kind: 'reject'; readonly code: Code; readonly detail: string; readonly events: readonly NewEvent[] };

export function emit(events: readonly NewEvent[]): Outcome {
  return { kind: 'emit', events };
}

/** Nothing to do for this revision; published as study-skipped. `also` goes out with it. */
export function skip(code: Code, detail = '', also: readonly NewEvent[] = []): Outcome {
  return { kind: 'skip', code, detail, events: also };
}

/** The study's own fault, final; published as study-rejected. `detail` never holds a patient's value. */
export function reject(code: Code, detail: string, also: readonly NewEvent[] = []): Outcome {
  return { kind: 'reject', code, detail, events: also };
}
