// Values, dictionary, UIDs and syntaxes: what they say about the facts of the standard.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { attributeOf, formatTag, isPrivate, isPrivateCreator, keywordOf, TAG, tagOf, vrOf } from './dictionary.ts';
import { ATTRIBUTES } from './dictionary.gen.ts';
import { EXPLICIT_BE, transferSyntaxOf } from './transfer-syntax.ts';
import { isValidUid, isWellKnownUid, SOP_CLASS, uidFromBytes } from './uid.ts';
import { element, number, numbers, text, texts } from './values.ts';
import { newDataset, withElements } from './write.ts';

describe('dictionary', () => {
  test('knows tags, keywords, VRs and multiplicities', () => {
    expect(ATTRIBUTES.trim().split(/\s+/)).toHaveLength(Object.keys(TAG).length);
    expect([TAG.PatientName, keywordOf(0x00100010), vrOf(0x00100010)]).toEqual([0x00100010, 'PatientName', 'PN']);
    expect(attributeOf(TAG.ImageOrientationPatient)).toEqual({ keyword: 'ImageOrientationPatient', vrs: ['DS'], vm: '6', retired: false });
    expect(attributeOf(TAG.PixelData)?.vrs).toEqual(['OB', 'OW']);
    expect([vrOf(TAG.PixelData), vrOf(TAG.PixelPaddingValue), vrOf(0x00080000)]).toEqual(['OW', 'US', 'UL']);
    expect(attributeOf(0x00100050)?.keyword).toBe('PatientInsurancePlanCodeSequence');
  });

  test('repeating groups, private and unknown tags', () => {
    expect([keywordOf(0x60023000), vrOf(0x60023000), keywordOf(0x50041001)]).toEqual(['OverlayData', 'OW', 'CurveActivationLayer']);
    expect([keywordOf(0x60013000), keywordOf(0x00100001), vrOf(0x00290010), vrOf(0x00291010)]).toEqual([
      undefined,
      undefined,
      'LO',
      undefined,
    ]);
    expect([tagOf('StudyInstanceUID'), tagOf('OverlayData'), formatTag(0x7fe00010)]).toEqual([0x0020000d, 0x60003000, '(7FE0,0010)']);
    expect(() => tagOf('toString')).toThrow('UNKNOWN_KEYWORD');
    expect([isPrivate(0x00290010), isPrivate(0x00280010), isPrivateCreator(0x00290010), isPrivateCreator(0x00291010)]).toEqual([
      true,
      false,
      true,
      false,
    ]);
  });
});

describe('values', () => {
  const of = (...all: Parameters<typeof withElements>[1][]): ReturnType<typeof newDataset> =>
    withElements(
      newDataset(),
      all.flatMap((one) => [...one]),
    );

  test('are padded to even length as their VR wants', () => {
    expect([...element(TAG.SOPInstanceUID, 'UI', '1.2').value]).toEqual([49, 46, 50, 0]);
    expect([...element(TAG.PatientID, 'LO', 'abc').value]).toEqual([97, 98, 99, 32]);
    expect([...element(TAG.EncapsulatedDocument, 'OB', Uint8Array.of(1)).value]).toEqual([1, 0]);
    expect([...element(TAG.Rows, 'US', 258, { littleEndian: false, charset: [] }).value]).toEqual([1, 2]);
  });

  test('read trimmed, with inner empty values kept and numbers that are none as NaN', () => {
    const ds = of([
      element(TAG.ImageType, 'CS', ['A ', '', ' B']),
      element(TAG.PixelSpacing, 'DS', [' 0.5', 'x']),
      element(TAG.InstanceNumber, 'IS', ' 12 '),
      element(TAG.PatientComments, 'LT', '  a\\b  '),
    ]);
    expect(texts(ds, TAG.ImageType)).toEqual(['A', '', 'B']);
    expect(numbers(ds, TAG.PixelSpacing)).toEqual([0.5, Number.NaN]);
    expect([number(ds, TAG.InstanceNumber), text(ds, TAG.PatientComments)]).toEqual([12, '  a\\b']);
    expect([number(ds, TAG.Rows), text(ds, TAG.PatientID), texts(ds, TAG.PatientID), numbers(ds, TAG.Rows)]).toEqual([
      undefined,
      undefined,
      [],
      [],
    ]);
  });

  test('that a VR can not hold are refused', () => {
    expect(() => element(TAG.Rows, 'US', 65536)).toThrow('BAD_VALUE: a number that the VR can not hold at (0028,0010)');
    expect(() => element(TAG.InstanceNumber, 'IS', 1.5)).toThrow('BAD_VALUE');
    expect(() => element(TAG.SliceThickness, 'DS', Number.NaN)).toThrow('BAD_VALUE');
    expect(() => element(TAG.PatientComments, 'LT', ['a', 'b'])).toThrow('BAD_VALUE');
    expect(() => element(TAG.PatientName, 'PN', 'Иванов')).toThrow('UNENCODABLE_TEXT');
    expect(() => element(TAG.RequestAttributesSequence, 'SQ', '')).toThrow('BAD_VALUE');
  });

  test('decimal strings fit 16 characters and lose as little as they can', () => {
    expect(text(of([element(TAG.SliceThickness, 'DS', -1 / 3)]), TAG.SliceThickness)).toBe('-0.3333333333333');
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        const ds = of([element(TAG.SliceThickness, 'DS', value)]);
        expect(text(ds, TAG.SliceThickness)?.length).toBeLessThanOrEqual(16);
        expect(Math.abs((number(ds, TAG.SliceThickness) ?? Number.NaN) - value)).toBeLessThanOrEqual(Math.abs(value) * 1e-8);
      }),
    );
  });
});

describe('UIDs', () => {
  test('well known ones are those of the standard only', () => {
    expect([SOP_CLASS.CTImageStorage, EXPLICIT_BE, '1.2.840.10008.6.1.377', '2.16.840.1.113883.6.96'].map(isWellKnownUid)).toEqual([
      true,
      true,
      true,
      true,
    ]);
    expect(['1.2.840.10008.99.1', '1.2.840.113619.2.55', '2.25.1', '', '1.2.840.10008.6.1.12345'].map(isWellKnownUid)).toEqual([
      false,
      false,
      false,
      false,
      false,
    ]);
    expect(Object.values(SOP_CLASS).filter((uid) => !isWellKnownUid(uid))).toEqual([]);
  });

  test('from 128 bits are valid, distinct UUIDs', () => {
    expect(uidFromBytes(new Uint8Array(16))).toBe(`2.25.${(0x8000n << 64n) | (0x8000n << 48n)}`);
    expect(uidFromBytes(new Uint8Array(16).fill(255))).toBe(`2.25.${BigInt('0xffffffffffff8fffbfffffffffffffff')}`);
    expect(isValidUid(uidFromBytes(new Uint8Array(16).fill(255)))).toBe(true);
    expect(['1.02', '1..2', '1', 'x.1', `1.${'2'.repeat(63)}`].map(isValidUid)).toEqual([false, false, false, false, false]);
  });

  test('syntaxes say how to read them', () => {
    expect(transferSyntaxOf(EXPLICIT_BE)).toMatchObject({ explicit: true, littleEndian: false, encapsulated: false, lossy: false });
    expect(transferSyntaxOf('1.2.840.10008.1.2.4.91')).toMatchObject({ encapsulated: true, lossy: 'maybe' });
    expect(transferSyntaxOf('1.2.840.10008.1.2.4.50')?.lossy).toBe(true);
    expect(transferSyntaxOf('1.2.3')).toBeUndefined();
  });
});
