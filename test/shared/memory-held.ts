// Held studies in memory: both sides of services/ports/held-decisions.ts, as the database has them.
import type { DecisionAsked, HeldBook, HeldNote, HeldReview, HeldStudy } from '../../services/ports/held-decisions.ts';

export interface MemoryHeld extends HeldBook, HeldReview {
  /** How each hold ended. */
  readonly ended: ReadonlyMap<string, string>;
}

export function memoryHeld(): MemoryHeld {
  const notes = new Map<string, HeldNote>();
  const decisions = new Map<string, NonNullable<HeldStudy['decision']>>();
  const looks = new Map<string, string>();
  const ended = new Map<string, string>();
  const studyOf = ({ token: _, ...note }: HeldNote): HeldStudy => {
    const decision = decisions.get(note.heldId);
    return { ...note, heldAtMs: 0, ...(decision === undefined ? {} : { decision }) };
  };
  const open = (heldId: string): HeldNote | undefined => (ended.has(heldId) ? undefined : notes.get(heldId));
  return {
    ended,
    standing: async (heldId) => {
      const note = notes.get(heldId);
      if (note === undefined) return undefined;
      const { code, digest, objects } = note;
      const decision = decisions.get(heldId);
      return { code, digest, objects, ...(decision === undefined ? {} : { decision: { kind: decision.kind, digest: decision.digest } }) };
    },
    hold: async (note) => {
      if (notes.get(note.heldId)?.digest !== note.digest) decisions.delete(note.heldId);
      notes.set(note.heldId, note);
      ended.delete(note.heldId);
    },
    end: async (heldId, how) => void (notes.has(heldId) && ended.set(heldId, how)),
    list: async () =>
      [...notes.keys()]
        .map(open)
        .filter((note) => note !== undefined)
        .map(studyOf),
    find: async (heldId) => {
      const note = open(heldId);
      return note === undefined ? undefined : studyOf(note);
    },
    noteLook: async (heldId, digest, by) => void looks.set(`${heldId} ${by}`, digest),
    hasLooked: async (heldId, digest, by) => looks.get(`${heldId} ${by}`) === digest,
    decide: async ({ heldId, kind, digest, by, reason }: DecisionAsked) => {
      if (open(heldId)?.digest !== digest) return false;
      decisions.set(heldId, { kind, digest, by, reason, atMs: 0 });
      return true;
    },
    close: async () => undefined,
  };
}
