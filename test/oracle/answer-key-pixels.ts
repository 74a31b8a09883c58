// Draws a name and an id into pixels, in the five by seven dots of old consoles.
const GLYPHS: Readonly<Record<string, readonly number[]>> = {
  I: [14, 4, 4, 4, 4, 4, 14],
  V: [17, 17, 17, 17, 17, 10, 4],
  A: [14, 17, 17, 31, 17, 17, 17],
  N: [17, 25, 21, 19, 17, 17, 17],
  O: [14, 17, 17, 17, 17, 17, 14],
  '1': [4, 12, 4, 4, 4, 4, 14],
  '9': [14, 17, 17, 15, 1, 2, 12],
  '5': [31, 16, 30, 1, 1, 17, 14],
};

/** The 16-bit pixels with white text in the upper left, twice the size of its dots. */
export const drawnText = (pixels: Uint8Array, columns: number, text = 'IVANOVA 1955'): Uint8Array => {
  const out = Uint8Array.from(pixels);
  const view = new DataView(out.buffer);
  [...text].forEach((letter, at) => {
    (GLYPHS[letter] ?? []).forEach((row, y) => {
      for (let x = 0; x < 5; x++) {
        if ((row & (16 >> x)) === 0) continue;
        for (const [dy, dx] of [
          [0, 0],
          [0, 1],
          [1, 0],
          [1, 1],
        ] as const)
          view.setUint16(((20 + y * 2 + dy) * columns + 20 + at * 12 + x * 2 + dx) * 2, 3500, true);
      }
    });
  });
  return out;
};
