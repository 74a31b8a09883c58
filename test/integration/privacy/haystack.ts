// The words of a corpus, so that millions of tries can be held against them.
import { fold, tokensOf } from './needles.ts';
import type { Piece } from './search.ts';

/** Words shorter than this link nothing: too many studies would have them by chance. */
export const SHORTEST = 10;
const HEAD = 16;

export interface Haystack {
  /** All words of SHORTEST characters and more, folded. */
  readonly words: ReadonlySet<string>;
  /** The word that a try hits: by being it, in part or whole. */
  hit(text: string): string | undefined;
}

/** Words of letters and digits, and also those that base64 makes. */
export function wordsIn(text: string): string[] {
  return [...tokensOf(text), ...(text.match(/[A-Za-z0-9+/_-]{10,}/g) ?? []).map(fold)].filter((word) => word.length >= SHORTEST);
}

/**
 * A try hits a word that it is, with or without a letter before (as ids have one); that begins with its first 12
 * characters; or that has its first 16 anywhere. Decimal tries need 16: there are many numbers.
 */
export function haystackOf(words: Iterable<string>): Haystack {
  const all = new Set([...words].map(fold));
  const whole = new Map<string, string>();
  const heads = new Map<string, string>();
  const windows = new Map<string, string>();
  for (const word of all) {
    for (const rest of [word, word.slice(1)]) {
      whole.set(rest, word);
      if (rest.length >= 12) heads.set(rest.slice(0, 12), word);
    }
    for (let at = 0; at + HEAD <= word.length; at++) windows.set(word.slice(at, at + HEAD), word);
  }
  return {
    words: all,
    hit(text) {
      const low = text.toLowerCase();
      if (low.length < SHORTEST) return undefined;
      const long = windows.get(low.slice(0, HEAD));
      if (long !== undefined && low.length >= HEAD) return long;
      const exact = whole.get(low) ?? whole.get(low.slice(0, SHORTEST));
      if (exact !== undefined) return exact;
      return /^\d+$/.test(low) ? undefined : heads.get(low.slice(0, 12));
    },
  };
}

export function wordsOfPieces(pieces: Iterable<Piece>): Set<string> {
  const words = new Set<string>();
  for (const piece of pieces) for (const word of wordsIn(`${piece.where}\n${piece.text}\n${piece.free}`)) words.add(word);
  return words;
}
