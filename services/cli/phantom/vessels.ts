// The vessel tree: seeded branching cylinders from each hilum, drawn into lung voxels only.

import type { Random } from './random.ts';
import { hilum, LABEL, LUNG, type Body, type Volume } from './thorax.ts';

type Point = readonly [x: number, y: number, z: number];

const BLOOD_HU = 40;
const GENERATIONS = 7;

/** Draws both trees; a vessel thinner than a slice is mixed with the lung around it. */
export function drawVessels(v: Volume, body: Body, random: Random): void {
  for (const side of [-1, 1] as const) {
    const root = hilum(body, side);
    const lobes: Point[] = [
      [side * 0.5, 0.1, 0.85],
      [side * 0.8, -0.35, 0.1],
      [side * 0.75, 0.55, -0.15],
      [side * 0.45, 0.35, -0.85],
    ];
    for (const direction of lobes) branch(v, [root.x, root.y, root.z], direction, 34, 3.4, GENERATIONS, random);
  }
}

function branch(v: Volume, from: Point, along: Point, lengthMm: number, radiusMm: number, left: number, random: Random): void {
  const norm = Math.hypot(...along) || 1;
  const step: Point = [along[0] / norm, along[1] / norm, along[2] / norm];
  const length = lengthMm * random.between(0.8, 1.2);
  const stepMm = Math.max(0.5, v.pixelMm * 0.7);
  for (let s = 0; s <= length; s += stepMm) {
    drawDisc(v, from[0] + step[0] * s, from[1] + step[1] * s, from[2] + step[2] * s, radiusMm);
  }
  if (left <= 1) return;
  const end: Point = [from[0] + step[0] * length, from[1] + step[1] * length, from[2] + step[2] * length];
  for (let child = 0; child < 2; child++) {
    const turn = (): number => random.between(-0.75, 0.75);
    branch(v, end, [step[0] + turn(), step[1] + turn(), step[2] + turn()], lengthMm * 0.74, radiusMm * 0.73, left - 1, random);
  }
}

function drawDisc(v: Volume, x: number, y: number, z: number, radiusMm: number): void {
  const k = Math.round(z / v.sliceMm);
  if (k < 0 || k >= v.slices) return;
  const centre = (v.size - 1) / 2;
  const share = Math.min(1, (1.7 * radiusMm) / v.sliceMm) * Math.min(1, (1.7 * radiusMm) / v.pixelMm);
  const reach = Math.max(radiusMm, v.pixelMm * 0.5);
  const c0 = Math.round((x - reach) / v.pixelMm + centre);
  const c1 = Math.round((x + reach) / v.pixelMm + centre);
  const r0 = Math.round((y - reach) / v.pixelMm + centre);
  const r1 = Math.round((y + reach) / v.pixelMm + centre);
  for (let r = Math.max(0, r0); r <= Math.min(v.size - 1, r1); r++) {
    for (let c = Math.max(0, c0); c <= Math.min(v.size - 1, c1); c++) {
      const dx = (c - centre) * v.pixelMm - x;
      const dy = (r - centre) * v.pixelMm - y;
      if (dx * dx + dy * dy > reach * reach) continue;
      const i = (k * v.size + r) * v.size + c;
      const label = v.label[i]!;
      if ((label & LUNG) === 0 || (label & LABEL.vessel) !== 0) continue;
      v.hu[i] = Math.round(v.hu[i]! + (BLOOD_HU - v.hu[i]!) * share);
      v.label[i] = label | LABEL.vessel;
    }
  }
}
