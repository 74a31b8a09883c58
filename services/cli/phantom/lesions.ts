// Ground glass and consolidation: a field of seeded blobs over the lungs, cut at the level that
// makes the wanted share of the lung affected, so that the severity is exact and known.

import type { Random } from './random.ts';
import { AFFECTED, LABEL, LUNG, type Body, type Volume } from './thorax.ts';

export type Severity = 0 | 1 | 2 | 3 | 4;

export interface LungTruth {
  lungVolumeMl: number;
  /** 100 * (ground glass + consolidation) / lung, vessels within the lung included. */
  affectedPercent: number;
  /** The same for the right and the left lung. */
  perLung: [number, number];
}

/** Mid of each class of the CT-0..CT-4 scale, and how far the seed may move it. */
const CLASS_PERCENT = [
  [0, 0],
  [12, 6],
  [37.5, 7],
  [62.5, 7],
  [83, 5],
] as const;

interface Blob {
  x: number;
  y: number;
  z: number;
  radius: number;
  weight: number;
}

/** Draws the disease into the volume's lungs and labels it. */
export function drawLesions(v: Volume, body: Body, severity: Severity, random: Random): void {
  const [mid, jitter] = CLASS_PERCENT[severity];
  const share = (mid + random.between(-jitter, jitter)) / 100;
  if (share <= 0) return;
  const field = lesionField(v, makeBlobs(body, random));
  const edge = levelAbove(field.values, field.count, share);
  const dense = levelAbove(field.values, field.count, share * random.between(0.06, 0.12 + 0.05 * severity));
  paintLesions(v, field.values, edge, dense, field.top);
}

/** Blobs mostly low, at the back and near the pleura, as in viral pneumonia; both lungs. */
function makeBlobs(body: Body, random: Random): Blob[] {
  const count = random.whole(6, 10);
  return Array.from({ length: count }, (_, n) => {
    const side = n % 2 === 0 ? -1 : 1;
    return {
      x: side * random.between(55, 125),
      y: random.between(-35, 70),
      z: body.lungBaseMm + body.lungHeightMm * random.between(0.08, 0.75),
      radius: random.between(14, 34),
      weight: random.between(0.6, 1),
    };
  });
}

/** Sum of weight / (1 + d^2 / r^2) at each lung voxel, in the volume's own order. */
function lesionField(v: Volume, blobs: readonly Blob[]): { values: Float32Array; count: number; top: number } {
  const plane = v.size * v.size;
  let count = 0;
  for (let i = 0; i < v.label.length; i++) if ((v.label[i]! & LUNG) !== 0) count++;
  const values = new Float32Array(count);
  const centre = (v.size - 1) / 2;
  const n = blobs.length;
  const inverse = Float64Array.from(blobs, (b) => 1 / (b.radius * b.radius));
  const weight = Float64Array.from(blobs, (b) => b.weight);
  const across = blobs.map((b, m) => Float64Array.from({ length: v.size }, (_, c) => ((c - centre) * v.pixelMm - b.x) ** 2 * inverse[m]!));
  const rowPart = new Float64Array(n);
  let at = 0;
  let top = 0;
  for (let k = 0; k < v.slices; k++) {
    for (let r = 0; r < v.size; r++) {
      const y = (r - centre) * v.pixelMm;
      blobs.forEach((b, m) => {
        rowPart[m] = 1 + ((y - b.y) ** 2 + (k * v.sliceMm - b.z) ** 2) * inverse[m]!;
      });
      const start = k * plane + r * v.size;
      for (let c = 0; c < v.size; c++) {
        if ((v.label[start + c]! & LUNG) === 0) continue;
        let sum = 0;
        for (let m = 0; m < n; m++) sum += weight[m]! / (rowPart[m]! + across[m]![c]!);
        values[at++] = sum;
        if (sum > top) top = sum;
      }
    }
  }
  return { values, count, top };
}

/** The level that `share` of the values lie above. */
function levelAbove(values: Float32Array, count: number, share: number): number {
  const sorted = values.slice(0, count).sort();
  return sorted[Math.max(0, Math.min(count - 1, Math.round(count * (1 - share))))] ?? Infinity;
}

function paintLesions(v: Volume, field: Float32Array, edge: number, dense: number, top: number): void {
  let at = 0;
  for (let i = 0; i < v.label.length; i++) {
    const label = v.label[i]!;
    if ((label & LUNG) === 0) continue;
    const value = field[at++]!;
    if (value < edge) continue;
    const solid = value >= dense;
    const depth = solid ? (value - dense) / (top - dense || 1) : (value - edge) / (dense - edge || 1);
    const hu = solid ? -220 + 240 * Math.sqrt(depth) : -620 + 270 * depth;
    v.hu[i] = Math.max(v.hu[i]!, Math.round(hu));
    v.label[i] = label | (solid ? LABEL.consolidation : LABEL.groundGlass);
  }
}

/** Counts the truth from the labels. */
export function measure(v: Volume): LungTruth {
  const lung = [0, 0];
  const affected = [0, 0];
  for (let i = 0; i < v.label.length; i++) {
    const label = v.label[i]!;
    if ((label & LUNG) === 0) continue;
    const side = (label & LABEL.right) !== 0 ? 0 : 1;
    lung[side]!++;
    if ((label & AFFECTED) !== 0) affected[side]!++;
  }
  const percent = (part: number, whole: number): number => (whole === 0 ? 0 : (100 * part) / whole);
  const total = lung[0]! + lung[1]!;
  return {
    lungVolumeMl: (total * v.pixelMm * v.pixelMm * v.sliceMm) / 1000,
    affectedPercent: percent(affected[0]! + affected[1]!, total),
    perLung: [percent(affected[0]!, lung[0]!), percent(affected[1]!, lung[1]!)],
  };
}
