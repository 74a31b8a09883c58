// Small made-up CT series for tests: an elliptic body with two lungs, any geometry, written as real DICOM files.
import { TAG } from '../dicom/dictionary.ts';
import type { DicomFile, Element } from '../dicom/model.ts';
import { element } from '../dicom/values.ts';
import { makeFile, newDataset, withElements } from '../dicom/write.ts';

const CT_IMAGE = '1.2.840.10008.5.1.4.1.1.2';
const EXPLICIT_LITTLE = '1.2.840.10008.1.2.1';

export interface SyntheticOptions {
  readonly slices?: number;
  readonly columns?: number;
  readonly rows?: number;
  readonly pixelMm?: number;
  readonly spacingMm?: number;
  readonly orientation?: readonly number[];
  /** Position of slice `at`; by default along the slice normal from a fixed corner. */
  readonly position?: (at: number) => readonly [number, number, number];
  /** Elements that replace or add to slice `at`'s. */
  readonly change?: (at: number) => readonly Element[];
  readonly removals?: readonly number[];
  readonly series?: string;
  /** Lung density in HU at a voxel of the unit body (x, y, z in -1..1); defaults to -860. */
  readonly lungHu?: (x: number, y: number, z: number) => number;
  /** Part of the scan's length that the lungs take, centred. */
  readonly lungPart?: number;
}

/** HU of the body at x, y in -1..1 across the image and z in -1..1 along the lungs. */
function bodyHu(x: number, y: number, z: number, lungHu: (x: number, y: number, z: number) => number): number {
  if ((x / 0.9) ** 2 + (y / 0.62) ** 2 > 1) return -1000;
  for (const side of [-1, 1]) {
    const inside = ((x - side * 0.42) / 0.3) ** 2 + (y / 0.45) ** 2 + z ** 2;
    if (inside < 1) return lungHu(x, y, z);
  }
  return 40;
}

function cross(o: readonly number[]): readonly [number, number, number] {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = o;
  return [b * f - c * e, c * d - a * f, a * e - b * d];
}

/** One study's series of single-frame CT images; pixel values differ from voxel to voxel so that order shows. */
export function syntheticSeries(options: SyntheticOptions = {}): DicomFile[] {
  const { slices = 48, columns = 48, rows = 40, pixelMm = 8, spacingMm = 5, orientation = [1, 0, 0, 0, 1, 0] } = options;
  const { lungHu = () => -860, lungPart = 0.8, series = '1.2.826.0.1.3680043.10.1.1' } = options;
  const normal = cross(orientation);
  const along = (at: number): readonly [number, number, number] => [
    -170 + normal[0] * at * spacingMm,
    -150 + normal[1] * at * spacingMm,
    -300 + normal[2] * at * spacingMm,
  ];
  return Array.from({ length: slices }, (_, at) => {
    const stored = new Uint16Array(columns * rows);
    const z = (((at + 0.5) / slices) * 2 - 1) / lungPart;
    for (let n = 0; n < stored.length; n++) {
      const x = (((n % columns) + 0.5) / columns) * 2 - 1;
      const y = ((Math.floor(n / columns) + 0.5) / rows) * 2 - 1;
      stored[n] = bodyHu(x, y, z, lungHu) + 1024 + ((n * 7 + at * 13) % 11);
    }
    const sop = `${series}.${at + 1}`;
    const elements: Element[] = [
      element(TAG.ImageType, 'CS', ['ORIGINAL', 'PRIMARY', 'AXIAL']),
      element(TAG.SOPClassUID, 'UI', CT_IMAGE),
      element(TAG.SOPInstanceUID, 'UI', sop),
      element(TAG.Modality, 'CS', 'CT'),
      element(TAG.SliceThickness, 'DS', spacingMm),
      element(TAG.ConvolutionKernel, 'SH', 'B30f'),
      element(TAG.StudyInstanceUID, 'UI', '1.2.826.0.1.3680043.10.1'),
      element(TAG.SeriesInstanceUID, 'UI', series),
      element(TAG.SeriesNumber, 'IS', 1),
      element(TAG.AcquisitionNumber, 'IS', 1),
      element(TAG.InstanceNumber, 'IS', at + 1),
      element(TAG.ImagePositionPatient, 'DS', (options.position ?? along)(at)),
      element(TAG.ImageOrientationPatient, 'DS', orientation),
      element(TAG.SamplesPerPixel, 'US', 1),
      element(TAG.PhotometricInterpretation, 'CS', 'MONOCHROME2'),
      element(TAG.Rows, 'US', rows),
      element(TAG.Columns, 'US', columns),
      element(TAG.PixelSpacing, 'DS', [pixelMm, pixelMm]),
      element(TAG.BitsAllocated, 'US', 16),
      element(TAG.BitsStored, 'US', 12),
      element(TAG.HighBit, 'US', 11),
      element(TAG.PixelRepresentation, 'US', 0),
      element(TAG.RescaleIntercept, 'DS', -1024),
      element(TAG.RescaleSlope, 'DS', 1),
      element(TAG.PixelData, 'OW', new Uint8Array(stored.buffer)),
    ];
    const full = withElements(newDataset(), [...elements, ...(options.change?.(at) ?? [])]);
    const dataset = withElements(full, [], options.removals ?? []);
    return makeFile({ transferSyntaxUid: EXPLICIT_LITTLE, dataset, sopClassUid: CT_IMAGE, sopInstanceUid: sop });
  });
}
