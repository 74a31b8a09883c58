// Specific Character Set in both directions, with names as PS3.5 Annexes H, I, J and K spell them.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { canEncode, decode, decodeFlagged, encode } from './charset.ts';

const latin = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const raw = (text: string): Uint8Array => Buffer.from(text, 'latin1');

test.each([
  [['ISO_IR 144'], 'Люксембург', '\xbb\xee\xda\xe1\xd5\xdc\xd1\xe3\xe0\xd3'],
  [['ISO_IR 192'], 'Щёголев^Ян', '\xd0\xa9\xd1\x91\xd0\xb3\xd0\xbe\xd0\xbb\xd0\xb5\xd0\xb2^\xd0\xaf\xd0\xbd'],
  [['ISO_IR 100'], 'Äneas^Rüdiger', '\xc4neas^R\xfcdiger'],
  [['ISO_IR 148'], 'Çavuşoğlu', '\xc7avu\xfeo\xf0lu'],
  [['ISO_IR 166'], 'สมชาย', '\xca\xc1\xaa\xd2\xc2'],
  [['ISO_IR 13'], 'ﾔﾏﾀﾞ^ﾀﾛｳ', '\xd4\xcf\xc0\xde^\xc0\xdb\xb3'],
  [['', 'ISO 2022 IR 87'], 'Yamada^Tarou=山田^太郎', 'Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B'],
  [['ISO 2022 IR 13', 'ISO 2022 IR 87'], 'ﾔﾏﾀﾞ=山田', '\xd4\xcf\xc0\xde=\x1b$B;3ED\x1b(J'],
  [['', 'ISO 2022 IR 149'], 'Hong=洪^吉洞=홍', 'Hong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab'],
  [['', 'ISO 2022 IR 58'], 'Zhang=张^小东', 'Zhang=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab'],
  [['GB18030'], 'Wang=王^小东', 'Wang=\xcd\xf5^\xd0\xa1\xb6\xab'],
  [['ISO 2022 IR 100', 'ISO 2022 IR 144'], 'Müller Люк^é', 'M\xfcller \x1b-L\xbb\xee\xda^\x1b-A\xe9'],
])('%j writes and reads %s', (terms, text, bytes) => {
  expect(latin(encode(text, terms, 'PN'))).toBe(bytes);
  expect(decode(raw(bytes), terms, 'PN', { strict: true })).toBe(text);
});

test('delimiters inside two-byte characters do not split or reset', () => {
  // Trail byte 5C of GB18030 and 5C as the second half of a JIS pair.
  expect(decode(raw('\x81\x5c\\A'), ['GB18030'], 'LO').split('\\')).toHaveLength(2);
  expect(decode(raw('\x1b$B\x25\x5c\x25\x5c\x1b(B\\x'), ['', 'ISO 2022 IR 87'], 'LO')).toBe('ボボ\\x');
});

test('a Korean set that a writer forgot to escape to still reads', () => {
  expect(decode(raw('\xb1\xe8'), ['', 'ISO 2022 IR 149'], 'PN')).toBe('김');
});

describe('what is declared wrongly', () => {
  test('is flagged, and refused when strict', () => {
    expect(decodeFlagged(raw('\xd0x'), ['ISO_IR 999'], 'LO')).toEqual({ text: 'Ðx', isUnknownCharset: true, isMalformed: false });
    expect(() => decode(raw('\xd0'), ['ISO_IR 999'], 'LO', { strict: true })).toThrow('UNKNOWN_CHARSET');
    expect(decodeFlagged(raw('\xd0x'), [], 'LO')).toEqual({ text: 'Ðx', isUnknownCharset: false, isMalformed: true });
    expect(() => decode(raw('\xd0'), [], 'LO', { strict: true })).toThrow('BAD_TEXT');
    expect(decodeFlagged(raw('\xd0x'), ['ISO_IR 192'], 'LO').isMalformed).toBe(true);
    expect(decodeFlagged(raw('a\x1b%zb'), ['', 'ISO 2022 IR 87'], 'LO').isMalformed).toBe(true);
  });

  test('misspelt terms are understood', () => {
    for (const term of ['ISO-IR 144', 'iso_ir_144', 'ISO IR 144']) expect(decode(raw('\xbb'), [term], 'LO')).toBe('Л');
  });
});

test('text that a set lacks is refused, not replaced', () => {
  expect(() => encode('Иванов', ['ISO_IR 100'])).toThrow('UNENCODABLE_TEXT');
  expect(() => encode('Иванов', [])).toThrow('UNENCODABLE_TEXT');
  expect([canEncode('Иванов', ['ISO_IR 144']), canEncode('王', ['ISO_IR 144'])]).toEqual([true, false]);
});

test('any text round-trips through UTF-8 and GB18030, and whatever a set can write reads the same', () => {
  const sets = [
    ['ISO_IR 144'],
    ['ISO_IR 127'],
    ['ISO 2022 IR 6', 'ISO 2022 IR 87', 'ISO 2022 IR 159'],
    ['', 'ISO 2022 IR 149'],
    ['', 'ISO 2022 IR 58'],
    ['ISO 2022 IR 100', 'ISO 2022 IR 144', 'ISO 2022 IR 126'],
  ];
  const char = fc.oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
    fc.constantFrom(...'Иванов山田太郎김희중张小东Ä éδ^=\\\r\n'),
  );
  const written = fc.array(char, { maxLength: 12 }).map((chars) => chars.join('').replaceAll('\x1b', ''));
  fc.assert(
    fc.property(written, (text) => {
      expect(decode(encode(text, ['ISO_IR 192']), ['ISO_IR 192'], 'PN')).toBe(text);
      // U+E5E5 has no code in the platform's GB18030.
      if (canEncode(text, ['GB18030'])) expect(decode(encode(text, ['GB18030']), ['GB18030'], 'PN')).toBe(text);
      for (const terms of sets) {
        const kept = [...text].filter((one) => canEncode(one, terms)).join('');
        expect(decode(encode(kept, terms, 'PN'), terms, 'PN', { strict: true })).toBe(kept);
      }
    }),
    { numRuns: 1000 },
  );
});
