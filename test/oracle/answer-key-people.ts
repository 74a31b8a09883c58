// The synthetic people of the answer key: who they are, and how their names are written into bytes.

export type Writing = 'ascii' | 'utf-8' | 'iso-8859-5' | 'windows-1251';

export interface Person {
  /** How text is written, and what Specific Character Set says of it; undefined: nothing. */
  writing: Writing;
  declared: string | undefined;
  language: 'en' | 'ru';
  surname: string;
  given: string;
  patronymic: string;
  motherName: string;
  otherName: string;
  city: string;
  street: string;
  hospital: string;
  department: string;
  station: string;
  physician: string;
  physician2: string;
  operator: string;
  employer: string;
  /** Named in free text and nowhere else: no attribute gives the word away. */
  stranger: string;
  patientId: string;
  otherId: string;
  accession: string;
  phone: string;
  serial: string;
  order: string;
  /** YYYYMMDD. */
  birthDate: string;
  sex: 'M' | 'F';
}

export const PEOPLE: readonly Person[] = [
  {
    writing: 'ascii',
    declared: undefined,
    language: 'en',
    surname: 'Zvyagintsev',
    given: 'Aristarkh',
    patronymic: 'Pavlovich',
    motherName: 'Cholmondeley',
    otherName: 'Fotheringay',
    city: 'Kropotkinsk',
    street: 'Lermontovskaya',
    hospital: 'Burdenkovsk',
    department: 'Pulmocentre',
    station: 'HOSP-ST77',
    physician: 'Verkhoturova',
    physician2: 'Lavrentyev',
    operator: 'Yermolaeva',
    employer: 'Gazpromneft',
    stranger: 'Wolstencroft',
    patientId: 'QX-4471190',
    otherId: 'OMS8800112233',
    accession: 'ACC20090412X',
    phone: '+7 (916) 555-01-47',
    serial: 'SN99887766',
    order: 'RQ-5512077',
    birthDate: '19550304',
    sex: 'M',
  },
  {
    writing: 'utf-8',
    declared: 'ISO_IR 192',
    language: 'ru',
    surname: 'Щербакова',
    given: 'Евпраксия',
    patronymic: 'Ярополковна',
    motherName: 'Незнамова',
    otherName: 'Горюнкина',
    city: 'Зеленодольск',
    street: 'Кропоткинская',
    hospital: 'Боткинская',
    department: 'Пульмоцентр',
    station: 'ГКБ52-КТ3',
    physician: 'Верхотурова',
    physician2: 'Лаврентьев',
    operator: 'Ермолаева',
    employer: 'Уралмашзавод',
    stranger: 'Пржевальская',
    patientId: '77120934',
    otherId: '7754320812003219',
    accession: 'Н20190311-7',
    phone: '8-495-555-31-72',
    serial: '60477123',
    order: 'НАПР-88123',
    birthDate: '19610203',
    sex: 'F',
  },
  {
    writing: 'iso-8859-5',
    declared: 'ISO_IR 144',
    language: 'ru',
    surname: 'Кржижановский',
    given: 'Глеб',
    patronymic: 'Максимилианович',
    motherName: 'Штильмарк',
    otherName: 'Хрущёв',
    city: 'Златоуст',
    street: 'Тимирязевская',
    hospital: 'Склифосовского',
    department: 'Приёмное',
    station: 'СКЛИФ-2',
    physician: 'Ли',
    physician2: 'Юдинцева',
    operator: 'Мар',
    employer: 'Метрострой',
    stranger: 'Мейерхольд',
    patientId: '120',
    otherId: '015-339-112 40',
    accession: 'KT-009914',
    phone: '8(499)5557788',
    serial: '812340077',
    order: '44/2010-981',
    birthDate: '19181224',
    sex: 'M',
  },
  {
    writing: 'windows-1251',
    declared: undefined,
    language: 'ru',
    surname: 'Пётровых',
    given: 'Анна',
    patronymic: 'Ильинична',
    motherName: 'Соловьянова',
    otherName: 'Подберёзкина',
    city: 'Череповец',
    street: 'Металлургов',
    hospital: 'Череповецкая',
    department: 'Рябиновка',
    station: 'КАБ14',
    physician: 'Вознесенская',
    physician2: 'Бехтерева',
    operator: 'Чижикова',
    employer: 'Северсталь',
    stranger: 'Вышеславцева',
    patientId: 'П-5566778',
    otherId: '3500 1234567890',
    accession: '20110607001',
    phone: '(8202) 55-12-34',
    serial: 'S8123-77',
    order: 'Z-77123',
    birthDate: '19470912',
    sex: 'F',
  },
  {
    writing: 'windows-1251',
    declared: 'ISO_IR 100',
    language: 'ru',
    surname: 'Ярославцев',
    given: 'Остап',
    patronymic: 'Сулейманович',
    motherName: 'Воробьянинова',
    otherName: 'Бендеров',
    city: 'Черноморск',
    street: 'Дерибасовская',
    hospital: 'Старгородская',
    department: 'Голубятня',
    station: 'ЧМ-КТ1',
    physician: 'Востриков',
    physician2: 'Грицацуева',
    operator: 'Паниковский',
    employer: 'Антилопа',
    stranger: 'Полыхаевич',
    patientId: 'ИБ 12/334455',
    otherId: '9900887766',
    accession: 'А-2012/5521',
    phone: '+380485551234',
    serial: '5KL-99120',
    order: 'ЗАЯВКА-5512',
    birthDate: '19520606',
    sex: 'M',
  },
];

const PAGES = ['iso-8859-5', 'windows-1251', 'koi8-r', 'ibm866'] as const;
const pages: ReadonlyMap<string, ReadonlyMap<string, number>> = new Map(
  PAGES.map((label) => {
    const decoder = new TextDecoder(label);
    return [label, new Map(Array.from({ length: 256 }, (_, byte) => [decoder.decode(Uint8Array.of(byte)), byte]))];
  }),
);

/** Bytes of a text in an 8-bit page or UTF-8; undefined when the page does not have all letters. */
export const bytesIn = (label: string, text: string): Uint8Array | undefined => {
  if (label === 'utf-8' || label === 'ascii') return Buffer.from(text);
  if (label === 'utf-16le') return Buffer.from(text, 'utf16le');
  if (label === 'utf-16be') return Buffer.from(text, 'utf16le').swap16();
  const bytes = [...text].map((char) => pages.get(label)?.get(char));
  return bytes.every((byte) => byte !== undefined) ? Uint8Array.from(bytes) : undefined;
};

/** All the ways in which the search of the score writes a word. */
export const WRITINGS: readonly string[] = ['utf-8', 'utf-16le', 'utf-16be', ...PAGES];

const digitsOf = (text: string): string => text.replace(/\D/g, '');

/** What names the person: no file that leaves may hold one of them anywhere. Short ones are looked for in their elements only. */
export const identityWords = (p: Person): readonly string[] =>
  [
    [p.surname, p.given, p.patronymic, p.motherName, p.otherName, p.city, p.street, p.hospital, p.department, p.station],
    [p.physician, p.physician2, p.operator, p.employer, p.patientId, p.otherId, p.accession, p.phone, p.serial, p.order],
    [p.stranger, digitsOf(p.phone), digitsOf(p.patientId), digitsOf(p.otherId), p.birthDate],
  ]
    .flat()
    .filter((word) => (/^\d+$/.test(word) ? word.length >= 7 : word.length >= 4));
