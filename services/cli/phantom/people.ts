// Synthetic patients and hospitals, rich in what a de-identifier has to find. Nobody here exists.

import { random, type Random } from './random.ts';

/** How the study's text is encoded: `declared` is (0008,0005), absent when undefined. */
export interface TextEncoding {
  name: 'latin1' | 'iso-8859-5' | 'utf-8' | 'windows-1251';
  declared: string | undefined;
}

export interface Person {
  /** PN with carets. */
  name: string;
  /** Surname and initials as people type them into descriptions. */
  shortName: string;
  /** Capital Latin letters, for the bitmap font. */
  drawnName: string;
  parts: string[];
  sex: 'M' | 'F';
  birthDate: string;
  patientId: string;
  otherPatientId: string;
  address: string;
  phone: string;
  motherName: string;
  heightM: number;
  weightKg: number;
  encoding: TextEncoding;
  isCyrillic: boolean;
}

/** Surname (male, female), then given names and patronymics, as [Latin, Cyrillic]. */
const SURNAMES: readonly (readonly [[string, string], [string, string]])[] = [
  [
    ['Ivanov', 'Иванов'],
    ['Ivanova', 'Иванова'],
  ],
  [
    ['Kuznetsov', 'Кузнецов'],
    ['Kuznetsova', 'Кузнецова'],
  ],
  [
    ['Vorobyov', 'Воробьёв'],
    ['Vorobyova', 'Воробьёва'],
  ],
  [
    ['Zhukovskiy', 'Жуковский'],
    ['Zhukovskaya', 'Жуковская'],
  ],
  [
    ['Shcherbakov', 'Щербаков'],
    ['Shcherbakova', 'Щербакова'],
  ],
  [
    ['Tsoy', 'Цой'],
    ['Tsoy', 'Цой'],
  ],
  [
    ['Li', 'Ли'],
    ['Li', 'Ли'],
  ],
  [
    ['Pak', 'Пак'],
    ['Pak', 'Пак'],
  ],
  [
    ['Gerasimenko', 'Герасименко'],
    ['Gerasimenko', 'Герасименко'],
  ],
  [
    ['Khabibullin', 'Хабибуллин'],
    ['Khabibullina', 'Хабибуллина'],
  ],
];
const GIVEN = {
  M: [
    ['Aleksey', 'Алексей'],
    ['Dmitriy', 'Дмитрий'],
    ['Ilya', 'Илья'],
    ['Fyodor', 'Фёдор'],
    ['Timur', 'Тимур'],
  ],
  F: [
    ['Anna', 'Анна'],
    ['Yuliya', 'Юлия'],
    ['Olga', 'Ольга'],
    ['Aygul', 'Айгуль'],
    ['Zinaida', 'Зинаида'],
  ],
} as const;
const PATRONYMIC = {
  M: [
    ['Petrovich', 'Петрович'],
    ['Sergeevich', 'Сергеевич'],
    ['Ilyich', 'Ильич'],
  ],
  F: [
    ['Petrovna', 'Петровна'],
    ['Sergeevna', 'Сергеевна'],
    ['Ilyinichna', 'Ильинична'],
  ],
} as const;
const WESTERN = {
  M: [
    ['Mar', 'Jon'],
    ['Müller', 'Jürgen'],
    ["O'Brien", 'Sean'],
    ['Andersson', 'Lars'],
    ['Li', 'Wei'],
  ],
  F: [
    ['Mar', 'Ann'],
    ['Müller', 'Käthe'],
    ['Van der Berg', 'Ann'],
    ['Andersson', 'Eva'],
    ['Li', 'Na'],
  ],
} as const;

const ENCODINGS: readonly TextEncoding[] = [
  { name: 'latin1', declared: 'ISO_IR 100' },
  { name: 'latin1', declared: 'ISO_IR 100' },
  { name: 'latin1', declared: 'ISO_IR 100' },
  { name: 'iso-8859-5', declared: 'ISO_IR 144' },
  { name: 'iso-8859-5', declared: 'ISO_IR 144' },
  { name: 'iso-8859-5', declared: 'ISO_IR 144' },
  { name: 'utf-8', declared: 'ISO_IR 192' },
  { name: 'utf-8', declared: 'ISO_IR 192' },
  { name: 'utf-8', declared: 'ISO_IR 192' },
  // Scanners in Russia often write CP1251 and declare nothing.
  { name: 'windows-1251', declared: undefined },
];

const pad = (value: number, width: number): string => String(value).padStart(width, '0');

interface Naming {
  name: string;
  shortName: string;
  drawnName: string;
  parts: string[];
}

function nameOf(draw: Random, sex: 'M' | 'F', isCyrillic: boolean): Naming {
  if (!isCyrillic) {
    const [surname, given] = draw.pick<readonly [string, string]>(WESTERN[sex]);
    const plain = `${surname} ${given}`.normalize('NFD').replace(/[\u0300-\u036f']/g, '');
    return { name: `${surname}^${given}`, shortName: `${surname} ${given[0]}.`, drawnName: plain, parts: [surname, given] };
  }
  const surname = draw.pick(SURNAMES)[sex === 'M' ? 0 : 1];
  const given = draw.pick<readonly [string, string]>(GIVEN[sex]);
  const patronymic = draw.pick<readonly [string, string]>(PATRONYMIC[sex]);
  return {
    name: `${surname[1]}^${given[1]}^${patronymic[1]}`,
    shortName: `${surname[1]} ${given[1][0]}.${patronymic[1][0]}.`,
    drawnName: `${surname[0]} ${given[0]} ${patronymic[0]}`,
    parts: [surname[1], given[1], patronymic[1]],
  };
}

/** The n-th patient of a seed; `issuer` only makes the ids of two hospitals differ. */
export function makePerson(seed: number, n: number, issuer: string): Person {
  const draw = random(seed, 'person', n);
  const ids = random(seed, 'person-ids', issuer, n);
  const sex = draw.pick(['M', 'F'] as const);
  const encoding = draw.pick(ENCODINGS);
  const isCyrillic = encoding.name !== 'latin1';
  const naming = nameOf(draw, sex, isCyrillic);
  const street = isCyrillic ? 'ул. Придуманная' : 'Imaginary Street';
  const year = 2020 - draw.whole(18, 95);
  return {
    ...naming,
    sex,
    birthDate: `${year}${pad(draw.whole(1, 12), 2)}${pad(draw.whole(1, 28), 2)}`,
    patientId: `P${pad(n, 4)}${ids.digits(5)}`,
    otherPatientId: `77${ids.digits(14)}`,
    address: `${street} ${draw.whole(101, 399)}-${draw.whole(1001, 1999)}`,
    phone: `+7 495 ${draw.digits(3)}-${draw.digits(2)}-${draw.digits(2)}`,
    motherName: isCyrillic ? draw.pick(['Смирнова', 'Попова', 'Лебедева']) : draw.pick(['Johansson', 'Kowalska', 'Dubois']),
    heightM: Math.round(draw.between(1.52, 1.94) * 100) / 100,
    weightKg: Math.round(draw.between(52, 104)),
    encoding,
    isCyrillic,
  };
}

/** Which patient the n-th study is of: about one study in six is a return of the patient before it. */
export function patientOf(seed: number, index: number): { patient: number; visit: number } {
  let patient = index;
  while (patient > 0 && random(seed, 'returns', patient).chance(1 / 6)) patient--;
  return { patient, visit: index - patient };
}

export interface Hospital {
  institution: string;
  address: string;
  station: string;
  serial: string;
  referring: string;
  performing: string;
  operator: string;
  reading: string;
}

/** Whoever scanned: written in the patient's own script, so that one character set holds the study. */
export function makeHospital(seed: number, issuer: string, isCyrillic: boolean): Hospital {
  const draw = random(seed, 'hospital', issuer, isCyrillic ? 1 : 0);
  const number = draw.whole(101, 199);
  const people = isCyrillic
    ? ['Морозова^Елена^Игоревна', 'Тарасов^Глеб^Олегович', 'Соколов^Артём', 'Белова^Нина^Павловна']
    : ['Holloway^Grace', 'Lindqvist^Oskar', 'Fontaine^Marc', 'Castellano^Rosa'];
  return {
    institution: isCyrillic ? `Больница ${number} имени Небывалова` : `Nowhere General Hospital ${number}`,
    address: isCyrillic ? `г. Вымышленск, пр. Ненастоящий ${number}` : `${number} Fictive Avenue, Notown`,
    station: `CTROOM${draw.digits(4)}`,
    serial: `SN${draw.digits(8)}`,
    referring: people[0]!,
    performing: people[1]!,
    operator: people[2]!,
    reading: people[3]!,
  };
}
