// Builds a series' Hounsfield volume slice by slice: rescale per slice, padding and range, rows from the
// last one up as the affine of geometry.ts says.
import { gridOf } from './grid.ts';
import type { VolumeGeometry } from './geometry.ts';
import type { SliceHeader } from './slice-header.ts';

export const AIR_HU = -1024;
export const MOST_HU = 3071;

export type VoxelType = 'int16' | 'float32';

export interface Volume {
  /** Columns, rows, slices; the column index runs fastest in `data`. */
  readonly shape: readonly [number, number, number];
  readonly spacingMm: readonly [number, number, number];
  /** 16 numbers, row-major, voxel to RAS+ mm. */
  readonly affine: readonly number[];
  /** HU; whole numbers in int16 where every slope is 1 and every intercept whole, else float32. */
  readonly data: Int16Array | Float32Array;
  /** Voxels that were padding and are now -1024; and voxels outside -1024..3071 that were clamped. */
  readonly paddedVoxels: number;
  readonly clampedVoxels: number;
}

/** A volume that is being filled. */
export interface VolumeBuilder {
  /** Puts one slice's stored values; `at` is its place in `geometry.order`. */
  putSlice(at: number, header: SliceHeader, stored: Int32Array): void;
  finish(): Volume;
}

function voxelTypeOf(headers: readonly SliceHeader[]): VoxelType {
  return headers.every(({ slope, intercept }) => slope === 1 && Number.isInteger(intercept)) ? 'int16' : 'float32';
}

/** Bytes that finding the lungs takes for each voxel of the grid: the grid, its masks and labels. */
const LUNG_BYTES = 8;

/** Memory that the volume will take, with what finding its lungs needs beside it. */
export function volumeBytes(geometry: Pick<VolumeGeometry, 'shape' | 'spacingMm'>, headers: readonly SliceHeader[]): number {
  const voxels = ([columns, rows, slices]: VolumeGeometry['shape']): number => columns * rows * slices;
  return voxels(geometry.shape) * (voxelTypeOf(headers) === 'int16' ? 2 : 4) + voxels(gridOf(geometry).shape) * LUNG_BYTES;
}

/** Padding is a stored value, or a range of them (PS3.3 C.7.5.1.1.2), before rescale. */
function paddingRange({ padding, paddingLimit }: SliceHeader): readonly [number, number] | undefined {
  if (padding === undefined) return undefined;
  const other = paddingLimit ?? padding;
  return [Math.min(padding, other), Math.max(padding, other)];
}

/**
 * An empty volume for the geometry; its voxels are float32 where any slope is not 1 or intercept not whole.
 * Memory: the whole volume and one slice.
 */
export function createVolume(geometry: VolumeGeometry, headers: readonly SliceHeader[]): VolumeBuilder {
  const [columns, rows, slices] = geometry.shape;
  const voxels = columns * rows * slices;
  const data = voxelTypeOf(headers) === 'int16' ? new Int16Array(voxels) : new Float32Array(voxels);
  let paddedVoxels = 0;
  let clampedVoxels = 0;
  const putSlice = (at: number, header: SliceHeader, stored: Int32Array): void => {
    if (stored.length !== columns * rows) throw new Error(`slice ${at} has ${stored.length} values, not ${columns * rows}`);
    const [low, high] = paddingRange(header) ?? [Infinity, -Infinity];
    const slope = header.slope ?? 1;
    const intercept = header.intercept ?? 0;
    for (let row = 0; row < rows; row++) {
      let to = (at * rows + (rows - 1 - row)) * columns;
      for (let from = row * columns; from < (row + 1) * columns; from++, to++) {
        const value = stored[from] as number;
        if (value >= low && value <= high) {
          data[to] = AIR_HU;
          paddedVoxels++;
          continue;
        }
        const hu = value * slope + intercept;
        const kept = hu < AIR_HU ? AIR_HU : hu > MOST_HU ? MOST_HU : hu;
        if (kept !== hu) clampedVoxels++;
        data[to] = kept;
      }
    }
  };
  const { shape, spacingMm, affine } = geometry;
  return { putSlice, finish: () => ({ shape, spacingMm, affine, data, paddedVoxels, clampedVoxels }) };
}

/** Whole slices `first` up to and with `last`; the affine's origin moves with them. Shares the voxels. */
export function cropSlices(volume: Volume, first: number, last: number): Volume {
  const [columns, rows] = volume.shape;
  const size = columns * rows;
  const affine = volume.affine.map((value, at) => (at % 4 === 3 && at < 12 ? value + first * (volume.affine[at - 1] as number) : value));
  return {
    ...volume,
    shape: [columns, rows, last - first + 1],
    affine,
    data: volume.data.subarray(first * size, (last + 1) * size),
  };
}
