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

/** A search for any of the patterns (one character a byte), case of ASCII letters aside. */
export const byteSearch = (patterns: Iterable<string>): ((bytes: Uint8Array) => boolean) => {
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
  const isAny = (bytes: Uint8Array, end: number, candidates: readonly Uint8Array[]): boolean =>
    candidates.some((pattern) => endsHere(bytes, end, pattern));
  return (bytes) => {
    // The last six bytes roll along, so that each byte is looked at once.
    let [near, far] = [0, 0];
    for (let end = 0; end < bytes.length; end++) {
      far = (far << 8) | (near >>> 24);
      near = (near << 8) | (lower[bytes[end] ?? 0] ?? 0);
      const slot = slotOf(near, far);
      if (isUsed[slot] === 1 && isAny(bytes, end, slots.get(slot) ?? [])) return true;
      if (short.length > 0 && isAny(bytes, end, short)) return true;
    }
    return false;
  };
};
