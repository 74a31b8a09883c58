// Are the pixels the same? Native ones byte for byte. Compressed ones too, but that application and
// comment segments may be missing from the header: compared segment by segment, from the end first.
import type { SeenElement } from './second-reader.ts';

export type Pixels = Pick<SeenElement, 'value' | 'fragments'>;

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const joined = (parts: readonly Uint8Array[]): Uint8Array => (parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts));

/** Whether PixelData of two files holds the same image data. */
export const samePixels = (before: Pixels, after: Pixels): boolean => {
  if (before.fragments === undefined || after.fragments === undefined) {
    return before.fragments === after.fragments && equal(before.value, after.value);
  }
  const [was, is] = [joined(before.fragments), joined(after.fragments)];
  return equal(was, is) || sameWithoutNotes(was, is);
};

const sameWithoutNotes = (was: Uint8Array, is: Uint8Array): boolean => {
  const [a, b] = [split(was), split(is)];
  if (a === undefined || b === undefined) return false;
  // One byte of padding may differ: the note had an odd length.
  const sameData = equal(unpadded(a.data), unpadded(b.data));
  return (
    sameData &&
    b.notes.length === 0 &&
    a.segments.length === b.segments.length &&
    a.segments.every((one, i) => equal(one, b.segments[i] ?? new Uint8Array(0)))
  );
};

const unpadded = (bytes: Uint8Array): Uint8Array => (bytes.at(-1) === 0 ? bytes.subarray(0, -1) : bytes);

/** Marker segments of the header, its notes (FFE0-FFEF, FFFE; FF64 in JPEG 2000), and what follows. */
const split = (stream: Uint8Array): { segments: Uint8Array[]; notes: Uint8Array[]; data: Uint8Array } | undefined => {
  const view = new DataView(stream.buffer, stream.byteOffset, stream.length);
  const isJ2k = view.getUint16(0) === 0xff4f;
  if (!isJ2k && view.getUint16(0) !== 0xffd8) return undefined;
  const segments: Uint8Array[] = [];
  const notes: Uint8Array[] = [];
  for (let at = 2; at + 4 <= stream.length;) {
    const marker = view.getUint16(at);
    if (marker === (isJ2k ? 0xff90 : 0xffda)) return { segments, notes, data: stream.subarray(at) };
    const end = at + 2 + view.getUint16(at + 2);
    const isNote = isJ2k ? marker === 0xff64 : marker === 0xfffe || (marker >= 0xffe0 && marker <= 0xffef);
    (isNote ? notes : segments).push(stream.subarray(at, end));
    at = end;
  }
  return undefined;
};
