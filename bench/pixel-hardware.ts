// Bright things that are no text, as a CT shows them: blurred by the scanner, cut off at the greatest value. They are
// drawn into clean slices so that the detector can be seen to leave them alone.
import type { SourceSeries } from './pixel-sources.ts';
import type { Random } from '../services/cli/phantom/random.ts';
import { TAG } from '../services/dicom/dictionary.ts';
import { number } from '../services/dicom/values.ts';

export const HARDWARE = [
  'rods along the spine',
  'sternal wires',
  'pacemaker with streaks',
  'electrodes on the skin',
  'ECG leads',
  'catheter in the slice',
  'contrast in the heart',
  'table with rails',
  'dental-like streaks',
  'clips in a row',
] as const;
export type Hardware = (typeof HARDWARE)[number];

/** HU added to the slice; several strokes add up as the greatest. */
interface Layer {
  size: number;
  added: Float32Array;
}

const dab = ({ size, added }: Layer, x: number, y: number, radius: number, hu: number): void => {
  for (let py = Math.floor(y - radius - 1); py <= y + radius + 1; py++)
    for (let px = Math.floor(x - radius - 1); px <= x + radius + 1; px++) {
      if (px < 0 || py < 0 || px >= size || py >= size) continue;
      const cover = Math.max(0, Math.min(1, radius + 0.5 - Math.hypot(px - x, py - y)));
      const at = py * size + px;
      added[at] = hu > 0 ? Math.max(added[at] ?? 0, hu * cover) : Math.min(added[at] ?? 0, hu * cover);
    }
};

const line = (layer: Layer, from: readonly [number, number], to: readonly [number, number], radius: number, hu: number): void => {
  const steps = Math.ceil(2 * Math.hypot(to[0] - from[0], to[1] - from[1])) + 1;
  for (let i = 0; i <= steps; i++) {
    const t = i / steps;
    dab(layer, from[0] + (to[0] - from[0]) * t, from[1] + (to[1] - from[1]) * t, radius, hu);
  }
};

/** Radial streaks, bright and dark by turns, fading outwards. */
const streaks = (layer: Layer, x: number, y: number, random: Random, count: number): void => {
  for (let i = 0; i < count; i++) {
    const angle = random.between(0, 2 * Math.PI);
    const length = random.between(0.1, 0.4) * layer.size;
    for (let r = 4; r < length; r += 0.5)
      dab(layer, x + r * Math.cos(angle), y + r * Math.sin(angle), 0.8, (i % 2 === 0 ? 900 : -700) * (1 - r / length));
  }
};

/** What one kind adds to the n-th slice; `seeded` gives the same places for all slices of a series. */
const draw = (kind: Hardware, layer: Layer, n: number, random: Random, seeded: () => Random): void => {
  const s = layer.size;
  const fixed = seeded();
  const [cx, cy] = [s / 2 + fixed.between(-0.05, 0.05) * s, s / 2 + fixed.between(-0.05, 0.05) * s];
  switch (kind) {
    case 'rods along the spine':
      for (const side of [-1, 1]) {
        dab(layer, cx + side * 0.05 * s + n * 0.03, cy + 0.18 * s, fixed.between(3, 4), 9000);
        if (n % 4 === 0) line(layer, [cx + side * 0.05 * s, cy + 0.18 * s], [cx + side * 0.03 * s, cy + 0.08 * s], 2.5, 8000);
        streaks(layer, cx + side * 0.05 * s, cy + 0.18 * s, random, 4);
      }
      break;
    case 'sternal wires':
      if (n % 3 === 0)
        for (const side of [-1, 1]) line(layer, [cx + side * 8, cy - 0.26 * s], [cx + side * random.between(2, 9), cy - 0.3 * s], 1, 7000);
      break;
    case 'pacemaker with streaks':
      line(layer, [0.3 * s, 0.2 * s], [0.38 * s, 0.22 * s], 0.02 * s, 12_000);
      line(layer, [0.36 * s, 0.22 * s], [cx, cy - n], 1.2, 6000);
      streaks(layer, 0.34 * s, 0.21 * s, random, 24);
      break;
    case 'electrodes on the skin':
      for (let i = 0; i < 4; i++) {
        const angle = -Math.PI / 2 + (i - 1.5) * 0.35 + fixed.between(-0.05, 0.05);
        line(
          layer,
          [cx + 0.42 * s * Math.cos(angle) - 6, cy + 0.34 * s * Math.sin(angle)],
          [cx + 0.42 * s * Math.cos(angle) + 6, cy + 0.34 * s * Math.sin(angle)],
          0.8,
          1500,
        );
        if (n % 2 === 0) dab(layer, cx + 0.42 * s * Math.cos(angle), cy + 0.34 * s * Math.sin(angle) - 3, 2, 6000);
      }
      break;
    case 'ECG leads':
      for (let i = 0; i < 3; i++) dab(layer, cx + (i - 1) * 0.08 * s + 3 * Math.sin(n / 3 + i), cy - 0.38 * s + n * 0.2, 1.6, 4500);
      if (n % 5 === 0) line(layer, [cx - 0.1 * s, cy - 0.38 * s], [cx + 0.1 * s, cy - 0.36 * s], 1.2, 4000);
      break;
    case 'catheter in the slice':
      line(layer, [0.4 * s, 0.3 * s], [cx + random.between(-9, 9), cy], 1.5, 3500);
      break;
    case 'contrast in the heart':
      dab(layer, cx, cy, 0.06 * s, 450);
      dab(layer, cx - 0.08 * s, cy - 0.03 * s, 0.03 * s, 3200);
      break;
    case 'table with rails':
      line(layer, [0.1 * s, 0.93 * s], [0.9 * s, 0.93 * s], 1, 700);
      line(layer, [0.15 * s, 0.97 * s], [0.85 * s, 0.97 * s], 1, 700);
      for (let i = 0; i < 6; i++) dab(layer, (0.2 + 0.12 * i) * s, 0.95 * s, 1.5, 4000);
      break;
    case 'dental-like streaks':
      for (let i = 0; i < 7; i++) dab(layer, cx + (i - 3) * 14, cy - 0.2 * s + Math.abs(i - 3) * 5, random.between(2, 5), 9000);
      streaks(layer, cx, cy - 0.2 * s, random, 60);
      break;
    case 'clips in a row':
      for (let i = 0; i < 6; i++) {
        const [x, y] = [cx + (i - 3) * 9 + random.between(-2, 2), cy + random.between(-3, 3)];
        const angle = random.between(0, Math.PI);
        line(layer, [x - 3 * Math.cos(angle), y - 3 * Math.sin(angle)], [x + 3 * Math.cos(angle), y + 3 * Math.sin(angle)], 0.8, 8000);
      }
      break;
  }
};

/** Three by three binomial weights: the least that a scanner blurs. */
const blurred = ({ size, added }: Layer): Float32Array => {
  const result = new Float32Array(added.length);
  for (let y = 1; y < size - 1; y++)
    for (let x = 1; x < size - 1; x++) {
      let sum = 0;
      for (let dy = -1; dy <= 1; dy++)
        for (let dx = -1; dx <= 1; dx++) sum += (added[(y + dy) * size + x + dx] ?? 0) * (2 - Math.abs(dx)) * (2 - Math.abs(dy));
      result[y * size + x] = sum / 16;
    }
  return result;
};

/** The series with the hardware drawn into it. Square slices only; others come back as they are. */
export const withHardware = (series: SourceSeries, kind: Hardware, seeded: () => Random): SourceSeries => {
  const random = seeded();
  const slices = series.slices.map((source, n) => {
    const { slice, dataset } = source;
    if (slice.rows !== slice.columns) return source;
    const layer = { size: slice.columns, added: new Float32Array(slice.pixels.length) };
    draw(kind, layer, n, random, seeded);
    const added = blurred(layer);
    const slope = number(dataset, TAG.RescaleSlope) ?? 1;
    const bits = number(dataset, TAG.BitsStored) ?? 16;
    const least = number(dataset, TAG.PixelRepresentation) === 1 ? -(2 ** (bits - 1)) : 0;
    // Cut off where 12 bits end, as scanners do.
    const most = Math.min(least + 2 ** bits - 1, Math.round((3071 - (number(dataset, TAG.RescaleIntercept) ?? 0)) / slope));
    const pixels = slice.pixels.map((value, i) => {
      const extra = (added[i] ?? 0) / slope;
      // Noise grows with what is in the way.
      return extra === 0 ? value : Math.max(least, Math.min(most, Math.round(value + extra * random.between(0.97, 1.03))));
    });
    return { dataset, slice: { ...slice, pixels } };
  });
  return { name: `${series.name}, ${kind}`, slices };
};
