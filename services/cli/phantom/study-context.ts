// What all instances of one study share: patient, hospital, scanner, dates, ids; and the modules of it.

import { uidFromBytes } from '../../dicom/uid.ts';
import { element } from '../../dicom/values.ts';
import { makeText, type Attributes } from './attributes.ts';
import type { Defect } from './defects.ts';
import { makeHospital, makePerson, patientOf, type Hospital, type Person } from './people.ts';
import { random } from './random.ts';
import type { Kernel } from './render.ts';

export interface Scanner {
  manufacturer: string;
  model: string;
  software: string;
  kernels: [Kernel, Kernel];
  /** 0: unsigned 12 of 16 bits; 1: signed 16 bits. Both with intercept -1024. */
  pixelRepresentation: 0 | 1;
}

const kernels = (soft: string, sharp: string): [Kernel, Kernel] => [
  { name: soft, role: 'soft', blurMm: 0.9, noiseHu: 12 },
  { name: sharp, role: 'sharp', blurMm: 0.4, noiseHu: 38 },
];

const MANUFACTURER = 'Ctstream Phantom';
const SCANNERS: readonly Scanner[] = [
  { manufacturer: MANUFACTURER, model: 'Thorax 16', software: 'TH16 2.4', kernels: kernels('B30f', 'B70f'), pixelRepresentation: 0 },
  {
    manufacturer: MANUFACTURER,
    model: 'Thorax 64 Slice',
    software: 'TH64 7.1.2',
    kernels: kernels('STANDARD', 'LUNG'),
    pixelRepresentation: 1,
  },
  { manufacturer: MANUFACTURER, model: 'Thorax 128', software: 'TH128 1.0', kernels: kernels('FC07', 'FC52'), pixelRepresentation: 0 },
];

export interface StudyContext {
  seed: number;
  index: number;
  issuer: string | undefined;
  defect: Defect | undefined;
  person: Person;
  /** Whom the second half of a mixed study names. */
  stranger: Person;
  hospital: Hospital;
  scanner: Scanner;
  studyDate: string;
  /** Seconds after midnight. */
  startSeconds: number;
  accession: string;
  studyId: string;
  description: string;
  patientId: string;
  studyUid: string;
  frameUid: string;
  referencedStudyUid: string;
  /** A new original UID, the same for the same parts. */
  uid(...parts: (string | number)[]): string;
}

function isoDate(daysAfterMarch2020: number): string {
  return new Date(Date.UTC(2020, 2, 1 + daysAfterMarch2020)).toISOString().slice(0, 10).replaceAll('-', '');
}

/** DICOM TM of seconds after midnight. */
export function timeOf(seconds: number): string {
  const part = (value: number): string => String(Math.floor(value) % 60).padStart(2, '0');
  return `${String(Math.floor(seconds / 3600)).padStart(2, '0')}${part(seconds / 60)}${part(seconds)}`;
}

/** Draws the study's identity; `issuer` keeps the ids of two centres apart. */
export function makeContext(seed: number, index: number, issuer: string | undefined, defect: Defect | undefined): StudyContext {
  const { patient, visit } = patientOf(seed, index);
  const namespace = issuer ?? '';
  const person = makePerson(seed, patient, namespace);
  const draw = random(seed, 'study', namespace, index);
  const uid = (...parts: (string | number)[]): string => uidFromBytes(random(seed, 'uid', namespace, index, ...parts).bytes(16));
  const firstDay = random(seed, 'first-visit', patient).whole(0, 250);
  return {
    seed,
    index,
    issuer,
    defect,
    person,
    stranger: strangerTo(person, seed, patient, namespace),
    hospital: makeHospital(seed, namespace, person.isCyrillic),
    scanner: draw.pick(SCANNERS),
    studyDate: isoDate(firstDay + visit * 9),
    startSeconds: draw.whole(8 * 3600, 19 * 3600),
    accession: `A${draw.digits(9)}`,
    studyId: `S${draw.digits(6)}`,
    description: describe(person, draw.whole(0, 2)),
    patientId: defect === 'no-patient-identity' ? '' : person.patientId,
    studyUid: uid('study'),
    frameUid: uid('frame'),
    referencedStudyUid: uid('referenced-study'),
    uid,
  };
}

/** Somebody else whose name can be written in the same character set. */
function strangerTo(person: Person, seed: number, patient: number, namespace: string): Person {
  for (let n = 1; ; n++) {
    const other = makePerson(seed, patient + 5000 + n, namespace);
    if (other.name !== person.name && other.isCyrillic === person.isCyrillic) return { ...other, encoding: person.encoding };
  }
}

/** One description in three names the patient between clinical words, as technicians do. */
function describe(person: Person, style: number): string {
  if (style === 0) return person.isCyrillic ? `КТ ОГК ${person.shortName} COVID пневмония` : `Chest CT ${person.shortName} COVID pneumonia`;
  if (style === 1) return person.isCyrillic ? 'КТ органов грудной клетки' : 'CT chest without contrast';
  return 'Thorax^COVID_Routine (Adult)';
}

function ageAt(birthDate: string, studyDate: string): string {
  const years = Number(studyDate.slice(0, 4)) - Number(birthDate.slice(0, 4));
  const before = studyDate.slice(4) < birthDate.slice(4) ? 1 : 0;
  return `${String(years - before).padStart(3, '0')}Y`;
}

/** Patient, Patient Study and General Study modules, and the parts of SOP Common that all share. */
export function studyModules(context: StudyContext, person: Person, patientId: string): Attributes {
  const { hospital, studyDate } = context;
  const empty = context.defect === 'empty-uid';
  const comment = person.isCyrillic
    ? `Просил позвонить: ${person.phone}, ${person.shortName}`
    : `Please call ${person.phone}, ${person.shortName}`;
  return {
    PatientName: person.name,
    PatientID: patientId,
    ...(context.issuer === undefined ? {} : { IssuerOfPatientID: context.issuer }),
    PatientBirthDate: person.birthDate,
    PatientSex: person.sex,
    PatientAge: ageAt(person.birthDate, studyDate),
    PatientSize: person.heightM,
    PatientWeight: person.weightKg,
    PatientAddress: person.address,
    PatientTelephoneNumbers: person.phone,
    PatientMotherBirthName: person.motherName,
    PatientComments: comment,
    OtherPatientIDsSequence: [{ PatientID: person.otherPatientId, IssuerOfPatientID: 'CITY', TypeOfPatientID: 'TEXT' }],
    StudyInstanceUID: empty ? '' : context.studyUid,
    StudyDate: studyDate,
    StudyTime: timeOf(context.startSeconds),
    StudyID: context.studyId,
    AccessionNumber: context.accession,
    StudyDescription: context.description,
    ReferringPhysicianName: hospital.referring,
    NameOfPhysiciansReadingStudy: hospital.reading,
    InstanceCreationDate: studyDate,
    InstanceCreationTime: timeOf(context.startSeconds + 90),
    TimezoneOffsetFromUTC: '+0300',
  };
}

/** General Series' people and General Equipment; the requests and references that nest identities. */
export function sceneModules(context: StudyContext, person: Person): Attributes {
  const { hospital, scanner } = context;
  const request = person.isCyrillic ? `КТ грудной клетки, ${person.shortName}` : `CT chest, ${person.shortName}`;
  return {
    PerformingPhysicianName: hospital.performing,
    OperatorsName: hospital.operator,
    Manufacturer: scanner.manufacturer,
    ManufacturerModelName: scanner.model,
    SoftwareVersions: scanner.software,
    InstitutionName: hospital.institution,
    InstitutionAddress: hospital.address,
    StationName: hospital.station,
    DeviceSerialNumber: hospital.serial,
    ReferencedStudySequence: [{ ReferencedSOPClassUID: '1.2.840.10008.3.1.2.3.1', ReferencedSOPInstanceUID: context.referencedStudyUid }],
    RequestAttributesSequence: [
      {
        RequestedProcedureID: `R${context.studyId}`,
        RequestedProcedureDescription: request,
        ScheduledProcedureStepID: `P${context.studyId}`,
        ScheduledProcedureStepDescription: request,
      },
    ],
  };
}

/** A private block with the patient in it; keyed by words that only makeDataset's caller sees. */
export function privateModule(context: StudyContext, person: Person): Attributes {
  const { encoding } = context.person;
  return {
    privateCreator: makeText(0x00290010, 'LO', 'CTSTREAM PHANTOM 1.0', encoding),
    privateName: makeText(0x00291010, 'LO', person.name, encoding),
    privateId: makeText(0x00291011, 'SH', person.patientId, encoding),
    privateNumber: element(0x00291012, 'DS', 1.25),
  };
}

/** Everything that `studyModules`, `sceneModules` and `privateModule` plant and that names or numbers somebody. */
export function plantedIdentifiers(context: StudyContext): string[] {
  const { person, hospital, stranger } = context;
  const second = context.defect === 'mixed-patients' ? [stranger.name, ...stranger.parts, stranger.patientId] : [];
  const uids = context.defect === 'empty-uid' ? [] : [context.studyUid];
  const issuer = context.issuer === undefined ? [] : [context.issuer];
  return [
    person.name,
    ...person.parts,
    person.shortName,
    person.patientId,
    person.otherPatientId,
    person.birthDate,
    person.address,
    person.phone,
    person.motherName,
    context.accession,
    context.studyId,
    context.referencedStudyUid,
    context.frameUid,
    ...uids,
    ...issuer,
    hospital.institution,
    hospital.address,
    hospital.station,
    hospital.serial,
    hospital.referring,
    hospital.performing,
    hospital.operator,
    hospital.reading,
    ...second,
  ];
}
