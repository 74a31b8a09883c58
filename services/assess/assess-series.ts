// Assesses one series: gates on its headers, then volume, lungs, crop and estimate. Instances come as a source
// that can be read twice, so that memory holds one volume and one slice, whatever the series' size.
import type { Code } from '../kernel/codes.ts';
import type { DicomFile } from '../dicom/model.ts';
import { estimateSeverity, floorPercent, type Estimate } from './estimate.ts';
import { judgeGeometry, type VolumeGeometry } from './geometry.ts';
import { downSample, type Grid } from './grid.ts';
import { contrastOf, kernelClass, type Contrast, type KernelClass } from './header-gates.ts';
import { DEFAULT_LIMITS, type AssessLimits, type LungLimits } from './limits.ts';
import { DecodeError } from '../pixels/decode-error.ts';
import { findLungs, type Lungs } from './lungs.ts';
import { decodePixels } from './pixels.ts';
import { readSliceHeader, type SliceHeader } from './slice-header.ts';
import { createVolume, cropSlices, volumeBytes, type Volume } from './volume.ts';

/** The instances of one series, in the same order each time it is read. */
export interface SeriesSource {
  /** Research SeriesInstanceUID (or a file's own, outside the pipeline). */
  readonly series: string;
  files(): AsyncIterable<DicomFile> | Iterable<DicomFile>;
}

export interface SeriesFacts {
  readonly kernel: KernelClass;
  readonly contrast: Contrast;
  readonly thicknessMm: number | undefined;
  readonly kvp: number | undefined;
  readonly seriesTime: string;
}

/** What the headers of a series say. */
export type JudgedSeries = {
  readonly source: SeriesSource;
  readonly slices: number;
  readonly headers: readonly SliceHeader[];
  readonly facts: SeriesFacts;
} & ({ readonly eligible: true; readonly geometry: VolumeGeometry } | { readonly eligible: false; readonly codes: readonly Code[] });

export type EligibleSeries = Extract<JudgedSeries, { eligible: true }>;

function factsOf(headers: readonly SliceHeader[]): SeriesFacts {
  const first = headers[0];
  return {
    kernel: kernelClass(first?.kernel ?? ''),
    contrast: contrastOf(headers),
    thicknessMm: first?.thicknessMm,
    kvp: first?.kvp,
    seriesTime: headers.reduce((least, { seriesTime }) => (least === '' || seriesTime < least ? seriesTime : least), ''),
  };
}

/** The headers of the slices that make the volume, in its order. */
const sliceHeaders = ({ order }: VolumeGeometry, headers: readonly SliceHeader[]): SliceHeader[] =>
  order.map((index) => headers[index] as SliceHeader);

/** First reading: headers only. Throws DicomError where a file can't be read. */
export async function judgeSource(source: SeriesSource, limits: AssessLimits = DEFAULT_LIMITS): Promise<JudgedSeries> {
  const headers: SliceHeader[] = [];
  for await (const file of source.files()) headers.push(readSliceHeader(file));
  const verdict = judgeGeometry(headers, limits.geometry);
  const known = { source, slices: headers.length, headers, facts: factsOf(headers) };
  if (!verdict.eligible) return { ...known, eligible: false, codes: verdict.codes };
  const { geometry } = verdict;
  if (volumeBytes(geometry, sliceHeaders(geometry, headers)) > limits.volumeBytes)
    return { ...known, eligible: false, codes: ['LIMIT_EXCEEDED'] };
  return { ...known, eligible: true, geometry };
}

/**
 * Second reading: the volume, uncropped. Throws DecodeError (UNSUPPORTED_SYNTAX, BAD_PIXELS, LOSSY where a
 * code stream itself lost something) or the signal's reason.
 */
export async function buildVolume(series: EligibleSeries, limits: AssessLimits = DEFAULT_LIMITS, signal?: AbortSignal): Promise<Volume> {
  const places = new Map(series.geometry.order.map((index, at) => [index, at]));
  const builder = createVolume(series.geometry, sliceHeaders(series.geometry, series.headers));
  let index = 0;
  for await (const file of series.source.files()) {
    signal?.throwIfAborted();
    const header = series.headers[index] as SliceHeader;
    const at = places.get(index++);
    if (at === undefined) continue;
    const { values, lossy } = await decodePixels(file, header);
    if (lossy && !limits.geometry.allowLossy) throw new DecodeError('LOSSY', 'the code stream of PixelData is lossy');
    builder.putSlice(at, header, values);
  }
  return builder.finish();
}

/** Slices that were kept of the scan: `first` up to and with `last`, counted from the lowest along the normal. */
export interface Crop {
  readonly first: number;
  readonly last: number;
  readonly ofSlices: number;
}

export type LungVerdict =
  | { readonly eligible: true; readonly grid: Grid; readonly lungs: Lungs; readonly crop: Crop }
  | { readonly eligible: false; readonly codes: readonly Code[] };

function cropOf(grid: Grid, lungs: Lungs, slices: number, limits: LungLimits): Crop {
  const perSliceMm = grid.spacingMm[2] / grid.slicesPerSlice;
  const margin = Math.floor(limits.cropMarginMm / perSliceMm + 1e-6);
  return {
    first: Math.max(0, lungs.first * grid.slicesPerSlice - margin),
    last: Math.min(slices - 1, (lungs.last + 1) * grid.slicesPerSlice - 1 + margin),
    ofSlices: slices,
  };
}

/** The gates that need the lung mask, and the crop to the lungs and their margin. */
export function judgeLungs(volume: Volume, limits: LungLimits = DEFAULT_LIMITS.lungs): LungVerdict {
  const grid = downSample(volume);
  const lungs = findLungs(grid, (volume.affine[0] as number) < 0);
  if (lungs.volumeMl < limits.minimumMl || lungs.volumeMl > limits.maximumMl) return { eligible: false, codes: ['LUNGS_NOT_FOUND'] };
  if (lungs.endAreaPart > limits.cutAreaPart) return { eligible: false, codes: ['LUNGS_CUT'] };
  return { eligible: true, grid, lungs, crop: cropOf(grid, lungs, volume.shape[2], limits) };
}

export type SeriesAssessment =
  | {
      readonly eligible: true;
      readonly series: EligibleSeries;
      /** Cropped. */
      readonly volume: Volume;
      readonly crop: Crop;
      readonly estimate: Estimate;
    }
  | { readonly eligible: false; readonly codes: readonly Code[] };

/** Volume, lungs, crop and estimate of a series whose headers passed. Throws the signal's reason when aborted. */
export async function assessEligible(
  series: EligibleSeries,
  limits: AssessLimits = DEFAULT_LIMITS,
  signal?: AbortSignal,
): Promise<SeriesAssessment> {
  let whole: Volume;
  try {
    whole = await buildVolume(series, limits, signal);
  } catch (error) {
    if (error instanceof DecodeError) return { eligible: false, codes: [error.code] };
    throw error;
  }
  const verdict = judgeLungs(whole, limits.lungs);
  if (!verdict.eligible) return verdict;
  const { grid, lungs, crop } = verdict;
  const floor = floorPercent(series.facts.thicknessMm ?? whole.spacingMm[2], series.facts.kernel);
  const estimate = estimateSeverity(grid, lungs, floor, limits.lungs.uncertainMl);
  return { eligible: true, series, volume: cropSlices(whole, crop.first, crop.last), crop, estimate };
}

const TIER_RANK = { preferred: 0, accepted: 1, reserve: 2 } as const;
const KERNEL_RANK = { soft: 0, unknown: 1, sharp: 2 } as const;

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Best first: thin, then soft, then most slices, then earliest, then by UID. */
export function rankSeries(series: readonly EligibleSeries[]): EligibleSeries[] {
  return [...series].sort(
    (a, b) =>
      TIER_RANK[a.geometry.tier] - TIER_RANK[b.geometry.tier] ||
      KERNEL_RANK[a.facts.kernel] - KERNEL_RANK[b.facts.kernel] ||
      b.geometry.shape[2] - a.geometry.shape[2] ||
      compare(a.facts.seriesTime, b.facts.seriesTime) ||
      compare(a.source.series, b.source.series),
  );
}

/** The series whose kernel is softest, for the estimate; ties by rank. */
export function softest(ranked: readonly EligibleSeries[]): EligibleSeries | undefined {
  return [...ranked].sort((a, b) => KERNEL_RANK[a.facts.kernel] - KERNEL_RANK[b.facts.kernel])[0];
}
