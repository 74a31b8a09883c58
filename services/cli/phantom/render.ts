// From the noise-free volume to what a scanner stores: noise, reconstruction kernel, projection.

import { addNoise } from './random.ts';
import type { Volume } from './thorax.ts';

export interface Kernel {
  name: string;
  role: 'soft' | 'sharp';
  blurMm: number;
  /** Sigma in HU of what is left of the noise after the blur. */
  noiseHu: number;
}

/** Gaussian weights of one side, normalised over both; [0] is the centre. */
function weights(sigmaPixels: number): Float32Array {
  const reach = Math.max(0, Math.ceil(sigmaPixels * 2.5));
  const half = Float32Array.from({ length: reach + 1 }, (_, i) =>
    sigmaPixels < 0.05 ? (i === 0 ? 1 : 0) : Math.exp(-(i * i) / (2 * sigmaPixels ** 2)),
  );
  const sum = half.reduce((total, w, i) => total + (i === 0 ? w : 2 * w), 0);
  return half.map((w) => w / sum);
}

export interface SliceRenderer {
  /** One slice in HU as the kernel shows it; the array is reused by the next call. */
  (k: number): Int16Array;
}

/** Renders slices of one series; `seed` fixes its noise. */
export function makeRenderer(v: Volume, kernel: Kernel, seed: string): SliceRenderer {
  const plane = v.size * v.size;
  const half = weights(kernel.blurMm / v.pixelMm);
  // The blur averages noise away: raise it before, so that `noiseHu` is left after.
  const kept = half.reduce((total, w, i) => total + (i === 0 ? w * w : 2 * w * w), 0);
  const source = new Float32Array(plane);
  const scratch = new Float32Array(plane);
  const out = new Int16Array(plane);
  return (k) => {
    source.set(v.hu.subarray(k * plane, (k + 1) * plane));
    addNoise(source, kernel.noiseHu / kept, `${seed}/${k}`);
    blur(source, scratch, v.size, half);
    for (let i = 0; i < plane; i++) {
      const hu = Math.round(source[i]!);
      out[i] = hu < -1024 ? -1024 : hu > 3071 ? 3071 : hu;
    }
    return out;
  };
}

/** Separable blur in place; edges repeat the outermost pixel. */
function blur(image: Float32Array, scratch: Float32Array, size: number, half: Float32Array): void {
  const reach = half.length - 1;
  if (reach === 0) return;
  for (let r = 0; r < size; r++) {
    const start = r * size;
    for (let c = 0; c < size; c++) {
      let sum = image[start + c]! * half[0]!;
      if (c >= reach && c < size - reach) {
        for (let d = 1; d <= reach; d++) sum += (image[start + c - d]! + image[start + c + d]!) * half[d]!;
      } else {
        for (let d = 1; d <= reach; d++) {
          sum += (image[start + Math.max(0, c - d)]! + image[start + Math.min(size - 1, c + d)]!) * half[d]!;
        }
      }
      scratch[start + c] = sum;
    }
  }
  for (let r = 0; r < size; r++) {
    const start = r * size;
    for (let c = 0; c < size; c++) image[start + c] = scratch[start + c]! * half[0]!;
    for (let d = 1; d <= reach; d++) {
      const above = Math.max(0, r - d) * size;
      const below = Math.min(size - 1, r + d) * size;
      const w = half[d]!;
      for (let c = 0; c < size; c++) image[start + c]! += (scratch[above + c]! + scratch[below + c]!) * w;
    }
  }
}

export interface Projection {
  rows: number;
  columns: number;
  /** Distance of rows, then of columns, in mm. */
  spacingMm: [number, number];
  hu: Int16Array;
}

/** The frontal topogram: the mean along y, top of the body first. */
export function project(v: Volume): Projection {
  const rowMm = Math.max(v.pixelMm, 1);
  const rows = Math.max(2, Math.round((v.slices * v.sliceMm) / rowMm));
  const sums = new Float32Array(v.size * v.slices);
  for (let k = 0; k < v.slices; k++) {
    const line = k * v.size;
    for (let r = 0; r < v.size; r++) {
      const start = (k * v.size + r) * v.size;
      for (let c = 0; c < v.size; c++) sums[line + c]! += v.hu[start + c]!;
    }
  }
  const hu = new Int16Array(rows * v.size);
  for (let r = 0; r < rows; r++) {
    const k = Math.min(v.slices - 1, Math.floor(((rows - 1 - r) * rowMm) / v.sliceMm));
    for (let c = 0; c < v.size; c++) hu[r * v.size + c] = Math.round(sums[k * v.size + c]! / v.size + 700);
  }
  return { rows, columns: v.size, spacingMm: [rowMm, v.pixelMm], hu };
}
