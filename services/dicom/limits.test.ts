// What a file may cost: refusals by limit, before anything of that size is allocated.
import { expect, test } from '@jest/globals';
import { DicomError, readDicom } from './read.ts';
import type { ReadLimits } from './read.ts';
import { sampleDataset, sampleFile } from './samples.ts';
import { DEFLATED_LE, EXPLICIT_LE, IMPLICIT_LE } from './transfer-syntax.ts';
import { TAG } from './dictionary.ts';
import type { Element } from './model.ts';
import { element, sequence } from './values.ts';
import { makeFile, newDataset, withElements, writeDicom } from './write.ts';

const fileOf = (changes: readonly Element[], syntax: string): Uint8Array =>
  writeDicom(
    makeFile({ transferSyntaxUid: syntax, dataset: withElements(sampleDataset(), changes), sopClassUid: '1.2', sopInstanceUid: '1.2.3' }),
  );

const codeOf = (bytes: Uint8Array, limits?: ReadLimits): string => {
  try {
    readDicom(bytes, limits);
    return 'read';
  } catch (error) {
    if (error instanceof DicomError) return error.code;
    throw error;
  }
};

const ofSize = (tag: number, vr: Element['vr'], size: number): Element => element(tag, vr, Buffer.alloc(size, '1'));

test.each<[string, Element, string, string]>([
  ['a short text', ofSize(TAG.PatientName, 'PN', 0xfffe), IMPLICIT_LE, 'read'],
  ['a name over 64 KiB', ofSize(TAG.PatientName, 'PN', 0x10000), IMPLICIT_LE, 'LIMIT_EXCEEDED'],
  ['a name over 64 KiB in UN', ofSize(TAG.PatientName, 'UN', 0x10000), EXPLICIT_LE, 'LIMIT_EXCEEDED'],
  ['a name over 64 KiB in OB', ofSize(TAG.PatientName, 'OB', 0x10000), EXPLICIT_LE, 'LIMIT_EXCEEDED'],
  ['a long text', ofSize(TAG.TextValue, 'UT', 1 << 20), EXPLICIT_LE, 'read'],
  ['a text over 1 MiB', ofSize(TAG.TextValue, 'UT', (1 << 20) + 2), EXPLICIT_LE, 'LIMIT_EXCEEDED'],
  ['many decimals, as contours have them', ofSize(TAG.ContourData, 'DS', 1 << 21), IMPLICIT_LE, 'read'],
  ['unknown bytes of any length', ofSize(0x00091003, 'UN', 1 << 22), EXPLICIT_LE, 'read'],
])('%s', (_what, one, syntax, expected) => {
  expect(codeOf(fileOf([one], syntax))).toBe(expected);
});

test('a deflated dataset inflates to 64 MiB or 32 times its size', () => {
  const zeros = (size: number): Element => element(0x00091003, 'OB', new Uint8Array(size));
  expect(codeOf(fileOf([zeros(60 << 20)], DEFLATED_LE))).toBe('read');
  expect(codeOf(fileOf([zeros(65 << 20)], DEFLATED_LE))).toBe('LIMIT_EXCEEDED');
});

test('items count as elements do', () => {
  const items = sequence(
    TAG.ReferencedStudySequence,
    Array.from({ length: 300 }, () => newDataset()),
  );
  expect(codeOf(fileOf([items], EXPLICIT_LE), { maxElements: 250 })).toBe('LIMIT_EXCEEDED');
  expect(codeOf(fileOf([items], EXPLICIT_LE))).toBe('read');
});

test('an element of the file meta in the dataset is refused: written again it would be taken for meta', () => {
  expect(
    codeOf(fileOf([sequence(TAG.ReferencedStudySequence, [withElements(newDataset(), [element(0x00020003, 'UI', '1.2')])])], EXPLICIT_LE)),
  ).toBe('BAD_ELEMENT');
});

test('of a thousand character sets the first 32 count', () => {
  const sets = element(
    TAG.SpecificCharacterSet,
    'CS',
    Array.from({ length: 60 }, () => 'ISO 2022 IR 144'),
  );
  expect(readDicom(fileOf([sets], EXPLICIT_LE)).dataset.charset).toHaveLength(32);
});

test('a length of 4 GB in a file of 1 KB is TRUNCATED', () => {
  const bytes = writeDicom(sampleFile(EXPLICIT_LE)).slice();
  const at = Buffer.from(bytes).indexOf(Uint8Array.of(0xe0, 0x7f, 0x10, 0x00));
  new DataView(bytes.buffer).setUint32(at + 8, 0xfffffff0, true);
  expect(codeOf(bytes)).toBe('TRUNCATED');
});
