// A strict decoder of DICOM RLE (PS3.5 Annex G) for one frame of one sample: what is not needed for the
// pixels would be a place for notes, so it is refused.

const HEADER_BYTES = 64;

/** Bytes of the frame, little endian words of `size` bytes (1 or 2). undefined: damaged, or it holds more than pixels. */
export const decodeRle = (stream: Uint8Array, count: number, size: number): Uint8Array | undefined => {
  if (stream.length < HEADER_BYTES || (size !== 1 && size !== 2)) return undefined;
  const view = new DataView(stream.buffer, stream.byteOffset, HEADER_BYTES);
  const starts = Array.from({ length: 15 }, (_, i) => view.getUint32(4 + i * 4, true));
  if (view.getUint32(0, true) !== size || starts[0] !== HEADER_BYTES || starts.slice(size).some((start) => start !== 0)) return undefined;
  const out = new Uint8Array(count * size);
  for (let i = 0; i < size; i++) {
    const [from, to] = [starts[i] ?? 0, i + 1 < size ? (starts[i + 1] ?? 0) : stream.length];
    if (to < from || to > stream.length) return undefined;
    // The most significant byte comes first (G.2).
    if (!unpack(stream.subarray(from, to), out, size - 1 - i, size)) return undefined;
  }
  return out;
};

const unpack = (segment: Uint8Array, out: Uint8Array, first: number, stride: number): boolean => {
  let [read, write] = [0, first];
  while (write < out.length) {
    const control = ((segment[read++] ?? 0x80) << 24) >> 24;
    if (control === -128) {
      if (read > segment.length) return false;
      continue;
    }
    const run = control >= 0 ? control + 1 : 1 - control;
    const needed = control >= 0 ? run : 1;
    // A run over the end of the frame would carry bytes that no viewer shows.
    if (read + needed > segment.length || write + (run - 1) * stride >= out.length) return false;
    for (let i = 0; i < run; i++, write += stride) out[write] = segment[control >= 0 ? read + i : read] ?? 0;
    read += needed;
  }
  const rest = segment.subarray(read);
  // Padding to an even length (G.3.1), and the no-operation byte that some writers end with.
  return rest.length <= 2 && rest.every((byte) => byte === 0 || byte === 0x80);
};
