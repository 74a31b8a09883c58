import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { byteSearch } from './byte-search.ts';
import { latin1 } from './second-reader.ts';
import { lowerAscii } from './spellings.ts';

const letters = fc.array(fc.constantFrom(0x41, 0x61, 0x62, 0x31, 0x2e, 0xc0, 0xe0, 0), { minLength: 1, maxLength: 12 });
const text = (bytes: readonly number[]): string => lowerAscii(latin1(Uint8Array.from(bytes)));

describe('byte search', () => {
  test('finds exactly what one search after the other finds', () => {
    fc.assert(
      fc.property(fc.array(letters, { maxLength: 6 }), fc.array(letters, { maxLength: 6 }), (patterns, pieces) => {
        const [needles, bytes] = [patterns.map(text), Uint8Array.from(pieces.flat())];
        expect(byteSearch(needles)(bytes)).toBe(needles.some((needle) => text([...bytes]).includes(needle)));
      }),
      { numRuns: 2000 },
    );
  });

  test('finds one of a thousand UIDs at the start, in the middle and at the end', () => {
    const uids = Array.from({ length: 1000 }, (_, i) => `1.2.840.113704.1.111.${i * 7919}.${i}`);
    const search = byteSearch(uids);
    for (const around of [
      ['', 'x'],
      ['xx 1.2.840.10008 ', '\\1'],
      ['a', ''],
    ])
      expect(search(Buffer.from(around.join(uids[500] ?? '')))).toBe(true);
    expect(search(Buffer.from('1.2.840.113704.1.111.3959500.50'))).toBe(false);
  });

  test('in values that are all numbers, digits have to be the whole of a number', () => {
    const search = byteSearch(['12345678']);
    const inNumbers = (): boolean => true;
    expect(search(Buffer.from('2.25.9912345678001'))).toBe(true);
    expect(search(Buffer.from('2.25.9912345678001'), inNumbers)).toBe(false);
    expect(search(Buffer.from('1.5\\12345678'), inNumbers)).toBe(true);
    expect(search(Buffer.from('x912345678'), () => false)).toBe(true);
  });
});
