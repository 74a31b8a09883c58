import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { cleanText, tokensOf } from './clean-text.ts';
import { fold, UNITS, VOCABULARY } from './vocabulary.ts';

const none = new Set<string>();

describe('cleanText', () => {
  test.each([
    ['КТ ОГК Иванов И.И. 12.03.1956', 'КТ'],
    ['Thorax 5.0 B70f', 'Thorax 5.0 B70f'],
    ['Lung 1.25mm', 'Lung 1.25mm'],
    ['тел. +7 (916) 123-45-67 грудная клетка 1 мм', 'грудная клетка 1 мм'],
    ['THORAX 1 Routine (Adult)', 'THORAX 1 Routine Adult'],
    ['Mary Smith CT lung 120 kV', 'CT lung 120 kV'],
    ['Mr. J. Petrov 45 y', ''],
    ['Без контраста, с задержкой', 'Без контраста, с'],
    ['4471190', ''],
    ['', ''],
  ])('%p', (text, expected) => {
    expect(cleanText(text, none)).toBe(expected);
  });

  test('a word of the vocabulary goes when it names this patient', () => {
    expect(cleanText('Chest MAR 120 kV', new Set(['mar', '120']))).toBe('Chest kV'.replace(' kV', ''));
    expect(cleanText('Chest low dose', new Set(['low']))).toBe('Chest dose');
  });

  test('keeps no word that is neither in the vocabulary nor an amount', () => {
    const safe = (token: string): boolean =>
      VOCABULARY.has(token) ||
      UNITS.has(token) ||
      /^\d+([.,]\d+)?$/.test(token) ||
      /^\d+/.test(token) ||
      /^[a-z]{1,2}\d{1,2}[fsh]?$/.test(token);
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.constantFrom('Chest', 'лёгких', '5', 'mm', '1.25', '12.03.2020', '-', '/', 'Ivanov', 'Петрова'),
            fc.string({ unit: 'grapheme', maxLength: 12 }),
          ),
          { maxLength: 12 },
        ),
        (parts) => {
          for (const token of cleanText(parts.join(' '), none).match(/[\p{L}\p{M}\p{N}]+/gu) ?? []) expect(safe(fold(token))).toBe(true);
        },
      ),
    );
  });

  test('never gives back a word of the identifiers', () => {
    const word = fc.constantFrom('chest', 'mar', 'lung', 'грудь', '120', '5', 'mm', 'ann', 'li', 'контраст');
    fc.assert(
      fc.property(fc.array(word, { maxLength: 10 }), fc.array(word, { maxLength: 4 }), (text, names) => {
        const left = tokensOf(cleanText(text.join(' '), new Set(names)));
        for (const name of names) expect(left).not.toContain(name);
      }),
    );
  });
});
