import { describe, expect, test } from '@jest/globals';
import { TAG } from '../dicom/dictionary.ts';
import { element } from '../dicom/values.ts';
import { makeFile, newDataset, withElements, writeDicom } from '../dicom/write.ts';
import { preflight } from './intake.ts';
import type { IntakeFile } from './intake.ts';

const CT = '1.2.840.10008.5.1.4.1.1.2';

function dicom(o: { study?: string; series?: string; sop?: string; pixel?: number; patientId?: string }): Uint8Array {
  const dataset = withElements(newDataset(), [
    element(TAG.SOPClassUID, 'UI', CT),
    element(TAG.SOPInstanceUID, 'UI', o.sop ?? '1.2.3.4'),
    element(TAG.PatientID, 'LO', o.patientId ?? 'PLANTED'),
    element(TAG.StudyInstanceUID, 'UI', o.study ?? '1.2'),
    element(TAG.SeriesInstanceUID, 'UI', o.series ?? '1.2.3'),
    element(TAG.PixelData, 'OW', new Uint8Array(64).fill(o.pixel ?? 0)),
  ]);
  return writeDicom(makeFile({ transferSyntaxUid: '1.2.840.10008.1.2.1', dataset, sopClassUid: CT, sopInstanceUid: o.sop ?? '1.2.3.4' }));
}

async function* files(entries: Readonly<Record<string, Uint8Array>>): AsyncGenerator<IntakeFile> {
  for (const [path, bytes] of Object.entries(entries)) yield { path, bytes };
}

describe('preflight', () => {
  test('groups by study, across folders; byte-identical copies go once and are counted', async () => {
    const copy = dicom({ sop: '1.2.3.1' });
    const result = await preflight(
      files({ 'a/1': copy, 'b/2': dicom({ sop: '1.2.3.2' }), 'b/1': copy, 'c/9': dicom({ study: '9', series: '9.1', sop: '9.1.1' }) }),
    );
    expect(result).toMatchObject({ duplicates: 1, refused: [] });
    expect(result.studies).toEqual([
      { studyInstanceUid: '1.2', files: ['a/1', 'b/2'] },
      { studyInstanceUid: '9', files: ['c/9'] },
    ]);
  });

  test('empty UIDs: all such files of a folder are one study', async () => {
    const result = await preflight(
      files({
        'x/1': dicom({ study: '' }),
        'x/2': dicom({ study: '', series: '', sop: '' }),
        'y/3': dicom({ sop: '' }),
        'x/4': dicom({ sop: '1.2.3.9' }),
      }),
    );
    expect(result.refused.map((r) => [r.unit, r.code, r.files, r.paths])).toEqual([
      ['study', 'MISSING_UID', 2, ['x/1', 'x/2']],
      ['study', 'MISSING_UID', 1, ['y/3']],
    ]);
    expect(result.refused[0]?.detail).toContain('StudyInstanceUID (0020,000D)');
    expect(result.studies.map((s) => s.files)).toEqual([['x/4']]);
  });

  test('no DICOM, and a file that ends too early, are refused one by one', async () => {
    const result = await preflight(
      files({ 'readme.txt': Buffer.from('hello'), 'cut.dcm': dicom({}).subarray(0, -10), empty: new Uint8Array() }),
    );
    expect(result.refused.map((r) => [r.unit, r.code])).toEqual([
      ['file', 'NOT_DICOM'],
      ['file', 'TRUNCATED'],
      ['file', 'NOT_DICOM'],
    ]);
  });

  test('one SOPInstanceUID with two contents refuses the study, and no other one', async () => {
    const result = await preflight(
      files({
        a: dicom({ pixel: 1 }),
        b: dicom({ pixel: 2 }),
        c: dicom({ sop: '1.2.3.5' }),
        d: dicom({ study: '9', series: '9.1', sop: '9.1.1' }),
      }),
    );
    expect(result.refused).toMatchObject([{ unit: 'study', code: 'UID_COLLISION', files: 3, paths: ['a', 'b', 'c'] }]);
    expect(result.studies.map((s) => s.studyInstanceUid)).toEqual(['9']);
  });

  test("ids are the same at each run, differ by place, and no detail holds a patient's value", async () => {
    const input = { 'x/1': dicom({ study: '' }), 'y/1': dicom({ study: '' }), z: dicom({ pixel: 1 }), z2: dicom({ pixel: 2 }) };
    const [one, two] = [await preflight(files(input)), await preflight(files(input))];
    expect(one.refused).toEqual(two.refused);
    expect(new Set(one.refused.map((r) => r.intakeId)).size).toBe(3);
    for (const { paths: _paths, ...event } of one.refused) expect(JSON.stringify(event)).not.toContain('PLANTED');
  });

  test('the same paths in another tree with other files are refused under other ids', async () => {
    const tree = (pixel: number) => preflight(files({ 'x/1': dicom({ study: '', pixel }), readme: Buffer.from(`hello ${pixel}`) }));
    const ids = [...(await tree(1)).refused, ...(await tree(2)).refused].map((r) => r.intakeId);
    expect(ids).toHaveLength(4);
    expect(new Set(ids).size).toBe(4);
  });
});
