// The score of a de-identified folder against the answer key: checks of MIDI-B by category, and those that it is blind to.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bytesIn, identityWords, WRITINGS } from './answer-key-people.ts';
import type { Action, KeyRow } from './answer-key-plants.ts';
import type { KeyFile } from './answer-key.ts';
import type { PydicomFile, PydicomRow } from './pydicom.ts';

export type BlindCheck =
  | 'intervals between dates and times'
  | 'distinct UIDs stay distinct'
  | 'references resolve'
  | 'preamble is zero'
  | 'file meta is rebuilt'
  | 'no private element outside the known safe'
  | 'no identity in any byte of the header'
  | 'age over 89 is 090Y';

export interface Failure {
  check: Action | BlindCheck;
  file: string;
  path: string;
}

export interface Score {
  /** Checks made and failed, by category. */
  made: ReadonlyMap<Action | BlindCheck, number>;
  failures: readonly Failure[];
}

export const ACTIONS: readonly Action[] = [
  'tag retained',
  'text not null',
  'text retained',
  'text removed',
  'date shifted',
  'uid changed',
  'uid consistent',
  'patid consistent',
  'pixels retained',
  'pixels hidden',
];
export const BLIND: readonly BlindCheck[] = [
  'intervals between dates and times',
  'distinct UIDs stay distinct',
  'references resolve',
  'preamble is zero',
  'file meta is rebuilt',
  'no private element outside the known safe',
  'no identity in any byte of the header',
  'age over 89 is 090Y',
];

interface TableRow {
  basic: string;
  options: string;
}

const TABLE: ReadonlyMap<string, TableRow> = new Map(
  readFileSync(join(import.meta.dirname, '../../services/anonymise/profile/annex-e-2026d.tsv'), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [tag = '', basic = '', options = ''] = line.split('\t');
      return [tag, { basic, options }];
    }),
);

const TEXT = new Set(['LO', 'SH', 'ST', 'LT', 'UT', 'UC']);
const DATES = new Set(['DA', 'TM', 'DT']);
/** Written anew by every de-identifier, or the mark of this key. */
const OWN = new Set(['(0008,0005)', '(0010,0010)', '(0010,0020)', '(0010,1010)', '(0018,1130)', '(0028,0303)']);
const WELL_KNOWN = /^1\.2\.840\.10008\./;

const lastTag = (path: string): string => path.slice(-11);
const ancestors = (path: string): string[] => [...path.matchAll(/(\([0-9A-F]{4},[0-9A-F]{4}\))\[/g)].map((match) => match[1] ?? '');
const isPrivate = (tag: string): boolean => Number.parseInt(tag.slice(4, 5), 16) % 2 === 1;

/** Whether a sequence's items are judged one by one, and do not go with it. */
const isEntered = (tag: string): boolean => {
  const row = TABLE.get(tag);
  return !isPrivate(tag) && (row === undefined || row.basic.includes('U*') || row.options.includes('clean_descriptors'));
};

/** What has to become of an element that was in the series before anything was planted. */
const rowsOfOriginal = ({ path, vr, value }: PydicomRow): KeyRow[] => {
  const tag = lastTag(path);
  if (isPrivate(tag) || OWN.has(tag) || tag.endsWith(',0000)') || /^\((?:50|60)\w\w,/.test(tag)) return [];
  if (!ancestors(path).every(isEntered)) return value === '' || vr === 'SQ' ? [] : [{ action: 'text removed', path, values: [value] }];
  const row = TABLE.get(tag);
  const kept: KeyRow[] = [{ action: 'tag retained', path, values: [] }];
  if (vr === 'SQ') return isEntered(tag) ? kept : [];
  if (vr === 'UI') return value === '' ? [] : uidRows(path, value, row);
  if (row === undefined) return value === '' ? kept : [...kept, { action: 'text retained', path, values: [value] }];
  if (value === '') return [];
  if (DATES.has(vr) && row.options.includes('retain_longitudinal_modified_dates'))
    return [{ action: row.options.includes('retain_device_identity') ? 'text removed' : 'date shifted', path, values: [value] }];
  if (TEXT.has(vr) && row.options.includes('clean_descriptors')) return [...kept, { action: 'text retained', path, values: [value] }];
  if (row.options.includes('retain_patient_characteristics')) return [];
  return [{ action: 'text removed', path, values: [value] }];
};

const uidRows = (path: string, value: string, row: TableRow | undefined): KeyRow[] => {
  if (WELL_KNOWN.test(value)) return [{ action: 'text retained', path, values: [value] }];
  if (row !== undefined && !row.basic.includes('U')) return [{ action: 'text removed', path, values: [value] }];
  return [
    { action: 'uid changed', path, values: [value] },
    { action: 'uid consistent', path, values: [value] },
  ];
};

/** The whole key of a file: planted rows, and those of what the series had, as pydicom reads it. */
export const wholeKey = (key: KeyFile, source: PydicomFile): readonly KeyRow[] => {
  const named = new Set(key.rows.map(({ path }) => path));
  return [...key.rows, ...source.rows.filter(({ path }) => !named.has(path)).flatMap(rowsOfOriginal)];
};

/** MIDI-B's tokens: case aside, е for ё. */
const plain = (text: string): string => text.toLowerCase().replaceAll('ё', 'е');
const has = (text: string, token: string): boolean => plain(text).includes(plain(token));
/** A short name stands in many a word. */
const names = (text: string, token: string): boolean =>
  token.length > 3 ? has(text, token) : [...plain(text).matchAll(/[\p{L}\p{N}]+/gu)].some(([word]) => word === plain(token));

interface Pair {
  key: KeyFile;
  source: PydicomFile;
  result: PydicomFile;
  before: ReadonlyMap<string, string>;
  after: ReadonlyMap<string, string>;
}

interface State {
  made: Map<Action | BlindCheck, number>;
  failures: Failure[];
  /** Person and original UID, or person: what it became. */
  mapped: Map<string, string>;
}

const note = (state: State, check: Action | BlindCheck, isGood: boolean, file: string, path: string): void => {
  state.made.set(check, (state.made.get(check) ?? 0) + 1);
  if (!isGood) state.failures.push({ check, file, path });
};

const valuesOf = (file: PydicomFile): ReadonlyMap<string, string> => new Map(file.rows.map(({ path, value }) => [path, value]));
const markOf = (file: PydicomFile): string => file.rows.find(({ path }) => path === '(0018,1130)')?.value ?? '';

/** Scores `results` against the key. `refused`: names under the folder that were refused or held. */
export const score = (
  keys: readonly KeyFile[],
  sources: readonly PydicomFile[],
  results: readonly PydicomFile[],
  refused: ReadonlySet<string>,
): Score => {
  const state: State = { made: new Map(), failures: [], mapped: new Map() };
  const sourceOf = new Map(sources.map((one) => [markOf(one), one]));
  const resultOf = new Map(results.map((one) => [markOf(one), one]));
  const pairs: Pair[] = [];
  for (const key of keys) {
    const [source, result] = [sourceOf.get(key.mark), resultOf.get(key.mark)];
    if (source === undefined) throw new Error(`pydicom did not read ${key.file}`);
    if (key.set.isDrawn === true) {
      note(state, 'pixels hidden', result === undefined && refused.has(key.file), key.file, '(7FE0,0010)');
      continue;
    }
    const pair: Pair = { key, source, result: result ?? MISSING, before: valuesOf(source), after: valuesOf(result ?? MISSING) };
    for (const row of wholeKey(key, source)) note(state, row.action, isDone(row, pair, state), key.file, row.path);
    const id = pair.after.get('(0010,0020)') ?? '';
    note(state, 'patid consistent', isConsistent(state, `id ${key.set.person.patientId}`, id) && id !== '', key.file, '(0010,0020)');
    note(state, 'pixels retained', result?.pixels === source.pixels, key.file, '(7FE0,0010)');
    if (result !== undefined) pairs.push(pair);
  }
  checkBlind(pairs, state);
  return { made: state.made, failures: state.failures };
};

const MISSING: PydicomFile = { file: '', warnings: [], error: null, pixels: '', preamble: false, meta: [], rows: [], outside: '' };

const isConsistent = ({ mapped }: State, key: string, value: string): boolean => {
  const known = mapped.get(key);
  if (known === undefined) mapped.set(key, value);
  return known === undefined || known === value;
};

/** One row of the key. Where the file is missing, what has to stay has not. */
const isDone = ({ action, path, values }: KeyRow, { key, after }: Pair, state: State): boolean => {
  const value = after.get(path);
  switch (action) {
    case 'tag retained':
      return value !== undefined;
    case 'text not null':
      return value !== undefined && value !== '';
    case 'text retained':
      return value !== undefined && values.every((token) => has(value, token));
    case 'text removed':
      return value === undefined || !values.some((token) => names(value, token));
    case 'date shifted':
      return value !== undefined && value.length >= 6 && value !== values[0];
    case 'uid changed':
      return value !== undefined && value !== '' && value !== values[0];
    case 'uid consistent':
      return value !== undefined && isConsistent(state, `${key.set.person.patientId} ${values[0]}`, value);
    default:
      return false;
  }
};

const checkBlind = (pairs: readonly Pair[], state: State): void => {
  const uids = new Map<string, string>();
  const sops = new Set(pairs.map(({ after }) => after.get('(0008,0018)')));
  for (const pair of pairs) {
    const { key, source, result, before, after } = pair;
    const add = (check: BlindCheck, isGood: boolean, path = ''): void => note(state, check, isGood, key.file, path);
    for (const [path, was] of before) {
      const is = after.get(path);
      if (is === undefined || !/^\d[\d.]+$/.test(was) || !is.startsWith('2.25.')) continue;
      const known = uids.get(is);
      const name = `${key.set.person.patientId} ${was}`;
      uids.set(is, name);
      add('distinct UIDs stay distinct', known === undefined || known === name, path);
    }
    add('references resolve', sops.has(after.get('(0008,1140)[0](0008,1155)')), '(0008,1140)[0](0008,1155)');
    add('preamble is zero', !result.preamble);
    add('file meta is rebuilt', isRebuilt(source, result));
    for (const row of result.rows)
      if (isPrivate(lastTag(row.path))) add('no private element outside the known safe', isKnownSafe(row), row.path);
    const leak = leaksIn(pair);
    add('no identity in any byte of the header', leak === undefined, leak);
    const age = before.get('(0010,1010)') ?? '';
    add('age over 89 is 090Y', after.get('(0010,1010)') === (Number(age.slice(0, 3)) > 89 ? '090Y' : age), '(0010,1010)');
  }
  checkIntervals(pairs, state);
};

/** Elements that 0002 may have; none of the sender's. */
const isRebuilt = (source: PydicomFile, result: PydicomFile): boolean => {
  const allowed = new Set(['0000', '0001', '0002', '0003', '0010', '0012', '0013'].map((low) => `(0002,${low})`));
  const meta = new Map(result.meta.map(({ path, value }) => [path, value]));
  const was = new Map(source.meta.map(({ path, value }) => [path, value]));
  return (
    result.meta.every(({ path }) => allowed.has(path)) &&
    meta.get('(0002,0010)') === was.get('(0002,0010)') &&
    meta.get('(0002,0012)') !== was.get('(0002,0012)') &&
    meta.get('(0002,0003)') === valuesOf(result).get('(0008,0018)')
  );
};

/** By hand, for the creators of these series: PS3.15 Table E.3.10-1, and the scanners' acquisition numbers. */
const KNOWN_SAFE = new Set(['SIEMENS CT VA0  COAD', 'ELSCINT1', 'SIEMENS MED', 'SIEMENS CT VA0  GEN', 'GEMS_PARM_01', 'TOSHIBA_MEC_CT3']);
/** Texts that are no text of anybody's: a pitch, a word of the scanner's own. */
const SAFE_TEXT = /^(?:[-+\d.eE\\ ]*|\/?\d\.\d+:1|AXIAL|HELIX|BODY|HEAD|[RLAPSI])$/;
const isKnownSafe = ({ creator, vr, value, path }: PydicomRow): boolean =>
  /,00[1-9A-F][0-9A-F]\)$/.test(path)
    ? KNOWN_SAFE.has(value)
    : creator !== null && KNOWN_SAFE.has(creator) && (!TEXT.has(vr) || SAFE_TEXT.test(value.trim()));

const needles = new Map<string, readonly string[]>();

/** Byte strings of a person's words, in every writing and usual case. */
const needlesOf = (key: KeyFile): readonly string[] => {
  const { person } = key.set;
  const known = needles.get(person.patientId);
  if (known !== undefined) return known;
  const spellings = identityWords(person).flatMap((word) => [word, word.toUpperCase(), word.toLowerCase()]);
  const found = spellings.flatMap((word) =>
    WRITINGS.flatMap((writing) => {
      const bytes = bytesIn(writing, word);
      return bytes === undefined || bytes.length < 4 ? [] : [Buffer.from(bytes).toString('latin1')];
    }),
  );
  const distinct = [...new Set(found)];
  needles.set(person.patientId, distinct);
  return distinct;
};

/** The path of an element with an identity, 'bytes' when it stands elsewhere. */
const leaksIn = ({ key, source, result }: Pair): string | undefined => {
  const uids = source.rows.filter(({ vr, value }) => vr === 'UI' && value !== '' && !WELL_KNOWN.test(value)).map(({ value }) => value);
  const all = [...needlesOf(key), ...uids];
  if (!all.some((needle) => result.outside.includes(needle))) return undefined;
  const words = identityWords(key.set.person);
  return result.rows.find(({ value }) => words.some((word) => has(value, word)))?.path ?? 'bytes';
};

const dayOf = (value: string): number =>
  Date.UTC(Number(value.slice(0, 4)), Number(value.slice(4, 6)) - 1, Number(value.slice(6, 8))) / 86_400_000;
const secondsOf = (value: string): number =>
  Number(value.slice(0, 2)) * 3600 + Number(value.slice(2, 4)) * 60 + Number(value.slice(4) || '0');

/** All dates of a person move by one number of days, all times of a study by one of seconds. */
const checkIntervals = (pairs: readonly Pair[], state: State): void => {
  const days = new Map<string, number>();
  const seconds = new Map<string, number>();
  const same = (known: Map<string, number>, key: string, value: number): boolean => {
    const first = known.get(key) ?? value;
    known.set(key, first);
    return Math.abs(first - value) < 1e-4;
  };
  for (const { key, source, after } of pairs) {
    const { patientId } = key.set.person;
    for (const { path, vr, value } of source.rows) {
      const is = after.get(path);
      if (!DATES.has(vr) || value === '' || is === undefined || is === '') continue;
      const [date, time] = vr === 'DA' ? [value, ''] : vr === 'TM' ? ['', value] : [value.slice(0, 8), value.slice(8)];
      const [newDate, newTime] = vr === 'DA' ? [is, ''] : vr === 'TM' ? ['', is] : [is.slice(0, 8), is.slice(8)];
      const isDaysRight = date === '' || (same(days, patientId, dayOf(newDate) - dayOf(date)) && (dayOf(newDate) - dayOf(date)) % 7 === 0);
      const isTimeRight = time === '' || same(seconds, key.set.name, (secondsOf(newTime) - secondsOf(time) + 86_400) % 86_400);
      note(state, 'intervals between dates and times', isDaysRight && isTimeRight, key.file, path);
    }
  }
};
