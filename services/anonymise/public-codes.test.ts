import { describe, expect, test } from '@jest/globals';
import { isPublic, isPublicCode } from './public-codes.ts';
import { item, of } from './test-support.ts';

describe('public codes', () => {
  test.each([
    ['DCM', '113691'],
    ['SCT', '51185008'],
    ['SRT', 'T-D3000'],
    ['SNM3', 'R-10206'],
    ['LN', '24627-2'],
    ['RADLEX', 'RID1301'],
    ['UCUM', 'mGy.cm'],
    ['I10', 'J18.9'],
  ])('%s %s', (scheme, value) => {
    expect(isPublic(scheme, value)).toBe(true);
  });

  test.each([
    ['SCT', 'IVANOV'],
    ['DCM', 'PETROV'],
    ['LN', 'QX-4471190'],
    ['UCUM', 'Petrov'],
    ['I10', 'A77120'],
    ['99HOSP', '113691'],
    ['ICD10', 'J18.9'],
    ['L', '1'],
  ])('%s %s is none', (scheme, value) => {
    expect(isPublic(scheme, value)).toBe(false);
  });

  test('an item without a code, or with a second one of another form, is none', () => {
    const scheme = of('CodingSchemeDesignator', 'SCT');
    expect(isPublicCode(item(scheme))).toBe(false);
    expect(isPublicCode(item(scheme, of('CodeValue', '51185008')))).toBe(true);
    expect(isPublicCode(item(scheme, of('CodeValue', '51185008'), of('LongCodeValue', 'Ivanov 1956')))).toBe(false);
  });
});
