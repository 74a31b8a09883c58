import { describe, expect, test } from '@jest/globals';
import { centreId } from '../kernel/ids.ts';
import { patientKeyOf } from './identity.ts';
import { patientKeyOfText } from './withdraw-ids.ts';

describe('ISSUER:ID', () => {
  const fromFile = (patientId: string, issuer?: string) => patientKeyOf({ patientIds: [patientId], issuer, others: [] }, centreId('c01'));

  test.each([
    ['HOSP-1:12345', fromFile('12345', 'HOSP-1')],
    ['issuer:HOSP-1:12345', fromFile('12345', 'HOSP-1')],
    ['HOSP-1:a:b', fromFile('a:b', 'HOSP-1')],
    ['Поликлиника 9: 77 ', fromFile('77', 'Поликлиника 9')],
    ['centre:c01:12345', fromFile('12345')],
  ])('%s is the key that a file with both gives', (text, key) => {
    expect(patientKeyOfText(text)).toEqual(key);
  });

  test.each(['12345', ':12345', 'HOSP-1:', 'HOSP-1:UNKNOWN', 'HOSP-1:0', ''])('%p can be nobody', (text) => {
    expect(patientKeyOfText(text)).toBeUndefined();
  });
});
