// The slices of a study repeat nearly all of their values: what was made of one value holds for the next
// equal one. Measured: half of the work on a header.
import type { Vr } from '../dicom/model.ts';

/** Longer values are looked at each time; they are rare, and the keys would be the memory. */
const MAX_BYTES = 1024;
/** A study with more distinct values than this starts anew, so that memory stays flat. */
const MAX_KEYS = 100_000;

/** A string that equal values of equal meaning have in common; undefined for long ones. */
export const valueKey = (tag: number, vr: Vr | string, charset: readonly string[], value: Uint8Array): string | undefined =>
  value.length > MAX_BYTES
    ? undefined
    : `${tag} ${vr} ${charset.join('\\')} ${Buffer.from(value.buffer, value.byteOffset, value.length).toString('latin1')}`;

/** Whether a value is seen for the first time; long ones always are. */
export type FirstSight = (tag: number, vr: Vr | string, charset: readonly string[], value: Uint8Array) => boolean;

export const firstSight = (): FirstSight => {
  const seen = new Set<string>();
  return (tag, vr, charset, value) => {
    const key = valueKey(tag, vr, charset, value);
    if (key === undefined) return true;
    if (seen.has(key)) return false;
    if (seen.size >= MAX_KEYS) seen.clear();
    seen.add(key);
    return true;
  };
};

export const ALWAYS_NEW: FirstSight = () => true;

/** `make` once per key. */
export const remembered = <T>(memory: Map<string, T>, key: string | undefined, make: () => T): T => {
  if (key === undefined) return make();
  const known = memory.get(key);
  if (known !== undefined) return known;
  const made = make();
  if (memory.size >= MAX_KEYS) memory.clear();
  memory.set(key, made);
  return made;
};
