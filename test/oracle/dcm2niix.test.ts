// dcm2niix is the oracle on good series: voxels (after our padding and clamp) and affine are equal. On bad ones it
// mislabels in silence, so there only our refusal is checked.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readNifti, type NiftiImage } from '../../services/assess/nifti.ts';
import { niftiFromFolder } from '../../services/assess/nifti-cli.ts';
import { syntheticSeries, type SyntheticOptions } from '../../services/assess/synthetic-series.ts';
import { TAG } from '../../services/dicom/dictionary.ts';
import { element } from '../../services/dicom/values.ts';
import { writeDicom } from '../../services/dicom/write.ts';
import { REAL_FILES } from '../shared/real-files.ts';

const hasOracle = spawnSync('dcm2niix', ['--version']).error === undefined;
const hasData = existsSync(join(REAL_FILES, 'chest'));
if (!hasOracle) console.warn('skipped: dcm2niix is not installed (Debian: apt-get install dcm2niix)');
if (!hasData) console.warn('skipped: no real CT series; set CTSTREAM_DATA to a folder that has chest/ and geometry/');

let work = '';
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'ctstream-oracle-'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

function oracle(folder: string): NiftiImage {
  const out = mkdtempSync(join(work, 'oracle-'));
  execFileSync('dcm2niix', ['-z', 'n', '-b', 'n', '-f', 'volume', '-o', out, folder], { stdio: 'ignore' });
  const files = readdirSync(out);
  expect(files).toEqual(['volume.nii']);
  return readNifti(readFileSync(join(out, 'volume.nii')));
}

async function ours(folder: string): Promise<NiftiImage> {
  const path = join(mkdtempSync(join(work, 'ours-')), 'volume.nii.gz');
  expect(await niftiFromFolder(folder, path)).toMatchObject({ written: path });
  return readNifti(readFileSync(path));
}

/** Greatest difference of two lists of numbers; NaN-proof. */
function furthest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let most = a.length === b.length ? 0 : Infinity;
  for (let at = 0; at < a.length; at++) {
    const difference = Math.abs((a[at] as number) - (b[at] as number));
    if (!(difference <= most)) most = difference;
  }
  return most;
}

/** Voxels that differ, once padding and range of dcm2niix's, which keeps them as they are, are brought to ours. */
function differing(mine: NiftiImage['data'], theirs: NiftiImage['data']): number {
  let count = mine.length === theirs.length ? 0 : Infinity;
  for (let at = 0; at < mine.length; at++) {
    const value = theirs[at] as number;
    if (mine[at] !== (value < -1024 ? -1024 : value > 3071 ? 3071 : value)) count++;
  }
  return count;
}

async function expectEqual(folder: string): Promise<void> {
  const [mine, theirs] = [await ours(folder), oracle(folder)];
  expect(mine.shape).toEqual(theirs.shape);
  expect(furthest(mine.affine, theirs.affine)).toBeLessThan(1e-3);
  expect(furthest(mine.spacingMm, theirs.spacingMm)).toBeLessThan(1e-4);
  expect(furthest([...mine.quaternion, mine.qfac], [...theirs.quaternion, theirs.qfac])).toBeLessThan(1e-4);
  expect(differing(mine.data, theirs.data)).toBe(0);
}

function folderOf(options: SyntheticOptions): string {
  const folder = mkdtempSync(join(work, 'series-'));
  syntheticSeries(options).forEach((file, at) => writeFileSync(join(folder, `${String(at).padStart(3, '0')}.dcm`), writeDicom(file)));
  return folder;
}

const rotated = (degrees: number): readonly number[] => {
  const [c, s] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  return [1, 0, 0, 0, Number(c.toFixed(9)), Number(s.toFixed(9))];
};

describe('synthetic series equal dcm2niix', () => {
  const cases: readonly (readonly [string, SyntheticOptions])[] = [
    ['axial', {}],
    ['not square, slices numbered from the top', { columns: 60, rows: 36, change: (at) => [element(TAG.InstanceNumber, 'IS', 100 - at)] }],
    ['unequal pixel spacing', { change: () => [element(TAG.PixelSpacing, 'DS', [7.5, 8.25])] }],
    [
      'signed pixels with padding below the range',
      {
        change: () => [
          element(TAG.PixelRepresentation, 'US', 1),
          element(TAG.BitsStored, 'US', 16),
          element(TAG.HighBit, 'US', 15),
          element(TAG.PixelPaddingValue, 'SS', -2000),
        ],
      },
    ],
    ['lying on the front', { orientation: [-1, 0, 0, 0, -1, 0] }],
    ['rows from below', { orientation: [1, 0, 0, 0, -1, 0] }],
    ['mirrored columns', { orientation: [-1, 0, 0, 0, 1, 0] }],
    ['on the side', { orientation: [0, 1, 0, -1, 0, 0] }],
    ['4 degrees oblique', { orientation: rotated(4) }],
    ['thin', { slices: 200, spacingMm: 1.25, columns: 16, rows: 16, pixelMm: 20 }],
  ];
  (hasOracle ? test : test.skip).each(cases)('%s', async (_name, options) => {
    await expectEqual(folderOf(options));
  });
});

describe('real series equal dcm2niix', () => {
  (hasOracle && hasData ? test : test.skip).each(['philips-brilliance16', 'siemens-sensation10/b40f', 'siemens-sensation10/b70f'])(
    '%s',
    async (name) => {
      await expectEqual(join(REAL_FILES, 'chest', name));
    },
  );
});

describe('series that dcm2niix would mislabel are refused', () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['chest/siemens-biograph-j2k', ['TOO_FEW_SLICES', 'SHORT_COVERAGE']],
    ['geometry/ge-tilt-variable-spacing', ['GANTRY_TILT', 'IRREGULAR_SPACING']],
    ['geometry/dicom2nifti-failing/gantrytilting', ['GANTRY_TILT']],
    ['geometry/dicom2nifti-failing/notavolume', ['NOT_A_VOLUME']],
    ['geometry/dicom2nifti-failing/slicecount', ['NOT_CT']],
    ['geometry/dicom2nifti-failing/sliceincrement/001', ['MISSING_SLICE']],
    ['geometry/dicom2nifti-failing/sliceincrement/002', ['MISSING_SLICE', 'GANTRY_TILT']],
    ['geometry/dicom2nifti-failing/sliceorientation', ['NOT_CT']],
  ];
  (hasData ? test : test.skip).each(cases)('%s: %j', async (name, codes) => {
    const out = join(work, 'refused.nii.gz');
    expect(await niftiFromFolder(join(REAL_FILES, name), out)).toMatchObject({ refused: true, codes: expect.arrayContaining([...codes]) });
    expect(existsSync(out)).toBe(false);
  });
});
