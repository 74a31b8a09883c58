// The analytic chest: body, bones, mediastinum, lungs and table as ellipses filled slice by slice.
// LPS millimetres around the centre of the image; z = 0 is the lowest slice.

import type { Random } from './random.ts';

/** Bits of a voxel's label. A voxel of no lung is 0. */
export const LABEL = { right: 1, left: 2, groundGlass: 4, consolidation: 8, vessel: 16 } as const;
export const LUNG = LABEL.right | LABEL.left;
export const AFFECTED = LABEL.groundGlass | LABEL.consolidation;

/** Voxels in the order x fastest, then y, then z upwards; `hu` in Hounsfield units. */
export interface Volume {
  size: number;
  slices: number;
  pixelMm: number;
  sliceMm: number;
  hu: Int16Array;
  label: Uint8Array;
}

export interface Body {
  widthMm: number;
  depthMm: number;
  lungBaseMm: number;
  lungHeightMm: number;
  contrast: boolean;
}

/** Where the vessel trees start: right and left hilum. */
export function hilum(body: Body, side: -1 | 1): { x: number; y: number; z: number } {
  return { x: side * 34, y: 4, z: carina(body) - 22 };
}

const carina = (body: Body): number => body.lungBaseMm + 0.66 * body.lungHeightMm;

/** A person's build. Lungs end about 30 mm under the top slice unless `coverLungs` is false. */
export function makeBody(random: Random, sex: string, coverageMm: number, coverLungs: boolean, contrast: boolean): Body {
  const female = sex === 'F';
  const widthMm = random.between(328, 352) - (female ? 16 : 0);
  const depthMm = random.between(216, 236) - (female ? 8 : 0);
  const wanted = random.between(222, 248) - (female ? 16 : 0);
  if (!coverLungs) {
    // The scan begins above the bases and stops below the apices.
    return { widthMm, depthMm, lungHeightMm: wanted, lungBaseMm: (coverageMm - wanted) / 2, contrast };
  }
  const lungHeightMm = Math.min(wanted, coverageMm * 0.8);
  const spare = coverageMm - lungHeightMm;
  return { widthMm, depthMm, lungHeightMm, lungBaseMm: spare - Math.min(28, spare / 2), contrast };
}

type Row = (from: number, to: number, yMm: number) => void;

/** Calls back with the flat range [from, to) of each row that an ellipse covers, in mm. */
function ellipse(v: Volume, k: number, cx: number, cy: number, rx: number, ry: number, row: Row, clip?: Clip): void {
  if (!(rx > 0 && ry > 0)) return;
  const { size, pixelMm } = v;
  const centre = (size - 1) / 2;
  const first = Math.max(0, Math.ceil((cy - ry) / pixelMm + centre));
  const last = Math.min(size - 1, Math.floor((cy + ry) / pixelMm + centre));
  for (let r = first; r <= last; r++) {
    const y = (r - centre) * pixelMm;
    const half = rx * Math.sqrt(Math.max(0, 1 - ((y - cy) / ry) ** 2));
    let left = cx - half;
    let right = cx + half;
    if (clip !== undefined) {
      const limit = Math.abs(y) < clip.ry ? clip.rx * Math.sqrt(1 - (y / clip.ry) ** 2) : 0;
      left = Math.max(left, -limit);
      right = Math.min(right, limit);
    }
    const from = Math.max(0, Math.ceil(left / pixelMm + centre));
    const to = Math.min(size - 1, Math.floor(right / pixelMm + centre)) + 1;
    const start = (k * size + r) * size;
    if (to > from) row(start + from, start + to, y);
  }
}

interface Clip {
  rx: number;
  ry: number;
}

/** Fills tissue that is not lung. */
function paint(v: Volume, hu: number): Row {
  return (from, to) => {
    v.hu.fill(hu, from, to);
    v.label.fill(0, from, to);
  };
}

/** One slice of the healthy chest. */
function drawSlice(v: Volume, k: number, body: Body): void {
  const z = k * v.sliceMm;
  const start = k * v.size * v.size;
  v.hu.fill(-1000, start, start + v.size * v.size);
  v.label.fill(0, start, start + v.size * v.size);
  const rx = body.widthMm / 2;
  const ry = body.depthMm / 2;
  const chest = { rx: rx - 29, ry: ry - 25 };
  drawTable(v, k, ry + 6);
  ellipse(v, k, 0, 0, rx, ry, paint(v, -100));
  ellipse(v, k, 0, 0, rx - 13, ry - 11, paint(v, 52));
  // Ribs slope down towards the front: which rows are bone moves with y.
  ellipse(v, k, 0, 0, chest.rx + 9, chest.ry + 8, (from, to, y) => {
    const phase = (((z - y * 0.35) % 26) + 26) % 26;
    if (phase < 9) v.hu.fill(420, from, to);
  });
  ellipse(v, k, 0, 0, chest.rx, chest.ry, paint(v, 38));
  drawLung(v, k, body, -1, chest);
  drawLung(v, k, body, 1, chest);
  drawMediastinum(v, k, body);
  drawBones(v, k, ry);
}

/** A carbon shell with a foam core, wider than the field of view as real tables are. */
function drawTable(v: Volume, k: number, top: number): void {
  const centre = (v.size - 1) / 2;
  for (let r = 0; r < v.size; r++) {
    const depth = (r - centre) * v.pixelMm - top;
    if (depth < 0 || depth > 24) continue;
    const start = (k * v.size + r) * v.size;
    v.hu.fill(depth < 3 || depth > 21 ? -120 : -880, start, start + v.size);
  }
}

function drawLung(v: Volume, k: number, body: Body, side: -1 | 1, chest: Clip): void {
  const t = (k * v.sliceMm - body.lungBaseMm) / body.lungHeightMm;
  if (t <= 0 || t >= 1) return;
  const scale = t > 0.35 ? Math.sqrt(1 - ((t - 0.35) / 0.65) ** 2) : 1;
  const ry = 84 * scale;
  const label = side < 0 ? LABEL.right : LABEL.left;
  const cx = side * (chest.rx * 0.565);
  // Blood sinks: about 50 HU from front to back of a supine lung.
  const fill: Row = (from, to, y) => {
    v.hu.fill(Math.round(-862 + (24 * y) / 84), from, to);
    v.label.fill(label, from, to);
  };
  ellipse(v, k, cx, 0, chest.rx * 0.425 * scale, ry, fill, { rx: chest.rx - 3, ry: chest.ry - 3 });
  // The dome of the diaphragm, the right one higher: liver and spleen stand into the base.
  const dome = body.lungHeightMm * (side < 0 ? 0.25 : 0.2);
  const height = (k * v.sliceMm - body.lungBaseMm) / dome;
  if (height < 1) {
    const part = Math.sqrt(1 - height ** 2);
    ellipse(v, k, cx, -14, 62 * part, 72 * part, paint(v, side < 0 ? 58 : 46));
  }
}

function drawMediastinum(v: Volume, k: number, body: Body): void {
  const z = k * v.sliceMm;
  const scale = body.lungHeightMm / 240;
  const blood = body.contrast ? 270 : 42;
  const heart = (z - (body.lungBaseMm + 68 * scale)) / (60 * scale);
  if (Math.abs(heart) < 1) {
    const part = Math.sqrt(1 - heart ** 2);
    ellipse(v, k, 22, -28, 57 * part, 45 * part, paint(v, 44));
    if (body.contrast) ellipse(v, k, 22, -28, 44 * part, 32 * part, paint(v, blood - 40));
  }
  const arch = carina(body) + 22 * scale;
  if (z < arch) ellipse(v, k, 24, 42, 12, 12, paint(v, blood));
  if (z < arch && z > body.lungBaseMm + 95 * scale) ellipse(v, k, -12, -26, 15, 15, paint(v, blood));
  if (z >= arch && z < arch + 16 * scale) ellipse(v, k, 10, 8, 16, 42, paint(v, blood));
  const below = carina(body) - z;
  if (below <= 0) {
    ellipse(v, k, 0, 6, 11, 11, paint(v, 30));
    ellipse(v, k, 0, 6, 8.5, 8.5, paint(v, -985));
    return;
  }
  if (below > 26) return;
  for (const side of [-1, 1]) {
    ellipse(v, k, side * (5 + below * 0.9), 6, 9, 9, paint(v, 30));
    ellipse(v, k, side * (5 + below * 0.9), 6, 6, 6, paint(v, -980));
  }
}

function drawBones(v: Volume, k: number, ry: number): void {
  const disc = (k * v.sliceMm) % 28 < 6;
  const spine = ry - 50;
  ellipse(v, k, 0, spine, 18, 15, paint(v, disc ? 85 : 460));
  ellipse(v, k, 0, spine, 15.5, 12.5, paint(v, disc ? 80 : 190));
  ellipse(v, k, 0, spine + 24, 15, 11, paint(v, 380));
  ellipse(v, k, 0, spine + 23, 8, 7.5, paint(v, 25));
  ellipse(v, k, 0, spine + 36, 4, 8, paint(v, 350));
  ellipse(v, k, 0, -(ry - 20), 17, 6, paint(v, 380));
  ellipse(v, k, 0, -(ry - 20), 14, 4, paint(v, 150));
}

/** The healthy chest without vessels, noise or blur; lungs labelled right and left. */
export function drawThorax(size: number, slices: number, pixelMm: number, sliceMm: number, body: Body): Volume {
  const count = size * size * slices;
  const volume = { size, slices, pixelMm, sliceMm, hu: new Int16Array(count), label: new Uint8Array(count) };
  for (let k = 0; k < slices; k++) drawSlice(volume, k, body);
  return volume;
}
