// A 5x7 bitmap font of our own, to burn text into pixels as dose sheets and careless scanners do.

/** Seven rows of five bits per sign, top first, as two hexadecimal digits each. */
const GLYPHS: Readonly<Record<string, string>> = {
  A: '0e11111f111111',
  B: '1e11111e11111e',
  C: '0e11101010110e',
  D: '1e11111111111e',
  E: '1f10101e10101f',
  F: '1f10101e101010',
  G: '0e11101713110f',
  H: '1111111f111111',
  I: '0e04040404040e',
  J: '0702020202120c',
  K: '11121418141211',
  L: '1010101010101f',
  M: '111b1515111111',
  N: '11191915131311',
  O: '0e11111111110e',
  P: '1e11111e101010',
  Q: '0e11111115120d',
  R: '1e11111e141211',
  S: '0f10100e01011e',
  T: '1f040404040404',
  U: '1111111111110e',
  V: '111111110a0a04',
  W: '1111111515150a',
  X: '11110a040a1111',
  Y: '11110a04040404',
  Z: '1f01020408101f',
  '0': '0e11131519110e',
  '1': '040c040404040e',
  '2': '0e11010204081f',
  '3': '1f02040201110e',
  '4': '02060a121f0202',
  '5': '1f101e0101110e',
  '6': '0608101e11110e',
  '7': '1f010204080808',
  '8': '0e11110e11110e',
  '9': '0e11110f01020c',
  '.': '00000000000c0c',
  ':': '000c0c000c0c00',
  '-': '0000001f000000',
  '/': '01010204081010',
  '*': '00150e1f0e1500',
  ',': '00000000060408',
};

export interface Canvas {
  pixels: Uint8Array | Int16Array | Uint16Array;
  columns: number;
  rows: number;
}

/**
 * Draws a line of text with its top left corner at (column, row), one font pixel being `scale` pixels.
 * What falls outside the canvas or has no glyph is left blank.
 */
export function drawText(canvas: Canvas, text: string, column: number, row: number, scale: number, ink: number): void {
  [...text.toUpperCase()].forEach((sign, n) => {
    const glyph = GLYPHS[sign];
    if (glyph === undefined) return;
    for (let y = 0; y < 7 * scale; y++) {
      const bits = Number.parseInt(glyph.slice(2 * Math.floor(y / scale), 2 * Math.floor(y / scale) + 2), 16);
      for (let x = 0; x < 5 * scale; x++) {
        if (((bits >> (4 - Math.floor(x / scale))) & 1) === 0) continue;
        const c = column + n * 6 * scale + x;
        const r = row + y;
        if (c < canvas.columns && r < canvas.rows) canvas.pixels[r * canvas.columns + c] = ink;
      }
    }
  });
}
