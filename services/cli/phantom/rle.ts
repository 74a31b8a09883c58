// RLE Lossless of 16-bit greyscale frames (PS3.5 Annex G): two byte planes, high bytes first.

/** One frame as one fragment: 64-byte header, then the segments, each of even length. */
export function encodeRle16(pixels: Uint8Array, columns: number): Uint8Array {
  const count = pixels.length / 2;
  const segments = [1, 0].map((offset) => {
    const plane = new Uint8Array(count);
    for (let i = 0; i < count; i++) plane[i] = pixels[2 * i + offset]!;
    return packPlane(plane, columns);
  });
  const out = new Uint8Array(64 + segments.reduce((sum, s) => sum + s.length, 0));
  const header = new DataView(out.buffer);
  header.setUint32(0, segments.length, true);
  let at = 64;
  segments.forEach((segment, n) => {
    header.setUint32(4 + 4 * n, at, true);
    out.set(segment, at);
    at += segment.length;
  });
  return out;
}

/** PackBits row by row: runs may not cross rows (G.3.1). */
function packPlane(plane: Uint8Array, columns: number): Uint8Array {
  const out = new Uint8Array(plane.length + Math.ceil(plane.length / 128) + 2 * Math.ceil(plane.length / columns) + 2);
  let to = 0;
  for (let row = 0; row < plane.length; row += columns) {
    const end = Math.min(row + columns, plane.length);
    let at = row;
    while (at < end) {
      const run = runLength(plane, at, end);
      if (run >= 3) {
        out[to++] = 257 - run;
        out[to++] = plane[at]!;
        at += run;
        continue;
      }
      // Runs of two stay within a literal: they would only lengthen it.
      let stop = at + 1;
      while (stop - at < 128 && stop < end && runLength(plane, stop, end) < 3) stop++;
      out[to++] = stop - at - 1;
      out.set(plane.subarray(at, stop), to);
      to += stop - at;
      at = stop;
    }
  }
  return out.slice(0, to + (to % 2));
}

/** How many equal bytes stand at `at`, 128 at most. */
function runLength(plane: Uint8Array, at: number, end: number): number {
  const limit = Math.min(end, at + 128);
  let next = at + 1;
  while (next < limit && plane[next] === plane[at]) next++;
  return next - at;
}
