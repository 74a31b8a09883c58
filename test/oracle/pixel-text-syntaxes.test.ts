// Text burned into pixels is found whatever the pixels are stored as; the encoders are dcmtk's and gdcm's, not ours.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { textDetector } from '../../services/anonymise/burned-in-text.ts';
import { planted, textMask } from '../../services/anonymise/pixel-text-plant.ts';
import { seenPixels } from '../../services/anonymise/pixels-seen.ts';
import { ctFile, of } from '../../services/anonymise/test-support.ts';
import { TAG } from '../../services/dicom/dictionary.ts';
import { readDicom } from '../../services/dicom/read.ts';
import { element } from '../../services/dicom/values.ts';
import { writeDicom } from '../../services/dicom/write.ts';

const SIZE = 128;
const ENCODERS = [
  { what: 'JPEG-LS lossless', syntax: '1.2.840.10008.1.2.4.80', command: ['dcmcjpls'] },
  { what: 'JPEG lossless', syntax: '1.2.840.10008.1.2.4.70', command: ['dcmcjpeg', '+e1'] },
  { what: 'RLE', syntax: '1.2.840.10008.1.2.5', command: ['dcmcrle'] },
  { what: 'explicit big endian', syntax: '1.2.840.10008.1.2.2', command: ['dcmconv', '+tb'] },
  { what: 'deflated', syntax: '1.2.840.10008.1.2.1.99', command: ['dcmconv', '+td'] },
  { what: 'JPEG 2000 lossless', syntax: '1.2.840.10008.1.2.4.90', command: ['gdcmconv', '--j2k'] },
] as const;

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'pixel-text-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A file of noise, with text or without. */
const source = (bits: 8 | 16, text: string): string => {
  const clean = Int32Array.from({ length: SIZE * SIZE }, (_, i) => 60 + (Math.imul(i + 1, 2_654_435_761) >>> 27));
  const value = bits === 8 ? 255 : 4095;
  const { pixels } = planted({ rows: SIZE, columns: SIZE, pixels: clean }, textMask(text, 'bold', 12), [10, 40], { value });
  const stored = bits === 8 ? Uint8Array.from(pixels) : new Uint8Array(Uint16Array.from(pixels).buffer);
  const changes = [of('Rows', SIZE), of('Columns', SIZE), element(TAG.PixelData, 'OW', stored)];
  if (bits === 8) changes.push(of('BitsAllocated', 8), of('BitsStored', 8), of('HighBit', 7));
  const path = join(dir, `${bits}${text === '' ? '-clean' : ''}.dcm`);
  writeFileSync(path, writeDicom(ctFile({ changes })));
  return path;
};

describe.each([16, 8] as const)('%i bits', (bits) => {
  test.each(ENCODERS)('$what', ({ what, syntax, command: [tool, ...options] }) => {
    if (spawnSync(tool, ['--version']).error !== undefined) {
      process.stderr.write(`skipped ${what}: ${tool} is not installed (Debian: dcmtk, libgdcm-tools)\n`);
      return;
    }
    for (const text of ['PETROVA', '']) {
      const encoded = join(dir, 'encoded.dcm');
      const { status, stderr } = spawnSync(tool, [...options, source(bits, text), encoded], { encoding: 'utf8' });
      expect({ status, stderr }).toMatchObject({ status: 0 });
      const file = readDicom(readFileSync(encoded));
      expect(file.transferSyntaxUid).toBe(syntax);
      const detector = textDetector();
      detector.add('series', file.dataset, seenPixels(file));
      expect(detector.found()).toEqual(text === '' ? [] : ['series']);
    }
  });
});
