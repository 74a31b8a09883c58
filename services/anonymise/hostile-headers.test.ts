// Headers that hide an identity where the rules by VR or by word would not look for it: nothing of it comes out, and
// the verifier sees it when it does.
import { describe, expect, test } from '@jest/globals';
import { centreId } from '../kernel/ids.ts';
import { TAG } from '../dicom/dictionary.ts';
import { readDicom } from '../dicom/read.ts';
import { EXPLICIT_LE } from '../dicom/transfer-syntax.ts';
import { element, sequence, textOf } from '../dicom/values.ts';
import { withElements, writeDicom } from '../dicom/write.ts';
import type { Element } from '../dicom/model.ts';
import { studyClock } from './dates.ts';
import { DEFAULT_IDENTITY_RULES, subjectIdentity } from './identity.ts';
import { cleanInstance } from './instance.ts';
import { creatorTagOf } from './profile/private-tags.ts';
import { compileProfile } from './profile/profile.ts';
import { newSurvey, surveyInstance } from './study-survey.ts';
import { ctBytes, FRAME_UID, item, of } from './test-support.ts';
import { verifyInstance } from './verify/verify.ts';

const profile = compileProfile();
const identity = subjectIdentity(new Uint8Array(32).fill(7));
const UTF8 = of('SpecificCharacterSet', 'ISO_IR 192');
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

const study = (changes: readonly Element[], syntax: string = EXPLICIT_LE) => {
  const original = ctBytes({ changes: [UTF8, ...changes], syntax });
  const survey = newSurvey(profile, centreId('local'), DEFAULT_IDENTITY_RULES);
  expect(surveyInstance(survey, 'one', original)).toBeUndefined();
  const clock = studyClock(identity.shiftDays, survey.start);
  const { verifierIdentifiers: identifiers } = survey;
  const clean = cleanInstance(original, { identity, clock, identifiers: survey.identifiers, profile }, identifiers);
  expect(clean.findings).toEqual([]);
  const file = readDicom(clean.bytes);
  const { pseudonym } = identity;
  const expected = { identifiers, profile, pseudonym, shiftDays: clock.shiftDays, timeOffsetUs: clock.timeOffsetUs };
  return {
    valueOf: (tag: number): string => {
      const one = file.dataset.elements.get(tag);
      return one === undefined ? '' : textOf(one, file.dataset.charset);
    },
    bytes: clean.bytes,
    findingsWith: (...planted: Element[]) =>
      verifyInstance(original, writeDicom({ ...file, dataset: withElements(file.dataset, planted) }), expected),
  };
};
const named = (name: string, vr: 'PN' | 'UN' | 'LO' = 'PN'): Element => element(TAG.PatientName, vr, bytes(name));
const description = (text: string): Element => of('StudyDescription', text, ['ISO_IR 192']);

describe('a name that is a clinical word', () => {
  test.each([
    ['as it is', named('Малая^Анна'), 'КТ Малая'],
    ['in a PN that says UN', named('Малая^Анна', 'UN'), 'КТ Малая'],
    ['in a PN that says LO', named('Малая^Анна', 'LO'), 'КТ Малая'],
    ['in another case', named('Малый^Иван'), 'КТ Малого'],
    ['in Latin letters', named('MALAYA^ANNA'), 'КТ Малая'],
    ['of a physician in UN', element(TAG.ReferringPhysicianName, 'UN', bytes('Малая^Анна')), 'КТ Малая'],
  ])('goes: %s', (_, name, text) => {
    const one = study([name, description(text)]);
    expect(one.valueOf(TAG.StudyDescription)).toBe('КТ');
    expect(one.findingsWith(UTF8, description(text))).toContainEqual({ check: 'element', where: '(0008,1030)' });
  });
});

describe('a date, a name or an id among numbers', () => {
  test.each([
    ['a day in IS', of('InstanceNumber', '20200412')],
    ['a day in DS', of('SliceThickness', '20200412.0915')],
    ['a phone in IS', of('SeriesNumber', '79165550147')],
    ['a day as a version', of('SoftwareVersions', '12.04.2020')],
    ['a text in US', element(TAG.SmallestImagePixelValue, 'US', bytes('Li Wei'))],
  ])('%s does not stay', (_, planted) => {
    const one = study([named('Li^Wei'), planted]);
    expect(one.valueOf(planted.tag)).toBe('');
    expect(one.findingsWith(planted)).not.toEqual([]);
  });

  test('a day does not stay as one of several private numbers', () => {
    const creator = element(0x00190010, 'LO', 'SIEMENS CT VA0  COAD');
    const planted = element(0x001910b0, 'DS', '20200412\\1');
    const one = study([creator, planted]);
    expect(one.valueOf(planted.tag)).toBe('');
    expect(one.findingsWith(creator, planted)).not.toEqual([]);
  });

  test.each([
    ['a pitch', 0x00431027, 'GEMS_PARM_01', '0.562:1 Li Wei'],
    ['a kind of acquisition', 0x01f11001, 'ELSCINT1', 'LI'],
  ])('%s does not stay with a name in it', (_, tag, maker, value) => {
    const creator = element(creatorTagOf(tag), 'LO', maker);
    const planted = element(tag, 'UN', bytes(value));
    const one = study([named('Li^Wei'), creator, planted]);
    expect(one.valueOf(tag)).toBe('');
    expect(one.findingsWith(creator, planted)).toContainEqual(expect.objectContaining({ check: 'private' }));
  });

  test('a private word of a closed list stays, also under a patient whose name it is', () => {
    const creator = element(0x01e10010, 'LO', 'ELSCINT1');
    const planted = element(0x01e11026, 'CS', 'BODY');
    const one = study([named('Body^Anna'), creator, planted]);
    expect(one.valueOf(planted.tag)).toBe('BODY');
    expect(one.findingsWith(creator, planted)).toEqual([]);
  });
});

test.each<[string, Element]>([
  ['a date that says UN', element(TAG.StudyDate, 'UN', bytes('20200412'))],
  ['a date that says LO', element(TAG.StudyDate, 'LO', bytes('20200412'))],
  ['a birth date that says UN', element(TAG.PatientBirthDate, 'UN', bytes('19620203'))],
  ['a code string that says AS', element(TAG.BodyPartExamined, 'AS', bytes('LiWe'))],
  [
    'an age over 89 in an item',
    sequence(TAG.RequestAttributesSequence, [item(of('PatientAge', '099Y'), of('ScheduledProcedureStepDescription', 'chest'))]),
  ],
  ['a method in an item', sequence(TAG.RequestAttributesSequence, [item(of('DeidentificationMethod', 'Ivanov'))])],
  ['a UID that says UN', element(TAG.FrameOfReferenceUID, 'UN', bytes(`${FRAME_UID} `))],
])('the verifier sees %s', (_, planted) => {
  expect(study([]).findingsWith(planted)).not.toEqual([]);
});

test('the verifier sees a text in an offset table', () => {
  // 256 zeros: two planes of two runs.
  const stream = new Uint8Array(64 + 8);
  stream.set([2, 0, 0, 0, 64, 0, 0, 0, 68, 0, 0, 0]);
  stream.set([0x81, 0, 0x81, 0, 0x81, 0, 0x81, 0], 64);
  const pixels = (table: Uint8Array): Element => ({ tag: TAG.PixelData, vr: 'OB', value: new Uint8Array(0), fragments: [table, stream] });
  const one = study([pixels(new Uint8Array(0))], '1.2.840.10008.1.2.5');
  expect(one.findingsWith(pixels(new Uint8Array(0)))).toEqual([]);
  expect(one.findingsWith(pixels(bytes('Li Wei')))).toContainEqual({ check: 'pixels', where: '(7FE0,0010)' });
});

test('numbers that say UN are written in their VR', () => {
  const one = study([element(TAG.KVP, 'UN', bytes('120 '))]);
  expect(readDicom(one.bytes).dataset.elements.get(TAG.KVP)?.vr).toBe('DS');
});

test('a station whose name is clinical words does not hold a description of them', () => {
  const one = study([of('StationName', 'PETCT2'), description('PET/CT')]);
  expect(one.valueOf(TAG.StudyDescription)).toBe('PET/CT');
});

test.each([
  ['a part of a station name', of('StationName', 'CT-1000'), 1000, true],
  ['a long part of one', of('StationName', 'CT-100000'), 100_000, false],
  ['an accession number', of('AccessionNumber', '0001000'), 1000, false],
  ['a part of a patient id', of('PatientID', 'P-1000'), 1000, false],
  ['a patient id in groups', of('PatientID', '10-00'), 1000, false],
])('an exposure time that equals %s', (_, identifier, time, stays) => {
  const one = study([identifier, of('ExposureTime', 7)]);
  expect(one.findingsWith(of('ExposureTime', time))).toEqual(stays ? [] : [{ check: 'element', where: '(0018,1150)' }]);
  expect(study([identifier, of('ExposureTime', time)]).valueOf(0x00181150)).toBe(stays ? `${time}` : '');
});

test('a name in the place of a private number whose VR nobody states goes', () => {
  const cp1251 = Uint8Array.from([0xca, 0xf3, 0xe7, 0xfc, 0xec, 0xe8, 0xed, 0x20]);
  const one = study(
    [
      of('SpecificCharacterSet', 'ISO_IR 100'),
      element(TAG.PatientName, 'PN', cp1251),
      element(0x00430010, 'LO', 'GEMS_PARM_01'),
      element(0x00431025, 'SS', cp1251),
      element(0x00431026, 'US', [1, 2, 3, 4]),
    ],
    '1.2.840.10008.1.2',
  );
  expect([one.valueOf(0x00431025), one.valueOf(0x00431026)]).toEqual(['', expect.stringMatching(/./)]);
});
