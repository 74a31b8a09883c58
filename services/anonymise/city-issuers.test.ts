// Ids of the whole city: form, check digits, and that they win over a centre's own id.
import { afterAll, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { centreId } from '../kernel/ids.ts';
import { readCityIssuers } from '../runtime/city-issuers-file.ts';
import { DEFAULT_IDENTITY_RULES, patientKeyOf } from './identity.ts';

const dir = mkdtempSync(join(tmpdir(), 'city-issuers-'));
afterAll(() => rmSync(dir, { recursive: true }));
const file = (value: unknown): string => {
  const path = join(dir, `${Math.random()}.json`);
  writeFileSync(path, typeof value === 'string' ? value : JSON.stringify(value));
  return path;
};

const issuers = readCityIssuers(
  file([
    { issuer: 'OMS', namespace: 'policy', digits: 16, check: 'luhn' },
    { issuer: 'OMS-MOSCOW', namespace: 'policy', digits: 16, check: 'luhn' },
    { issuer: 'SFR', namespace: 'snils', digits: 11, check: 'snils' },
  ]),
);
const rules = { ...DEFAULT_IDENTITY_RULES, cityIssuers: issuers };
const keyOf = (id: string, others: { id: string; issuer: string }[], centre = 'c01', issuer?: string) =>
  patientKeyOf({ patientIds: [id], issuer, others }, centreId(centre), rules);

describe('city-wide ids', () => {
  test('join a patient of two centres, whatever the spelling and the issuer of the same number', () => {
    const first = keyOf('12345', [{ id: '4539 1488 0343 6467', issuer: 'OMS' }]);
    expect(first).toEqual({ namespace: 'city:policy', patientId: '4539148803436467' });
    expect(keyOf('A-7', [{ id: '4539-1488-0343-6467', issuer: ' OMS-MOSCOW ' }], 'c02')).toEqual(first);
    expect(keyOf('4539148803436467', [], 'c02', 'OMS')).toEqual(first);
  });

  test.each([
    ['4539148803436466', 'OMS'],
    ['453914880343646', 'OMS'],
    ['0000000000000000', 'OMS'],
    ['11223344596', 'SFR'],
    ['4539148803436467', 'ANOTHER'],
  ])('%s of %s is not used: the centre’s own id stands', (id, issuer) => {
    expect(keyOf('12345', [{ id, issuer }])).toEqual({ namespace: 'centre:c01', patientId: '12345' });
  });

  test('112-233-445 95 has the right check digits', () => {
    expect(keyOf('12345', [{ id: '112-233-445 95', issuer: 'SFR' }])).toEqual({ namespace: 'city:snils', patientId: '11223344595' });
  });

  test('a file with errors is refused with all of them, and no file means no city-wide ids', () => {
    expect(() => readCityIssuers(file([{ issuer: '', namespace: 'x', digits: 2, check: 'mod11' }]))).toThrow(/issuer.*digits.*check/s);
    expect(() => readCityIssuers(file('{'))).toThrow('BAD_CONFIG');
    expect(readCityIssuers(undefined).size).toBe(0);
  });
});
