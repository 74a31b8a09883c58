import { beforeAll, describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { TAG } from '../../dicom/dictionary.ts';
import { readDicom } from '../../dicom/read.ts';
import { element, encapsulated, sequence } from '../../dicom/values.ts';
import { withElements, writeDicom } from '../../dicom/write.ts';
import type { DicomFile, Element } from '../../dicom/model.ts';
import { centreId } from '../../kernel/ids.ts';
import { studyClock } from '../dates.ts';
import { DEFAULT_IDENTITY_RULES, subjectIdentity } from '../identity.ts';
import { cleanInstance } from '../instance.ts';
import { compileProfile } from '../profile/profile.ts';
import { newSurvey, surveyInstance } from '../study-survey.ts';
import { ctBytes, item, of, plantedElements, sopUidOf } from '../test-support.ts';
import { collectFromOriginal, verifyInstance } from './verify.ts';
import type { Check, Expected } from './verify.ts';
import { noStudyIdentifiers } from './study-identifiers.ts';

const profile = compileProfile();
const identity = subjectIdentity(createHash('sha256').update('v').digest());
const russian = element(TAG.PatientMotherBirthName, 'PN', new TextEncoder().encode('Щербакова^Анна'), {
  littleEndian: true,
  charset: ['ISO_IR 192'],
});
const original = ctBytes({ changes: [of('SpecificCharacterSet', 'ISO_IR 192'), ...plantedElements(), russian] });
let clean: DicomFile;
let expected: Expected;

beforeAll(() => {
  const survey = newSurvey(profile, centreId('c01'), DEFAULT_IDENTITY_RULES);
  surveyInstance(survey, 'one', original);
  const subject = { identity, clock: studyClock(identity.shiftDays, survey.start), identifiers: survey.identifiers, profile };
  const result = cleanInstance(original, subject, survey.verifierIdentifiers);
  expect(result.findings).toEqual([]);
  clean = readDicom(result.bytes);
  expected = { identifiers: survey.verifierIdentifiers, profile, pseudonym: identity.pseudonym, shiftDays: identity.shiftDays };
});

const checksOf = (changes: readonly Element[], edit: (file: DicomFile) => DicomFile = (file) => file): Check[] => {
  const leaky = edit({ ...clean, dataset: withElements(clean.dataset, changes) });
  return verifyInstance(original, writeDicom(leaky), expected).map(({ check }) => check);
};

const cyrillic = (label: string, text: string): Uint8Array => {
  if (label === 'utf-16le') return Buffer.from(text, 'utf16le');
  if (label === 'utf-8') return Buffer.from(text);
  const decoder = new TextDecoder(label);
  const map = new Map(Array.from({ length: 256 }, (_, byte) => [decoder.decode(Uint8Array.of(byte)), byte]));
  return Uint8Array.from([...text].map((char) => map.get(char) ?? 0));
};

describe('the verifier', () => {
  test('finds nothing in what was de-identified', () => {
    expect(checksOf([])).toEqual([]);
  });

  test.each<[string, () => Element[], Check]>([
    ['a surname in a description', () => [of('StudyDescription', 'Chest Zvyagintsev')], 'element'],
    ['a surname in another case', () => [of('StudyDescription', 'ZVYAGINTSEV')], 'element'],
    ['a surname with another ending', () => [of('StudyDescription', 'Zvyagintseva')], 'element'],
    ['a Russian surname in Latin letters', () => [of('StudyDescription', 'Shcherbakova')], 'element'],
    ['a Russian surname in another case form', () => [element(TAG.StudyDescription, 'LO', Buffer.from('Щербаковой '))], 'element'],
    ['a short word of an id', () => [of('StudyDescription', 'QX')], 'element'],
    ['the patient id', () => [of('PatientID', 'QX-4471190')], 'element'],
    ['a name nested in a kept sequence', () => [sequence(TAG.AnatomicRegionSequence, [item(of('CodeMeaning', 'Aristarkh'))])], 'element'],
    ['a name that no tag rule allows', () => [of('OperatorsName', 'X')], 'allow-list'],
    ['an unknown public tag', () => [element(0x0018fff0, 'LO', 'x')], 'allow-list'],
    ['an overlay', () => [element(0x60003000, 'OW', new Uint8Array(4))], 'allow-list'],
    ['a nested disallowed tag', () => [sequence(TAG.AnatomicRegionSequence, [item(of('PatientAddress', 'x'))])], 'allow-list'],
    ['a private element', () => [element(0x00290010, 'LO', 'VENDOR'), element(0x00291001, 'LO', 'x')], 'private'],
    ['a private element without creator', () => [element(0x00291001, 'LO', 'x')], 'private'],
    ['an original UID', () => [of('FrameOfReferenceUID', '1.2.643.5.1.13.2.1.7001.9')], 'uid'],
    ['a foreign UID', () => [of('FrameOfReferenceUID', '1.2.3.4')], 'uid'],
    ['an original date', () => [of('StudyDate', '20200412')], 'date'],
    ['a date moved by another number of weeks', () => [of('SeriesDate', '20190101')], 'date'],
    ['a birth date', () => [of('PatientBirthDate', '19610203')], 'date'],
    ['an age above 89', () => [of('PatientAge', '094Y')], 'age'],
    ['changed pixels', () => [element(TAG.PixelData, 'OW', new Uint8Array(512))], 'pixels'],
    ['a long id hidden in a numeric attribute', () => [of('TableHeight', '79165550147')], 'byte'],
    ['an original UID hidden in a text', () => [of('StudyDescription', sopUidOf(1))], 'byte'],
  ])('catches %s', (_what, leak, check) => {
    expect(checksOf(leak())).toContain(check);
  });

  test.each(['utf-8', 'windows-1251', 'koi8-r', 'ibm866', 'iso-8859-5', 'utf-16le'])(
    'catches a long name in %s in bytes that are no text',
    (label) => {
      const bytes = cyrillic(label, 'ЩЕРБАКОВА');
      expect(checksOf([element(TAG.SmallestImagePixelValue, 'OB', bytes)])).toContain('byte');
    },
  );

  test('catches text in the preamble, in the meta and behind the dataset', () => {
    expect(checksOf([], (file) => ({ ...file, preamble: new Uint8Array(128).fill(0x41) }))).toContain('meta');
    const meta = (file: DicomFile): DicomFile => ({ ...file, meta: withElements(file.meta, [of('SourceApplicationEntityTitle', 'X')]) });
    expect(checksOf([], meta)).toContain('meta');
    const bytes = Buffer.concat([writeDicom(clean), Buffer.from('Zvyagintsev ')]);
    expect(verifyInstance(original, bytes, expected).length).toBeGreaterThan(0);
  });

  test('holds what the second reader can not read', () => {
    expect(verifyInstance(original, writeDicom(clean).subarray(0, 900), expected).map(({ check }) => check)).toEqual(['unreadable']);
  });

  test('says where and never what', () => {
    const findings = verifyInstance(
      original,
      writeDicom({ ...clean, dataset: withElements(clean.dataset, [of('StudyDescription', 'Zvyagintsev')]) }),
      expected,
    );
    expect(findings).toContainEqual({ check: 'element', where: '(0008,1030)' });
    expect(JSON.stringify(findings).toLowerCase()).not.toContain('zvyag');
  });

  test('accepts a codestream without its notes and nothing less', () => {
    const jpeg = (notes: string, data: number): Element => {
      const com = notes === '' ? [] : [0xff, 0xfe, 0, notes.length + 2, ...Buffer.from(notes)];
      // Frame, Huffman table and scan header of one component.
      const frame = [0xff, 0xc3, 0, 11, 16, 0, 16, 0, 16, 1, 1, 0x11, 0];
      const table = [0xff, 0xc4, 0, 20, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];
      const scan = [0xff, 0xda, 0, 8, 1, 1, 0, 1, 0, 0];
      return encapsulated(TAG.PixelData, [
        new Uint8Array(0),
        Uint8Array.from([0xff, 0xd8, ...com, ...frame, ...table, ...scan, data, 0xff, 0xd9]),
      ]);
    };
    const syntax = '1.2.840.10008.1.2.4.70';
    const before = ctBytes({ syntax, changes: [jpeg('Zvyagintsev', 7)] });
    const survey = newSurvey(profile, centreId('c01'), DEFAULT_IDENTITY_RULES);
    surveyInstance(survey, 'one', before);
    const subject = { identity, clock: studyClock(identity.shiftDays, survey.start), identifiers: survey.identifiers, profile };
    const result = cleanInstance(before, subject, survey.verifierIdentifiers);
    expect(result.findings).toEqual([]);
    expect(Buffer.from(result.bytes).includes('Zvyagintsev')).toBe(false);
    const file = readDicom(result.bytes);
    const with_ = (pixels: Element): Check[] =>
      verifyInstance(before, writeDicom({ ...file, dataset: withElements(file.dataset, [pixels]) }), expected).map(({ check }) => check);
    expect(with_(jpeg('', 8))).toContain('pixels');
    expect(with_(jpeg('another note', 7))).toContain('pixels');
  });

  test('gathers its words from the originals by itself', () => {
    const words = noStudyIdentifiers();
    collectFromOriginal(original, words);
    for (const word of ['zvyagintsev', 'щербакова', 'shcherbakova', '4471190']) expect(words.words.has(word)).toBe(true);
  });
});
