import { describe, expect, test } from '@jest/globals';
import { TAG } from '../dicom/dictionary.ts';
import { DicomError } from '../dicom/dicom-error.ts';
import { element, sequence } from '../dicom/values.ts';
import { makeFile, newDataset, withElements, writeDicom } from '../dicom/write.ts';
import { readInstanceHeader } from './instance-header.ts';

const CT = '1.2.840.10008.5.1.4.1.1.2';
const SYNTAXES = ['1.2.840.10008.1.2', '1.2.840.10008.1.2.1', '1.2.840.10008.1.2.1.99', '1.2.840.10008.1.2.2'];

function file(transferSyntaxUid: string): Uint8Array {
  const referenced = withElements(newDataset(), [element(TAG.ReferencedSOPInstanceUID, 'UI', '9.9.9')]);
  const dataset = withElements(newDataset(), [
    element(TAG.SOPClassUID, 'UI', CT),
    element(TAG.SOPInstanceUID, 'UI', '1.2.3.4'),
    element(TAG.Modality, 'CS', 'CT'),
    sequence(TAG.ReferencedImageSequence, [referenced]),
    element(TAG.PatientID, 'LO', 'P'),
    element(TAG.StudyInstanceUID, 'UI', '1.2'),
    element(TAG.SeriesInstanceUID, 'UI', '1.2.3'),
    element(TAG.BitsAllocated, 'US', 16),
    element(TAG.PixelData, 'OW', new Uint8Array(4096)),
  ]);
  return writeDicom(makeFile({ transferSyntaxUid, dataset, sopClassUid: CT, sopInstanceUid: '1.2.3.4' }));
}

describe('readInstanceHeader', () => {
  test.each(SYNTAXES)('reads %s, whole and from its first bytes', (transferSyntaxUid) => {
    const expected = {
      transferSyntaxUid,
      sopClassUid: CT,
      sopInstanceUid: '1.2.3.4',
      studyInstanceUid: '1.2',
      seriesInstanceUid: '1.2.3',
      modality: 'CT',
    };
    const bytes = file(transferSyntaxUid);
    expect(readInstanceHeader(bytes)).toEqual(expected);
    if (!transferSyntaxUid.endsWith('.99')) expect(readInstanceHeader(bytes.subarray(0, bytes.length - 4000))).toEqual(expected);
  });

  test('a deflated file that grows out of all measure is read as far as a header goes, and no further', () => {
    const deflated = (before: number, behind: number): Uint8Array => {
      const dataset = withElements(newDataset(), [
        element(TAG.SOPClassUID, 'UI', CT),
        element(TAG.SOPInstanceUID, 'UI', '1.2.3.4'),
        element(0x00090010, 'LO', 'ZEROS'),
        element(0x00091001, 'OB', new Uint8Array(before)),
        element(TAG.StudyInstanceUID, 'UI', '1.2'),
        element(TAG.SeriesInstanceUID, 'UI', '1.2.3'),
        element(TAG.PixelData, 'OW', new Uint8Array(behind)),
      ]);
      return writeDicom(makeFile({ transferSyntaxUid: '1.2.840.10008.1.2.1.99', dataset, sopClassUid: CT, sopInstanceUid: '1.2.3.4' }));
    };
    expect(readInstanceHeader(deflated(1024, 64 << 20))).toMatchObject({ sopInstanceUid: '1.2.3.4', seriesInstanceUid: '1.2.3' });
    expect(() => readInstanceHeader(deflated(64 << 20, 16))).toThrow(DicomError);
  });

  test('what is no DICOM file, or is cut off inside its header, has a code', () => {
    expect(() => readInstanceHeader(Buffer.from('no'))).toThrow(DicomError);
    expect(() => readInstanceHeader(Buffer.alloc(500))).toThrow('NOT_DICOM');
    const bytes = file('1.2.840.10008.1.2.1');
    const inUid = Buffer.from(bytes).lastIndexOf('1.2.3') + 2;
    expect(() => readInstanceHeader(bytes.subarray(0, inUid))).toThrow('TRUNCATED');
  });
});
