// The environment of assess: the process's own settings and the limits of the gates.
import { z } from 'zod';
import { erasureShape, kafkaShape, processShape, stageShape, storeShape } from '../runtime/env.ts';
import { DEFAULT_LIMITS, VOLUME_MB, type AssessLimits } from './limits.ts';

const { geometry, lungs } = DEFAULT_LIMITS;
const millimetres = z.coerce.number().positive();
const degrees = z.coerce.number().min(0).max(90);
const count = z.coerce.number().int().min(2);

export const assessEnv = z.object({
  ...processShape,
  ...kafkaShape,
  ...storeShape,
  ...stageShape,
  ...erasureShape,
  CONCURRENCY: z.coerce
    .number()
    .int()
    .min(1)
    .max(64)
    .default(2)
    .describe('Most jobs at a time; each holds one volume in memory (a thousand slices of 512 x 512 are 0.5 GB; VOLUME_MB at most).'),
  VOLUME_MB: z.coerce
    .number()
    .int()
    .min(1)
    .max(16_384)
    .default(VOLUME_MB)
    .describe(
      'Most memory of one volume and of finding its lungs; a larger series is refused as LIMIT_EXCEEDED. CONCURRENCY times this and 0.5 GB more fit into the memory of the process.',
    ),
  SWEEP_EVERY_MS: z.coerce
    .number()
    .int()
    .min(1)
    .default(3_600_000)
    .describe('How often ct-research is listed, to remove what no manifest names.'),
  MIN_COVERAGE_MM: millimetres.default(geometry.coverageMm).describe('Least extent of a scan.'),
  MAX_SPACING_MM: millimetres.default(geometry.maxSpacingMm).describe('Greatest distance between slices.'),
  MIN_SLICES_THIN: count.default(geometry.minSlicesThin).describe('Fewest slices up to 3 mm apart.'),
  MIN_SLICES_THICK: count.default(geometry.minSlicesThick).describe('Fewest slices further apart.'),
  MAX_TILT_DEGREES: degrees.default(geometry.tiltDegrees).describe('Greatest tilt of the gantry.'),
  MAX_OBLIQUE_DEGREES: degrees.default(geometry.obliqueDegrees).describe('Greatest angle between slice normal and body axis.'),
  ALLOW_LOSSY: z.stringbool().default(geometry.allowLossy).describe('Take pixels that went through lossy compression.'),
  CROP_MARGIN_MM: z.coerce
    .number()
    .min(0)
    .max(40)
    .default(lungs.cropMarginMm)
    .describe('What is kept above and below the lungs; never more than 40, so that no face is released.'),
});

export type Env = z.output<typeof assessEnv>;

/** The limits that the environment says. */
export function limitsOf(env: Env): AssessLimits {
  return {
    volumeBytes: env.VOLUME_MB * 1024 * 1024,
    geometry: {
      ...geometry,
      coverageMm: env.MIN_COVERAGE_MM,
      maxSpacingMm: env.MAX_SPACING_MM,
      minSlicesThin: env.MIN_SLICES_THIN,
      minSlicesThick: env.MIN_SLICES_THICK,
      tiltDegrees: env.MAX_TILT_DEGREES,
      obliqueDegrees: env.MAX_OBLIQUE_DEGREES,
      allowLossy: env.ALLOW_LOSSY,
    },
    lungs: { ...lungs, cropMarginMm: env.CROP_MARGIN_MM },
  };
}
