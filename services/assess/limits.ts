// The limits of the gates, as configuration with the reference's defaults.

export interface GeometryLimits {
  /** A gap may differ from the median by the larger of the two. */
  readonly gapToleranceMm: number;
  readonly gapTolerancePart: number;
  readonly tiltDegrees: number;
  readonly obliqueDegrees: number;
  readonly coverageMm: number;
  /** Fewest slices at up to `thinSpacingMm`, and above it. */
  readonly minSlicesThin: number;
  readonly minSlicesThick: number;
  readonly thinSpacingMm: number;
  readonly preferredSpacingMm: number;
  readonly acceptedSpacingMm: number;
  readonly maxSpacingMm: number;
  /** Values of ImageType that make a derived image acceptable: dual-energy mixed images. */
  readonly derivedImageTypes: readonly string[];
  readonly allowLossy: boolean;
}

export const DEFAULT_GEOMETRY_LIMITS: GeometryLimits = {
  gapToleranceMm: 0.1,
  gapTolerancePart: 0.02,
  tiltDegrees: 0.2,
  obliqueDegrees: 8,
  coverageMm: 180,
  minSlicesThin: 40,
  minSlicesThick: 24,
  thinSpacingMm: 3,
  preferredSpacingMm: 1.5,
  acceptedSpacingMm: 3,
  maxSpacingMm: 10,
  derivedImageTypes: ['DET_AB', 'MIXED'],
  allowLossy: false,
};

export interface LungLimits {
  /**
   * Lung area on the first or last slice above which the lungs count as cut, as a part of the largest
   * slice's. Not 0: the last millimetres of a costophrenic recess often lie below an otherwise whole scan.
   */
  readonly cutAreaPart: number;
  /** Least lung volume that counts as lungs at all, mL; under `uncertainMl` the estimate is uncertain. */
  readonly minimumMl: number;
  readonly uncertainMl: number;
  readonly maximumMl: number;
  /** The volume is cropped by whole slices to the lungs and this margin; above the apex it hides the face. */
  readonly cropMarginMm: number;
}

export const DEFAULT_LUNG_LIMITS: LungLimits = {
  cutAreaPart: 0.1,
  minimumMl: 300,
  uncertainMl: 1000,
  maximumMl: 9000,
  cropMarginMm: 40,
};

/** Most memory of one volume and of finding its lungs: 2,000 slices of 512 x 512, or 600 of 1024 x 1024, and some more. */
export const VOLUME_MB = 1600;

export interface AssessLimits {
  /** A series that would take more is refused: what has no room in memory ends the process, and comes again to the next one. */
  readonly volumeBytes: number;
  readonly geometry: GeometryLimits;
  readonly lungs: LungLimits;
}

export const DEFAULT_LIMITS: AssessLimits = {
  volumeBytes: VOLUME_MB * 1024 * 1024,
  geometry: DEFAULT_GEOMETRY_LIMITS,
  lungs: DEFAULT_LUNG_LIMITS,
};
