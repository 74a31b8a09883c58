// What is planted into the real series and what has to become of it, in the actions of MIDI-B's answer key.
import { keywordOf, tagOf, vrOf } from '../../services/dicom/dictionary.ts';
import { element, sequence } from '../../services/dicom/values.ts';
import { newDataset, withElements } from '../../services/dicom/write.ts';
import type { Dataset, Element, Vr } from '../../services/dicom/model.ts';
import { descriptorsOf } from './answer-key-descriptors.ts';
import { bytesIn, identityWords } from './answer-key-people.ts';
import type { Person } from './answer-key-people.ts';

export type Action =
  | 'tag retained'
  | 'text not null'
  | 'text retained'
  | 'text removed'
  | 'date shifted'
  | 'uid changed'
  | 'uid consistent'
  | 'patid consistent'
  | 'pixels retained'
  | 'pixels hidden';

export interface KeyRow {
  action: Action;
  /** As pydicom would write it: (0040,0275)[0](0040,0007). */
  path: string;
  /** Tokens of text, or the value as it was. */
  values: readonly string[];
}

export interface Plant {
  elements: readonly Element[];
  rows: readonly KeyRow[];
}

/** One slice of a planted study. */
export interface Slice {
  person: Person;
  /** Study date, YYYYMMDD, and time. */
  date: string;
  time: string;
  studyUid: string;
  seriesUid: string;
  sopUid: string;
  /** Of another slice of the series. */
  neighbourUid: string;
  frameUid: string;
}

const CT_IMAGE = '1.2.840.10008.5.1.4.1.1.2';

export const pathOf = (tag: number): string => {
  const hex = (tag >>> 0).toString(16).toUpperCase().padStart(8, '0');
  return `(${hex.slice(0, 4)},${hex.slice(4)})`;
};

/** Text as the person's hospital writes it. */
const raw = (p: Person, tag: number, vr: Vr, text: string): Element => {
  const bytes = bytesIn(p.writing, text);
  if (bytes === undefined) throw new Error(`${p.writing} has no letters for a text of ${keywordOf(tag) ?? pathOf(tag)}`);
  return element(tag, vr, bytes);
};
export const put = (p: Person, keyword: string, text: string): Element => raw(p, tagOf(keyword), vrOf(tagOf(keyword)) ?? 'LO', text);
const item = (...elements: readonly Element[]): Dataset => withElements(newDataset(), elements);

/** Tokens as a reader of the key would split them; single characters say nothing. */
export const tokens = (text: string): readonly string[] => (text.match(/[\p{L}\p{N}]+/gu) ?? []).filter((token) => token.length > 1);

/** Identities that go whole: names, ids, places, people, devices. */
const gone = (p: Person): readonly (readonly [keyword: string, text: string])[] => [
  ['OtherPatientIDs', `${p.otherId}`],
  ['OtherPatientNames', `${p.otherName}^${p.given}`],
  ['PatientBirthName', `${p.otherName}^${p.given}`],
  ['PatientMotherBirthName', `${p.motherName}^${p.given}`],
  ['PatientBirthDate', p.birthDate],
  ['PatientBirthTime', '043012'],
  ['PatientAddress', `${p.city}, ${p.street} 12-45`],
  ['PatientTelephoneNumbers', p.phone],
  ['PatientTelecomInformation', `${p.phone} mail@example.org`],
  ['MedicalRecordLocator', p.otherId],
  ['IssuerOfPatientID', p.hospital],
  ['CountryOfResidence', p.city],
  ['RegionOfResidence', p.city],
  ['PatientReligiousPreference', p.employer],
  ['MilitaryRank', p.employer],
  ['BranchOfService', p.employer],
  ['InsurancePlanIdentification', p.otherId],
  ['ResponsiblePerson', `${p.motherName}^${p.given}`],
  ['ResponsibleOrganization', p.employer],
  ['AccessionNumber', p.accession],
  ['StudyID', p.order],
  ['ReferringPhysicianName', `${p.physician}^${p.given}`],
  ['ReferringPhysicianAddress', `${p.city} ${p.street}`],
  ['ReferringPhysicianTelephoneNumbers', p.phone],
  ['PhysiciansOfRecord', `${p.physician2}^${p.given}`],
  ['PerformingPhysicianName', `${p.physician2}^${p.given}`],
  ['NameOfPhysiciansReadingStudy', `${p.physician}`],
  ['OperatorsName', `${p.operator}`],
  ['RequestingPhysician', `${p.physician2}`],
  ['ScheduledPerformingPhysicianName', p.physician],
  ['InstitutionName', p.hospital],
  ['InstitutionAddress', `${p.city} ${p.street} 3`],
  ['InstitutionalDepartmentName', p.department],
  ['StationName', p.station],
  ['DeviceSerialNumber', p.serial],
  ['GantryID', p.serial],
  ['DetectorID', p.serial],
  ['PlateID', p.serial],
  ['RetrieveAETitle', 'PACS-AE77'],
  ['PerformedStationAETitle', 'CT-AE77'],
  ['ScheduledStationAETitle', 'CT-AE78'],
  ['PerformedStationName', p.station],
  ['ScheduledStationName', p.station],
  ['PerformedLocation', p.department],
  ['CurrentPatientLocation', p.department],
  ['PatientInstitutionResidence', p.hospital],
  ['AdmissionID', p.order],
  ['ServiceEpisodeID', p.order],
  ['PerformedProcedureStepID', p.order],
  ['ScheduledProcedureStepID', p.order],
  ['RequestedProcedureID', p.order],
  ['PlacerOrderNumberImagingServiceRequest', p.order],
  ['FillerOrderNumberImagingServiceRequest', p.order],
  ['NamesOfIntendedRecipientsOfResults', p.physician],
  ['OrderEnteredBy', p.operator],
  ['HumanPerformerName', p.operator],
  ['ContentCreatorName', p.operator],
  ['ReviewerName', p.physician],
  ['TimezoneOffsetFromUTC', '+0300'],
  ['LastMenstrualDate', '20081220'],
  ['StudyIDIssuer', p.hospital],
  ['UDISequence', ''],
];

const removed = (path: string, text: string): KeyRow => ({ action: 'text removed', path, values: tokens(text) });
const retained = (path: string, text: string): KeyRow => ({ action: 'text retained', path, values: tokens(text) });
const changed = (path: string, uid: string): readonly KeyRow[] => [
  { action: 'uid changed', path, values: [uid] },
  { action: 'uid consistent', path, values: [uid] },
];
const moved = (path: string, value: string): KeyRow => ({ action: 'date shifted', path, values: [value] });

const simple = (p: Person): Plant[] =>
  gone(p).map(([keyword, text]) => {
    const tag = tagOf(keyword);
    if (vrOf(tag) === 'SQ') return { elements: [sequence(tag, [item(put(p, 'DeviceDescription', p.serial))])], rows: [] };
    return { elements: [put(p, keyword, text)], rows: [removed(pathOf(tag), text)] };
  });

const descriptors = (p: Person): Plant[] =>
  descriptorsOf(p).map(([keyword, text, kept]) => {
    const path = pathOf(tagOf(keyword));
    const staying = new Set(tokens(kept).map((token) => token.toLowerCase()));
    const leaving = tokens(text).filter((token) => !staying.has(token.toLowerCase()) && isIdentity(p, token));
    return {
      elements: [put(p, keyword, text)],
      rows: [{ action: 'text removed', path, values: leaving }, retained(path, kept), { action: 'tag retained', path, values: [] }],
    };
  });

const isIdentity = (p: Person, token: string): boolean =>
  /\d{3,}/.test(token) ||
  identityWords(p)
    .flatMap(tokens)
    .some((one) => token.toLowerCase().includes(one.toLowerCase()));

/** Dates and UIDs that the real series do not have, and what has to stay though it looks like one. */
const datesAndUids = ({ person: p, date, studyUid, frameUid, neighbourUid }: Slice): Plant[] => [
  {
    elements: [put(p, 'PerformedProcedureStepStartDate', date), put(p, 'PerformedProcedureStepStartTime', '185901')],
    rows: [moved('(0040,0244)', date), moved('(0040,0245)', '185901')],
  },
  { elements: [put(p, 'AcquisitionDateTime', `${date}190047.25`)], rows: [moved('(0008,002A)', `${date}190047.25`)] },
  { elements: [put(p, 'AdmittingDate', date)], rows: [moved('(0038,0020)', date)] },
  { elements: [put(p, 'SynchronizationFrameOfReferenceUID', `${frameUid}.1`)], rows: changed('(0020,0200)', `${frameUid}.1`) },
  { elements: [put(p, 'IrradiationEventUID', `${studyUid}.77`)], rows: changed('(0008,3010)', `${studyUid}.77`) },
  {
    elements: [
      sequence(tagOf('ReferencedImageSequence'), [
        item(put(p, 'ReferencedSOPClassUID', CT_IMAGE), put(p, 'ReferencedSOPInstanceUID', neighbourUid)),
      ]),
    ],
    rows: [
      { action: 'tag retained', path: '(0008,1140)', values: [] },
      { action: 'text retained', path: '(0008,1140)[0](0008,1150)', values: [CT_IMAGE] },
      ...changed('(0008,1140)[0](0008,1155)', neighbourUid),
    ],
  },
  {
    elements: [
      sequence(tagOf('ReferencedStudySequence'), [
        item(put(p, 'ReferencedSOPClassUID', '1.2.840.10008.3.1.2.3.1'), put(p, 'ReferencedSOPInstanceUID', studyUid)),
      ]),
      sequence(tagOf('ReferencedPatientSequence'), [
        item(put(p, 'ReferencedSOPClassUID', '1.2.840.10008.3.1.2.1.1'), put(p, 'ReferencedSOPInstanceUID', `${studyUid}.8`)),
      ]),
    ],
    rows: [removed('(0008,1110)[0](0008,1155)', studyUid), removed('(0008,1120)[0](0008,1155)', `${studyUid}.8`)],
  },
  // Weights and sizes stay; the age of someone over 89 becomes 090Y.
  {
    elements: [put(p, 'PatientSize', '1.74'), put(p, 'PatientWeight', '81.5')],
    rows: [retained('(0010,1020)', '74'), retained('(0010,1030)', '81')],
  },
];

/** A name deep in sequences, kept and not kept ones; UN-encoded too. */
const nested = ({ person: p, date, studyUid }: Slice): Plant[] => {
  const inRequest = p.language === 'en' ? `CT chest ${p.surname}` : `КТ лёгких ${p.surname}`;
  const kept = p.language === 'en' ? 'CT chest' : 'КТ лёгких';
  return [
    {
      elements: [
        sequence(tagOf('RequestAttributesSequence'), [
          item(
            put(p, 'RequestedProcedureID', p.order),
            put(p, 'ScheduledProcedureStepDescription', inRequest),
            put(p, 'RequestedProcedureDescription', inRequest),
            put(p, 'ScheduledProcedureStepID', p.order),
            put(p, 'AccessionNumber', p.accession),
            put(p, 'ScheduledProcedureStepStartDate', date),
            put(p, 'StudyInstanceUID', studyUid),
            put(p, 'PatientName', `${p.surname}^${p.given}`),
            put(p, 'PatientID', p.patientId),
          ),
        ]),
      ],
      rows: [
        removed('(0040,0275)[0](0010,0010)', p.surname),
        removed('(0040,0275)[0](0010,0020)', p.patientId),
        ...['(0032,1060)', '(0040,0007)'].flatMap((tag) => [
          removed(`(0040,0275)[0]${tag}`, p.surname),
          retained(`(0040,0275)[0]${tag}`, kept),
        ]),
        ...['(0040,1001)', '(0040,0009)'].map((tag) => removed(`(0040,0275)[0]${tag}`, p.order)),
        removed('(0040,0275)[0](0008,0050)', p.accession),
        moved('(0040,0275)[0](0040,0002)', date),
        ...changed('(0040,0275)[0](0020,000D)', studyUid),
      ],
    },
    {
      elements: [
        sequence(tagOf('OtherPatientIDsSequence'), [item(put(p, 'PatientID', p.otherId), put(p, 'IssuerOfPatientID', p.hospital))]),
        sequence(tagOf('OperatorIdentificationSequence'), [
          item(
            sequence(tagOf('PersonIdentificationCodeSequence'), [
              item(put(p, 'CodeValue', 'EMP771'), put(p, 'CodingSchemeDesignator', '99HOSP'), put(p, 'CodeMeaning', p.operator)),
            ]),
            put(p, 'InstitutionName', p.hospital),
          ),
        ]),
        sequence(tagOf('InstitutionCodeSequence'), [
          item(put(p, 'CodeValue', 'H77'), put(p, 'CodingSchemeDesignator', '99HOSP'), put(p, 'CodeMeaning', p.hospital)),
        ]),
        sequence(tagOf('OriginalAttributesSequence'), [
          item(sequence(tagOf('ModifiedAttributesSequence'), [item(put(p, 'PatientName', `${p.surname}^${p.given}`))])),
        ]),
      ],
      rows: [
        removed('(0010,1002)[0](0010,0020)', p.otherId),
        removed('(0008,1072)[0](0040,1101)[0](0008,0104)', p.operator),
        removed('(0008,1072)[0](0008,0080)', p.hospital),
        removed('(0008,0082)[0](0008,0104)', p.hospital),
        removed('(0400,0561)[0](0400,0550)[0](0010,0010)', p.surname),
      ],
    },
    {
      // A public code stays, a name beside it does not; a local code goes.
      elements: [
        sequence(tagOf('ProcedureCodeSequence'), [
          item(put(p, 'CodeValue', '24627-2'), put(p, 'CodingSchemeDesignator', 'LN'), put(p, 'CodeMeaning', 'CT Chest')),
          item(put(p, 'CodeValue', 'KT-OGK'), put(p, 'CodingSchemeDesignator', '99HOSP'), put(p, 'CodeMeaning', p.hospital)),
        ]),
      ],
      rows: [
        retained('(0008,1032)[0](0008,0100)', '24627'),
        retained('(0008,1032)[0](0008,0104)', 'CT Chest'),
        // Codes of a hospital's own say which hospital: the item goes.
        ...['(0008,0100)', '(0008,0102)', '(0008,0104)'].map((tag) => removed(`(0008,1032)[1]${tag}`, `KT-OGK 99HOSP ${p.hospital}`)),
      ],
    },
    {
      elements: [unEncoded(tagOf('AnatomicRegionSequence'), [region(p)])],
      rows: [
        retained('(0008,2218)[0](0008,0100)', '51185008'),
        removed('(0008,2218)[0](0008,0104)', p.surname),
        retained('(0008,2218)[0](0008,0104)', 'Chest'),
      ],
    },
  ];
};

const region = (p: Person): readonly Element[] => [
  put(p, 'CodeValue', '51185008'),
  put(p, 'CodingSchemeDesignator', 'SCT'),
  raw(p, tagOf('CodeMeaning'), 'LO', `Chest ${p.surname}`),
];

/** A sequence as UN: implicit little endian inside, defined lengths (PS3.5 6.2.2 note 2). */
const unEncoded = (tag: number, items: readonly (readonly Element[])[]): Element => {
  const implicit = (elements: readonly Element[]): Buffer =>
    Buffer.concat(
      elements.flatMap(({ tag: at, value }) => {
        const head = Buffer.alloc(8);
        head.writeUInt16LE(at >>> 16, 0);
        head.writeUInt16LE(at & 0xffff, 2);
        head.writeUInt32LE(value.length, 4);
        return [head, value];
      }),
    );
  const itemOf = (elements: readonly Element[]): Buffer => {
    const body = implicit(elements);
    const head = Buffer.from([0xfe, 0xff, 0x00, 0xe0, 0, 0, 0, 0]);
    head.writeUInt32LE(body.length, 4);
    return Buffer.concat([head, body]);
  };
  return { tag, vr: 'UN', value: Buffer.concat(items.map(itemOf)) };
};

const creator = (group: number, name: string, block = 0x10): Element => element(((group << 16) | block) >>> 0, 'LO', name);
const at = (group: number, low: number): number => ((group << 16) | 0x1000 | low) >>> 0;

/** Private elements: known safe ones stay, by creator, nested too; everything else goes. */
const privates = ({ person: p }: Slice): Plant[] => [
  {
    elements: [
      creator(0x0029, 'SIEMENS CSA HEADER'),
      element(at(0x0029, 0x10), 'OB', Buffer.from(`SV10\x04\x03\x02\x01${p.surname}^${p.given}`)),
      creator(0x0031, 'HOSPITAL RIS'),
      raw(p, at(0x0031, 0x01), 'LO', `${p.surname} ${p.patientId}`),
      sequence(at(0x0031, 0x02), [
        item(put(p, 'PatientName', `${p.surname}^${p.given}`), sequence(at(0x0031, 0x03), [item(put(p, 'PatientID', p.patientId))])),
      ]),
      raw(p, at(0x0033, 0x07), 'LO', p.surname),
      creator(0x0019, 'SIEMENS CT VA0  COAD'),
      element(at(0x0019, 0xb0), 'DS', '18.8'),
      raw(p, at(0x0019, 0x91), 'LO', p.surname),
      unEncoded(at(0x0031, 0x05), [[raw(p, tagOf('PatientName'), 'PN', p.surname)]]),
    ],
    rows: [
      removed('(0029,1010)', p.surname),
      removed('(0031,1001)', `${p.surname} ${p.patientId}`),
      removed('(0031,1002)[0](0010,0010)', p.surname),
      removed('(0031,1002)[0](0031,1003)[0](0010,0020)', p.patientId),
      removed('(0033,1007)', p.surname),
      { action: 'text retained', path: '(0019,10B0)', values: ['18.8'] },
      removed('(0019,1091)', p.surname),
      removed('(0031,1005)', p.surname),
    ],
  },
  {
    elements: [
      creator(0x0043, 'GEMS_PARM_01'),
      element(at(0x0043, 0x27), 'SH', '/0.984:1'),
      raw(p, at(0x0043, 0x25), 'LO', p.surname),
      // The same places in another maker's block.
      element(0x00430011, 'LO', 'HOSPITAL RIS'),
      element(0x00431127, 'SH', '/0.984:1'),
      creator(0x7005, 'TOSHIBA_MEC_CT3'),
      element(at(0x7005, 0x08), 'DS', '0.5'),
      raw(p, at(0x7005, 0x0b), 'LO', `${p.surname} ${p.given}`),
      creator(0x01f1, 'ELSCINT1'),
      element(at(0x01f1, 0x01), 'CS', 'HELIX'),
      raw(p, at(0x01f1, 0x09), 'LO', p.surname),
      creator(0x00e1, 'ELSCINT1'),
      raw(p, at(0x00e1, 0x40), 'SH', p.operator),
    ],
    rows: [
      { action: 'text retained', path: '(0043,1027)', values: ['984'] },
      removed('(0043,1025)', p.surname),
      removed('(0043,1127)', '984'),
      { action: 'text retained', path: '(7005,1008)', values: ['0.5'] },
      removed('(7005,100B)', p.surname),
      { action: 'text retained', path: '(01F1,1001)', values: ['HELIX'] },
      removed('(01F1,1009)', p.surname),
      removed('(00E1,1040)', p.operator),
    ],
  },
  {
    elements: [
      sequence(tagOf('CTExposureSequence'), [
        item(
          element(tagOf('CTDIvol'), 'FD', 10.6),
          creator(0x0019, 'SIEMENS CT VA0  COAD'),
          element(at(0x0019, 0xb0), 'DS', '18.8'),
          creator(0x0031, 'HOSPITAL RIS'),
          raw(p, at(0x0031, 0x01), 'LO', p.surname),
        ),
      ]),
    ],
    rows: [
      { action: 'text retained', path: '(0018,9321)[0](0018,9345)', values: ['10.6'] },
      { action: 'text retained', path: '(0018,9321)[0](0019,10B0)', values: ['18.8'] },
      removed('(0018,9321)[0](0031,1001)', p.surname),
    ],
  },
];

/** Groups that go whole, unknown public tags, padding. */
const groups = ({ person: p }: Slice): Plant[] => [
  {
    elements: [
      element(0x60000010, 'US', 16),
      element(0x60000011, 'US', 16),
      element(0x60000040, 'CS', 'G'),
      element(0x60000050, 'SS', [1, 1]),
      element(0x60000100, 'US', 1),
      element(0x60000102, 'US', 0),
      raw(p, 0x60000022, 'LO', p.surname),
      raw(p, 0x60004000, 'LT', p.surname),
      element(0x60003000, 'OW', Buffer.from(p.surname.padEnd(32).slice(0, 32)).subarray(0, 32)),
      raw(p, 0x50000022, 'LO', p.surname),
      element(0x50003000, 'OW', Buffer.from(`${p.surname}  `)),
      raw(p, 0x0018fff0, 'LO', p.surname),
      raw(p, 0x00101101, 'LO', p.surname),
      element(0xfffcfffc, 'OB', Buffer.from(p.surname.repeat(3))),
    ],
    rows: [0x60000022, 0x60004000, 0x60003000, 0x50000022, 0x50003000, 0x0018fff0, 0x00101101, 0xfffcfffc].map((tag) =>
      removed(pathOf(tag), p.surname),
    ),
  },
  // Dummies (D): something has to stand there.
  {
    elements: [
      put(p, 'ClinicalTrialSponsorName', p.employer),
      put(p, 'ClinicalTrialProtocolID', p.order),
      put(p, 'ClinicalTrialSubjectID', p.otherId),
    ],
    rows: ['(0012,0010)', '(0012,0020)', '(0012,0040)'].map((path): KeyRow => ({ action: 'text not null', path, values: [] })),
  },
];

/** Everything that is planted into one slice. */
export const plantsOf = (slice: Slice): readonly Plant[] => [
  ...simple(slice.person),
  ...descriptors(slice.person),
  ...datesAndUids(slice),
  ...nested(slice),
  ...privates(slice),
  ...groups(slice),
];
