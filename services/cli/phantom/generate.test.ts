import { createHash } from 'node:crypto';
import { expect, test } from '@jest/globals';
import dicomParser from 'dicom-parser';
import { windows1251 } from './attributes.ts';
import {
  DEFECT_NAMES,
  generateStudy,
  phantomVolume,
  type Defect,
  type PhantomFile,
  type PhantomOptions,
  type PhantomTruth,
} from './generate.ts';
import { makePerson } from './people.ts';
import { AFFECTED, LABEL, LUNG } from './thorax.ts';

const SMALL = { seed: 5, index: 0, rows: 64, slices: 10 };
const CLASS_LIMITS = [
  [0, 0],
  [0.1, 25],
  [25, 50],
  [50, 75],
  [75, 100],
] as const;

function collect(options: PhantomOptions): { files: PhantomFile[]; truth: PhantomTruth } {
  const generated = generateStudy(options);
  const files: PhantomFile[] = [];
  let next = generated.next();
  for (; next.done !== true; next = generated.next()) files.push(next.value);
  return { files, truth: next.value };
}

const digest = (files: readonly PhantomFile[]): string => {
  const hash = createHash('sha256');
  for (const { path, bytes } of files) hash.update(path).update(bytes);
  return hash.digest('hex');
};

const inSeries = (files: readonly PhantomFile[], number: number): dicomParser.DataSet[] =>
  files.filter(({ path }) => path.startsWith(`${number}/`)).map(({ bytes }) => dicomParser.parseDicom(Buffer.from(bytes)));

const withDefect = (defect: Defect): PhantomFile[] => collect({ ...SMALL, defect }).files;

/** Distances of the positions of a series, as shares of the smallest; 0 is a duplicate. */
function steps(files: readonly PhantomFile[]): number[] {
  const z = inSeries(files, 2)
    .map((one) => one.floatString('x00200032', 2) ?? Number.NaN)
    .sort((a, b) => a - b);
  return z.slice(1).map((value, i) => Math.round((value - z[i]!) * 100) / 100);
}

test('the same seed gives the same bytes, another seed, study or issuer others', () => {
  const first = digest(collect(SMALL).files);
  expect(digest(collect(SMALL).files)).toBe(first);
  const others = [
    { ...SMALL, seed: 6 },
    { ...SMALL, index: 1 },
    { ...SMALL, issuer: 'C01' },
  ].map((o) => digest(collect(o).files));
  expect(new Set([first, ...others]).size).toBe(4);
});

test.each([0, 1, 2, 3, 4] as const)('CT-%i: the affected share is within its class, by the labels and by the voxels', (severity) => {
  for (const index of [0, 1, 2]) {
    const options = { ...SMALL, rows: 128, slices: 24, index, severity };
    const { volume } = phantomVolume(options);
    let lung = 0;
    let labelled = 0;
    let byVoxel = 0;
    let healthy = 0;
    volume.label.forEach((label, i) => {
      if ((label & LUNG) === 0) return;
      lung++;
      if ((label & AFFECTED) !== 0) labelled++;
      if ((label & LABEL.vessel) !== 0) return;
      healthy++;
      if (volume.hu[i]! > -700 && volume.hu[i]! < 100) byVoxel++;
    });
    const { truth } = severity === 2 && index === 0 ? collect(options) : { truth: undefined };
    const percent = (100 * labelled) / lung;
    const [low, high] = CLASS_LIMITS[severity];
    expect(percent).toBeGreaterThanOrEqual(low);
    expect(percent).toBeLessThanOrEqual(high);
    expect(Math.abs((100 * byVoxel) / healthy - percent)).toBeLessThan(1.5);
    if (truth !== undefined) expect(truth.affectedPercent).toBeCloseTo(percent, 9);
  }
});

test('lungs have a plausible volume and lie wholly inside with a slice of margin', () => {
  const { volume } = phantomVolume({ ...SMALL, rows: 128, slices: 60, spacingMm: 5 });
  const plane = volume.size ** 2;
  const hasLung = Array.from({ length: volume.slices }, (_, k) =>
    volume.label.subarray(k * plane, (k + 1) * plane).some((l) => (l & LUNG) !== 0),
  );
  expect(hasLung.indexOf(true)).toBeGreaterThanOrEqual(2);
  // Not more than 40 mm above the apex, so that no head is in the field.
  const above = volume.slices - 1 - hasLung.lastIndexOf(true);
  expect(above).toBeGreaterThanOrEqual(2);
  expect(above * volume.sliceMm).toBeLessThanOrEqual(40);
  const { truth } = collect(SMALL);
  expect(truth.lungVolumeMl).toBeGreaterThan(2000);
  expect(truth.lungVolumeMl).toBeLessThan(7000);
});

test('a default study has topogram, two kernels, dose sheet and dose report, all of one study', () => {
  const { files, truth } = collect(SMALL);
  expect(inSeries(files, 1)[0]?.string('x00080008')).toBe('ORIGINAL\\PRIMARY\\LOCALIZER');
  expect([2, 3].map((n) => inSeries(files, n).length)).toEqual([10, 10]);
  expect(inSeries(files, 2)[0]?.string('x00181210')).not.toBe(inSeries(files, 3)[0]?.string('x00181210'));
  expect(inSeries(files, 501)[0]?.string('x00280301')).toBe('YES');
  expect(inSeries(files, 502)[0]?.string('x00080016')).toBe('1.2.840.10008.5.1.4.1.1.88.67');
  const parsed = files.map(({ bytes }) => dicomParser.parseDicom(bytes));
  expect(new Set(parsed.map((one) => one.string('x0020000d')))).toEqual(new Set([truth.studyInstanceUid]));
  expect(new Set(parsed.map((one) => one.string('x0020000e')))).toEqual(new Set(truth.seriesUids.map(({ uid }) => uid)));
  expect(new Set(parsed.map((one) => one.string('x00080018'))).size).toBe(files.length);
});

/** Bytes of a text in the encoding that the truth names; ISO 8859-5 by inverting the decoder. */
function encodeAs(text: string, encoding: PhantomTruth['textEncoding']): Buffer {
  if (encoding === 'utf-8') return Buffer.from(text, 'utf8');
  if (encoding === 'latin1') return Buffer.from(text, 'latin1');
  if (encoding === 'windows-1251') return Buffer.from(windows1251(text));
  const table = new TextDecoder('iso-8859-5').decode(Uint8Array.from({ length: 256 }, (_, i) => i));
  return Buffer.from([...text].map((sign) => table.indexOf(sign)));
}

test('every planted identifier is in the bytes, in each of the encodings', () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 60 && seen.size < 4; seed++) {
    const encoding = makePerson(seed, 0, '').encoding.name;
    if (seen.has(encoding)) continue;
    seen.add(encoding);
    for (const defect of [undefined, 'mixed-patients'] as const) {
      const { files, truth } = collect({ seed, index: 0, rows: 32, slices: 4, ...(defect === undefined ? {} : { defect }) });
      expect(truth.textEncoding).toBe(encoding);
      const all = Buffer.concat(files.map(({ bytes }) => bytes));
      expect(truth.identifiers.filter((one) => one === '' || !all.includes(encodeAs(one, encoding)))).toEqual([]);
      expect(truth.identifiers.length).toBeGreaterThan(25);
    }
  }
  expect(seen.size).toBe(4);
});

test('patients: returns of the same person, ages 18 to 95, both sexes, ids that differ by issuer', () => {
  const people = Array.from({ length: 200 }, (_, n) => makePerson(1, n, ''));
  const ages = people.map((one) => 2020 - Number(one.birthDate.slice(0, 4)));
  expect(Math.min(...ages)).toBeGreaterThanOrEqual(18);
  expect(Math.max(...ages)).toBeLessThanOrEqual(95);
  expect(new Set(people.map((one) => one.sex)).size).toBe(2);
  expect(makePerson(1, 3, 'A').name).toBe(makePerson(1, 3, 'B').name);
  expect(makePerson(1, 3, 'A').patientId).not.toBe(makePerson(1, 3, 'B').patientId);
  const ids = Array.from({ length: 12 }, (_, index) => collect({ seed: 1, index, rows: 16, slices: 4 }).truth.patientId);
  expect(new Set(ids).size).toBeLessThan(12);
});

test.each(['1.2.840.10008.1.2.1', '1.2.840.10008.1.2.1.99', '1.2.840.10008.1.2.2'])(
  '%s holds the same pixels as implicit',
  (transferSyntaxUid) => {
    const plain = inSeries(collect(SMALL).files, 2)[3]!;
    const other = inSeries(collect({ ...SMALL, transferSyntaxUid }).files, 2)[3]!;
    const pixels = (one: dicomParser.DataSet): Buffer => {
      const { dataOffset, length } = one.elements['x7fe00010']!;
      return Buffer.from(one.byteArray.subarray(dataOffset, dataOffset + length));
    };
    expect(transferSyntaxUid.endsWith('.2.2') ? pixels(other).swap16() : pixels(other)).toEqual(pixels(plain));
  },
);

test('RLE decodes to the pixels of the implicit study', () => {
  const plain = inSeries(collect(SMALL).files, 2)[3]!;
  const packed = inSeries(collect({ ...SMALL, transferSyntaxUid: '1.2.840.10008.1.2.5' }).files, 2)[3]!;
  const fragment = dicomParser.readEncapsulatedPixelDataFromFragments(packed, packed.elements['x7fe00010']!, 0);
  const header = new DataView(fragment.buffer, fragment.byteOffset);
  const planes = [0, 1].map((n) => unpack(fragment.subarray(header.getUint32(4 + 4 * n, true)), 64 * 64));
  const { dataOffset, length } = plain.elements['x7fe00010']!;
  const expected = plain.byteArray.subarray(dataOffset, dataOffset + length);
  expect(Uint8Array.from(expected, (_, i) => planes[1 - (i % 2)]![i >> 1]!)).toEqual(Uint8Array.from(expected));
});

function unpack(bytes: Uint8Array, count: number): Uint8Array {
  const out = new Uint8Array(count);
  let at = 0;
  for (let to = 0; to < count;) {
    const head = bytes[at++]!;
    if (head === 128) continue;
    const length = head < 128 ? head + 1 : 257 - head;
    for (let i = 0; i < length; i++) out[to++] = bytes[head < 128 ? at + i : at]!;
    at += head < 128 ? length : 1;
  }
  return out;
}

test('each defect is really there', () => {
  const good = collect(SMALL).files;
  const soft = (defect: Defect, n = 0): dicomParser.DataSet => inSeries(withDefect(defect), 2)[n]!;
  expect(new Set(steps(good))).toEqual(new Set([30]));
  expect(soft('tilt').floatString('x00181120')).toBe(7);
  expect(soft('tilt').floatString('x00200037', 5)).toBeCloseTo(-Math.sin((7 * Math.PI) / 180), 5);
  expect(soft('oblique').floatString('x00200037', 4)).toBeCloseTo(Math.cos((15 * Math.PI) / 180), 5);
  expect(steps(withDefect('gap')).filter((mm) => mm === 60)).toHaveLength(1);
  expect(new Set(steps(withDefect('variable-spacing')))).toEqual(new Set([30, 45]));
  expect(steps(withDefect('duplicate-slice')).filter((mm) => mm === 0)).toHaveLength(1);
  expect(soft('padding').int16('x00280120')).toBe(-2000);
  expect(soft('padding').int16('x7fe00010', 0)).toBe(-2000);
  expect(soft('burned-in-text').string('x00280301')).toBe('YES');
  expect(soft('burned-in-text-undeclared').string('x00280301')).toBeUndefined();
  expect(brightInTheCorner(soft('burned-in-text-undeclared'))).toBeGreaterThan(100);
  expect(brightInTheCorner(inSeries(good, 2)[0]!)).toBe(0);
  expect(new Set(inSeries(withDefect('mixed-patients'), 2).map((one) => one.string('x00100020'))).size).toBe(2);
  expect(soft('no-patient-identity').string('x00100020') ?? '').toBe('');
  expect(['x0020000d', 'x0020000e', 'x00080018'].map((tag) => soft('empty-uid').string(tag) ?? '')).toEqual(['', '', '']);
  expect(soft('no-pixels').elements['x7fe00010']).toBeUndefined();
  expect(soft('contrast').string('x00180010')).toBe('IOHEXOL 350');
  expect(soft('contrast-uncertain').string('x00180010')).toBe('NONE');
  expect(soft('contrast-uncertain').elements['x00180012']?.items).toHaveLength(1);
  expect(inSeries(withDefect('short-coverage'), 2)).toHaveLength(5);
  expect(soft('lossy').string('x00282110')).toBe('01');
  expect(soft('embedded-overlay').uint16('x60000102')).toBe(12);
  const size = (files: PhantomFile[], path: string): number => files.find((one) => one.path === path)!.bytes.length;
  expect(size(withDefect('truncated'), '2/0005.dcm')).toBeLessThan(size(good, '2/0005.dcm'));
  const stray = withDefect('not-dicom').find(({ path }) => path === '2/9999.dcm')!;
  expect(() => dicomParser.parseDicom(stray.bytes)).toThrow();
});

/** Stored values of 3000 in the upper left part, where the scan shows air. */
function brightInTheCorner(one: dicomParser.DataSet): number {
  let count = 0;
  for (let r = 0; r < 24; r++) for (let c = 0; c < 64; c++) if (one.uint16('x7fe00010', r * 64 + c) === 3000) count++;
  return count;
}

test('every file but the stray text parses, whatever the defect', () => {
  for (const defect of DEFECT_NAMES) {
    const bad = withDefect(defect).filter(({ bytes }) => {
      try {
        dicomParser.parseDicom(bytes);
        return false;
      } catch {
        return true;
      }
    });
    // dicom-parser accepts pixels that are cut short; the truncated file is shown by its length above.
    expect([defect, bad.length]).toEqual([defect, defect === 'not-dicom' ? 1 : 0]);
  }
});
