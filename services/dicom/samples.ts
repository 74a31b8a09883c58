// Synthetic datasets and files for the tests of this folder: a bit of everything that PS3.5 knows.
import { TAG } from './dictionary.ts';
import type { Dataset, DicomFile } from './model.ts';
import { SOP_CLASS } from './uid.ts';
import { element, encapsulated, sequence } from './values.ts';
import { makeFile, newDataset, withElements } from './write.ts';

export const PIXELS = Uint8Array.from({ length: 8192 }, (_, i) => (i * 7) & 0xff);

/** A small CT-like dataset in UTF-8 with nested, private, empty and odd-looking values. */
export function sampleDataset(pixels: 'native' | 'encapsulated' = 'native'): Dataset {
  const base = newDataset({ charset: ['ISO_IR 192'] });
  const item = withElements(base, [
    element(TAG.ReferencedSOPInstanceUID, 'UI', '1.2.3.4'),
    element(TAG.CodeMeaning, 'LO', 'Лёгкие', base),
    sequence(TAG.PurposeOfReferenceCodeSequence, [withElements(newDataset(), [element(TAG.CodeValue, 'SH', '121311')]), newDataset()]),
  ]);
  return withElements(base, [
    element(TAG.SpecificCharacterSet, 'CS', 'ISO_IR 192'),
    element(TAG.ImageType, 'CS', ['ORIGINAL', 'PRIMARY', 'AXIAL']),
    element(TAG.SOPClassUID, 'UI', SOP_CLASS.CTImageStorage),
    element(TAG.SOPInstanceUID, 'UI', '2.25.1'),
    element(TAG.PatientName, 'PN', 'Иванов^Пётр', base),
    element(TAG.PatientID, 'LO', ''),
    element(TAG.SliceThickness, 'DS', 1.25),
    sequence(TAG.ReferencedStudySequence, [item, item]),
    element(0x00090010, 'LO', 'CTSTREAM TEST'),
    element(0x00091001, 'UN', Uint8Array.of(9, 8, 7, 6)),
    sequence(0x00091002, [withElements(newDataset(), [element(0x00090010, 'LO', 'CTSTREAM TEST')])]),
    element(TAG.Rows, 'US', 64),
    element(TAG.Columns, 'US', 64),
    element(TAG.PixelRepresentation, 'US', 1),
    element(TAG.SmallestImagePixelValue, 'SS', -1024),
    element(TAG.FrameIncrementPointer, 'AT', [TAG.FrameTime, TAG.FrameTimeVector]),
    element(TAG.RealWorldValueSlope, 'FD', 0.1),
    element(TAG.TextValue, 'UT', 'line 1\\not a delimiter'),
    pixels === 'native'
      ? element(TAG.PixelData, 'OW', PIXELS)
      : encapsulated(TAG.PixelData, [Uint8Array.of(0, 0, 0, 0), PIXELS, PIXELS.subarray(0, 5001)]),
  ]);
}

/** The sample as a file in a syntax; its pixels are not really compressed. */
export function sampleFile(transferSyntaxUid: string, pixels: 'native' | 'encapsulated' = 'native'): DicomFile {
  return makeFile({
    transferSyntaxUid,
    dataset: sampleDataset(pixels),
    sopClassUid: SOP_CLASS.CTImageStorage,
    sopInstanceUid: '2.25.1',
  });
}

/** Everything that a dataset means, in numbers and strings, for comparison by a test. */
export function shapeOf(dataset: Dataset): unknown {
  return [...dataset.elements.values()].map((one) => [
    one.tag,
    one.vr,
    one.items?.map(shapeOf) ??
      one.fragments?.map((fragment) => Buffer.from(fragment).toString('hex')) ??
      Buffer.from(one.value).toString('hex'),
  ]);
}
