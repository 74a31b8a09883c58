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

// A global of a test's own context is slow to look up, byte by byte.
const { imul } = Math;
const LOWER = Uint8Array.from({ length: 256 }, (_, b) => (b >= 65 && b <= 90 ? b + 32 : b));

interface Entry {
  readonly bytes: Buffer;
  readonly spells: string;
}

/** Byte strings by their first 4 or, from 8 bytes on, first 8: numbers in UTF-16 begin as the pixels of air do. */
interface Index {
  readonly seen: Uint8Array;
  readonly byStart: Map<number, Entry[]>;
}

const shortKey = (first: number): number => imul(first, 0x9e3779b1) >>> 10;
const longKey = (first: number, second: number): number => imul(imul(first, 0x9e3779b1) ^ second, 0x85ebca6b) >>> 10;

function indexOf(entries: readonly Entry[], keyOf: (bytes: Buffer) => number): Index {
  const seen = new Uint8Array(1 << 22);
  for (const { bytes } of entries) seen[keyOf(bytes)] = 1;
  return { seen, byStart: Map.groupBy(entries, ({ bytes }) => keyOf(bytes)) };
}

/** Adds what of the entries stands at the place. */
function compareAt(bytes: Buffer, at: number, entries: readonly Entry[] | undefined, found: Set<string>): void {
  for (const one of entries ?? []) {
    const end = at + one.bytes.length;
    if (end <= bytes.length && bytes.compare(one.bytes, 0, one.bytes.length, at, end) === 0) found.add(one.spells);
  }
}

/** Name and bytes of a piece with ASCII letters lower, and room after them. */
function lowered(piece: Piece): Buffer {
  const name = Buffer.from(`${piece.where}\n`, 'utf8');
  const bytes = Buffer.alloc(name.length + piece.bytes.length + 8);
  bytes.set(name);
  bytes.set(piece.bytes, name.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = LOWER[bytes[i] ?? 0] ?? 0;
  return bytes;
}

/** A search for the needles. Throws RangeError on a byte string under four bytes. */
export function searchFor(needles: Needles): Search {
  const entries = [...needles.anywhere].map(([form, spells]): Entry => ({ bytes: Buffer.from(form, 'latin1'), spells }));
  const short = indexOf(
    entries.filter((e) => e.bytes.length < 8),
    (b) => shortKey(b.readInt32LE(0)),
  );
  const long = indexOf(
    entries.filter((e) => e.bytes.length >= 8),
    (b) => longKey(b.readInt32LE(0), b.readInt32LE(4)),
  );
  return (piece) => {
    const found = new Set<string>();
    const bytes = lowered(piece);
    let first = bytes.readInt32LE(0);
    let second = bytes.readInt32LE(4);
    for (let at = 0; at + 8 <= bytes.length; at++) {
      const s = shortKey(first);
      const l = longKey(first, second);
      if (short.seen[s] === 1) compareAt(bytes, at, short.byStart.get(s), found);
      if (long.seen[l] === 1) compareAt(bytes, at, long.byStart.get(l), found);
      first = (first >>> 8) | ((bytes[at + 4] ?? 0) << 24);
      second = (second >>> 8) | ((bytes[at + 8] ?? 0) << 24);
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
