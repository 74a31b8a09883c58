// The few header values of one CT instance that assess judges by, read once so that geometry, decoding
// and volume building are plain arithmetic on plain numbers.
import { TAG } from '../dicom/dictionary.ts';
import type { Dataset, DicomFile } from '../dicom/model.ts';
import { items, number, numbers, text, texts, uid } from '../dicom/values.ts';
import type { Vector3 } from './vector.ts';

export type SliceHeader = {
  readonly sopClassUid: string;
  readonly transferSyntaxUid: string;
  readonly modality: string;
  readonly imageType: readonly string[];
  readonly fullFidelityDerivation: boolean;
  readonly rows: number;
  readonly columns: number;
  readonly frames: number;
  readonly samplesPerPixel: number;
  readonly photometric: string;
  readonly bitsAllocated: number;
  readonly bitsStored: number;
  readonly highBit: number;
  readonly signed: boolean;
  readonly hasPixels: boolean;
  readonly lossyFlag: boolean;
  /** mm between rows, then between columns (PS3.3 C.7.6.2.1). */
  readonly pixelSpacing: readonly [number, number] | undefined;
  /** Directions of a row, then of a column, in patient LPS (PS3.3 C.7.6.2.1.1). */
  readonly orientation: readonly number[] | undefined;
  /** Centre of the first voxel in patient LPS, mm. */
  readonly position: Vector3 | undefined;
  readonly thicknessMm: number | undefined;
  readonly gantryTiltDegrees: number | undefined;
  readonly acquisition: string;
  readonly slope: number | undefined;
  readonly intercept: number | undefined;
  readonly rescaleType: string;
  readonly padding: number | undefined;
  readonly paddingLimit: number | undefined;
  readonly kernel: string;
  readonly contrastAgent: string;
  readonly contrastSequence: boolean;
  readonly kvp: number | undefined;
  /** Date and time of the series (shifted, after the boundary): for order only. */
  readonly seriesTime: string;
};

/** Derivation code of 'full fidelity image, uncompressed or lossless compressed' (PS3.16 CID 7203). */
const FULL_FIDELITY = '121327';

const finite = (value: number | undefined): number | undefined => (value !== undefined && Number.isFinite(value) ? value : undefined);

const finiteList = (values: readonly number[], length: number): readonly number[] | undefined =>
  values.length === length && values.every(Number.isFinite) ? values : undefined;

/** US or SS is written by PixelRepresentation (PS3.3 C.7.5.1.1.2); writers err, so read the 16 bits again. */
const asStored = (value: number | undefined, signed: boolean): number | undefined => {
  const known = finite(value);
  if (known === undefined) return undefined;
  return signed ? (known << 16) >> 16 : known & 0xffff;
};

const isFullFidelity = (dataset: Dataset): boolean =>
  items(dataset, TAG.DerivationCodeSequence).some((code) => text(code, TAG.CodeValue) === FULL_FIDELITY);

/** Reads the values of one instance. A value that is absent or not a number is undefined; nothing throws. */
export const readSliceHeader = (file: DicomFile): SliceHeader => {
  const ds = file.dataset;
  const signed = number(ds, TAG.PixelRepresentation) === 1;
  const bitsAllocated = number(ds, TAG.BitsAllocated) ?? 0;
  const bitsStored = number(ds, TAG.BitsStored) ?? bitsAllocated;
  const spacing = finiteList(numbers(ds, TAG.PixelSpacing), 2);
  const position = finiteList(numbers(ds, TAG.ImagePositionPatient), 3);
  const pixels = ds.elements.get(TAG.PixelData);
  return {
    sopClassUid: uid(ds, TAG.SOPClassUID) ?? '',
    transferSyntaxUid: file.transferSyntaxUid,
    modality: text(ds, TAG.Modality) ?? '',
    imageType: texts(ds, TAG.ImageType).map((value) => value.trim().toUpperCase()),
    fullFidelityDerivation: isFullFidelity(ds),
    rows: number(ds, TAG.Rows) ?? 0,
    columns: number(ds, TAG.Columns) ?? 0,
    frames: number(ds, TAG.NumberOfFrames) ?? 1,
    samplesPerPixel: number(ds, TAG.SamplesPerPixel) ?? 1,
    photometric: text(ds, TAG.PhotometricInterpretation) ?? '',
    bitsAllocated,
    bitsStored,
    highBit: number(ds, TAG.HighBit) ?? bitsStored - 1,
    signed,
    hasPixels: pixels !== undefined && (pixels.fragments !== undefined || pixels.value.length > 0),
    lossyFlag: text(ds, TAG.LossyImageCompression) === '01',
    pixelSpacing: spacing === undefined ? undefined : [spacing[0] ?? 0, spacing[1] ?? 0],
    orientation: finiteList(numbers(ds, TAG.ImageOrientationPatient), 6),
    position: position === undefined ? undefined : [position[0] ?? 0, position[1] ?? 0, position[2] ?? 0],
    thicknessMm: finite(number(ds, TAG.SliceThickness)),
    gantryTiltDegrees: finite(number(ds, TAG.GantryDetectorTilt)),
    acquisition: text(ds, TAG.AcquisitionNumber) ?? '',
    slope: finite(number(ds, TAG.RescaleSlope)),
    intercept: finite(number(ds, TAG.RescaleIntercept)),
    rescaleType: text(ds, TAG.RescaleType) ?? '',
    padding: asStored(number(ds, TAG.PixelPaddingValue), signed),
    paddingLimit: asStored(number(ds, TAG.PixelPaddingRangeLimit), signed),
    kernel: texts(ds, TAG.ConvolutionKernel).join('\\'),
    contrastAgent: (text(ds, TAG.ContrastBolusAgent) ?? '').trim(),
    contrastSequence: items(ds, TAG.ContrastBolusAgentSequence).length > 0,
    kvp: finite(number(ds, TAG.KVP)),
    seriesTime: `${text(ds, TAG.SeriesDate) ?? ''}${text(ds, TAG.SeriesTime) ?? ''}`,
  };
};
