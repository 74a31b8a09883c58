// How a simulated reader looks: a crude lung mask, slice by slice, and a count of Hounsfield units in it. On purpose
// not the estimate of assess: a second, independent and worse look.

const LARGEST_STEP_MM = 3;
const AIR_BELOW_HU = -320;
const AERATED_BELOW_HU = -700;
const DENSE_ABOVE_HU = 100;
/** Closing over vessels and consolidation at the rim of the mask, mm. */
const CLOSING_MM = 12;
/** Vessels and partial volume look affected in everyone: what a healthy phantom (2.3 to 2.5) shows, rounded up. Percent of the mask. */
const FLOOR_PERCENT = 3;
const LEAST_LUNG_ML = 300;

interface Slice {
  readonly width: number;
  readonly height: number;
  readonly hu: Int16Array;
}

interface Header {
  readonly shape: readonly [number, number, number];
  readonly spacing: readonly [number, number, number];
  readonly offset: number;
  readonly isFloat: boolean;
}

/** NIfTI-1, one file, little-endian, int16 or float32. @throws Error for anything else. */
function headerOf(nii: Buffer): Header {
  if (nii.byteLength < 352 || nii.readInt32LE(0) !== 348 || nii.toString('latin1', 344, 347) !== 'n+1')
    throw new Error('the volume is no little-endian NIfTI-1 file');
  const type = nii.readInt16LE(70);
  if (type !== 4 && type !== 16) throw new Error(`the volume has data type ${type}, not int16 or float32`);
  const shape = [nii.readInt16LE(42), nii.readInt16LE(44), nii.readInt16LE(46)] as const;
  const spacing = [nii.readFloatLE(80), nii.readFloatLE(84), nii.readFloatLE(88)] as const;
  const offset = Math.trunc(nii.readFloatLE(108));
  if (offset + shape[0] * shape[1] * shape[2] * (type === 4 ? 2 : 4) > nii.byteLength)
    throw new Error('the volume ends before its last voxel');
  return { shape, spacing, offset, isFloat: type === 16 };
}

/** Every n-th voxel of a slice. */
function sliceOf(nii: Buffer, h: Header, z: number, step: number): Slice {
  const width = Math.floor(h.shape[0] / step);
  const height = Math.floor(h.shape[1] / step);
  const hu = new Int16Array(width * height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = (z * h.shape[1] + y * step) * h.shape[0] + x * step;
      hu[y * width + x] = h.isFloat ? Math.round(nii.readFloatLE(h.offset + 4 * at)) : nii.readInt16LE(h.offset + 2 * at);
    }
  }
  return { width, height, hu };
}

/** Air that does not touch the border of the slice: lungs, trachea and a little bowel. */
function enclosedAir(s: Slice): Uint8Array {
  const mask = new Uint8Array(s.hu.length);
  for (let i = 0; i < mask.length; i += 1) mask[i] = (s.hu[i] ?? 0) < AIR_BELOW_HU ? 1 : 0;
  const stack: number[] = [];
  for (let x = 0; x < s.width; x += 1) stack.push(x, (s.height - 1) * s.width + x);
  for (let y = 0; y < s.height; y += 1) stack.push(y * s.width, y * s.width + s.width - 1);
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    if (mask[at] !== 1) continue;
    mask[at] = 0;
    const x = at % s.width;
    if (x > 0) stack.push(at - 1);
    if (x < s.width - 1) stack.push(at + 1);
    if (at >= s.width) stack.push(at - s.width);
    if (at < mask.length - s.width) stack.push(at + s.width);
  }
  return mask;
}

/** Dilates (`grow`) or erodes along one axis with a window of 2 radius + 1. */
function sweep(mask: Uint8Array, s: Slice, radius: number, horizontal: boolean, grow: boolean): Uint8Array {
  const out = new Uint8Array(mask.length);
  const length = horizontal ? s.width : s.height;
  const lines = horizontal ? s.height : s.width;
  for (let line = 0; line < lines; line += 1) {
    const index = (i: number): number => (horizontal ? line * s.width + i : i * s.width + line);
    let last = -1 - radius;
    // Nearest set (or unset) voxel on the left, then on the right.
    const near = new Uint8Array(length);
    for (let i = 0; i < length; i += 1) {
      if ((mask[index(i)] === 1) === grow) last = i;
      if (i - last <= radius) near[i] = 1;
    }
    last = length + radius;
    for (let i = length - 1; i >= 0; i -= 1) {
      if ((mask[index(i)] === 1) === grow) last = i;
      if (last - i <= radius) near[i] = 1;
      out[index(i)] = (near[i] === 1) === grow ? 1 : 0;
    }
  }
  return out;
}

function closed(mask: Uint8Array, s: Slice, radius: number): Uint8Array {
  const grown = sweep(sweep(mask, s, radius, true, true), s, radius, false, true);
  return sweep(sweep(grown, s, radius, true, false), s, radius, false, false);
}

/**
 * Percent of the crude lung mask that is denser than aerated lung, less what vessels make of a healthy one.
 * @param nii uncompressed NIfTI-1 bytes, HU.
 * @returns undefined when it sees no lungs. @throws Error when it can't read the file.
 */
export function affectedPercent(nii: Buffer): number | undefined {
  const h = headerOf(nii);
  const step = Math.max(1, Math.floor(LARGEST_STEP_MM / h.spacing[0]));
  const stepZ = Math.max(1, Math.floor(LARGEST_STEP_MM / h.spacing[2]));
  const radius = Math.max(1, Math.round(CLOSING_MM / (h.spacing[0] * step)));
  let lung = 0;
  let affected = 0;
  for (let z = 0; z < h.shape[2]; z += stepZ) {
    const s = sliceOf(nii, h, z, step);
    const mask = closed(enclosedAir(s), s, radius);
    for (let i = 0; i < mask.length; i += 1) {
      const hu = s.hu[i] ?? 0;
      if (mask[i] !== 1 || hu > DENSE_ABOVE_HU) continue;
      lung += 1;
      if (hu > AERATED_BELOW_HU) affected += 1;
    }
  }
  const voxelMl = (h.spacing[0] * h.spacing[1] * step * step * h.spacing[2] * stepZ) / 1000;
  if (lung * voxelMl < LEAST_LUNG_ML) return undefined;
  return Math.max(0, ((100 * affected) / lung - FLOOR_PERCENT) / (1 - FLOOR_PERCENT / 100));
}

/** CT-0 to CT-4: none, under 25 %, 25-50 %, 50-75 %, above. Two percent count as none. */
export function gradeOf(percent: number): number {
  return percent < 2 ? 0 : percent < 25 ? 1 : percent < 50 ? 2 : percent <= 75 ? 3 : 4;
}
