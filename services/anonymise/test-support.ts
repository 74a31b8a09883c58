// Synthetic CT instances for tests of this folder: a whole header with planted identities, small pixels.
import { TAG, vrOf } from '../dicom/dictionary.ts';
import { EXPLICIT_LE } from '../dicom/transfer-syntax.ts';
import { SOP_CLASS } from '../dicom/uid.ts';
import { element, sequence } from '../dicom/values.ts';
import { makeFile, newDataset, withElements, writeDicom } from '../dicom/write.ts';
import type { Dataset, DicomFile, Element } from '../dicom/model.ts';
import type { ObjectStore } from '../ports/object-store.ts';

export const STUDY_UID = '1.2.643.5.1.13.2.1.7001';
export const SERIES_UID = '1.2.643.5.1.13.2.1.7001.2';
export const FRAME_UID = '1.2.643.5.1.13.2.1.7001.9';
export const sopUidOf = (n: number): string => `1.2.643.5.1.13.2.1.7001.2.${n}`;

type Value = string | readonly string[] | number | readonly number[] | Uint8Array;

/** An element by keyword, in the dictionary's VR. */
export const of = (keyword: keyof typeof TAG, value: Value, charset: readonly string[] = []): Element =>
  element(TAG[keyword], vrOf(TAG[keyword]) ?? 'UN', value, { littleEndian: true, charset });

export const item = (...elements: Element[]): Dataset => withElements(newDataset(), elements);

export const pixels = (n = 16 * 16): Uint8Array => {
  const words = Uint16Array.from({ length: n }, (_, i) => (i * 7) % 4096);
  return new Uint8Array(words.buffer);
};

/** The least that a CT image needs, and nothing that identifies. */
export const plainCt = (n = 1): Element[] => [
  of('SOPClassUID', SOP_CLASS.CTImageStorage),
  of('SOPInstanceUID', sopUidOf(n)),
  of('StudyInstanceUID', STUDY_UID),
  of('SeriesInstanceUID', SERIES_UID),
  of('FrameOfReferenceUID', FRAME_UID),
  of('ImageType', ['ORIGINAL', 'PRIMARY', 'AXIAL']),
  of('Modality', 'CT'),
  of('Manufacturer', 'SIEMENS'),
  of('StudyDate', '20200412'),
  of('StudyTime', '091500.25'),
  of('SeriesDate', '20200412'),
  of('SeriesTime', '091601'),
  of('AcquisitionDate', '20200412'),
  of('AcquisitionTime', '091630'),
  of('PatientID', 'A-77120'),
  of('PatientName', 'Testov^Pacient'),
  of('PatientSex', 'M'),
  of('PatientBirthDate', '19610203'),
  of('SeriesNumber', '2'),
  of('InstanceNumber', String(n)),
  of('KVP', '120'),
  of('SliceThickness', '1.0'),
  of('ImagePositionPatient', ['-150', '-150', String(n)]),
  of('ImageOrientationPatient', ['1', '0', '0', '0', '1', '0']),
  of('PixelSpacing', ['0.7', '0.7']),
  of('SamplesPerPixel', 1),
  of('PhotometricInterpretation', 'MONOCHROME2'),
  of('Rows', 16),
  of('Columns', 16),
  of('BitsAllocated', 16),
  of('BitsStored', 12),
  of('HighBit', 11),
  of('PixelRepresentation', 0),
  of('RescaleIntercept', '-1024'),
  of('RescaleSlope', '1'),
  element(TAG.PixelData, 'OW', pixels()),
];

/** A file of `plainCt` with elements replaced or added, and others removed. */
export const ctFile = (
  options: { n?: number; changes?: readonly Element[]; removals?: readonly number[]; syntax?: string } = {},
): DicomFile => {
  const dataset = withElements(withElements(newDataset(), plainCt(options.n ?? 1)), options.changes ?? [], options.removals ?? []);
  return makeFile({
    transferSyntaxUid: options.syntax ?? EXPLICIT_LE,
    dataset,
    sopClassUid: SOP_CLASS.CTImageStorage,
    sopInstanceUid: sopUidOf(options.n ?? 1),
  });
};

export const ctBytes = (options: Parameters<typeof ctFile>[0] = {}): Uint8Array => writeDicom(ctFile(options));

/** Words that stand nowhere in a CT header by themselves, so that finding one is a leak. */
export const PLANTED: readonly string[] = [
  'Zvyagintsev',
  'Aristarkh',
  'QX-4471190',
  'OMS8800112233',
  'Kropotkinskaya',
  '79165550147',
  'Verkhoturova',
  'Yermolaeva',
  'Burdenkovsk',
  'HOSP-ST77',
  'ACC20200412X',
  'SN99887766',
  'Zadonsky',
  'Ufimtseva',
  'REQ-55120',
  'Pokrovskoye',
  'Lavrentyev',
  'Starodubtsev',
  'Oleynikova',
  'Mitrofanov',
  'zvya@mail.example',
  'SCHED-31',
  'Lefortovskiy',
  'PORT-AET',
  'Evdokimova',
  'Bezrukovkin',
  'Chernyshevskiy',
  'PRIVPAT',
  'Gorokhovets',
  'Tikhvinskaya',
  'Preobrazhensk',
  'MRN-606060',
];

/** The planted identities, each in another kind of place: names, ids, texts, nested, private, codes, UIDs. */
export const plantedElements = (): Element[] => {
  const p = (i: number): string => PLANTED[i] ?? '';
  return [
    of('PatientName', `${p(0)}^${p(1)}`),
    of('PatientID', p(2)),
    of('OtherPatientIDs', p(3)),
    of('PatientAddress', `${p(4)} 12`),
    of('PatientTelephoneNumbers', p(5)),
    of('ReferringPhysicianName', p(6)),
    of('OperatorsName', p(7)),
    of('InstitutionName', p(8)),
    of('StationName', p(9)),
    of('AccessionNumber', p(10)),
    of('DeviceSerialNumber', p(11)),
    of('PerformingPhysicianName', p(12)),
    of('RequestingPhysician', p(13)),
    sequence(TAG.RequestAttributesSequence, [
      item(of('RequestedProcedureID', p(14)), of('ScheduledProcedureStepDescription', `CT chest ${p(15)}`)),
    ]),
    of('StudyDescription', `Chest ${p(16)} 1.0 mm`),
    of('SeriesDescription', `Lung ${p(17)} B70f`),
    of('PatientComments', `Wife ${p(18)}, cough`),
    of('ImageComments', p(19)),
    of('PatientTelecomInformation', p(20)),
    of('ScheduledProcedureStepID', p(21)),
    of('InstitutionAddress', p(22)),
    of('StationAETitle', p(23)),
    of('AdditionalPatientHistory', `fever ${p(24)}`),
    of('ProtocolName', `Thorax ${p(25)}`),
    sequence(TAG.ProcedureCodeSequence, [item(of('CodeValue', 'LOC1'), of('CodingSchemeDesignator', '99LOCAL'), of('CodeMeaning', p(26)))]),
    element(0x00291001, 'LO', p(27)),
    element(0x00290010, 'LO', 'SOME VENDOR'),
    sequence(TAG.OtherPatientIDsSequence, [item(of('PatientID', p(28)), of('IssuerOfPatientID', p(29)))]),
    of('NameOfPhysiciansReadingStudy', p(30)),
    // A name that other attributes give away goes from technical text as well.
    of('ManufacturerModelName', `Somatom ${p(0)}`),
    of('MedicalRecordLocator', p(31)),
    // Without a word of its own: dates, UIDs, an unknown public tag, an overlay, padding.
    of('DateOfLastCalibration', '20200101'),
    element(0x0018fff0, 'LO', p(0)),
    element(0x60003000, 'OW', new TextEncoder().encode(p(0).padEnd(32))),
    element(0xfffcfffc, 'OB', new TextEncoder().encode(p(2).padEnd(16))),
    sequence(TAG.ReferencedImageSequence, [
      item(of('ReferencedSOPClassUID', SOP_CLASS.CTImageStorage), of('ReferencedSOPInstanceUID', sopUidOf(99))),
    ]),
  ];
};

/** An object store in memory, with If-None-Match; what the stage needs of one. */
export const memoryStore = (): ObjectStore & { objects: Map<string, Uint8Array> } => {
  const objects = new Map<string, Uint8Array>();
  const name = (bucket: string, key: string): string => `${bucket}/${key}`;
  const whole = async (body: Uint8Array | AsyncIterable<Uint8Array>): Promise<Uint8Array> => {
    if (body instanceof Uint8Array) return body;
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    return Buffer.concat(chunks);
  };
  return {
    objects,
    put: async (bucket, key, body, options) => {
      if (options?.ifNoneMatch === true && objects.has(name(bucket, key))) return 'exists';
      objects.set(name(bucket, key), await whole(body));
      return 'created';
    },
    get: async (bucket, key) => {
      const bytes = objects.get(name(bucket, key));
      if (bytes === undefined) return undefined;
      // Odd chunks, as a network gives them.
      return (async function* () {
        for (let at = 0; at < bytes.length; at += 777) yield bytes.subarray(at, at + 777);
      })();
    },
    getBytes: async (bucket, key) => objects.get(name(bucket, key)),
    head: async (bucket, key) => {
      const bytes = objects.get(name(bucket, key));
      return bytes === undefined ? undefined : { key, sizeBytes: bytes.length, lastModifiedMs: 0 };
    },
    async *list(bucket, prefix) {
      for (const [full, bytes] of objects)
        if (full.startsWith(name(bucket, prefix))) yield { key: full.slice(bucket.length + 1), sizeBytes: bytes.length, lastModifiedMs: 0 };
    },
    folders: async () => [],
    remove: async (bucket, keys) => {
      for (const key of keys) objects.delete(name(bucket, key));
    },
  };
};
