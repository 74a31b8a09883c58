// A thousand synthetic people in the headers of real series: how many the verifier holds without a leak, and whether
// it catches each kind of leak. The same every time: the people come from their number.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { studyClock } from '../../services/anonymise/dates.ts';
import { DEFAULT_IDENTITY_RULES, subjectIdentity } from '../../services/anonymise/identity.ts';
import { cleanInstance } from '../../services/anonymise/instance.ts';
import { compileProfile } from '../../services/anonymise/profile/profile.ts';
import { newSurvey, surveyInstance } from '../../services/anonymise/study-survey.ts';
import { verifyInstance } from '../../services/anonymise/verify/verify.ts';
import type { Expected, Finding } from '../../services/anonymise/verify/verify.ts';
import { tagOf, vrOf } from '../../services/dicom/dictionary.ts';
import { readDicom } from '../../services/dicom/read.ts';
import { element } from '../../services/dicom/values.ts';
import { withElements, writeDicom } from '../../services/dicom/write.ts';
import type { DicomFile, Element } from '../../services/dicom/model.ts';
import { centreId } from '../../services/kernel/ids.ts';
import { REAL_FILES } from '../shared/real-files.ts';
import { bytesIn } from './answer-key-people.ts';

export interface Identity {
  surname: string;
  given: string;
  patientId: string;
  birthDate: string;
  accession: string;
  city: string;
  hospital: string;
  station: string;
  physician: string;
  operator: string;
  serial: string;
  phone: string;
  writing: 'utf-8' | 'windows-1251' | 'iso-8859-5';
  declared: string;
}

// Short ones, those that are words of every header, and common ones.
const SURNAMES = `Mar Ann Li Ng Kim Low Gray Chest Rib Lung Head Hand Foot Bone Long Small Philips Siemens Helix Axial Standard Routine
Adult Ivanov Ivanova Petrov Smirnova Kuznetsov Popova Vasiliev Sokolova Mikhailov Novikova Fedorov Morozova Volkov Schmidt Garcia Nguyen
Ли Ким Мар Цой Ан Голова Грудь Легких Костин Иванов Иванова Петров Петровых Смирнова Кузнецов Попова Васильев Соколова Михайлов Новикова
Фёдоров Морозова Волков Алексеев Лебедева Щербаков Хрущёва Юдина Жукова Чехов Толстой Достоевский Белых Седых Дёмин Бах Рак Шея Узлов Нос
Контраст Раков Мозгов Тазов`.split(/\s+/);
const GIVEN = `Ann Mar Li Anna Ivan Maria Al Ada Jo Eve Max Ян Ия Анна Иван Мария Пётр Олег Ева Лев Фёдор Ольга Наталья Александр`.split(
  /\s+/,
);
const IDS = `120 100 128 16 64 2 5 1 144 192 188 150 500 512 600 1600 40 350 431 331 4040 1204567 A-77120 77120934 QX-4471190 П-5566778
12/334455 015-339-112 000123 L B40f 2.3.5 CT12 KT7 MRN551207 99887766 3001 2007 20070404 CHEST-1 5mm Т-1000 7754320812003219`.split(/\s+/);
const PLACES =
  `Moscow Kropotkinsk Chest Lund Rome Москва Тула Череповец Златоуст Орёл Мирный Зеленодольск Грудинин Нижний Волгоград Чита`.split(/\s+/);
const HOSPITALS = [
  'GKB52',
  'City Hospital 5',
  'Chest Clinic',
  'St. Mary',
  'ГКБ №52',
  'Боткинская',
  'Тубдиспансер',
  'Больница 120',
  'НИИ Пульмонологии',
  'МСЧ-7',
];
const STATIONS = ['CT1', 'CT01', 'HOSP-ST77', 'KT2', 'CTAWP60477', 'КТ-3', 'КАБ14', 'ROOM5', 'AXIAL', 'PHILIPS-1'];

/** The same stream of choices for a number. */
const chooser = (no: number): (<T>(list: readonly T[]) => T) => {
  const bytes = createHash('sha512').update(`identity ${no}`).digest();
  let at = 0;
  return <T>(list: readonly T[]): T => {
    const chosen = list[bytes.readUInt16BE(at) % list.length];
    at += 2;
    if (chosen === undefined) throw new Error('an empty list');
    return chosen;
  };
};

const digits = (no: number, count: number): string =>
  createHash('sha256').update(`digits ${no} ${count}`).digest('hex').replaceAll(/[a-f]/g, '').padEnd(count, '7').slice(0, count);

export const identityOf = (no: number): Identity => {
  const choose = chooser(no);
  const year = 1920 + (no % 90);
  return {
    surname: choose(SURNAMES),
    given: choose(GIVEN),
    patientId: no % 3 === 0 ? digits(no, 3 + (no % 9)) : choose(IDS),
    birthDate: `${year}${String(1 + (no % 12)).padStart(2, '0')}${String(1 + (no % 28)).padStart(2, '0')}`,
    accession: choose(['', '1', '12', `A${digits(no, 6)}`, digits(no, 9), '120', 'ACC-5']),
    city: choose(PLACES),
    hospital: choose(HOSPITALS),
    station: choose(STATIONS),
    physician: choose(SURNAMES),
    operator: choose(SURNAMES),
    serial: choose(['1', '128', digits(no, 5), digits(no, 8), 'SN-120']),
    phone: `+7916${digits(no, 7)}`,
    ...choose([
      { writing: 'utf-8', declared: 'ISO_IR 192' },
      { writing: 'windows-1251', declared: 'ISO_IR 100' },
      { writing: 'windows-1251', declared: '' },
      { writing: 'iso-8859-5', declared: 'ISO_IR 144' },
    ] as const),
  };
};

const HEADERS = [
  'chest/philips-brilliance16/1-01.dcm',
  'chest/siemens-sensation10/b40f/1-01.dcm',
  'chest/siemens-sensation10/b70f/1-30.dcm',
];

/** A real header around small pixels: what is judged here are words. */
const header = (path: string): DicomFile => {
  const file = readDicom(readFileSync(join(REAL_FILES, path)));
  const size = 32;
  const pixels = new Uint8Array(size * size * 2).map((_, i) => (i % 2 === 0 ? (i * 7) % 256 : i % 4));
  return {
    ...file,
    dataset: withElements(
      file.dataset,
      [element(tagOf('Rows'), 'US', size), element(tagOf('Columns'), 'US', size), element(tagOf('PixelData'), 'OW', pixels)],
      [0x00120062, 0x00120063, 0x00120064, 0x00280303, 0x00130010, 0x00131010, 0x00131013],
    ),
  };
};
let headers: readonly DicomFile[] | undefined;

const textIn = (one: Identity, keyword: string, text: string): Element => {
  const tag = tagOf(keyword);
  const bytes = bytesIn(one.writing, text) ?? Buffer.from(text);
  return element(tag, vrOf(tag) ?? 'LO', bytes);
};

/** A real file with the person in it. */
export const originalOf = (one: Identity, no: number): Uint8Array => {
  headers ??= HEADERS.map(header);
  const file = headers[no % headers.length];
  if (file === undefined) throw new Error('no headers');
  const put = (keyword: string, text: string): Element => textIn(one, keyword, text);
  const changes = [
    put('PatientName', `${one.surname}^${one.given}`),
    put('PatientID', one.patientId),
    put('PatientBirthDate', one.birthDate),
    put('AccessionNumber', one.accession),
    put('PatientAddress', `${one.city}, ${one.hospital} 5`),
    put('InstitutionName', one.hospital),
    put('InstitutionAddress', one.city),
    put('StationName', one.station),
    put('ReferringPhysicianName', one.physician),
    put('OperatorsName', one.operator),
    put('DeviceSerialNumber', one.serial),
    put('PatientTelephoneNumbers', one.phone),
    put('StudyID', one.accession.slice(0, 6)),
    put('StudyDescription', no % 2 === 0 ? `CT chest ${one.surname} 120 kV` : `КТ ОГК ${one.surname} 1.0 мм`),
    put('ImageComments', no % 2 === 0 ? `Lung 5 mm, ${one.patientId}, low dose, head first` : `Лёгкие без контраста ${one.phone}`),
  ];
  const dataset =
    one.declared === ''
      ? withElements(file.dataset, changes, [tagOf('SpecificCharacterSet')])
      : withElements(file.dataset, [...changes, put('SpecificCharacterSet', one.declared)]);
  return writeDicom({ ...file, dataset });
};

export interface Judged {
  identity: Identity;
  original: Uint8Array;
  clean: DicomFile;
  expected: Expected;
  /** Of what was de-identified, with nothing planted: a false hold. */
  findings: readonly Finding[];
}

const profile = compileProfile();

/** De-identified and verified as ever. */
export const judged = (no: number): Judged => {
  const identity = identityOf(no);
  const original = originalOf(identity, no);
  const survey = newSurvey(profile, centreId('oracle'), DEFAULT_IDENTITY_RULES);
  const code = surveyInstance(survey, 'one', original);
  if (code !== undefined) throw new Error(`identity ${no} is refused: ${code}`);
  const subject = subjectIdentity(createHash('sha256').update(`secret ${no}`).digest());
  const clock = studyClock(subject.shiftDays, survey.start);
  const clean = cleanInstance(original, { identity: subject, clock, identifiers: survey.identifiers, profile }, survey.verifierIdentifiers);
  return {
    identity,
    original,
    clean: readDicom(Uint8Array.from(clean.bytes)),
    expected: {
      identifiers: survey.verifierIdentifiers,
      profile,
      pseudonym: subject.pseudonym,
      shiftDays: subject.shiftDays,
      timeOffsetUs: clock.start === undefined ? 'unknown' : clock.timeOffsetUs,
    },
    findings: clean.findings,
  };
};

/** Whether the verifier finds something in other bytes. */
export const isCaught = ({ original, expected }: Judged, bytes: Uint8Array): boolean =>
  verifyInstance(original, bytes, expected).length > 0;
