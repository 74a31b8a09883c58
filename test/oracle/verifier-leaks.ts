// Every kind of leak: each way to write a name or an id, in each place where something may be forgotten.
import { tagOf, vrOf } from '../../services/dicom/dictionary.ts';
import { element, sequence, text } from '../../services/dicom/values.ts';
import { newDataset, withElements, writeDicom } from '../../services/dicom/write.ts';
import type { DicomFile, Element } from '../../services/dicom/model.ts';
import { readDicom } from '../../services/dicom/read.ts';
import { bytesIn, WRITINGS } from './answer-key-people.ts';
import type { Identity, Judged } from './verifier-identities.ts';

export interface Leak {
  kind: string;
  /** The file with the leak; undefined where this person has nothing of the kind. */
  make: (judged: Judged) => Uint8Array | undefined;
}

const put = (keyword: string, bytes: Uint8Array | string): Element =>
  element(tagOf(keyword), vrOf(tagOf(keyword)) ?? 'LO', typeof bytes === 'string' ? Buffer.from(bytes) : bytes);

const changed = ({ clean }: Judged, ...changes: Element[]): Uint8Array =>
  writeDicom({ ...clean, dataset: withElements(clean.dataset, changes) });
const item = (...elements: Element[]) => withElements(newDataset(), elements);

/** Long enough that it is no clinical word with another ending, and has one. */
const isRussianName = (name: string): boolean => /^[А-ЯЁ][а-яё]{5,}$/u.test(name) && !['Контраст', 'Голова', 'Легких'].includes(name);

const ICAO: Readonly<Record<string, string>> = Object.fromEntries(
  'а-a б-b в-v г-g д-d е-e ё-e ж-zh з-z и-i й-i к-k л-l м-m н-n о-o п-p р-r с-s т-t у-u ф-f х-kh ц-ts ч-ch ш-sh щ-shch ъ-ie ы-y ь- э-e ю-iu я-ia'
    .split(' ')
    .map((pair) => pair.split('-') as [string, string]),
);
const latin = (name: string): string => [...name.toLowerCase()].map((letter) => ICAO[letter] ?? letter).join('');
const inflected = (name: string): string =>
  /[ая]$/.test(name) ? `${name.slice(0, -1)}ой` : /[бвгджзклмнпрстфхцчшщ]$/.test(name) ? `${name}ым` : name;

/** Ways to say who it is. */
const WORDS: readonly (readonly [kind: string, word: (one: Identity) => string | undefined])[] = [
  ['surname', (one) => one.surname],
  ['surname in capitals', (one) => one.surname.toUpperCase()],
  ['given name', (one) => one.given],
  ['surname^given name', (one) => `${one.surname}^${one.given}`],
  ['surname with another ending', (one) => (isRussianName(one.surname) ? inflected(one.surname) : undefined)],
  ['surname in Latin letters', (one) => (isRussianName(one.surname) ? latin(one.surname) : undefined)],
  ['surname with ё as е', (one) => (one.surname.includes('ё') ? one.surname.replace('ё', 'е') : undefined)],
  ['patient id', (one) => (one.patientId.length >= 3 ? one.patientId : undefined)],
  ['phone', (one) => one.phone],
  ['birth date', (one) => one.birthDate],
  ['physician', (one) => one.physician],
];

/** Places of text that may stay. */
const PLACES: readonly (readonly [kind: string, place: (bytes: Uint8Array) => Element])[] = [
  ['a description', (bytes) => put('StudyDescription', bytes)],
  ['comments', (bytes) => put('ImageComments', bytes)],
  ['a protocol name', (bytes) => put('ProtocolName', bytes)],
  [
    'a nested description',
    (bytes) => sequence(tagOf('RequestAttributesSequence'), [item(put('ScheduledProcedureStepDescription', bytes))]),
  ],
  [
    'the meaning of a code',
    (bytes) =>
      sequence(tagOf('AnatomicRegionSequence'), [
        item(put('CodeValue', '51185008'), put('CodingSchemeDesignator', 'SCT'), put('CodeMeaning', bytes)),
      ]),
  ],
  ['a model', (bytes) => put('ManufacturerModelName', bytes)],
  ['a code string', (bytes) => put('BodyPartExamined', bytes)],
];

const inText: Leak[] = WORDS.flatMap(([what, word]) =>
  PLACES.flatMap(([where, place]) =>
    WRITINGS.map((writing): Leak => ({
      kind: `${what} in ${where}, ${writing}`,
      make: (one) => {
        const said = word(one.identity);
        const bytes = said === undefined ? undefined : bytesIn(writing, where === 'a description' ? `CT ${said}` : said);
        // A number that is a clinical value where numbers are no text; a kernel or body part of that name.
        const isPlain = said === undefined || isOfClosedPlace(where, said);
        return bytes === undefined || isPlain ? undefined : changed(one, place(bytes));
      },
    })),
  ),
);

/** CHEST is a body part whatever the person is called, and 64 a model of nobody's. */
const isOfClosedPlace = (where: string, said: string): boolean =>
  (where === 'a code string' && ['CHEST', 'HEAD', 'HAND', 'FOOT', 'RIB', 'LUNG', 'LUNGS', 'HIP'].includes(said.toUpperCase())) ||
  (where === 'a model' && /^(?:philips|siemens|axial|vision|low|chest|B40f|\d{1,3}|CT\d{1,3})$/i.test(said));

const at = (group: number, low: number): number => ((group << 16) | 0x1000 | low) >>> 0;
const creator = (group: number, name: string): Element => element(((group << 16) | 0x10) >>> 0, 'LO', Buffer.from(name));
const surname = (one: Judged): Buffer => Buffer.from(one.identity.surname);

/** Places where nothing may stand, or only what we write. */
const elsewhere: Leak[] = (
  [
    [
      'a private element of an unknown creator',
      (one) => changed(one, creator(0x0029, 'VENDOR'), element(at(0x0029, 1), 'LO', surname(one))),
    ],
    ['a private element without creator', (one) => changed(one, element(at(0x0029, 1), 'LO', surname(one)))],
    [
      'a known safe creator, other element',
      (one) => changed(one, creator(0x0019, 'SIEMENS CT VA0  COAD'), element(at(0x0019, 0x91), 'LO', surname(one))),
    ],
    [
      'a known safe element with text',
      (one) => changed(one, creator(0x0019, 'SIEMENS CT VA0  COAD'), element(at(0x0019, 0xb0), 'DS', surname(one))),
    ],
    ['the name of a private creator', (one) => changed(one, creator(0x0029, one.identity.surname))],
    [
      'a private sequence',
      (one) => changed(one, creator(0x0029, 'VENDOR'), sequence(at(0x0029, 1), [item(put('PatientName', surname(one)))])),
    ],
    [
      'a private element in a kept sequence',
      (one) =>
        changed(one, sequence(tagOf('CTExposureSequence'), [item(creator(0x0029, 'VENDOR'), element(at(0x0029, 1), 'LO', surname(one)))])),
    ],
    ['PatientName', (one) => changed(one, put('PatientName', surname(one)))],
    ['PatientID', (one) => changed(one, put('PatientID', one.identity.patientId))],
    ['PatientBirthDate', (one) => changed(one, put('PatientBirthDate', one.identity.birthDate))],
    ['an attribute that goes', (one) => changed(one, put('OperatorsName', surname(one)))],
    ['an attribute that is emptied', (one) => changed(one, put('AccessionNumber', surname(one)))],
    [
      'a nested attribute that goes',
      (one) => changed(one, sequence(tagOf('ReferencedImageSequence'), [item(put('PatientName', surname(one)))])),
    ],
    ['an unknown public tag', (one) => changed(one, element(0x0018fff0, 'LO', surname(one)))],
    ['an overlay', (one) => changed(one, element(0x60003000, 'OW', surname(one)))],
    ['a curve', (one) => changed(one, element(0x50003000, 'OW', surname(one)))],
    ['trailing padding', (one) => changed(one, element(0xfffcfffc, 'OB', surname(one)))],
    ['a group length', (one) => changed(one, element(0x00200000, 'UL', 7))],
    [
      'a local code',
      (one) =>
        changed(
          one,
          sequence(tagOf('ProcedureCodeSequence'), [
            item(put('CodeValue', 'X1'), put('CodingSchemeDesignator', '99HOSP'), put('CodeMeaning', 'Chest')),
          ]),
        ),
    ],
    ['a code at the top', (one) => changed(one, put('CodeValue', 'X1'))],
    [
      'a code of a public scheme',
      (one) =>
        changed(
          one,
          sequence(tagOf('ProcedureCodeSequence'), [
            item(
              put('CodeValue', one.identity.patientId.replaceAll(/[^\x20-\x7e]/g, 'X')),
              put('CodingSchemeDesignator', one.identity.hospital.slice(0, 9)),
              put('CodeMeaning', 'Chest'),
            ),
          ]),
        ),
    ],
    ['the character set', (one) => changed(one, put('SpecificCharacterSet', surname(one)))],
    ['the method', (one) => changed(one, put('DeidentificationMethod', surname(one)))],
    [
      "the method's codes",
      (one) =>
        changed(
          one,
          sequence(tagOf('DeidentificationMethodCodeSequence'), [
            item(put('CodeValue', '113100'), put('CodingSchemeDesignator', 'DCM'), put('CodeMeaning', surname(one))),
          ]),
        ),
    ],
    ['PatientIdentityRemoved', (one) => changed(one, put('PatientIdentityRemoved', surname(one)))],
    ['the sex', (one) => changed(one, put('PatientSex', surname(one)))],
    ['the age', (one) => changed(one, put('PatientAge', '093Y'))],
    ['the weight', (one) => changed(one, put('PatientWeight', '77120934'))],
    [
      'a number',
      (one) => (/^\d{6,12}$/.test(one.identity.patientId) ? changed(one, put('AcquisitionNumber', one.identity.patientId)) : undefined),
    ],
    [
      'a decimal number',
      (one) => (/^\d{8,15}$/.test(one.identity.patientId) ? changed(one, put('TableHeight', one.identity.patientId)) : undefined),
    ],
    ['a binary number', (one) => changed(one, element(tagOf('CTDIvol'), 'OB', Buffer.from(one.identity.phone)))],
    ['changed pixels', (one) => changed(one, element(tagOf('PixelData'), 'OW', new Uint8Array(32 * 32 * 2)))],
    [
      'the preamble',
      (one) => whole(one, (file) => ({ ...file, preamble: Uint8Array.from({ length: 128 }, (_, i) => surname(one)[i] ?? 0) })),
    ],
    ...(
      [
        ['SourceApplicationEntityTitle', 'AE'],
        ['SendingApplicationEntityTitle', 'AE'],
        ['ImplementationVersionName', 'SH'],
      ] as const
    ).map(([keyword, vr]): [string, Leak['make']] => [`meta, ${keyword}`, (one) => meta(one, element(tagOf(keyword), vr, surname(one)))]),
    ['meta, ImplementationClassUID', (one) => meta(one, element(tagOf('ImplementationClassUID'), 'UI', '1.2.643.1.2.3'))],
    ['meta, PrivateInformation', (one) => meta(one, element(tagOf('PrivateInformation'), 'OB', surname(one)))],
    ['meta, an original UID', (one) => meta(one, element(tagOf('MediaStorageSOPInstanceUID'), 'UI', original(one, 'SOPInstanceUID')))],
    ['behind the dataset', (one) => Buffer.concat([writeDicom(one.clean), surname(one), Buffer.alloc(surname(one).length % 2)])],
    ...['StudyInstanceUID', 'SeriesInstanceUID', 'SOPInstanceUID', 'FrameOfReferenceUID'].map((keyword): [string, Leak['make']] => [
      `the original ${keyword}`,
      (one) => changed(one, put(keyword, original(one, keyword))),
    ]),
    [
      'an original UID in a reference',
      (one) =>
        changed(one, sequence(tagOf('ReferencedImageSequence'), [item(put('ReferencedSOPInstanceUID', original(one, 'SOPInstanceUID')))])),
    ],
    ['a UID of nobody known', (one) => changed(one, put('FrameOfReferenceUID', '1.2.643.9.8.7'))],
    ['an original UID in text', (one) => changed(one, put('ImageComments', original(one, 'StudyInstanceUID')))],
    ...['StudyDate', 'SeriesDate', 'AcquisitionDate', 'ContentDate', 'StudyTime', 'AcquisitionTime', 'ContentTime'].map(
      (keyword): [string, Leak['make']] => [
        `the original ${keyword}`,
        (one) => (original(one, keyword) === '' ? undefined : changed(one, put(keyword, original(one, keyword)))),
      ],
    ),
    ['a date that the source does not have', (one) => changed(one, put('PerformedProcedureStepStartDate', '20070404'))],
    ['a date moved by another week', (one) => changed(one, put('StudyDate', '20010101'))],
    ['the zone', (one) => changed(one, put('TimezoneOffsetFromUTC', '+0300'))],
    ['a date in a text', (one) => changed(one, put('StudyDescription', `CT ${original(one, 'StudyDate')}`))],
  ] satisfies [string, Leak['make']][]
).map(([kind, make]) => ({ kind, make }));

const whole = (one: Judged, change: (file: DicomFile) => DicomFile): Uint8Array => writeDicom(change(one.clean));
const meta = (one: Judged, change: Element): Uint8Array => whole(one, (file) => ({ ...file, meta: withElements(file.meta, [change]) }));

const originals = new WeakMap<Judged, DicomFile>();
const original = (one: Judged, keyword: string): string => {
  const file = originals.get(one) ?? readDicom(one.original);
  originals.set(one, file);
  return text(file.dataset, tagOf(keyword)) ?? '';
};

export const LEAKS: readonly Leak[] = [...inText, ...elsewhere];
