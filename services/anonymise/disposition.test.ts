import { describe, expect, test } from '@jest/globals';
import { TAG } from '../dicom/dictionary.ts';
import { SOP_CLASS } from '../dicom/uid.ts';
import { element } from '../dicom/values.ts';
import type { Element } from '../dicom/model.ts';
import type { Code } from '../kernel/codes.ts';
import { centreId } from '../kernel/ids.ts';
import { dispositionOf } from './disposition.ts';
import { DEFAULT_IDENTITY_RULES } from './identity.ts';
import { compileProfile } from './profile/profile.ts';
import { conclude, newSurvey, surveyInstance } from './study-survey.ts';
import { ctBytes, ctFile, of, pixels } from './test-support.ts';

const codeOf = (changes: Element[], removals: number[] = []): Code | 'kept' => {
  const disposition = dispositionOf(ctFile({ changes, removals }));
  return disposition.kind === 'kept' ? 'kept' : disposition.code;
};
const type = (...values: string[]): Element[] => [of('ImageType', values)];

describe('dispositionOf', () => {
  test.each<[string, Element[], Code | 'kept']>([
    ['a primary axial CT', [], 'kept'],
    ['a recompressed one', type('DERIVED', 'PRIMARY', 'AXIAL'), 'kept'],
    ['a topogram', type('ORIGINAL', 'PRIMARY', 'LOCALIZER'), 'LOCALIZER'],
    ['a reformat', type('DERIVED', 'SECONDARY', 'MPR'), 'DERIVED_IMAGE'],
    ['a reformat that claims to be primary', type('DERIVED', 'PRIMARY', 'AXIAL', 'MPR'), 'DERIVED_IMAGE'],
    ['an image of unknown kind', type('ORIGINAL', 'PRIMARY'), 'NOT_PRIMARY_AXIAL_CT'],
    ['a secondary capture', [of('SOPClassUID', SOP_CLASS.SecondaryCaptureImageStorage)], 'SECONDARY_CAPTURE'],
    ['a dose report', [of('SOPClassUID', SOP_CLASS.XRayRadiationDoseSRStorage)], 'STRUCTURED_REPORT'],
    ['a key object', [of('SOPClassUID', SOP_CLASS.KeyObjectSelectionDocumentStorage)], 'STRUCTURED_REPORT'],
    ['a presentation state', [of('SOPClassUID', SOP_CLASS.GrayscaleSoftcopyPresentationStateStorage)], 'NOT_PRIMARY_AXIAL_CT'],
    ['an MR image', [of('SOPClassUID', SOP_CLASS.MRImageStorage)], 'NOT_PRIMARY_AXIAL_CT'],
    ['burned-in text by its own word', [of('BurnedInAnnotation', 'YES')], 'BURNED_IN_TEXT'],
    ['no burned-in text', [of('BurnedInAnnotation', 'NO')], 'kept'],
    ['an empty UID', [of('SeriesInstanceUID', '')], 'MISSING_UID'],
    ['an overlay in the pixels by its header', [element(0x60000102, 'US', 15)], 'EMBEDDED_OVERLAY'],
    ['a bit above HighBit', [element(TAG.PixelData, 'OW', pixels().with(1, 0x80))], 'EMBEDDED_OVERLAY'],
    ['bytes behind the last pixel', [element(TAG.PixelData, 'OW', pixels(16 * 16 + 8))], 'EMBEDDED_OVERLAY'],
    ['more pixels than any slice has', [of('Rows', 4097), of('Columns', 4096)], 'LIMIT_EXCEEDED'],
    ['colour', [of('SamplesPerPixel', 3)], 'NOT_PRIMARY_AXIAL_CT'],
  ])('%s', (_what, changes, expected) => {
    expect(codeOf(changes)).toBe(expected);
  });

  test('sign extension is no overlay', () => {
    const words = Int16Array.from({ length: 256 }, (_, i) => i - 1024);
    expect(codeOf([of('PixelRepresentation', 1), element(TAG.PixelData, 'OW', new Uint8Array(words.buffer))])).toBe('kept');
    const wrong = Int16Array.from({ length: 256 }, () => 0x3000);
    expect(codeOf([of('PixelRepresentation', 1), element(TAG.PixelData, 'OW', new Uint8Array(wrong.buffer))])).toBe('EMBEDDED_OVERLAY');
  });

  test('no pixels', () => {
    expect(codeOf([], [TAG.PixelData])).toBe('NO_PIXELS');
  });
});

describe('conclude', () => {
  const concluded = (...files: Uint8Array[]) => {
    const survey = newSurvey(compileProfile(), centreId('c01'), DEFAULT_IDENTITY_RULES);
    files.forEach((bytes, i) => surveyInstance(survey, String(i), bytes));
    return conclude(survey);
  };
  const report = [of('SOPClassUID', SOP_CLASS.XRayRadiationDoseSRStorage)];

  test('a real study: images stay, the rest is counted', () => {
    const result = concluded(
      ctBytes(),
      ctBytes({ n: 2 }),
      ctBytes({ n: 3, changes: report }),
      ctBytes({ n: 4, changes: type('ORIGINAL', 'PRIMARY', 'LOCALIZER') }),
      new Uint8Array(3),
    );
    expect(result).toMatchObject({
      kind: 'accepted',
      dropped: [
        { code: 'LOCALIZER', count: 1 },
        { code: 'NOT_DICOM', count: 1 },
        { code: 'STRUCTURED_REPORT', count: 1 },
      ],
      facts: { ageBand: '050-059', sex: 'M', manufacturer: 'SIEMENS' },
    });
    expect(result.kind === 'accepted' && [...result.kept]).toEqual(['0', '1']);
  });

  test('text in one slice refuses its series', () => {
    expect(concluded(ctBytes(), ctBytes({ n: 2, changes: [of('BurnedInAnnotation', 'YES')] }))).toMatchObject({
      kind: 'refused',
      code: 'BURNED_IN_TEXT',
    });
  });

  test.each<[string, Uint8Array[], Code]>([
    ['two patients', [ctBytes(), ctBytes({ n: 2, changes: [of('PatientID', 'B-1')] })], 'MIXED_PATIENTS'],
    ['a report of another patient', [ctBytes(), ctBytes({ n: 2, changes: [...report, of('PatientID', 'B-1')] })], 'MIXED_PATIENTS'],
    ['no id', [ctBytes({ changes: [of('PatientID', '')] })], 'NO_PATIENT_IDENTITY'],
    ['an image without id among others', [ctBytes(), ctBytes({ n: 2, changes: [of('PatientID', 'UNKNOWN')] })], 'NO_PATIENT_IDENTITY'],
    ['reports only', [ctBytes({ changes: report })], 'NOTHING_KEPT'],
    ['nothing', [], 'NOTHING_KEPT'],
  ])('%s', (_what, files, code) => {
    expect(concluded(...files)).toMatchObject({ kind: 'refused', code });
  });
});
