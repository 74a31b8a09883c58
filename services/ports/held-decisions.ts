// What is held back from the research zone, and what people decided about it. Clinical zone only; names
// nobody: a held study goes by an id of its own.
import type { CentreId } from '../kernel/ids.ts';

export type HeldCode = 'HELD_BY_VERIFIER' | 'HELD_BURNED_IN_TEXT';

/** What the anonymiser says of a study that it holds. */
export interface HeldNote {
  /** Opaque; the same for a revision of a study each time, until a merge or split moves the hold to another. */
  readonly heldId: string;
  /** The study's token in the vault: deleting the study's row deletes this with it. */
  readonly token: string;
  readonly centre: CentreId;
  readonly code: HeldCode;
  /** Of exactly the findings: a decision holds for no others. */
  readonly digest: string;
  /** The checks that found something, each once. */
  readonly checks: readonly string[];
  /** Findings in all. */
  readonly findings: number;
  /** Names in ct-quarantine. */
  readonly objects: readonly string[];
  /** `ce_id` of the event that is parked. */
  readonly eventId: string;
}

export type DecisionKind = 'released' | 'refused';

export interface Decision {
  readonly kind: DecisionKind;
  /** The findings that the person saw. */
  readonly digest: string;
}

/** What the anonymiser needs to know of a study that it held before. */
export interface HeldStanding {
  readonly code: HeldCode;
  readonly digest: string;
  readonly objects: readonly string[];
  readonly decision?: Decision;
}

/** The anonymiser's side. Every method throws Fault VAULT_UNAVAILABLE when the database does not answer. */
export interface HeldBook {
  /** What was noted of it, also after its end: an event that comes again is answered as before. */
  standing(heldId: string, signal?: AbortSignal): Promise<HeldStanding | undefined>;
  /** Holds, or holds anew: other findings than before undo a decision. */
  hold(note: HeldNote, signal?: AbortSignal): Promise<void>;
  /** The hold has ended: published, rejected or superseded. */
  end(heldId: string, how: string, signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export interface HeldStudy extends Omit<HeldNote, 'token'> {
  readonly heldAtMs: number;
  readonly decision?: Decision & { readonly by: string; readonly reason: string; readonly atMs: number };
}

export interface DecisionAsked {
  readonly heldId: string;
  readonly kind: DecisionKind;
  /** The findings that the decision is about. */
  readonly digest: string;
  readonly by: string;
  readonly reason: string;
}

/** The side of the people who decide. All but `list` and `find` stand in the vault's audit. */
export interface HeldReview {
  /** Open holds, the oldest first. */
  list(): Promise<readonly HeldStudy[]>;
  find(heldId: string): Promise<HeldStudy | undefined>;
  /** The person was shown these findings. */
  noteLook(heldId: string, digest: string, by: string): Promise<void>;
  /** Whether the person was shown exactly these findings. */
  hasLooked(heldId: string, digest: string, by: string): Promise<boolean>;
  /** False when the hold has ended or its findings are others by now. */
  decide(decision: DecisionAsked): Promise<boolean>;
  close(): Promise<void>;
}
