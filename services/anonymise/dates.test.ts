import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  ageAt,
  ageBandOf,
  formatDate,
  formatTime,
  parseDate,
  parseTime,
  safeAge,
  shiftDate,
  shiftDateTime,
  shiftTime,
  studyClock,
} from './dates.ts';

const day = fc.integer({ min: -20_000, max: 30_000 });
const second = fc.integer({ min: 0, max: 86_399 });
const weeks = fc.integer({ min: 52, max: 104 }).chain((n) => fc.constantFrom(7 * n, -7 * n));
const secondsOf = (date: string | undefined, time: string | undefined): number =>
  Number(parseDate(date ?? '')) * 86_400 + Number(parseTime(time ?? '') ?? 0n) / 1e6;
const at = (s: number): [date: string, time: string] => [
  formatDate(Math.floor(s / 86_400)),
  formatTime(BigInt(((s % 86_400) + 86_400) % 86_400) * 1_000_000n, 0),
];

describe('dates and times', () => {
  test('intervals within half a day of the start stay to the second, also over midnight', () => {
    fc.assert(
      fc.property(
        day,
        second,
        weeks,
        fc.array(fc.integer({ min: 0, max: 43_000 }), { minLength: 1, maxLength: 8 }),
        (d, s, shift, later) => {
          const start = d * 86_400 + s;
          const clock = studyClock(shift, { day: d, timeUs: BigInt(s) * 1_000_000n });
          for (const seconds of later) {
            const [date, time] = at(start + seconds);
            const [first, firstTime] = at(start);
            const moved = secondsOf(shiftDate(clock, date, time), shiftTime(clock, time));
            const origin = secondsOf(shiftDate(clock, first, firstTime), shiftTime(clock, firstTime));
            expect(moved - origin).toBe(seconds);
          }
        },
      ),
    );
  });

  test.each([
    ['101112.1234567', '120000.123456'],
    ['9:16', '110448'],
    ['10:11:12', '120000'],
    ['916', undefined],
  ])('a time that some consoles write: %s', (time, moved) => {
    expect(shiftTime(studyClock(0, { day: 1, timeUs: parseTime('101112') ?? 0n }), time)).toBe(moved);
  });

  test('the study starts at 12:00:00 and its date moves by whole weeks', () => {
    fc.assert(
      fc.property(day, second, weeks, (d, s, shift) => {
        const clock = studyClock(shift, { day: d, timeUs: BigInt(s) * 1_000_000n });
        const [date, time] = at(d * 86_400 + s);
        expect(shiftTime(clock, time)).toBe('120000');
        expect(Number(parseDate(shiftDate(clock, date, time) ?? '')) - d).toBe(shift);
      }),
    );
  });

  test('DT moves like DA and TM, keeps its precision and loses its zone', () => {
    const clock = studyClock(364, { day: parseDate('20200101'), timeUs: parseTime('101500') ?? 0n });
    expect(shiftDateTime(clock, '20200101101530.125+0300')).toBe('20201230120030.125');
    expect(shiftDateTime(clock, '202001')).toBe('202012');
    expect(shiftDateTime(clock, '20200101')).toBe('20201230');
  });

  test('dotted dates and colon times are read, what is no date is not', () => {
    const clock = studyClock(364, undefined);
    expect(shiftDate(clock, '2020.01.01')).toBe('20201230');
    expect(shiftTime(clock, '10:15:30')).toBe('101530');
    for (const bad of ['20201301', '00000000', '2020', 'yesterday', '20200230']) expect(shiftDate(clock, bad)).toBeUndefined();
    for (const bad of ['2500', 'noon', '1260', '1']) expect(shiftTime(clock, bad)).toBeUndefined();
  });

  test('ages', () => {
    expect(ageAt('19610203', '20200202')).toBe('058Y');
    expect(ageAt('19610203', '20200203')).toBe('059Y');
    expect(ageAt('20191101', '20200412')).toBe('005M');
    expect(ageAt('20200410', '20200412')).toBe('002D');
    expect(ageAt('20210101', '20200412')).toBeUndefined();
    expect([safeAge('089Y'), safeAge('090Y'), safeAge('101Y'), safeAge('58y'), safeAge('about 50')]).toEqual([
      '089Y',
      '090Y',
      '090Y',
      '058Y',
      undefined,
    ]);
    expect([ageBandOf('059Y'), ageBandOf('090Y'), ageBandOf('007M'), ageBandOf(undefined)]).toEqual([
      '050-059',
      '090+',
      '000-009',
      'unknown',
    ]);
  });
});
