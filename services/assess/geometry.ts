// The geometry gates: do the images of one series make one straight, evenly spaced, axial volume?
// Headers in, a verdict out; nothing is ever resampled or guessed.
import type { Code } from '../kernel/codes.ts';
import { DEFAULT_GEOMETRY_LIMITS, type GeometryLimits } from './limits.ts';
import { headerCodes } from './header-gates.ts';
import type { SliceHeader } from './slice-header.ts';
import { add, cross, dot, length, lineAngle, scale, subtract, unit, type Vector3 } from './vector.ts';

export type SpacingTier = 'preferred' | 'accepted' | 'reserve';

/** 16 numbers, row-major: voxel indices (column, row counted from the last one up, slice) to RAS+ mm. */
export type Affine = readonly number[];

export interface VolumeGeometry {
  /** Indices into the series' instances, from low to high position along the slice normal. */
  readonly order: readonly number[];
  /** Columns, rows, slices. */
  readonly shape: readonly [number, number, number];
  readonly spacingMm: readonly [number, number, number];
  readonly affine: Affine;
  readonly coverageMm: number;
  readonly tier: SpacingTier;
}

export type GeometryVerdict =
  | { readonly eligible: true; readonly geometry: VolumeGeometry }
  | { readonly eligible: false; readonly codes: readonly Code[]; readonly indices: readonly number[] };

/** The axes of one image in LPS, or undefined where the header has none that are perpendicular units. */
function axesOf(header: SliceHeader): { row: Vector3; column: Vector3; normal: Vector3 } | undefined {
  const [a, b, c, d, e, f] = header.orientation ?? [];
  if (a === undefined || b === undefined || c === undefined) return undefined;
  if (d === undefined || e === undefined || f === undefined) return undefined;
  const row = unit([a, b, c]);
  const column = unit([d, e, f]);
  if (row === undefined || column === undefined || Math.abs(dot(row, column)) > 1e-3) return undefined;
  const normal = unit(cross(row, column));
  return normal === undefined ? undefined : { row, column, normal };
}

function groupBy(indices: readonly number[], keyOf: (index: number) => string): number[][] {
  const groups = new Map<string, number[]>();
  for (const index of indices) {
    const key = keyOf(index);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [index]);
    else group.push(index);
  }
  return [...groups.values()];
}

/**
 * Parts of a series that may be volumes: by orientation, then by AcquisitionNumber. Step-and-shoot scans
 * count a new acquisition for every rotation; where no acquisition is long enough to be a volume
 * the numbers are rotations, and the part stays whole.
 */
export function splitSeries(headers: readonly SliceHeader[], limits: GeometryLimits = DEFAULT_GEOMETRY_LIMITS): number[][] {
  const all = headers.map((_, index) => index);
  const orientation = (index: number): string =>
    (headers[index]?.orientation ?? []).map((value) => value.toFixed(3).replace('-0.000', '0.000')).join(' ');
  return groupBy(all, orientation).flatMap((group) => {
    const acquisitions = groupBy(group, (index) => headers[index]?.acquisition ?? '');
    const longest = Math.max(...acquisitions.map((part) => part.length));
    return longest < limits.minSlicesThick ? [group] : acquisitions;
  });
}

interface Placed {
  readonly index: number;
  readonly position: Vector3;
  readonly along: number;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

const SAME_PLACE_MM = 0.01;

/** Codes about the distances between neighbours, and the median distance in mm. */
function judgeGaps(gaps: readonly number[], limits: GeometryLimits): { codes: Code[]; gap: number } {
  if (gaps.every((gap) => gap < SAME_PLACE_MM)) return { codes: ['NOT_A_VOLUME'], gap: 0 };
  const codes: Code[] = [];
  const apart = gaps.filter((gap) => gap >= SAME_PLACE_MM);
  if (apart.length < gaps.length) codes.push('DUPLICATE_POSITION');
  const gap = median(apart);
  const tolerance = Math.max(limits.gapToleranceMm, limits.gapTolerancePart * gap);
  const odd = apart.filter((one) => Math.abs(one - gap) > tolerance);
  const steps = (one: number): number => Math.round(one / gap);
  const isHole = (one: number): boolean => steps(one) >= 2 && Math.abs(one - steps(one) * gap) <= tolerance * steps(one);
  if (odd.some(isHole)) codes.push('MISSING_SLICE');
  if (odd.some((one) => !isHole(one))) codes.push('IRREGULAR_SPACING');
  return { codes, gap };
}

/** Codes about direction: tilt of the gantry or a shear of the stack, slices off the line, obliqueness. */
function judgeDirection(placed: readonly Placed[], normal: Vector3, tilts: readonly number[], limits: GeometryLimits): Code[] {
  const first = placed[0];
  const last = placed.at(-1);
  if (first === undefined || last === undefined) return [];
  const codes: Code[] = [];
  const step = subtract(last.position, first.position);
  const sheared = length(step) > SAME_PLACE_MM && lineAngle(step, normal) > limits.tiltDegrees;
  if (sheared || tilts.some((tilt) => Math.abs(tilt) > limits.tiltDegrees)) codes.push('GANTRY_TILT');
  if (lineAngle(normal, [0, 0, 1]) > limits.obliqueDegrees) codes.push('OBLIQUE');
  const line = unit(step);
  const offLine = ({ position }: Placed): boolean =>
    line !== undefined && length(cross(subtract(position, first.position), line)) > Math.max(limits.gapToleranceMm, 0.1);
  if (!sheared && placed.some(offLine)) codes.push('IRREGULAR_SPACING');
  return codes;
}

/** Codes about extent: slices, spacing, coverage in mm. */
function judgeExtent(slices: number, gap: number, coverageMm: number, limits: GeometryLimits): Code[] {
  const codes: Code[] = [];
  const fewest = gap <= limits.thinSpacingMm + 1e-6 ? limits.minSlicesThin : limits.minSlicesThick;
  if (slices < fewest) codes.push('TOO_FEW_SLICES');
  if (gap > limits.maxSpacingMm + 1e-6) codes.push('SPACING_TOO_WIDE');
  if (coverageMm < limits.coverageMm - 1e-6) codes.push('SHORT_COVERAGE');
  return codes;
}

function tierOf(gap: number, limits: GeometryLimits): SpacingTier {
  if (gap <= limits.preferredSpacingMm + 1e-6) return 'preferred';
  return gap <= limits.acceptedSpacingMm + 1e-6 ? 'accepted' : 'reserve';
}

/** Whether all images share one grid; orientation may differ by rounding only. */
function hasMixedGrid(headers: readonly SliceHeader[]): boolean {
  const first = headers[0];
  if (first === undefined) return false;
  const near = (a: readonly number[] | undefined, b: readonly number[] | undefined, within: number): boolean =>
    (a ?? []).every((value, at) => Math.abs(value - ((b ?? [])[at] ?? Number.NaN)) <= within);
  return headers.some(
    (header) =>
      header.rows !== first.rows ||
      header.columns !== first.columns ||
      !near(header.pixelSpacing, first.pixelSpacing, 1e-4) ||
      !near(header.orientation, first.orientation, 1e-3),
  );
}

/**
 * LPS to RAS, with the rows counted from the bottom of the image: the voxel order and affine that dcm2niix
 * gives, so that j runs to anterior on an ordinary axial scan (PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1).
 */
function affineOf(header: SliceHeader, axes: NonNullable<ReturnType<typeof axesOf>>, origin: Vector3, gap: number): Affine {
  const [betweenRows, betweenColumns] = header.pixelSpacing ?? [0, 0];
  const i = scale(axes.row, betweenColumns);
  const j = scale(axes.column, -betweenRows);
  const k = scale(axes.normal, gap);
  const corner = add(origin, scale(axes.column, betweenRows * (header.rows - 1)));
  const rows = [0, 1, 2].map((axis) => [i, j, k, corner].map((v) => (axis < 2 ? -1 : 1) * (v[axis] as number) + 0));
  return [...rows.flat(), 0, 0, 0, 1];
}

function place(headers: readonly SliceHeader[], indices: readonly number[], normal: Vector3): Placed[] {
  return indices
    .flatMap((index) => {
      const position = headers[index]?.position;
      return position === undefined ? [] : [{ index, position, along: dot(position, normal) }];
    })
    .sort((a, b) => a.along - b.along || a.index - b.index);
}

const unique = (codes: readonly Code[]): readonly Code[] => [...new Set(codes)];

function judgePart(all: readonly SliceHeader[], indices: readonly number[], limits: GeometryLimits): GeometryVerdict {
  const headers = indices.map((index) => all[index] as SliceHeader);
  const refuse = (codes: readonly Code[]): GeometryVerdict => ({ eligible: false, codes: unique(codes), indices });
  const codes = headerCodes(headers, limits);
  // What is no CT image of the body at all needs no word on its geometry.
  const kinds = codes.filter((code) => code === 'NOT_CT' || code === 'LOCALIZER' || code === 'MULTI_FRAME');
  if (kinds.length > 0) return refuse(kinds);
  if (hasMixedGrid(headers)) codes.push('MIXED_GEOMETRY');
  const first = headers[0];
  const axes = first === undefined ? undefined : axesOf(first);
  if (first === undefined || axes === undefined || headers.some((header) => header.position === undefined)) {
    return refuse([...codes, 'NOT_A_VOLUME']);
  }
  const placed = place(all, indices, axes.normal);
  const alongs = placed.map(({ along }) => along);
  const gaps = alongs.slice(1).map((along, at) => along - (alongs[at] as number));
  const { codes: gapCodes, gap } = judgeGaps(gaps, limits);
  const extent = (alongs.at(-1) as number) - (alongs[0] as number);
  const spacing = gaps.length > 0 ? extent / gaps.length : 0;
  const coverageMm = extent + gap;
  const tilts = headers.flatMap(({ gantryTiltDegrees }) => gantryTiltDegrees ?? []);
  // Direction first: where the gantry is tilted, that is the reason to tell.
  codes.push(...judgeDirection(placed, axes.normal, tilts, limits), ...gapCodes);
  codes.push(...judgeExtent(headers.length, gap, coverageMm, limits));
  const [betweenRows, betweenColumns] = first.pixelSpacing ?? [0, 0];
  if (codes.length > 0) return refuse(codes);
  return {
    eligible: true,
    geometry: {
      order: placed.map(({ index }) => index),
      shape: [first.columns, first.rows, headers.length],
      spacingMm: [betweenColumns, betweenRows, spacing],
      affine: affineOf(first, axes, (placed[0] as Placed).position, spacing),
      coverageMm,
      tier: tierOf(spacing, limits),
    },
  };
}

/** One verdict for each part of the series (see `splitSeries`); every reason against a part is listed. */
export function judgeSeries(headers: readonly SliceHeader[], limits: GeometryLimits = DEFAULT_GEOMETRY_LIMITS): GeometryVerdict[] {
  if (headers.length === 0) return [{ eligible: false, codes: ['NOT_A_VOLUME'], indices: [] }];
  return splitSeries(headers, limits).map((part) => judgePart(headers, part, limits));
}

/** The verdict on a series: its best part, else the codes of its largest one. */
export function judgeGeometry(headers: readonly SliceHeader[], limits: GeometryLimits = DEFAULT_GEOMETRY_LIMITS): GeometryVerdict {
  const verdicts = judgeSeries(headers, limits);
  const slices = (verdict: GeometryVerdict): number => (verdict.eligible ? verdict.geometry.shape[2] : verdict.indices.length);
  const best = verdicts.reduce((a, b) => {
    if (a.eligible !== b.eligible) return a.eligible ? a : b;
    return slices(b) > slices(a) ? b : a;
  });
  return best;
}
