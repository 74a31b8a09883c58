// Looks for many byte strings in a header at once: a study of 1,000 slices has 1,000 UIDs that may not
// stand in any of them, and one search after the other took longer than everything else.

/** Pattern bytes that the first look goes by: the last ones, since UIDs of a study differ at their end. */
const TAIL = 6;
const SLOTS = 1 << 16;

/** ASCII letters count as lower case; bytes of Russian code pages are compared as they are. */
const lower = Uint8Array.from({ length: 256 }, (_, byte) => (byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte));

const at = (bytes: Uint8Array, index: number): number => lower[bytes[index] ?? 0] ?? 0;

/** A slot of six bytes: the last four, and the two before them. */
const slotOf = (near: number, far: number): number => (Math.imul(near, 0x9e3779b1) ^ Math.imul(far & 0xffff, 0x85ebca6b)) >>> 16;

const slotOfTail = (pattern: Uint8Array): number => {
  let [near, far] = [0, 0];
  for (let i = pattern.length - TAIL; i < pattern.length; i++) {
    far = (far << 8) | (near >>> 24);
    near = (near << 8) | at(pattern, i);
  }
  return slotOf(near, far);
};

const endsHere = (bytes: Uint8Array, end: number, pattern: Uint8Array): boolean => {
  const start = end - pattern.length + 1;
  if (start < 0) return false;
  for (let i = 0; i < pattern.length; i++) if (at(bytes, start + i) !== at(pattern, i)) return false;
  return true;
};

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x30 && byte <= 0x39;

/** Whether a number at start..end is only a part of a longer run of digits. */
const isPartOfNumber = (bytes: Uint8Array, start: number, end: number): boolean => isDigit(bytes[start - 1]) || isDigit(bytes[end]);

/** Whether the byte at an index belongs to a value that is all numbers (UI, DS, IS). */
export type IsInNumbers = (index: number) => boolean;

/**
 * A search for any of the patterns (one character a byte), case of ASCII letters aside. In values that are
 * all numbers a pattern of digits has to be the whole of a number: long ones hold every short one somewhere.
 */
export const byteSearch = (patterns: Iterable<string>): ((bytes: Uint8Array, isInNumbers?: IsInNumbers) => boolean) => {
  const slots = new Map<number, Uint8Array[]>();
  const isUsed = new Uint8Array(SLOTS);
  const short: Uint8Array[] = [];
  for (const text of patterns) {
    const pattern = Uint8Array.from(text, (char) => char.charCodeAt(0));
    if (pattern.length < TAIL) {
      short.push(pattern);
      continue;
    }
    const slot = slotOfTail(pattern);
    isUsed[slot] = 1;
    slots.set(slot, [...(slots.get(slot) ?? []), pattern]);
  }
  const isAny = (bytes: Uint8Array, end: number, candidates: readonly Uint8Array[], isInNumbers?: IsInNumbers): boolean =>
    candidates.some((pattern) => {
      if (!endsHere(bytes, end, pattern)) return false;
      const isPart = isInNumbers !== undefined && pattern.every(isDigit) && isPartOfNumber(bytes, end - pattern.length + 1, end + 1);
      return !isPart || !isInNumbers(end);
    });
  return (bytes, isInNumbers) => {
    // The last six bytes roll along, so that each byte is looked at once.
    let [near, far] = [0, 0];
    for (let end = 0; end < bytes.length; end++) {
      far = (far << 8) | (near >>> 24);
      near = (near << 8) | (lower[bytes[end] ?? 0] ?? 0);
      const slot = slotOf(near, far);
      if (isUsed[slot] === 1 && isAny(bytes, end, slots.get(slot) ?? [], isInNumbers)) return true;
      if (short.length > 0 && isAny(bytes, end, short, isInNumbers)) return true;
    }
    return false;
  };
};
