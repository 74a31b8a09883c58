import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import type { Vr } from '../../dicom/model.ts';
import { element } from '../../dicom/values.ts';
import { newDataset } from '../../dicom/write.ts';
import { safePrivateElement } from '../private-elements.ts';
import { cutTable, EXCLUDED, generatePrivate, KEPT_ANYWAY, rowsOf } from './generate-private.ts';
import { PRIVATE_TAGS } from './private-tags.gen.ts';
import { creatorTagOf, isSafeCreator, safePrivate } from './private-tags.ts';

const tsv = readFileSync(new URL('tcia-private-2024-02.tsv', import.meta.url), 'utf8');
const hex = (number: number, digits: number): string => number.toString(16).padStart(digits, '0');
const keyOf = ([group, creator, low]: readonly [number, string, number, ...unknown[]]): string =>
  `${hex(group, 4)}|${creator}|${hex(low, 2)}`;

describe('the list of safe private elements', () => {
  test('is generated from the table as it stands', () => {
    expect(readFileSync(new URL('private-tags.gen.ts', import.meta.url), 'utf8')).toBe(generatePrivate(tsv));
    expect(PRIVATE_TAGS).toHaveLength(284);
  });

  test('has only what every row of TCIA keeps', () => {
    const rows = rowsOf(tsv);
    for (const tag of PRIVATE_TAGS) {
      const ofTag = rows.filter((row) => row.key === keyOf(tag));
      expect([keyOf(tag), ofTag.length > 0, ofTag.filter((row) => !row.isKept)]).toEqual([keyOf(tag), true, []]);
    }
  });

  // The words stand here once more: a word that the generator's table loses is seen.
  const NEVER = [
    /unknown|serial|station|\bhost|operator|patient|\bdate|stamp|\btimer?\b|calibrat|user|\bslop\b/i,
    /\bu?id\b|identif|\bkey\b|unique|random|checksum|counter/i,
    /(exam|series|study|image|patient|instance|frame|run|raw data|reconstruction) number/i,
  ];
  test('has no name that tells an identifier, a day, a device or a free text', () => {
    const told = PRIVATE_TAGS.filter((tag) => !KEPT_ANYWAY.has(keyOf(tag)) && NEVER.some((words) => words.test(tag[4])));
    expect(told).toEqual([]);
  });

  test('keeps in spite of its name only what is on the list, and a duration', () => {
    for (const key of KEPT_ANYWAY) {
      const name = PRIVATE_TAGS.find((tag) => keyOf(tag) === key)?.[4] ?? '';
      expect([key, EXCLUDED.some(([words]) => words.test(name))]).toEqual([key, true]);
      expect(name).toMatch(/^(Mid Scan|Rotation|Cycle|Reading Integration|Exposure) Time/);
    }
  });

  // CT elements of PS3.15 Table E.3.10-1.
  test.each([
    [0x0019, 'GEMS_ACQU_01', 0x23],
    [0x0019, 'GEMS_ACQU_01', 0x24],
    [0x0019, 'GEMS_ACQU_01', 0x27],
    [0x0025, 'GEMS_SERS_01', 0x07],
    [0x0043, 'GEMS_PARM_01', 0x27],
    [0x0045, 'GEMS_HELIOS_01', 0x01],
    [0x0045, 'GEMS_HELIOS_01', 0x02],
    [0x00e1, 'ELSCINT1', 0x21],
    [0x00e1, 'ELSCINT1', 0x50],
    [0x01e1, 'ELSCINT1', 0x26],
    [0x01f1, 'ELSCINT1', 0x01],
    [0x01f1, 'ELSCINT1', 0x07],
    [0x01f1, 'ELSCINT1', 0x26],
    [0x01f1, 'ELSCINT1', 0x27],
  ])('has (%i,%s,%i) of the standard', (group, creator, low) => {
    expect(safePrivate(group * 0x10000 + 0x1000 + low, creator)).toBeDefined();
  });
});

describe('the table of TCIA', () => {
  const csv = [
    'element_sig_pattern,tag_name,vr,private_disposition',
    '"(0019,GEMS_ACQU_01"",23)",Table Speed,DS, k',
    '"(0040,030e)[<0>](0019,""GEMS_ACQU_01"",23)","Exposure, Dose:Table Speed",DS,K',
    '"(0019,GEMS_ACQU_01"",24)",Angle,DS,k',
    '"(0040,030e)[<0>](0019,GEMS_ACQU_01"",24)",Exposure Dose Sequence:Angle,UN,d',
    '"(0019,GEMS_ACQU_01"",25)",Other,DS,d',
    '"(0019,SOME MAKER"",26)",Other,DS,k',
    '"(0019,GEMS_ACQU_01"",27)",Speed,DS,k',
    '"(0019,GEMS_ACQU_01"",27)",Speed,IS,k',
    '"(0019,GEMS_ACQU_01"",28)",Name Of Speed,LO,k',
    '"(0019,GEMS_ACQU_01"",29)",Tube Serial Number,DS,k',
    '"(0019,GEMS_ACQU_01"",2A)",Mask,SS,k',
    '"(0019,GEMS_ACQU_01"",2a)",Mask,US,k',
  ].join('\r\n');

  test('gives each element that it keeps at any depth, with all rows of it', () => {
    expect(cutTable(csv).split('\n').slice(0, 3)).toEqual([
      '0019\tGEMS_ACQU_01\t23\tDS\tk\tTable Speed',
      '0019\tGEMS_ACQU_01\t24\tDS\tk\tAngle',
      '0019\tGEMS_ACQU_01\t24\tUN\td\tAngle',
    ]);
  });

  test('keeps no element with rows that differ, of two forms, of free text, or of an excluded name', () => {
    expect(generatePrivate(cutTable(csv)).match(/^ {2}\[.*/gm)).toEqual([
      "  [0x0019, 'GEMS_ACQU_01', 0x23, 'DS', 'Table Speed'],",
      "  [0x0019, 'GEMS_ACQU_01', 0x2a, 'SS|US', 'Mask'],",
    ]);
  });

  test('has six cells in each line', () => {
    expect(() => rowsOf('0019\tGEMS_ACQU_01\t23\tDS\tk')).toThrow('line 1');
  });
});

describe('a private value', () => {
  const none = { person: new Set<string>(), other: new Set<string>(), numbers: new Set<string>(['777777']) };
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  const binary = (...low: number[]): Uint8Array => Uint8Array.from(low);
  const kept = (tag: number, creator: string, vr: Vr, value: Uint8Array): boolean => {
    const planted = element(tag, vr, value);
    const elements = [element(creatorTagOf(tag), 'LO', creator), planted];
    const dataset = { ...newDataset(), elements: new Map(elements.map((one) => [one.tag, one])) };
    return safePrivateElement(planted, dataset, none) !== undefined;
  };

  test.each<[string, number, string, Vr, Uint8Array]>([
    ['a number', 0x00431031, 'GEMS_PARM_01', 'DS', bytes('-1.5\\2.25')],
    ['a number that lost its VR', 0x00431031, 'GEMS_PARM_01', 'UN', bytes('-1.5\\2.25')],
    ['the first of two VRs', 0x00431010, 'GEMS_PARM_01', 'SS', binary(44, 1)],
    ['the second of two VRs', 0x00431010, 'GEMS_PARM_01', 'US', binary(44, 1)],
    ['floats', 0x00271042, 'GEMS_IMAG_01', 'FL', binary(0x33, 0x33, 0x5d, 0x42)],
    ['a pitch', 0x00431027, 'GEMS_PARM_01', 'SH', bytes('0.562:1 ')],
    ['a pitch in another block', 0x0043a127, 'GEMS_PARM_01', 'LO', bytes('.9375:1')],
    ['two pitches', 0x00431027, 'GEMS_PARM_01', 'SH', bytes('0.562:1\\1.375:1')],
    ['a pitch behind a stroke', 0x00431027, 'GEMS_PARM_01', 'SH', bytes('/1.375:1')],
    ['a pitch that lost its VR', 0x00431027, 'GEMS_PARM_01', 'UN', bytes('0.562:1 ')],
    ['a kind of acquisition', 0x01f11001, 'ELSCINT1', 'CS', bytes('HELIX ')],
    ['a phantom', 0x01e11026, 'ELSCINT1', 'CS', bytes('BODY')],
    ['a side', 0x00271052, 'GEMS_IMAG_01', 'SH', bytes('S ')],
  ])('%s stays', (_, ...one) => {
    expect(kept(...one)).toBe(true);
  });

  test.each<[string, number, string, Vr, Uint8Array]>([
    ['a day', 0x00431031, 'GEMS_PARM_01', 'DS', bytes('19610203')],
    ['a number of the patient', 0x00531003, 'GEHC_CT_ADVAPP_001', 'IS', bytes('777777')],
    ['a text as a number', 0x00431031, 'GEMS_PARM_01', 'DS', bytes('Kuzmin')],
    ['another VR', 0x00431010, 'GEMS_PARM_01', 'LO', bytes('40')],
    ['half a number', 0x00271042, 'GEMS_IMAG_01', 'FL', binary(0, 0, 93, 66, 0, 0)],
    ['too many numbers', 0x00431010, 'GEMS_PARM_01', 'SS', new Uint8Array(34)],
    ['letters as floats', 0x00271042, 'GEMS_IMAG_01', 'FL', bytes('Kuzmin A')],
    ['digits as floats', 0x00271042, 'GEMS_IMAG_01', 'FL', bytes('19610203')],
    ['a pitch and more', 0x00431027, 'GEMS_PARM_01', 'SH', bytes('0.562:1 Kuzmin')],
    ['more and a pitch', 0x00431027, 'GEMS_PARM_01', 'SH', bytes('Kuzmin 0.562:1')],
    ['a pitch and a name', 0x00431027, 'GEMS_PARM_01', 'SH', bytes('0.562:1\\Kuzmin')],
    ['a line below a pitch', 0x00431027, 'GEMS_PARM_01', 'SH', bytes('0.562:1\nKuzmin')],
    ['a pitch of too many digits', 0x00431027, 'GEMS_PARM_01', 'SH', bytes('0.19610:1')],
    ['too many pitches', 0x00431027, 'GEMS_PARM_01', 'SH', bytes(Array(17).fill('0.562:1').join('\\'))],
    ['no kind of acquisition', 0x01f11001, 'ELSCINT1', 'CS', bytes('KUZMIN')],
    ['a word of another element', 0x01f11001, 'ELSCINT1', 'CS', bytes('BODY')],
    ['no phantom', 0x01e11026, 'ELSCINT1', 'CS', bytes('BODY\\KUZMIN')],
    ['no side', 0x00271052, 'GEMS_IMAG_01', 'SH', bytes('K ')],
    ['an element left out', 0x70051020, 'TOSHIBA_MEC_CT3', 'UL', binary(1, 0, 0, 0)],
    ['the creator in another group', 0x00451031, 'GEMS_PARM_01', 'DS', bytes('1.5')],
    ['another creator', 0x00431031, 'gems_parm_01', 'DS', bytes('1.5')],
  ])('%s goes', (_, ...one) => {
    expect(kept(...one)).toBe(false);
  });

  test('of a creator of the same name in another group is not safe', () => {
    const groups = new Set(PRIVATE_TAGS.map(([group]) => group));
    for (const [group, creator, low] of PRIVATE_TAGS)
      for (const other of groups) {
        const isListed = PRIVATE_TAGS.some((tag) => tag[0] === other && tag[1] === creator && tag[2] === low);
        expect(safePrivate(other * 0x10000 + 0x1000 + low, creator) !== undefined).toBe(isListed);
        expect(isSafeCreator(other, creator)).toBe(PRIVATE_TAGS.some((tag) => tag[0] === other && tag[1] === creator));
        expect(group & 1).toBe(1);
      }
  });
});
