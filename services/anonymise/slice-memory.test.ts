import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { headerMemory } from '../dicom/header-memory.ts';
import { TAG } from '../dicom/dictionary.ts';
import { readDicom } from '../dicom/read.ts';
import { element, sequence } from '../dicom/values.ts';
import { writeDicom } from '../dicom/write.ts';
import type { Element } from '../dicom/model.ts';
import { EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE } from '../dicom/transfer-syntax.ts';
import { centreId } from '../kernel/ids.ts';
import { studyClock } from './dates.ts';
import type { StudySubject } from './deidentify.ts';
import { DEFAULT_IDENTITY_RULES, subjectIdentity } from './identity.ts';
import { cleanInstance } from './instance.ts';
import { compileProfile } from './profile/profile.ts';
import { newSurvey, surveyInstance } from './study-survey.ts';
import type { StudySurvey } from './study-survey.ts';
import { ctBytes, item, of, plantedElements } from './test-support.ts';

const profile = compileProfile();
const identity = subjectIdentity(createHash('sha256').update('slices').digest());

const UTF8 = ['ISO_IR 192'];

/** What may differ from slice to slice, also what never should. */
const change = fc.oneof(
  fc.constantFrom('095000', '120501.5', '').map((time) => of('ContentTime', time)),
  fc.constantFrom('20200102', '20200103').map((date) => of('ContentDate', date)),
  fc.constantFrom('Chest', 'Petrov chest', 'Chest routine').map((text) => of('SeriesDescription', text)),
  fc.constantFrom('Грудь', 'Петров').map((text) => of('StudyDescription', text, UTF8)),
  fc.constantFrom('Petrov^Ivan', 'Sidorov^Ivan').map((name) => of('PatientName', name)),
  fc.constantFrom('SIEMENS CT VA0  COAD', 'ELSCINT1', 'NOBODY').map((maker) => element(0x00190010, 'LO', maker)),
  fc.constantFrom('1', '2').map((value) => element(0x00191093, 'DS', value)),
  fc.constantFrom('1.2.3', '1.2.4').map((uid) => sequence(0x00081140, [item(of('ReferencedSOPInstanceUID', uid))])),
  fc.constantFrom(0, 1).map((sign) => of('PixelRepresentation', sign)),
  fc.constantFrom('1', '2').map((value) => of('AcquisitionNumber', value)),
);

const slice = fc.record({
  changes: fc.array(change, { maxLength: 5 }),
  isRussian: fc.boolean(),
  syntax: fc.constantFrom(IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE),
});

const bytesOf = ({ changes, isRussian, syntax }: { changes: Element[]; isRussian: boolean; syntax: string }, n: number): Uint8Array =>
  ctBytes({
    n,
    syntax,
    changes: [...plantedElements(), of('SpecificCharacterSet', isRussian ? 'ISO_IR 192' : 'ISO_IR 100'), ...changes],
  });

describe('what is remembered from slice to slice', () => {
  test('a slice reads the same with and without others before it', () => {
    fc.assert(
      fc.property(fc.array(slice, { minLength: 2, maxLength: 6 }), (slices) => {
        const memory = headerMemory();
        for (const [n, one] of slices.entries()) {
          const bytes = bytesOf(one, n + 1);
          const read = readDicom(bytes, {}, memory);
          const plain = readDicom(bytes);
          expect([...read.dataset.elements.values()].map(({ tag, vr, value }) => [tag, vr, Buffer.from(value).toString('hex')])).toEqual(
            [...plain.dataset.elements.values()].map(({ tag, vr, value }) => [tag, vr, Buffer.from(value).toString('hex')]),
          );
          expect(read.dataset.charset).toEqual(plain.dataset.charset);
          expect(
            Buffer.compare(writeDicom({ ...read, dataset: { ...read.dataset } }), writeDicom({ ...plain, dataset: { ...plain.dataset } })),
          ).toBe(0);
        }
      }),
      { numRuns: 20 },
    );
  });

  test('a slice is surveyed, cleaned and judged the same, in bytes that are written over after each', () => {
    fc.assert(
      fc.property(fc.array(slice, { minLength: 2, maxLength: 6 }), (slices) => {
        expectAsAlone(slices.map((one, i) => bytesOf(one, i + 1)));
      }),
      { numRuns: 20 },
    );
  });

  const of2 = (first: readonly Element[], second: readonly Element[]): Uint8Array[] => [
    ctBytes({ n: 1, changes: first }),
    ctBytes({ n: 2, changes: second }),
  ];

  test('the same private value under another creator is another element', () => {
    const value = element(0x01f11005, 'DS', '1.5 ');
    const [known, unknown] = ['ELSCINT1', 'NOBODY'].map((maker) => element(0x01f10010, 'LO', maker));
    expectAsAlone(of2([known ?? value, value], [unknown ?? value, value]));
  });

  test('the same date beside another time may be of another day', () => {
    const day = [of('StudyDate', '20200102'), of('StudyTime', '180000'), of('ContentDate', '20200103')];
    expectAsAlone(of2([...day, of('ContentTime', '100000')], [...day, of('ContentTime', '010000')]));
  });

  test('the same text needs Unicode each time', () => {
    const text = element(TAG.StudyDescription, 'LO', new TextEncoder().encode('Грудь'));
    expectAsAlone(of2([text], [text]));
  });

  test('an item reads in the character set around it', () => {
    const memory = headerMemory();
    const nested = sequence(0x00081140, [item(of('ReferencedSOPInstanceUID', '1.2.3'))]);
    const charsets = ['ISO_IR 144', 'ISO_IR 192'].map((term, n) => {
      const { dataset } = readDicom(ctBytes({ n: n + 1, changes: [of('SpecificCharacterSet', term), nested] }), {}, memory);
      return dataset.elements.get(0x00081140)?.items?.[0]?.charset;
    });
    expect(charsets).toEqual([['ISO_IR 144'], ['ISO_IR 192']]);
  });
});

const surveyed = (files: readonly Uint8Array[], read: (file: Uint8Array) => Uint8Array, isAlone: boolean): StudySurvey => {
  const survey = newSurvey(profile, centreId('c01'), DEFAULT_IDENTITY_RULES);
  for (const [i, file] of files.entries()) {
    if (isAlone) survey.headers = headerMemory();
    surveyInstance(survey, String(i), read(file));
  }
  return survey;
};

/** Surveys and cleans the files as one study, in the same bytes one after the other, and each as if it were the first. */
const expectAsAlone = (files: readonly Uint8Array[]): void => {
  const room = new Uint8Array(Math.max(...files.map(({ length }) => length)));
  const inRoom = (file: Uint8Array): Uint8Array => {
    room.set(file);
    return room.subarray(0, file.length);
  };
  const survey = surveyed(files, inRoom, false);
  const plain = surveyed(files, (file) => file, true);
  for (const what of ['identifiers', 'verifierIdentifiers', 'start', 'stated'] as const) expect(survey[what]).toEqual(plain[what]);
  const subjectOf = (): StudySubject => ({
    identity,
    clock: studyClock(identity.shiftDays, survey.start),
    identifiers: survey.identifiers,
    profile,
  });
  const shared = subjectOf();
  for (const [i, file] of files.entries()) {
    const one = cleanInstance(inRoom(file), shared, survey.verifierIdentifiers, survey.sources.get(String(i)));
    const alone = cleanInstance(file, subjectOf(), { ...survey.verifierIdentifiers });
    expect(Buffer.compare(one.bytes, alone.bytes)).toBe(0);
    expect(one.findings).toEqual(alone.findings);
  }
};
