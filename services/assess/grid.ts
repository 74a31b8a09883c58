// A small Hounsfield grid (about 2 mm voxels) and the morphology on it that the lung mask needs. All of it
// is deterministic: fixed scan orders, whole numbers.
import type { Volume } from './volume.ts';

export interface Grid {
  /** Columns, rows, slices. */
  readonly shape: readonly [number, number, number];
  readonly spacingMm: readonly [number, number, number];
  /** Source slices that one slice of the grid covers. */
  readonly slicesPerSlice: number;
  readonly hu: Int16Array;
}

const factor = (spacing: number, targetMm: number): number => Math.max(1, Math.round(targetMm / spacing));

type Triple = readonly [number, number, number];

/** How many voxels of the volume one of the grid covers, and the grid's own shape. */
export const gridOf = (
  { shape: [columns, rows, slices], spacingMm }: { readonly shape: Triple; readonly spacingMm: Triple },
  targetMm = 2,
): { readonly factors: Triple; readonly shape: Triple } => {
  const [fx, fy, fz] = spacingMm.map((spacing) => factor(spacing, targetMm)) as unknown as Triple;
  return { factors: [fx, fy, fz], shape: [Math.floor(columns / fx), Math.floor(rows / fy), Math.ceil(slices / fz)] };
};

/** Means of whole blocks, blocks of about `targetMm`; what does not fill a block at the far edge is left out in-plane. */
export function downSample(volume: Volume, targetMm = 2): Grid {
  const [columns, rows, slices] = volume.shape;
  const {
    factors: [fx, fy, fz],
    shape: [nx, ny, nz],
  } = gridOf(volume, targetMm);
  const hu = new Int16Array(nx * ny * nz);
  const sums = new Float64Array(nx * ny);
  for (let z = 0; z < nz; z++) {
    sums.fill(0);
    const last = Math.min(slices, (z + 1) * fz);
    for (let slice = z * fz; slice < last; slice++) {
      for (let row = 0; row < ny * fy; row++) {
        const from = (slice * rows + row) * columns;
        const to = Math.floor(row / fy) * nx;
        for (let column = 0; column < nx * fx; column++) {
          const at = to + ((column / fx) | 0);
          sums[at] = (sums[at] as number) + (volume.data[from + column] as number);
        }
      }
    }
    const count = fx * fy * (last - z * fz);
    for (let at = 0; at < sums.length; at++) hu[z * nx * ny + at] = Math.round((sums[at] as number) / count);
  }
  const [sx, sy, sz] = volume.spacingMm;
  return { shape: [nx, ny, nz], spacingMm: [sx * fx, sy * fy, sz * fz], slicesPerSlice: fz, hu };
}

/** Marks, from the seeds on, every 4-connected pixel of one plane that `passes`; returns the marked ones. */
export function floodPlane(width: number, height: number, seeds: readonly number[], passes: (at: number) => boolean): Uint8Array {
  const marked = new Uint8Array(width * height);
  const stack: number[] = [];
  const visit = (at: number): void => {
    if (marked[at] === 0 && passes(at)) {
      marked[at] = 1;
      stack.push(at);
    }
  };
  seeds.forEach(visit);
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    const column = at % width;
    if (column > 0) visit(at - 1);
    if (column < width - 1) visit(at + 1);
    if (at >= width) visit(at - width);
    if (at < width * (height - 1)) visit(at + width);
  }
  return marked;
}

/** Indices of a plane's border pixels. */
export function borderOf(width: number, height: number): number[] {
  const border: number[] = [];
  for (let column = 0; column < width; column++) border.push(column, (height - 1) * width + column);
  for (let row = 1; row < height - 1; row++) border.push(row * width, row * width + width - 1);
  return border;
}

export interface Components {
  /** 0 outside, else 1.. in order of first voxel. */
  readonly labels: Int32Array;
  /** Voxels of each label; index 0 is unused. */
  readonly sizes: readonly number[];
}

/** 6-connected components in 3D (4-connected in 2D when there is one slice). */
export function components(mask: Uint8Array, shape: readonly [number, number, number]): Components {
  const [nx, ny] = shape;
  const plane = nx * ny;
  const labels = new Int32Array(mask.length);
  const sizes = [0];
  const stack: number[] = [];
  for (let start = 0; start < mask.length; start++) {
    if (mask[start] === 0 || labels[start] !== 0) continue;
    const label = sizes.length;
    let size = 0;
    labels[start] = label;
    stack.push(start);
    const visit = (at: number): void => {
      if (at >= 0 && at < mask.length && mask[at] === 1 && labels[at] === 0) {
        labels[at] = label;
        stack.push(at);
      }
    };
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      size++;
      const column = at % nx;
      const row = Math.floor((at % plane) / nx);
      if (column > 0) visit(at - 1);
      if (column < nx - 1) visit(at + 1);
      if (row > 0) visit(at - nx);
      if (row < ny - 1) visit(at + nx);
      visit(at - plane);
      visit(at + plane);
    }
    sizes.push(size);
  }
  return { labels, sizes };
}

/** Offsets of a disc of `radius` pixels, as row spans [dy, half width]. */
function disc(radius: number): readonly (readonly [number, number])[] {
  const whole = Math.floor(radius);
  return Array.from({ length: 2 * whole + 1 }, (_, n) => {
    const dy = n - whole;
    return [dy, Math.floor(Math.sqrt(Math.max(0, radius * radius - dy * dy)))] as const;
  });
}

/** Dilation by a disc; outside the plane is empty. */
function dilate(plane: Uint8Array, width: number, height: number, radius: number): Uint8Array {
  const out = new Uint8Array(plane.length);
  const spans = disc(radius);
  for (let at = 0; at < plane.length; at++) {
    if (plane[at] === 0) continue;
    const row = Math.floor(at / width);
    const column = at % width;
    // A voxel with all four neighbours set adds nothing that they do not.
    if (column > 0 && column < width - 1 && plane[at - 1] && plane[at + 1] && plane[at - width] && plane[at + width]) {
      out[at] = 1;
      continue;
    }
    for (const [dy, half] of spans) {
      const y = row + dy;
      if (y < 0 || y >= height) continue;
      out.fill(1, y * width + Math.max(0, column - half), y * width + Math.min(width - 1, column + half) + 1);
    }
  }
  return out;
}

const inverted = (plane: Uint8Array): Uint8Array => plane.map((value) => 1 - value);

/** Closing by a disc (dilate, then erode), then every hole filled. The plane's edge never erodes. */
export function closeAndFill(plane: Uint8Array, width: number, height: number, radius: number): Uint8Array {
  const grown = dilate(plane, width, height, radius);
  const closed = inverted(dilate(inverted(grown), width, height, radius));
  const outside = floodPlane(width, height, borderOf(width, height), (at) => closed[at] === 0);
  return inverted(outside);
}
