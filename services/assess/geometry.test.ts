// The gates of geometry: what passes, what is refused and with which code, in any order of the files.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { TAG } from '../dicom/dictionary.ts';
import type { DicomFile } from '../dicom/model.ts';
import { element, sequence } from '../dicom/values.ts';
import { newDataset, withElements } from '../dicom/write.ts';
import { judgeGeometry, judgeSeries, type GeometryVerdict } from './geometry.ts';
import { contrastOf, kernelClass } from './header-gates.ts';
import { readSliceHeader } from './slice-header.ts';
import { syntheticSeries, type SyntheticOptions } from './synthetic-series.ts';

const judge = (files: readonly DicomFile[]): GeometryVerdict => judgeGeometry(files.map(readSliceHeader));
const codes = (options: SyntheticOptions): readonly string[] => {
  const verdict = judge(syntheticSeries({ columns: 8, rows: 8, ...options }));
  return verdict.eligible ? [] : verdict.codes;
};
const small = { columns: 8, rows: 8 } as const;
const tilted = (degrees: number): readonly number[] => [
  1,
  0,
  0,
  0,
  Math.cos((degrees * Math.PI) / 180),
  -Math.sin((degrees * Math.PI) / 180),
];

test('a straight axial series is eligible, with shape, spacing, tier and affine', () => {
  const verdict = judge(syntheticSeries({ slices: 50, columns: 48, rows: 40, pixelMm: 8, spacingMm: 5 }));
  if (!verdict.eligible) throw new Error(verdict.codes.join());
  expect(verdict.geometry.shape).toEqual([48, 40, 50]);
  expect(verdict.geometry.spacingMm).toEqual([8, 8, 5]);
  expect(verdict.geometry.tier).toBe('reserve');
  expect(verdict.geometry.coverageMm).toBeCloseTo(250);
  // The last row comes first: j runs to anterior; i to the patient's left.
  expect(verdict.geometry.affine).toEqual([-8, 0, 0, 170, 0, 8, 0, 150 - 39 * 8, 0, 0, 5, -300, 0, 0, 0, 1]);
});

test('the order of the files does not matter', () => {
  const files = syntheticSeries({ ...small, slices: 40 });
  const position = (verdict: GeometryVerdict, from: readonly DicomFile[]): unknown =>
    verdict.eligible ? verdict.geometry.order.map((index) => readSliceHeader(from[index] as DicomFile).position) : verdict;
  const wanted = position(judge(files), files);
  fc.assert(
    fc.property(fc.shuffledSubarray(files, { minLength: files.length }), (shuffled) => {
      const verdict = judge(shuffled);
      expect(verdict.eligible && verdict.geometry.affine).toEqual(
        (judge(files) as Extract<GeometryVerdict, { eligible: true }>).geometry.affine,
      );
      expect(position(verdict, shuffled)).toEqual(wanted);
    }),
    { numRuns: 30 },
  );
});

test('taking out any inner slice is MISSING_SLICE, doubling any is DUPLICATE_POSITION', () => {
  const files = syntheticSeries({ ...small, slices: 60, spacingMm: 4 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 58 }), (at) => {
      expect(judge(files.toSpliced(at, 1))).toMatchObject({ eligible: false, codes: ['MISSING_SLICE'] });
      expect(judge([...files, files[at] as DicomFile])).toMatchObject({ eligible: false, codes: ['DUPLICATE_POSITION'] });
    }),
    { numRuns: 30 },
  );
});

test('moving any slice along the normal beyond the tolerance is refused, within it is not', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 48 }), fc.double({ min: -0.9, max: 0.9, noNaN: true }), (at, part) => {
      const shift = part * 5;
      const moved = codes({ slices: 50, position: (n) => [0, 0, n * 5 + (n === at ? shift : 0)] });
      expect(moved.length > 0).toBe(Math.abs(shift) > 0.1);
    }),
    { numRuns: 60 },
  );
});

describe('refusals', () => {
  test.each<readonly [string, SyntheticOptions]>([
    ['GANTRY_TILT', { position: (at) => [0, Math.tan(0.01) * at * 5, at * 5] }],
    ['GANTRY_TILT', { change: () => [element(TAG.GantryDetectorTilt, 'DS', 12.5)] }],
    ['GANTRY_TILT', { orientation: tilted(15), position: (at) => [0, 0, at * 5] }],
    ['OBLIQUE', { orientation: tilted(9) }],
    ['SHORT_COVERAGE', { slices: 40, spacingMm: 4 }],
    ['TOO_FEW_SLICES', { slices: 23, spacingMm: 8 }],
    ['TOO_FEW_SLICES', { slices: 39, spacingMm: 3 }],
    ['SPACING_TOO_WIDE', { slices: 30, spacingMm: 12 }],
    ['NOT_A_VOLUME', { position: () => [0, 0, 0] }],
    ['NOT_A_VOLUME', { removals: [TAG.ImageOrientationPatient] }],
    ['IRREGULAR_SPACING', { position: (at) => [0, 0, at * 5 + (at > 20 ? 2 : 0)] }],
    ['IRREGULAR_SPACING', { position: (at) => [at === 7 ? 3 : 0, 0, at * 5] }],
    ['NO_PIXEL_SPACING', { removals: [TAG.PixelSpacing] }],
    ['NO_PIXELS', { removals: [TAG.PixelData] }],
    ['NOT_HOUNSFIELD', { removals: [TAG.RescaleSlope] }],
    ['NOT_HOUNSFIELD', { change: () => [element(TAG.RescaleType, 'LO', 'US')] }],
    ['LOCALIZER', { change: () => [element(TAG.ImageType, 'CS', ['ORIGINAL', 'PRIMARY', 'LOCALIZER'])] }],
    ['DERIVED_IMAGE', { change: () => [element(TAG.ImageType, 'CS', ['DERIVED', 'SECONDARY', 'REFORMATTED'])] }],
    ['LOSSY', { change: () => [element(TAG.LossyImageCompression, 'CS', '01')] }],
    ['NOT_CT', { change: () => [element(TAG.SOPClassUID, 'UI', '1.2.840.10008.5.1.4.1.1.4')] }],
    ['MULTI_FRAME', { change: () => [element(TAG.NumberOfFrames, 'IS', 2)] }],
    ['MIXED_GEOMETRY', { change: (at) => (at === 3 ? [element(TAG.PixelSpacing, 'DS', [7, 8])] : []) }],
    ['MIXED_GEOMETRY', { change: (at) => (at === 3 ? [element(TAG.Rows, 'US', 4)] : []) }],
  ])('%s', (code, options) => {
    expect(codes(options)).toContain(code);
  });
});

test('derived images pass by rule: dual-energy mixed, and lossless re-compression', () => {
  expect(codes({ change: () => [element(TAG.ImageType, 'CS', ['DERIVED', 'PRIMARY', 'AXIAL', 'CT_SOM7 SPI DUAL', 'DET_AB'])] })).toEqual(
    [],
  );
  const derivation = withElements(newDataset(), [element(TAG.CodeValue, 'SH', '121327')]);
  const change = () => [element(TAG.ImageType, 'CS', ['DERIVED', 'PRIMARY', 'AXIAL']), sequence(TAG.DerivationCodeSequence, [derivation])];
  expect(codes({ change })).toEqual([]);
});

test('a series of two passes is split by acquisition; one that counts rotations is not', () => {
  const pass = (acquisition: number) =>
    syntheticSeries({ ...small, slices: 48, change: () => [element(TAG.AcquisitionNumber, 'IS', acquisition)] });
  const verdicts = judgeSeries([...pass(1), ...pass(2)].map(readSliceHeader));
  expect(verdicts.map(({ eligible }) => eligible)).toEqual([true, true]);
  expect(codes({ slices: 48, change: (at) => [element(TAG.AcquisitionNumber, 'IS', Math.floor(at / 4))] })).toEqual([]);
});

test('a second orientation in the series is judged by itself', () => {
  const axial = syntheticSeries({ ...small, slices: 48 });
  const coronal = syntheticSeries({ ...small, slices: 20, orientation: [1, 0, 0, 0, 0, -1] });
  const verdict = judge([...coronal, ...axial]);
  expect(verdict.eligible && verdict.geometry.shape[2]).toBe(48);
});

test('contrast: none, given, or uncertain where the signs contradict', () => {
  const contrast = (agent: (at: number) => string) =>
    contrastOf(
      syntheticSeries({ ...small, slices: 4, change: (at) => [element(TAG.ContrastBolusAgent, 'LO', agent(at))] }).map(readSliceHeader),
    );
  expect(contrast(() => '')).toBe('none');
  expect(contrast(() => 'NONE')).toBe('none');
  expect(contrast(() => 'APPLIED')).toBe('given');
  expect(contrast((at) => (at === 0 ? 'Ultravist' : 'none'))).toBe('uncertain');
});

test.each([
  ['B30f', 'soft'],
  ['B70f', 'sharp'],
  ['Br38f\\3', 'soft'],
  ['LUNG', 'sharp'],
  ['STANDARD', 'soft'],
  ['FC51', 'sharp'],
  ['L', 'sharp'],
  ['', 'unknown'],
  ['QQ', 'unknown'],
])('kernel %s is %s', (name, kind) => expect(kernelClass(name)).toBe(kind));
