import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { centreId } from '../kernel/ids.ts';
import type { ClinicalRevision } from '../kernel/ids.ts';
import { isValidUid } from '../dicom/uid.ts';
import { DEFAULT_IDENTITY_RULES, patientKeyOf, researchRevision, researchStudyId, subjectIdentity } from './identity.ts';

const secret = fc.uint8Array({ minLength: 32, maxLength: 32 });
const uid = fc.array(fc.integer({ min: 0, max: 999_999 }), { minLength: 1, maxLength: 6 }).map((parts) => `1.2.643.${parts.join('.')}`);
const c01 = centreId('c01');
const c02 = centreId('c02');
const stated = (patientId: string | string[], issuer?: string, others: { id: string; issuer: string }[] = []) => ({
  patientIds: Array.isArray(patientId) ? patientId : [patientId],
  issuer,
  others,
});

describe('identity by secret', () => {
  test('UIDs are valid, stable, distinct for distinct UIDs, and another patient has others', () => {
    fc.assert(
      fc.property(secret, fc.uniqueArray(uid, { maxLength: 20 }), (key, uids) => {
        const mapped = uids.map(subjectIdentity(key).mapUid);
        expect(new Set(mapped).size).toBe(uids.length);
        expect(uids.map(subjectIdentity(key).mapUid)).toEqual(mapped);
        for (const one of mapped) expect(isValidUid(one) && one.startsWith('2.25.')).toBe(true);
        const other = Uint8Array.from(key, (byte) => byte ^ 1);
        for (const one of uids) expect(mapped).not.toContain(subjectIdentity(other).mapUid(one));
      }),
    );
  });

  test('well-known UIDs stay', () => {
    const { mapUid } = subjectIdentity(new Uint8Array(32));
    expect(mapUid('1.2.840.10008.5.1.4.1.1.2')).toBe('1.2.840.10008.5.1.4.1.1.2');
  });

  test('the shift is whole weeks, at least 52, never none, in both directions', () => {
    const shifts = fc.sample(secret, 300).map((key) => subjectIdentity(key).shiftDays);
    for (const days of shifts) {
      expect(Math.abs(days % 7)).toBe(0);
      expect(Math.abs(days)).toBeGreaterThanOrEqual(364);
      expect(Math.abs(days)).toBeLessThanOrEqual(728);
    }
    expect(shifts.some((days) => days < 0) && shifts.some((days) => days > 0)).toBe(true);
  });

  test('a shift under a year is refused', () => {
    expect(() => subjectIdentity(new Uint8Array(32), { minWeeks: 51, maxWeeks: 60 })).toThrow();
  });

  test('forms of the ids', () => {
    const key = new Uint8Array(32).fill(7);
    expect(subjectIdentity(key).pseudonym).toMatch(/^S[A-Z2-7]{16}$/);
    expect(researchStudyId(key)).toMatch(/^R[A-Z2-7]{16}$/);
    expect(researchRevision(key, 'a' as ClinicalRevision)).not.toBe(researchRevision(key, 'b' as ClinicalRevision));
    expect(() => researchStudyId(new Uint8Array(31))).toThrow();
  });
});

describe('who is the same patient', () => {
  test('issuer and id both agree; a bare id belongs to its centre', () => {
    expect(patientKeyOf(stated('12345'), c01)).toEqual({ namespace: 'centre:c01', patientId: '12345' });
    expect(patientKeyOf(stated('12345'), c02)).not.toEqual(patientKeyOf(stated('12345'), c01));
    expect(patientKeyOf(stated('12345', 'OMS'), c02)).toEqual(patientKeyOf(stated(' 12345 ', 'OMS '), c01));
    expect(patientKeyOf(stated('12345', 'OMS'), c01)).not.toEqual(patientKeyOf(stated('12345', 'X'), c01));
  });

  test.each(['', ' ', '0', '000', 'UNKNOWN', 'unknown', 'TEST', 'Test 1', 'N/A', 'Неизвестный', '99999999', 'xxxx', 'ANON'])(
    '%p is nobody',
    (id) => {
      expect(patientKeyOf(stated(id), c01)).toBe('NO_PATIENT_IDENTITY');
    },
  );

  test.each(['1', '11', '7', 'A1', '12345', 'Testova-1', 'Ли'])('%p is somebody', (id) => {
    expect(patientKeyOf(stated(id), c01)).not.toBe('NO_PATIENT_IDENTITY');
  });

  test('none and several values are nobody', () => {
    expect(patientKeyOf(stated([]), c01)).toBe('NO_PATIENT_IDENTITY');
    expect(patientKeyOf(stated(['1', '2']), c01)).toBe('NO_PATIENT_IDENTITY');
  });

  test('an id of the whole city joins centres, one with a wrong check digit does not', () => {
    const rules = {
      ...DEFAULT_IDENTITY_RULES,
      cityIssuers: new Map([
        [
          '1.2.643.100.3',
          { namespace: 'snils', normalise: (id: string) => (/^\d{11}$/.test(id.replace(/\D/g, '')) ? id.replace(/\D/g, '') : undefined) },
        ],
      ]),
    };
    const snils = (id: string) => [{ id, issuer: '1.2.643.100.3' }];
    expect(patientKeyOf(stated('5', undefined, snils('112-233-445 95')), c01, rules)).toEqual({
      namespace: 'snils',
      patientId: '11223344595',
    });
    expect(patientKeyOf(stated('9', undefined, snils('11223344595')), c02, rules)).toEqual({
      namespace: 'snils',
      patientId: '11223344595',
    });
    expect(patientKeyOf(stated('5', undefined, snils('112')), c01, rules)).toEqual({ namespace: 'centre:c01', patientId: '5' });
  });
});
