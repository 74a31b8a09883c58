// A MIDI-B style answer key: real series with planted identities, what has to become of every element, and the score
// of a de-identified folder against it. Everything is read by pydicom; what must happen to elements that were there
// before is taken from Table E.1-1 itself, not from the profile under test.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { tagOf } from '../../services/dicom/dictionary.ts';
import { readDicom } from '../../services/dicom/read.ts';
import { element, number } from '../../services/dicom/values.ts';
import { withElements, writeDicom } from '../../services/dicom/write.ts';
import type { Dataset, Element } from '../../services/dicom/model.ts';
import { drawnText } from './answer-key-pixels.ts';
import { PEOPLE } from './answer-key-people.ts';
import type { Person } from './answer-key-people.ts';
import { plantsOf, put } from './answer-key-plants.ts';
import type { KeyRow, Slice } from './answer-key-plants.ts';

export interface StudySet {
  name: string;
  person: Person;
  date: string;
  /** Series folders under the data. */
  series: readonly string[];
  /** Text is drawn into the pixels: no file of it may come out. */
  isDrawn?: boolean;
}

/** Of every study set. */
export interface KeyFile {
  set: StudySet;
  /** Name under the folder. */
  file: string;
  /** TableHeight, that no other file has: a file is found again by it. */
  mark: string;
  slice: Slice;
  rows: readonly KeyRow[];
}

const PHILIPS = 'philips-brilliance16';
const [B40F, B70F] = ['siemens-sensation10/b40f', 'siemens-sensation10/b70f'];

const person = (at: number): Person => {
  const one = PEOPLE[at];
  if (one === undefined) throw new Error('no such person');
  return one;
};

export const STUDY_SETS: readonly StudySet[] = [
  { name: 'latin-2009', person: person(0), date: '20090412', series: [PHILIPS] },
  { name: 'latin-2010', person: person(0), date: '20100105', series: [PHILIPS] },
  { name: 'utf8', person: person(1), date: '20190311', series: [B40F, B70F] },
  { name: 'iso144', person: person(2), date: '20100228', series: [PHILIPS] },
  { name: 'cp1251', person: person(3), date: '20110607', series: [B40F] },
  { name: 'cp1251-under-latin1', person: person(4), date: '20121231', series: [B70F] },
  { name: 'drawn', person: person(0), date: '20110909', series: [PHILIPS], isDrawn: true },
];

/** Slices of a set's series that are taken: all, or the first so many of each. */
export const makeKey = (data: string, inDir: string, slicesPerSeries = Number.POSITIVE_INFINITY): KeyFile[] =>
  STUDY_SETS.flatMap((set, setNo) =>
    set.series.flatMap((series, seriesNo) => {
      const from = join(data, series);
      const names = readdirSync(from)
        .sort()
        .slice(0, set.isDrawn ? Math.min(12, slicesPerSeries) : slicesPerSeries);
      mkdirSync(join(inDir, set.name), { recursive: true });
      const uids = names.map((_, at) => `1.2.643.100.${setNo + 1}.${seriesNo + 1}.${4_400_000 + at}`);
      return names.map((name, at) => {
        const file = join(set.name, `${seriesNo}-${basename(name)}`);
        const mark = `${setNo + 1}${String(seriesNo * 100 + at).padStart(3, '0')}.5`;
        const slice: Slice = {
          person: set.person,
          date: set.date,
          time: '',
          studyUid: `1.2.643.100.${setNo + 1}.771100`,
          seriesUid: `1.2.643.100.${setNo + 1}.${seriesNo + 1}.771100`,
          sopUid: uids[at] ?? '',
          neighbourUid: uids[(at + 1) % uids.length] ?? '',
          frameUid: `1.2.643.100.${setNo + 1}.99771100`,
        };
        const { bytes, rows } = planted(readFileSync(join(from, name)), slice, mark, set.isDrawn === true);
        writeFileSync(join(inDir, file), bytes);
        return { set, file, mark, slice, rows };
      });
    }),
  );

const DATES = ['StudyDate', 'SeriesDate', 'AcquisitionDate', 'ContentDate', 'InstanceCreationDate'];

const planted = (original: Uint8Array, slice: Slice, mark: string, isDrawn: boolean): { bytes: Uint8Array; rows: KeyRow[] } => {
  const { person: p } = slice;
  const file = readDicom(original);
  const plants = plantsOf(slice);
  const charset = p.declared === undefined ? [] : [put(p, 'SpecificCharacterSet', p.declared)];
  const changes: Element[] = [
    ...charset,
    put(p, 'PatientName', `${p.surname}^${p.given}^${p.patronymic}`),
    put(p, 'PatientID', p.patientId),
    put(p, 'PatientSex', p.sex),
    put(p, 'StudyInstanceUID', slice.studyUid),
    put(p, 'SeriesInstanceUID', slice.seriesUid),
    put(p, 'SOPInstanceUID', slice.sopUid),
    put(p, 'FrameOfReferenceUID', slice.frameUid),
    put(p, 'TableHeight', mark),
    put(p, 'PatientAge', ageOf(p, slice.date)),
    ...DATES.filter((keyword) => file.dataset.elements.has(tagOf(keyword))).map((keyword) => put(p, keyword, slice.date)),
    ...plants.flatMap(({ elements }) => elements),
  ];
  // What the series says of its own de-identification is no part of a clinical file.
  const removals = [0x00120062, 0x00120063, 0x00120064, 0x00280303, 0x00130010, 0x00131010, 0x00131013];
  if (p.declared === undefined) removals.push(tagOf('SpecificCharacterSet'));
  let dataset = withElements(file.dataset, changes, removals);
  if (isDrawn) dataset = withElements(dataset, [drawn(dataset)]);
  // Group lengths, which no change of a group may take away again.
  dataset = withElements(dataset, [element(0x00080000, 'UL', 4711), element(0x00100000, 'UL', 4712)]);
  const meta = withElements(file.meta, [
    element(0x00020003, 'UI', slice.sopUid),
    element(0x00020016, 'AE', 'SRC-AE77'),
    element(0x00020017, 'AE', 'SND-AE77'),
    element(0x00020100, 'UI', '1.2.643.100.99'),
    element(0x00020102, 'OB', Buffer.from(`${p.surname}${p.surname}`)),
  ]);
  const preamble = new Uint8Array(128);
  preamble.set(Buffer.from(`${p.surname} ${p.patientId}`).subarray(0, 128));
  const rows = plants.flatMap(({ rows: own }) => own);
  return { bytes: writeDicom({ ...file, meta, dataset, preamble }), rows };
};

const drawn = (dataset: Dataset): Element => {
  const pixels = dataset.elements.get(tagOf('PixelData'));
  if (pixels === undefined) throw new Error('no pixels to draw into');
  return element(tagOf('PixelData'), 'OW', drawnText(pixels.value, number(dataset, tagOf('Columns')) ?? 0));
};

const ageOf = (p: Person, date: string): string => {
  const years = Number(date.slice(0, 4)) - Number(p.birthDate.slice(0, 4)) - (date.slice(4) < p.birthDate.slice(4) ? 1 : 0);
  return `${String(years).padStart(3, '0')}Y`;
};
