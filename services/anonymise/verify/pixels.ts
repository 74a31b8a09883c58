// Are the pixels the same, and nothing but pixels? Native ones byte for byte. Compressed ones too, but that
// application and comment segments of the header and what follows the end may be missing.
import type { SeenElement } from './second-reader.ts';

export type Pixels = Pick<SeenElement, 'value' | 'fragments'>;

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const joined = (parts: readonly Uint8Array[]): Uint8Array => (parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts));
const u16 = (stream: Uint8Array, at: number): number => ((stream[at] ?? 0) << 8) | (stream[at + 1] ?? 0);

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
  const data = unpadded(b.data);
  // One byte of padding may differ, and what stood behind the end marker may be gone.
  const sameData = equal(unpadded(a.data), data) || (u16(data, data.length - 2) === 0xffd9 && equal(a.data.subarray(0, data.length), data));
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
  const isJ2k = u16(stream, 0) === 0xff4f;
  if (!isJ2k && u16(stream, 0) !== 0xffd8) return undefined;
  const segments: Uint8Array[] = [];
  const notes: Uint8Array[] = [];
  for (let at = 2; at + 4 <= stream.length;) {
    const marker = u16(stream, at);
    if (marker === (isJ2k ? 0xff90 : 0xffda)) return { segments, notes, data: stream.subarray(at) };
    const end = at + 2 + u16(stream, at + 2);
    const isNote = isJ2k ? marker === 0xff64 : marker === 0xfffe || (marker >= 0xffe0 && marker <= 0xffef);
    (isNote ? notes : segments).push(stream.subarray(at, end));
    at = end;
  }
  return undefined;
};

/** Bytes behind which a stream may still have headers, and those at its end where notes would stand. */
const [HEADER_BYTES, END_BYTES] = [1024, 4096];

/** What of compressed pixels is looked through for identifiers: the header and the last 4 KiB. None of native ones. */
export const placesForNotes = ({ fragments }: Pixels): readonly Uint8Array[] => {
  if (fragments === undefined) return [];
  const stream = joined(fragments);
  const data = split(stream)?.data;
  const header = (data === undefined ? 0 : stream.length - data.length) + HEADER_BYTES;
  return [stream.subarray(0, header), stream.subarray(Math.max(0, stream.length - END_BYTES))];
};

const RLE = '1.2.840.10008.1.2.5';
const J2K = /\.4\.(?:9[01]|20[123])$/;

/** Whether compressed pixels are a bare stream of their syntax that ends where it ends, without notes. */
export const isBareStream = ({ fragments }: Pixels, syntax: string): boolean => {
  if (fragments === undefined) return true;
  const stream = joined(fragments);
  if (syntax === RLE) return stream.length >= 64 && stream.subarray(12, 64).every((byte) => byte === 0);
  if (u16(stream, 0) !== (J2K.test(syntax) ? 0xff4f : 0xffd8)) return false;
  const isEnded = [0, 1].some((pad) => u16(stream, stream.length - 2 - pad) === 0xffd9 && (pad === 0 || stream.at(-1) === 0));
  return isEnded && split(stream)?.notes.length === 0;
};
