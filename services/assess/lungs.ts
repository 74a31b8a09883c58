// The lung mask: air inside the body, large components, without the trachea, closed per slice and lung so
// that consolidation comes back. Rough by design: it serves an estimate and the coverage gate, never a label.
import { borderOf, closeAndFill, components, floodPlane, type Grid } from './grid.ts';

const AIR_BELOW_HU = -320;
const LEAST_COMPONENT_ML = 150;
const CLOSING_MM = 10;
/** A trachea's cross-section stays under this; a lung's does above its first centimetres. */
const TRACHEA_CM2 = 6;
const TRACHEA_HU = -880;
const TRACHEA_OFF_MIDLINE_MM = 35;

export const LEFT = 1;
export const RIGHT = 2;

export interface Lungs {
  /** 0 outside, LEFT or RIGHT (the patient's own sides) inside. */
  readonly mask: Uint8Array;
  /** First and last slice of the grid with lung, or -1. */
  readonly first: number;
  readonly last: number;
  readonly volumeMl: number;
  /** The larger lung area of the grid's first and last slice, as a part of its largest slice's. */
  readonly endAreaPart: number;
}

const voxelMl = (grid: Grid): number => (grid.spacingMm[0] * grid.spacingMm[1] * grid.spacingMm[2]) / 1000;

/** Air that does not reach the edge of its slice: outside air and the bore go, table gaps mostly too. */
function innerAir(grid: Grid): Uint8Array {
  const [nx, ny, nz] = grid.shape;
  const air = new Uint8Array(grid.hu.length);
  const border = borderOf(nx, ny);
  for (let z = 0; z < nz; z++) {
    const base = z * nx * ny;
    const isAir = (at: number): boolean => (grid.hu[base + at] as number) < AIR_BELOW_HU;
    const outside = floodPlane(nx, ny, border, isAir);
    for (let at = 0; at < nx * ny; at++) air[base + at] = isAir(at) && outside[at] === 0 ? 1 : 0;
  }
  return air;
}

function dropSmall(mask: Uint8Array, grid: Grid): Uint8Array {
  const { labels, sizes } = components(mask, grid.shape);
  const least = LEAST_COMPONENT_ML / voxelMl(grid);
  return mask.map((_, at) => ((sizes[labels[at] as number] as number) >= least ? 1 : 0));
}

/** Column that halves the mask: near enough to the mediastinum to tell the sides. */
function midline(mask: Uint8Array, nx: number): number {
  const perColumn = new Float64Array(nx);
  for (let at = 0; at < mask.length; at++) if (mask[at] === 1) perColumn[at % nx] = (perColumn[at % nx] as number) + 1;
  let first = 0;
  let last = nx - 1;
  while (first < last && perColumn[first] === 0) first++;
  while (last > first && perColumn[last] === 0) last--;
  const third = Math.floor((last - first) / 3);
  // The thinnest column of the middle third, by a centred mean of five; the middle one on a tie.
  const middle = (first + last) / 2;
  let best = Math.round(middle);
  let least = Infinity;
  for (let column = first + third; column <= last - third; column++) {
    let sum = 0;
    for (let near = Math.max(0, column - 2); near <= Math.min(nx - 1, column + 2); near++) sum += perColumn[near] as number;
    const score = sum + Math.abs(column - middle) * 1e-6;
    if (score < least) [least, best] = [score, column];
  }
  return best;
}

/** Removes, slice by slice, small round air near the midline that is as empty as a windpipe. */
function dropTrachea(mask: Uint8Array, grid: Grid, middle: number): void {
  const [nx, ny, nz] = grid.shape;
  const pixelCm2 = (grid.spacingMm[0] * grid.spacingMm[1]) / 100;
  for (let z = 0; z < nz; z++) {
    const plane = mask.subarray(z * nx * ny, (z + 1) * nx * ny);
    const { labels, sizes } = components(plane, [nx, ny, 1]);
    const columns = new Float64Array(sizes.length);
    const hu = new Float64Array(sizes.length);
    labels.forEach((label, at) => {
      columns[label] = (columns[label] as number) + (at % nx);
      hu[label] = (hu[label] as number) + (grid.hu[z * nx * ny + at] as number);
    });
    const isTrachea = sizes.map((size, label) => {
      if (label === 0 || size * pixelCm2 > TRACHEA_CM2) return false;
      const offMm = Math.abs((columns[label] as number) / size - middle) * grid.spacingMm[0];
      return offMm < TRACHEA_OFF_MIDLINE_MM && (hu[label] as number) / size < TRACHEA_HU;
    });
    labels.forEach((label, at) => {
      if (isTrachea[label]) plane[at] = 0;
    });
  }
}

/** Closes each lung on its own side, so that the closing never bridges the mediastinum. */
function closeSides(mask: Uint8Array, grid: Grid, middle: number, lowSide: number): Uint8Array {
  const [nx, ny, nz] = grid.shape;
  const out = new Uint8Array(mask.length);
  const radius = CLOSING_MM / ((grid.spacingMm[0] + grid.spacingMm[1]) / 2);
  for (let z = 0; z < nz; z++) {
    const plane = mask.subarray(z * nx * ny, (z + 1) * nx * ny);
    for (const low of [true, false]) {
      const side = plane.map((value, at) => (value === 1 && at % nx < middle === low ? 1 : 0));
      if (!side.includes(1)) continue;
      const closed = closeAndFill(side, nx, ny, radius);
      const label = low ? lowSide : LEFT + RIGHT - lowSide;
      closed.forEach((value, at) => {
        if (value === 1 && at % nx < middle === low) out[z * nx * ny + at] = label;
      });
    }
  }
  return out;
}

/**
 * Finds the lungs. `xRunsToLeft`: whether the column index runs to the patient's left, that is, whether the
 * affine's first number is negative (RAS+ grows to the right).
 */
export function findLungs(grid: Grid, xRunsToLeft: boolean): Lungs {
  const [nx, ny, nz] = grid.shape;
  const air = dropSmall(innerAir(grid), grid);
  const middle = midline(air, nx);
  dropTrachea(air, grid, middle);
  const mask = closeSides(dropSmall(air, grid), grid, middle, xRunsToLeft ? RIGHT : LEFT);
  const perSlice = Array.from({ length: nz }, (_, z) => {
    let count = 0;
    for (let at = z * nx * ny; at < (z + 1) * nx * ny; at++) if (mask[at] !== 0) count++;
    return count;
  });
  return {
    mask,
    first: perSlice.findIndex((count) => count > 0),
    last: perSlice.findLastIndex((count) => count > 0),
    volumeMl: perSlice.reduce((a, b) => a + b, 0) * voxelMl(grid),
    endAreaPart: Math.max(perSlice[0] ?? 0, perSlice.at(-1) ?? 0) / Math.max(1, ...perSlice),
  };
}
