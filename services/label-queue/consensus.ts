// The rules of reading: from what readers said so far to the next step. Pure; the caller makes it so.
import type { SkipCode } from './skip-codes.ts';

/** `grade` readers are blinded and independent; an adjudicator or the lead has the last word. */
export type TaskKind = `grade-${number}` | 'adjudicate' | 'lead';

export interface Said {
  readonly kind: TaskKind;
  /** 0 to 4, or null when the reader skipped. */
  readonly grade: number | null;
  readonly skip: SkipCode | null;
}

export type NextStep =
  /** So many independent `grade` tasks are needed in all, skipped ones included. */
  | { readonly step: 'read'; readonly slots: number }
  | { readonly step: 'adjudicate' }
  | { readonly step: 'lead' }
  | { readonly step: 'accept'; readonly grade: number; readonly adjudicated: boolean }
  | { readonly step: 'reject'; readonly code: 'READER_REJECTED' | 'IDENTITY_VISIBLE'; readonly reason: SkipCode };

/**
 * The next step of a study. `said` is in the order of submission; the first rule that matches counts:
 *
 * 1. somebody saw an identity: rejected at once;
 * 2. adjudicator or lead spoke: their grade, or their refusal, is final;
 * 3. two skips: the lead decides; one skip: another reader takes the place;
 * 4. fewer than two grades: wait for them;
 * 5. two grades: equal, accepted; one is CT-0 and the other not, or two classes apart and more, adjudicated;
 *    adjacent, a blinded third reader;
 * 6. three grades: the third equals one of the first two, that is accepted; else adjudicated.
 */
export function consensus(said: readonly Said[]): NextStep {
  if (said.some((s) => s.skip === 'IDENTITY_VISIBLE')) return { step: 'reject', code: 'IDENTITY_VISIBLE', reason: 'IDENTITY_VISIBLE' };
  const last = said.find((s) => s.kind === 'adjudicate' || s.kind === 'lead');
  if (last?.skip != null) return { step: 'reject', code: 'READER_REJECTED', reason: last.skip };
  if (last?.grade != null) return { step: 'accept', grade: last.grade, adjudicated: true };

  const skips = said.filter((s) => s.skip !== null).length;
  if (skips >= 2) return { step: 'lead' };
  const [first, second, third] = said.flatMap((s) => (s.grade === null ? [] : [s.grade]));
  if (first === undefined || second === undefined) return { step: 'read', slots: 2 + skips };
  if (first === second) return { step: 'accept', grade: first, adjudicated: false };
  if (first === 0 || second === 0 || Math.abs(first - second) >= 2) return { step: 'adjudicate' };
  if (third === undefined) return { step: 'read', slots: 3 + skips };
  return third === first || third === second ? { step: 'accept', grade: third, adjudicated: false } : { step: 'adjudicate' };
}

export type Role = 'first' | 'second' | 'third' | 'adjudicator';

/** Role of each grade given, in the order of submission, as the event names it. The lead counts as adjudicator. */
export function rolesOf(kinds: readonly TaskKind[]): Role[] {
  const independent: readonly Role[] = ['first', 'second', 'third'];
  let n = 0;
  return kinds.map((kind) => (kind === 'adjudicate' || kind === 'lead' ? 'adjudicator' : (independent[n++] ?? 'third')));
}
