import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { cleanText, tokensOf } from './clean-text.ts';
import { fold, UNITS, VOCABULARY } from './vocabulary.ts';

const none = new Set<string>();

describe('cleanText', () => {
  test.each([
    ['КТ ОГК Иванов И.И. 12.03.1956', 'КТ ОГК'],
    ['Thorax 5.0 B70f', 'Thorax 5.0 B70f'],
    ['Lung 1.25mm', 'Lung 1.25mm'],
    ['тел. +7 (916) 123-45-67 грудная клетка 1 мм', 'грудная клетка 1 мм'],
    ['THORAX 1 Routine (Adult)', 'THORAX 1 Routine (Adult)'],
    ['Mary Smith CT lung 120 kV', 'CT lung 120 kV'],
    ['Mr. J. Petrov 45 y', ''],
    ['Без контраста, с задержкой', 'Без контраста, с задержкой'],
    ['4471190', ''],
    ['', ''],
  ])('%p', (text, expected) => {
    expect(cleanText(text, none)).toBe(expected);
  });

  // Nothing to take out: byte for byte, as consoles write them.
  test.each([
    'Thorax^AThoraxRoutine (Adult)',
    'ThoraxRoutine  8.0.0  B40f',
    'AThoraxRoutine',
    '2 Chest C-/Thorax',
    '5mm',
    'WINDOW1',
    'CT CHEST W/O CONTRAST',
    'CT CHEST W/CONTRAST',
    'CT CHEST W & W/O CONTRAST',
    'AXIAL LUNG 1.25mm',
    'LUNG1.25mm',
    '3.75 AXIAL STANDARD',
    'NECK^1HEADNECK (ADULT)',
    'CTA CHEST PE PROTOCOL',
    'COR 3x3',
    'C-SPINE 2.5x2.5 mm',
    'WB 3D',
    'Chest  1.0  B31s',
    'Inspiration 1.0 Bl57 3',
    'Topogram  0.6  T20f',
    'OMNIPAQUE 350',
    'Ultravist 370, 3.5 ml/s',
    '100 kV 40 mAs',
    'PET/CT: SKULL BASE TO MID THIGH',
    'ICD-10 J18.9',
    'Lung nodule 8 mm, 75% enlarged',
    'КТ ОГК С КОНТРАСТОМ',
    'КТ органов грудной клетки б/к',
    'Лёгкие 1.25 мм',
    'МСКТ, 120 кВ, 40 мАс, задержка 60 с',
    'Ультравист 370 в/в болюсно'.replace(' болюсно', ''),
    'Внебольничная двусторонняя полисегментарная пневмония, КТ-2'.replace(', КТ-2', ''),
    'Диффузные уплотнения по типу "матового стекла"',
    'Очаг в S3 правого лёгкого',
    'Исключить ТЭЛА',
    'MAR 1.25mm Thorax',
    'COVID-19 protocol',
    'Подозрение на COVID-19',
    'CHEST/ABD/PEL W/CONT',
    'AX LUNG 1.0',
    'LDCT baseline',
    'Follow-up nodule RUL 8 mm',
    'без контрастного усиления',
    'CT MAR 5 mm',
    'очаг 8 см в S3, 1200 мАс, -1000 HU',
    'respiratory failure, unable to hold breath',
    'follow-up 3 months',
    '2 weeks after COVID 19',
    'Поражение 50-75%',
    '3-й день болезни, 5-7 мм',
    'S6 правого лёгкого, через 2 недели',
    '120 mg/L',
    'LUNG 0.625',
    'FOV 350, 10 slices',
    'W:1500 L:-600',
    'CHEST_W_CONTRAST',
    'ARDS, ILD, UIP, NSIP, CO-RADS 5, Lung-RADS 4A, SpO2 92%',
    '2019-nCoV',
    'ISOVUE300/100',
  ])('%p stays as it is', (text) => {
    expect(cleanText(text, none)).toBe(text);
  });

  // What curators plant, in English and Russian: what is left.
  test.each([
    ['CT CHEST W/O CONTRAST for John Smith 03/04/1955', 'CT CHEST W/O CONTRAST for'],
    ['CHEST_SMITH_JOHN_19550304', 'CHEST'],
    ['Smith123 Chest', 'Chest'],
    ['SMITH^JOHN THORAX', 'THORAX'],
    ['ChestSmith Routine', 'Chest Routine'],
    ['CHEST 555-123-4567', 'CHEST'],
    ['Chest (555) 123-4567 Dr. House', 'Chest'],
    ['Dr. Bone, lung', 'lung'],
    ['DR LOW chest', 'chest'],
    ['MRN: A1234567 lung nodule', 'lung nodule'],
    ['MRN12345 CT head', 'CT head'],
    ['Acc#12345678 PE protocol', 'PE protocol'],
    ['SSN 123-45-6789 cough', 'cough'],
    ['DOB 4 March 1955 CT chest', 'CT chest'],
    ['CT chest 4 March', 'CT chest'],
    ['CT 2020-03-04T10:11:12', 'CT'],
    ['lung 10.12.2020 nodule', 'lung nodule'],
    ['scan at 14:35, 1.03', 'scan at'],
    ['Chest 5 5 5 1 2 3 4', 'Chest'],
    ['john.smith@clinic.org chest', 'chest'],
    ['see http://pacs.hospital/chest?id=1 lung', 'see lung'.replace('see ', '')],
    ['patient at St. Mary Hospital, room 5', 'patient at'],
    ['65 year old male, fever', 'male, fever'],
    ['Иванов И.И. КТ лёгких', 'КТ лёгких'],
    ['КТ_ЛЕГКИХ_ИВАНОВ_ИВАН_1956', 'КТ_ЛЕГКИХ'],
    ['ИвановКТ', 'КТ'],
    ['СНИЛС 112-233-445 95 пневмония', 'пневмония'],
    ['полис 7754320812003219, очаг 8 мм', 'очаг 8 мм'],
    ['ул. Ленина, д. 12, кв. 45, кашель', 'кашель'],
    ['дом 12 кв 5', ''],
    ['род. 4 марта 1955 г., одышка', 'одышка'],
    ['врач Легких: очаг', 'очаг'],
    ['д-р Головин, г-н Костин, контроль', 'контроль'],
    ['ИБ № 12345 ХОБЛ', 'ХОБЛ'],
    ['тел. 8 916 555 12 34 плевральный выпот', 'плевральный выпот'],
    ['ГКБ №52, 3 отд., пневмония', 'пневмония'],
    ['٠١٢٣٤٥ chest', 'chest'],
    ['chest 山田太郎', 'chest'],
    ['КТ 5,3,20', 'КТ'],
    ['CT 4_12_20', 'CT'],
    ['CT 4|12|20', 'CT'],
    // A unit that is a word, and numbers that no amount has.
    ['ИБ 12345 с пневмонией', 'с пневмонией'],
    ['1956 с кашлем', 'с кашлем'],
    ['КТ 2019 см. архив', 'КТ'],
    ['scan in 1956 s', 'scan in'],
    ['phone 916555 mm', ''],
    // A month that is a word as well.
    ['CT 5 mar', 'CT'],
    ['12 mar 2020 CT', 'CT'],
    ['CT chest Mar 5', 'CT chest'],
    // Names that are words as well, by their initials.
    ['Малая А.И. КТ легких', 'КТ легких'],
    ['КТ, А.И. Малая', 'КТ'],
    ['patient Sharp J. lung', 'patient lung'],
    ['КТ И.И. Иванов', 'КТ'],
    ['Lung R. Lobe L.', 'Lung Lobe'],
    // Names that are words as well, by who they are said to be.
    ['Read by Small and Young; Dr. Ray Hand', 'by and'],
    ['READ BY SMALL AND YOUNG', 'BY AND'],
    ['FOLLOWED BY CHEST CT', 'BY CHEST CT'],
    ['Radiologist: Small. Chest clear', 'Chest clear'],
    ['врач Малая Анна, описал Легких', ''],
    ['Dr. Mary Ann Hand, chest', 'chest'],
    ['Caused by Covid', 'by Covid'],
    // Numbers of places that look like kernels and segments.
    ['ID D45 H31s; ward B12', ''],
    ['палата С6, кашель', 'кашель'],
    // Ends of dates and phones that look like amounts.
    ['1.5.20 день', 'день'],
    ['12 04-20%', ''],
    ['123-456 mm', ''],
  ])('%p loses who and where', (text, expected) => {
    expect(cleanText(text, none)).toBe(expected);
  });

  test('cleaning again takes nothing more away', () => {
    const part = fc.oneof(
      fc.constantFrom(
        'Chest',
        'лёгких',
        '5',
        'mm',
        '1.25',
        '12.03.2020',
        '-',
        '/',
        'Ivanov',
        'W/O',
        'с',
        'C-',
        '8.0.0',
        '120',
        'kV',
        'кв',
        '350',
      ),
      fc.constantFrom('Omnipaque', 'Dr.', 'AThorax', '1x2', '(', ')', '^', '_', 'March', 'S3', 'mg', 'ml', '75%', 'ThoraxSmith', 'И', 'J.'),
      fc.string({ unit: 'grapheme', maxLength: 4 }),
    );
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 9 }),
        fc.constantFrom('', ' ', ', '),
        fc.array(fc.constantFrom('chest', '120', '5', 'с'), { maxLength: 2 }),
        (parts, glue, names) => {
          const once = cleanText(parts.join(glue), new Set(names));
          expect(cleanText(once, none).replaceAll(' ', '')).toBe(once.replaceAll(' ', ''));
        },
      ),
      // A name of one letter before a word: it is no unit.
      { numRuns: 3000, examples: [[['с', 'Omnipaque'], '', ['с']]] },
    );
  });

  test('a word of the vocabulary goes when it names this patient', () => {
    expect(cleanText('Chest MAR 120 kV', new Set(['mar', '120']))).toBe('Chest kV'.replace(' kV', ''));
    expect(cleanText('Chest low dose', new Set(['low']))).toBe('Chest dose');
  });

  test('a number that names this study goes, also as a part of a decimal with its unit', () => {
    for (const id of ['625', '0625']) {
      expect(cleanText('LUNG 0.625 mm', new Set([id]))).toBe('LUNG');
      expect(cleanText('LUNG0,625mm 1.25 mm', new Set([id]))).toBe('LUNG 1.25 mm');
    }
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
