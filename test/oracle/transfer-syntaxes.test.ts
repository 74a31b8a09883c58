// Decoding against others' encoders: a slice compressed by dcmtk or gdcm decodes to the values it had, and the real files
// of each syntax to those of their uncompressed original.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodePixels } from '../../services/assess/pixels.ts';
import { syntheticSeries, type SyntheticOptions } from '../../services/assess/synthetic-series.ts';
import { TAG } from '../../services/dicom/dictionary.ts';
import { readDicom } from '../../services/dicom/read.ts';
import { element } from '../../services/dicom/values.ts';
import { writeDicom } from '../../services/dicom/write.ts';
import { REAL_FILES } from '../shared/real-files.ts';

const data = join(REAL_FILES, 'edge');
const hasData = existsSync(join(data, 'transfer-syntaxes'));
if (!hasData) console.warn('skipped: no real files of each transfer syntax; set CTSTREAM_DATA to a folder that has edge/');

const has = (tool: string): boolean => spawnSync(tool, ['--version']).error === undefined;
const missing = ['dcmcjpeg', 'dcmcjpls', 'dcmcrle', 'gdcmconv'].filter((tool) => !has(tool));
if (missing.length > 0)
  console.warn(`skipped where needed: ${missing.join(', ')} not installed (Debian: apt-get install dcmtk libgdcm-tools)`);

let work = '';
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'ctstream-syntaxes-'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

const valuesOf = async (path: string): Promise<Int32Array> => (await decodePixels(readDicom(readFileSync(path)))).values;

/** Whether two lists are equal, without printing a quarter of a million numbers where they are not. */
function differing(a: Int32Array, b: Int32Array): number {
  let count = a.length === b.length ? 0 : Infinity;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) count++;
  return count;
}

const ENCODERS: readonly (readonly [string, string, readonly string[]])[] = [
  ['RLE', 'dcmcrle', []],
  ['JPEG lossless .70', 'dcmcjpeg', ['+e1']],
  ['JPEG lossless .57, predictor 6', 'dcmcjpeg', ['+el', '+sv', '6']],
  ['JPEG-LS .80', 'dcmcjpls', []],
  ['JPEG-LS .80 of small fragments', 'dcmcjpls', ['+fs', '1']],
  ['JPEG 2000 .90', 'gdcmconv', ['--j2k']],
];

const LAYOUTS: readonly (readonly [string, SyntheticOptions])[] = [
  ['12 bits unsigned', {}],
  [
    '16 bits signed',
    {
      change: () => [
        element(TAG.PixelRepresentation, 'US', 1),
        element(TAG.BitsStored, 'US', 16),
        element(TAG.HighBit, 'US', 15),
        element(
          TAG.PixelData,
          'OW',
          Array.from({ length: 48 * 40 }, (_, n) => (n % 9 === 0 ? 0x10000 - 2000 + (n % 5) : (n * 31) % 3000)),
        ),
      ],
    },
  ],
];

describe.each(LAYOUTS)('%s', (_layout, options) => {
  describe.each(ENCODERS)('%s by %s', (name, tool, flags) => {
    (has(tool) ? test : test.skip)('decodes to what was encoded', async () => {
      const [file] = syntheticSeries({ slices: 1, ...options });
      if (file === undefined) throw new Error('no slice');
      const plain = join(mkdtempSync(join(work, 'syntax-')), 'plain.dcm');
      const encoded = `${plain}.encoded`;
      writeFileSync(plain, writeDicom(file));
      execFileSync(tool, [...flags, plain, encoded], { stdio: 'ignore' });
      expect([name, differing(await valuesOf(encoded), await valuesOf(plain))]).toEqual([name, 0]);
      expect(readDicom(readFileSync(encoded)).transferSyntaxUid).not.toBe('1.2.840.10008.1.2.1');
    });
  });
});

describe('real files', () => {
  const original = join(data, 'transfer-syntaxes/CTImage.dcm');
  const real = hasData ? test : test.skip;

  real.each([
    'BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2',
    'DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99',
    'JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90',
    'JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80',
    'JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70',
    'JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57',
    'LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1',
    'LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2',
    'RLELosslessTransferSyntax_1.2.840.10008.1.2.5',
  ])('%s equals the original', async (name) => {
    expect(differing(await valuesOf(`${original}_${name}.dcm`), await valuesOf(original))).toBe(0);
  });

  real('near-lossless JPEG-LS says that it is lossy, and comes near', async () => {
    const { values, lossy } = await decodePixels(
      readDicom(readFileSync(`${original}_JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm`)),
    );
    const wanted = await valuesOf(original);
    expect(lossy).toBe(true);
    expect(values.every((value, at) => Math.abs(value - (wanted[at] as number)) <= 2)).toBe(true);
  });

  real.each(['CT0012.fragmented_no_bot_jpeg_baseline.51.dcm', 'CTImage.dcm_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm'])(
    '%s is UNSUPPORTED_SYNTAX',
    async (name) => {
      await expect(valuesOf(join(data, 'transfer-syntaxes', name))).rejects.toMatchObject({ code: 'UNSUPPORTED_SYNTAX' });
    },
  );

  real('a JPEG 2000 code stream whose sign disagrees with PixelRepresentation is read by the data set', async () => {
    // The least and the greatest value, and the sum, as pydicom reads them.
    const values = await valuesOf(join(data, 'pydicom/test_files/J2K_pixelrep_mismatch.dcm'));
    const facts = values.reduce(([least, most, sum], v) => [Math.min(least, v), Math.max(most, v), sum + v] as const, [
      Infinity,
      -Infinity,
      0,
    ] as readonly [number, number, number]);
    expect(facts).toEqual([-2000, 1896, -172605258]);
  });

  real.each(['bot', 'no_bot'])('fragmented JPEG-LS with %s equals the uncompressed one', async (table) => {
    const folder = join(data, 'encapsulation/encapsulated/single-frame');
    const plain = await valuesOf(join(folder, 'CT1_UNC.explicit_little_endian.dcm'));
    expect(differing(await valuesOf(join(folder, `CT1_UNC.fragmented_${table}_jpeg_ls.80.dcm`)), plain)).toBe(0);
  });
});
