// The Hounsfield volume and its NIfTI file: voxel order, padding, clamp, rescale, affine, bytes.
import { expect, test } from '@jest/globals';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { TAG } from '../dicom/dictionary.ts';
import type { DicomFile } from '../dicom/model.ts';
import { element } from '../dicom/values.ts';
import { buildVolume, judgeSource } from './assess-series.ts';
import { niftiChunks, niftiGzip, niftiSha256, readNifti } from './nifti.ts';
import { syntheticSeries, type SyntheticOptions } from './synthetic-series.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { readSliceHeader } from './slice-header.ts';
import { cropSlices, volumeBytes, type Volume } from './volume.ts';

const volumeOf = async (files: readonly DicomFile[]): Promise<Volume> => {
  const judged = await judgeSource({ series: 'x', files: () => files });
  if (!judged.eligible) throw new Error(judged.codes.join());
  return buildVolume(judged);
};
const make = (options: SyntheticOptions = {}): DicomFile[] => syntheticSeries({ slices: 48, columns: 12, rows: 10, ...options });
const gzipped = async (volume: Volume): Promise<Buffer> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of niftiGzip(volume)) chunks.push(chunk);
  return Buffer.concat(chunks);
};
const pixels = (value: number) =>
  element(
    TAG.PixelData,
    'OW',
    Array.from({ length: 120 }, () => value),
  );

test('rows come from the last one up, slices from low to high along the normal', async () => {
  const ramp = (at: number) =>
    element(
      TAG.PixelData,
      'OW',
      Array.from({ length: 120 }, (_, n) => 1024 + n + at),
    );
  const files = make({ change: (at) => [ramp(at)] });
  const volume = await volumeOf(files.toReversed());
  expect(volume.data).toBeInstanceOf(Int16Array);
  // First voxel: slice 0, last row (9), first column.
  expect(volume.data[0]).toBe(9 * 12);
  expect(volume.data[12]).toBe(8 * 12);
  expect(volume.data[120]).toBe(9 * 12 + 1);
});

test('what real scanners make has room, what fills a memory has not', () => {
  const fits = (shape: readonly [number, number, number], spacingMm: readonly [number, number, number], slope = 1): boolean => {
    const headers = make({ slices: 1, change: () => [element(TAG.RescaleSlope, 'DS', slope)] }).map(readSliceHeader);
    return volumeBytes({ shape, spacingMm }, headers) <= DEFAULT_LIMITS.volumeBytes;
  };
  expect(fits([512, 512, 2000], [0.98, 0.98, 1])).toBe(true);
  expect(fits([1024, 1024, 600], [0.5, 0.5, 0.5])).toBe(true);
  expect(fits([512, 512, 1000], [0.8, 0.8, 1], 0.5)).toBe(true);
  expect(fits([1024, 1024, 1200], [0.5, 0.5, 0.5])).toBe(false);
  // Float voxels take twice as much; a coarse volume makes a large grid to find the lungs on.
  expect(fits([1024, 1024, 600], [0.5, 0.5, 0.5], 0.5)).toBe(false);
  expect(fits([512, 512, 1000], [2, 2, 2])).toBe(false);
});

test('a random order of the files gives the same bytes', async () => {
  const files = make();
  const wanted = niftiSha256(await volumeOf(files));
  await fc.assert(
    fc.asyncProperty(fc.shuffledSubarray(files, { minLength: files.length }), async (shuffled) => {
      expect(niftiSha256(await volumeOf(shuffled))).toBe(wanted);
    }),
    { numRuns: 15 },
  );
});

test('padding becomes -1024 before rescale, range limit included; what is beyond -1024..3071 is clamped and counted', async () => {
  const change = (at: number) => [
    element(TAG.PixelPaddingValue, 'US', 10),
    element(TAG.PixelPaddingRangeLimit, 'US', 5),
    element(TAG.RescaleIntercept, 'DS', at === 2 ? -1500 : at === 3 ? 0 : -1024),
    pixels(at === 0 ? 7 : at === 1 ? 1000 : at === 2 ? 100 : at === 3 ? 4000 : 1024),
  ];
  const { data, paddedVoxels, clampedVoxels } = await volumeOf(make({ change }));
  expect([0, 1, 2, 3, 4].map((at) => data[at * 120])).toEqual([-1024, -24, -1024, 3071, 0]);
  expect(paddedVoxels).toBe(120);
  expect(clampedVoxels).toBe(240);
});

test('slope and intercept of each slice; float32 where a slope is not 1', async () => {
  const change = (at: number) => [
    element(TAG.RescaleSlope, 'DS', at === 1 ? 0.5 : 1),
    element(TAG.RescaleIntercept, 'DS', -at),
    pixels(101),
  ];
  const { data } = await volumeOf(make({ change }));
  expect(data).toBeInstanceOf(Float32Array);
  expect([0, 1, 2].map((at) => data[at * 120])).toEqual([101, 49.5, 99]);
});

test('signed padding that was written as unsigned is still padding', async () => {
  const change = () => [
    element(TAG.PixelRepresentation, 'US', 1),
    element(TAG.BitsStored, 'US', 16),
    element(TAG.HighBit, 'US', 15),
    element(TAG.PixelPaddingValue, 'US', 63536),
    element(TAG.RescaleIntercept, 'DS', 0),
    pixels(63536),
  ];
  const { data, paddedVoxels } = await volumeOf(make({ change }));
  expect(data[0]).toBe(-1024);
  expect(paddedVoxels).toBe(120 * 48);
});

test('a NIfTI file reads back: shape, spacing, sform = qform, voxels; gzip is the same each time and names no system or time', async () => {
  const volume = await volumeOf(make());
  const file = await gzipped(volume);
  expect(Buffer.concat([...niftiChunks(volume)]).equals(gunzipSync(file))).toBe(true);
  expect((await gzipped(volume)).equals(file)).toBe(true);
  expect([...file.subarray(4, 10)]).toEqual([0, 0, 0, 0, 0, 255]);
  const image = readNifti(file);
  expect(image.shape).toEqual([12, 10, 48]);
  expect(image.spacingMm).toEqual([8, 8, 5]);
  expect(image.affine).toEqual(volume.affine);
  expect([image.sformCode, image.qformCode]).toEqual([1, 1]);
  expect(image.data).toEqual(volume.data);
  // An ordinary axial scan is a half turn about y of a left-handed frame: (0, 1, 0), qfac -1.
  expect([...image.quaternion, image.qfac]).toEqual([0, 1, 0, -1]);
});

/** Affine that nifti1.h METHOD 2 makes of the quaternion. */
const fromQuaternion = ({ quaternion: [b, c, d], qfac, spacingMm }: ReturnType<typeof readNifti>): number[][] => {
  const a = Math.sqrt(Math.max(0, 1 - b * b - c * c - d * d));
  const r = [
    [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
    [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
    [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
  ];
  return r.map((row) => row.map((value, at) => value * (spacingMm[at] as number) * (at === 2 ? qfac : 1)));
};

test('qform and sform agree for any small obliqueness and each way of lying', async () => {
  const rad = (degrees: number): number => (degrees * Math.PI) / 180;
  await fc.assert(
    fc.asyncProperty(
      fc.double({ min: -5, max: 5, noNaN: true }),
      fc.double({ min: -180, max: 180, noNaN: true }),
      fc.boolean(),
      async (tilt, turn, flip) => {
        const f = flip ? -1 : 1;
        const [c, s, ct, st] = [Math.cos(rad(turn)), Math.sin(rad(turn)), Math.cos(rad(tilt)), Math.sin(rad(tilt))];
        const orientation = [c, s * ct, s * st, -s * f, c * ct * f, c * st * f].map((v) => Number(v.toFixed(9)));
        const image = readNifti(Buffer.concat([...niftiChunks(await volumeOf(make({ orientation })))]));
        const turned = fromQuaternion(image).flat();
        const sform = [0, 1, 2, 4, 5, 6, 8, 9, 10].map((at) => image.affine[at] as number);
        // b, c and d are float32; near a half turn a = sqrt(1 - b2 - c2 - d2) is off by up to sqrt(6 x 2^-25) = 4.2e-4,
        // and an element of the matrix by twice that, times the spacing: the format can't say it closer.
        const bound = 8.5e-4 * Math.max(...image.spacingMm.slice(0, 3));
        turned.forEach((value, at) => expect(Math.abs(value - (sform[at] as number))).toBeLessThan(bound));
      },
    ),
    { numRuns: 40 },
  );
});

test('a crop keeps the place of its voxels', async () => {
  const volume = await volumeOf(make());
  const cropped = cropSlices(volume, 3, 40);
  expect(cropped.shape).toEqual([12, 10, 38]);
  expect(cropped.affine[11]).toBe(-300 + 3 * 5);
  expect(cropped.data[0]).toBe(volume.data[3 * 120]);
});
