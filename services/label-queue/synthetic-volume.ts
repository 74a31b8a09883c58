// A little thorax for tests: a body with two lungs of which a known share is dense. Not the phantom: no DICOM, no detail.

export interface ThoraxOptions {
  readonly seed: number;
  /** Share of the lung, 0 to 1, that is ground glass. */
  readonly affected: number;
  /** Columns and rows; 96 by default. */
  readonly size?: number;
  readonly slices?: number;
}

const SPACING_MM = 3.5;

/** Uncompressed NIfTI-1 bytes, int16 HU. */
export function thoraxNifti(o: ThoraxOptions): Buffer {
  const size = o.size ?? 96;
  const slices = o.slices ?? 40;
  const nii = Buffer.alloc(352 + 2 * size * size * slices);
  nii.writeInt32LE(348, 0);
  for (const [i, n] of [3, size, size, slices, 1, 1, 1, 1].entries()) nii.writeInt16LE(n, 40 + 2 * i);
  nii.writeInt16LE(4, 70);
  nii.writeInt16LE(16, 72);
  for (const [i, mm] of [1, SPACING_MM, SPACING_MM, 5].entries()) nii.writeFloatLE(mm, 76 + 4 * i);
  nii.writeFloatLE(352, 108);
  nii.writeFloatLE(1, 112);
  nii.write('n+1\0', 344, 'latin1');
  let state = (o.seed * 2_654_435_761) >>> 0 || 1;
  const noise = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state / 2 ** 32 - 0.5) * 60;
  };
  for (let z = 0; z < slices; z += 1) {
    for (let y = 0; y < size; y += 1) {
      for (let x = 0; x < size; x += 1) {
        nii.writeInt16LE(
          Math.round(huAt(x / size - 0.5, y / size - 0.5, z / slices, o.affected) + noise()),
          352 + 2 * ((z * size + y) * size + x),
        );
      }
    }
  }
  return nii;
}

function huAt(x: number, y: number, z: number, affected: number): number {
  if ((x / 0.45) ** 2 + (y / 0.32) ** 2 > 1) return -1000;
  const lung = ((Math.abs(x) - 0.21) / 0.15) ** 2 + (y / 0.24) ** 2 <= 1 && z > 0.08 && z < 0.92;
  if (!lung) return 40;
  // Dense from the base upwards.
  return z < 0.08 + affected * 0.84 ? -500 : -860;
}
