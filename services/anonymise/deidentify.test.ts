import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { keywordOf, TAG } from '../dicom/dictionary.ts';
import { readDicom } from '../dicom/read.ts';
import { IMPLICIT_LE } from '../dicom/transfer-syntax.ts';
import { SOP_CLASS, isWellKnownUid } from '../dicom/uid.ts';
import { element, items, sequence, text, texts } from '../dicom/values.ts';
import { writeDicom } from '../dicom/write.ts';
import type { Dataset, DicomFile } from '../dicom/model.ts';
import { centreId } from '../kernel/ids.ts';
import { deidentifyInstance } from './deidentify.ts';
import { studyClock } from './dates.ts';
import { DEFAULT_IDENTITY_RULES, subjectIdentity } from './identity.ts';
import { compileProfile } from './profile/profile.ts';
import { newSurvey, surveyInstance } from './study-survey.ts';
import { ctBytes, ctFile, item, of, PLANTED, plantedElements, sopUidOf, STUDY_UID } from './test-support.ts';

const profile = compileProfile();
const secret = createHash('sha256').update('patient').digest();

const run = (bytes: Uint8Array): DicomFile => {
  const survey = newSurvey(profile, centreId('c01'), DEFAULT_IDENTITY_RULES);
  surveyInstance(survey, 'one', bytes);
  const identity = subjectIdentity(secret);
  const result = deidentifyInstance(readDicom(bytes), {
    identity,
    clock: studyClock(identity.shiftDays, survey.start),
    identifiers: survey.identifiers,
    profile,
  });
  return readDicom(writeDicom(result));
};

const cp1251 = (value: string): Uint8Array => {
  const decoder = new TextDecoder('windows-1251');
  const map = new Map(Array.from({ length: 256 }, (_, byte) => [decoder.decode(Uint8Array.of(byte)), byte]));
  const bytes = [...value].map((char) => map.get(char) ?? 0x3f);
  return Uint8Array.from(bytes.length % 2 ? [...bytes, 0x20] : bytes);
};

describe('deidentifyInstance', () => {
  test('removes identities planted in more than thirty places and keeps the clinical words beside them', () => {
    expect(PLANTED.length).toBeGreaterThanOrEqual(30);
    const original = ctBytes({ changes: plantedElements() });
    const before = Buffer.from(original).toString('latin1');
    for (const word of PLANTED) expect(before).toContain(word);
    const file = run(original);
    const after = Buffer.from(writeDicom(file)).toString('latin1').toLowerCase();
    for (const word of PLANTED) expect(after).not.toContain(word.toLowerCase());
    expect(after).not.toContain('1.2.643.5.1.13');
    expect(text(file.dataset, TAG.StudyDescription)).toBe('Chest 1.0 mm');
    expect(text(file.dataset, TAG.SeriesDescription)).toBe('Lung B70f');
    // Emptied whole: a hole beside 'Somatom' would tell that a name stood there.
    expect(file.dataset.elements.get(TAG.ManufacturerModelName)?.value).toHaveLength(0);
    expect(items(file.dataset, TAG.RequestAttributesSequence).map((one) => text(one, TAG.ScheduledProcedureStepDescription))).toEqual([
      'CT chest',
    ]);
  });

  test('keeps pixel bytes, writes a zero preamble and fresh meta', () => {
    const source = ctFile({ changes: plantedElements() });
    const original = writeDicom({ ...source, preamble: new Uint8Array(128).fill(0x41) });
    const file = run(original);
    expect(file.preamble.every((byte) => byte === 0)).toBe(true);
    expect(Buffer.from(file.dataset.elements.get(TAG.PixelData)?.value ?? [])).toEqual(
      Buffer.from(source.dataset.elements.get(TAG.PixelData)?.value ?? [1]),
    );
    expect(text(file.meta, TAG.MediaStorageSOPInstanceUID)).toBe(text(file.dataset, TAG.SOPInstanceUID));
    expect([...file.meta.elements.keys()].map(keywordOf)).not.toContain('SourceApplicationEntityTitle');
  });

  test('maps every UID that is not well known, references by the same function', () => {
    const file = run(ctBytes({ changes: plantedElements() }));
    const identity = subjectIdentity(secret);
    expect(text(file.dataset, TAG.StudyInstanceUID)).toBe(identity.mapUid(STUDY_UID));
    const reference = items(file.dataset, TAG.ReferencedImageSequence)[0];
    expect(reference && text(reference, TAG.ReferencedSOPInstanceUID)).toBe(identity.mapUid(sopUidOf(99)));
    expect(reference && text(reference, TAG.ReferencedSOPClassUID)).toBe(SOP_CLASS.CTImageStorage);
    const all = uidsOf(file.dataset);
    expect(all.every((uid) => isWellKnownUid(uid) || /^2\.25\.\d{1,39}$/.test(uid))).toBe(true);
  });

  test('moves dates by whole weeks, starts at noon and keeps intervals', () => {
    const { dataset } = run(ctBytes());
    const { shiftDays } = subjectIdentity(secret);
    const day = (value: string | undefined): number =>
      Date.UTC(Number(value?.slice(0, 4)), Number(value?.slice(4, 6)) - 1, Number(value?.slice(6))) / 86_400_000;
    expect(Math.abs(shiftDays % 7)).toBe(0);
    expect(day(text(dataset, TAG.StudyDate)) - day('20200412')).toBe(shiftDays);
    expect(text(dataset, TAG.StudyTime)).toBe('120000.25');
    expect(text(dataset, TAG.SeriesTime)).toBe('120101');
    expect(text(dataset, TAG.AcquisitionTime)).toBe('120130');
  });

  test('computes the age before dates change, and says 090Y above 89', () => {
    const age = (birth: string, stated?: string): string | undefined =>
      text(
        run(ctBytes({ changes: [of('PatientBirthDate', birth), ...(stated === undefined ? [] : [of('PatientAge', stated)])] })).dataset,
        TAG.PatientAge,
      );
    expect(age('19610203')).toBe('059Y');
    expect(age('19200101')).toBe('090Y');
    expect(age('19200101', '099Y')).toBe('090Y');
    expect(age('')).toBeUndefined();
    expect(texts(run(ctBytes()).dataset, TAG.PatientBirthDate)).toEqual([]);
  });

  test('reads Cyrillic in CP1251 that no character set declares, keeps clinical words as UTF-8', () => {
    const original = ctBytes({
      changes: [
        element(TAG.PatientName, 'PN', cp1251('Щербаков^Фёдор')),
        element(TAG.StudyDescription, 'LO', cp1251('КТ грудной клетки Щербаков')),
        element(TAG.BodyPartExamined, 'CS', 'CHEST'),
      ],
    });
    const { dataset } = run(original);
    expect(text(dataset, TAG.SpecificCharacterSet)).toBe('ISO_IR 192');
    expect(text(dataset, TAG.StudyDescription)).toBe('КТ грудной клетки');
  });

  test('keeps the declared character set when ASCII is enough', () => {
    const { dataset } = run(ctBytes({ changes: [of('SpecificCharacterSet', 'ISO_IR 144'), of('StudyDescription', 'Chest')] }));
    expect(text(dataset, TAG.SpecificCharacterSet)).toBe('ISO_IR 144');
  });

  test('keeps a private element only when its creator is known safe and its value is a number', () => {
    const privates = (value: string) => [
      element(0x00190010, 'LO', 'SIEMENS CT VA0  COAD'),
      element(0x001910b0, 'DS', value),
      element(0x00191077, 'LO', 'free text'),
    ];
    const { dataset } = run(ctBytes({ changes: privates('15.3') }));
    expect(dataset.elements.has(0x001910b0)).toBe(true);
    expect(dataset.elements.has(0x00190010)).toBe(true);
    expect(dataset.elements.has(0x00191077)).toBe(false);
    const other = run(ctBytes({ changes: privates('19610203') })).dataset;
    expect(other.elements.has(0x001910b0)).toBe(false);
    expect(other.elements.has(0x00190010)).toBe(false);
  });

  test('goes into sequences of an implicit file, and drops what no rule names at any depth', () => {
    const nested = sequence(TAG.AnatomicRegionSequence, [
      item(
        of('CodeValue', '51185008'),
        of('CodingSchemeDesignator', 'SCT'),
        of('CodeMeaning', 'Chest'),
        of('PatientName', 'Kuzmin'),
        element(0x00291001, 'LO', 'Kuzmin'),
      ),
    ]);
    const { dataset } = run(ctBytes({ syntax: IMPLICIT_LE, changes: [nested] }));
    const region = items(dataset, TAG.AnatomicRegionSequence)[0];
    expect([...(region?.elements.keys() ?? [])].map(keywordOf)).toEqual([
      'CodeValue',
      'CodingSchemeDesignator',
      'CodeMeaning',
      'PatientName',
    ]);
    // Basic action Z: the name stays as an empty attribute.
    expect(region?.elements.get(TAG.PatientName)?.value).toHaveLength(0);
  });

  test('is a pure function: the same file and secret give the same bytes', () => {
    const original = ctBytes({ changes: plantedElements() });
    expect(Buffer.from(writeDicom(run(original))).equals(Buffer.from(writeDicom(run(original))))).toBe(true);
  });

  test('says what it did', () => {
    const { dataset } = run(ctBytes());
    expect(text(dataset, TAG.PatientIdentityRemoved)).toBe('YES');
    expect(text(dataset, TAG.LongitudinalTemporalInformationModified)).toBe('MODIFIED');
    expect(items(dataset, TAG.DeidentificationMethodCodeSequence).map((one) => text(one, TAG.CodeValue))).toEqual([
      '113100',
      '113101',
      '113105',
      '113107',
      '113108',
      '113111',
    ]);
    expect(texts(dataset, TAG.DeidentificationMethod).every((value) => value.length <= 64)).toBe(true);
  });
});

const uidsOf = (dataset: Dataset): string[] =>
  [...dataset.elements.values()].flatMap((one) => [
    ...(one.vr === 'UI' ? texts(dataset, one.tag) : []),
    ...(one.items ?? []).flatMap(uidsOf),
  ]);
