// Looks for thousands of byte strings in tens of megabytes at once.
import { lowerAscii, tokensOf, type Needles } from './needles.ts';

/** Something that was read back from a running deployment. */
export interface Piece {
  /** Topic and offset, bucket and name, file, stage. */
  readonly where: string;
  readonly bytes: Uint8Array;
  /** Its text where it has one, decoded: for short words. */
  readonly text: string;
  /** What people typed of it: for short numbers too. */
  readonly free: string;
}

export interface Hit {
  readonly where: string;
  readonly found: string;
}

export type Search = (piece: Piece) => Hit[];

const LOWER = Uint8Array.from({ length: 256 }, (_, b) => (b >= 65 && b <= 90 ? b + 32 : b));
const slotOf = (key: number): number => Math.imul(key, 0x9e3779b1) >>> 12;

function index(anywhere: ReadonlyMap<string, string>): { seen: Uint8Array; byStart: Map<number, { bytes: Buffer; spells: string }[]> } {
  const seen = new Uint8Array(1 << 20);
  const byStart = new Map<number, { bytes: Buffer; spells: string }[]>();
  for (const [form, spells] of anywhere) {
    const bytes = Buffer.from(form, 'latin1');
    const key = bytes.readInt32LE(0);
    seen[slotOf(key)] = 1;
    const list = byStart.get(key);
    if (list === undefined) byStart.set(key, [{ bytes, spells }]);
    else list.push({ bytes, spells });
  }
  return { seen, byStart };
}

/** A search for the needles. Throws RangeError on a byte string under four bytes. */
export function searchFor(needles: Needles): Search {
  const { seen, byStart } = index(needles.anywhere);
  return (piece) => {
    const found = new Set<string>();
    const name = Buffer.from(piece.where, 'utf8');
    const bytes = Buffer.allocUnsafe(name.length + 1 + piece.bytes.length);
    bytes.set(name);
    bytes[name.length] = 10;
    bytes.set(piece.bytes, name.length + 1);
    for (let i = 0; i < bytes.length; i++) bytes[i] = LOWER[bytes[i] ?? 0] ?? 0;
    let key = 0;
    for (let end = 0; end < bytes.length; end++) {
      key = (key >>> 8) | ((bytes[end] ?? 0) << 24);
      if (end < 3 || seen[slotOf(key)] === 0) continue;
      for (const one of byStart.get(key) ?? []) {
        if (bytes.compare(one.bytes, 0, one.bytes.length, end - 3, Math.min(bytes.length, end - 3 + one.bytes.length)) === 0) found.add(one.spells);
      }
    }
    // Decoded text, for a spelling that is mixed in its case.
    for (const token of tokensOf(`${piece.where}\n${piece.text}\n${piece.free}`)) {
      if (needles.tokens.has(token)) found.add(token);
      const spells = token.length < 6 ? undefined : needles.anywhere.get(lowerAscii(Buffer.from(token, 'utf8').toString('latin1')));
      if (spells !== undefined) found.add(spells);
    }
    if (needles.numbers.size > 0) for (const token of tokensOf(piece.free)) if (needles.numbers.has(token)) found.add(token);
    return [...found].map((what) => ({ where: piece.where, found: what }));
  };
}

export function hitsIn(pieces: Iterable<Piece>, search: Search): Hit[] {
  return [...pieces].flatMap((piece) => search(piece));
}
