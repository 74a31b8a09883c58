// Clinical words that are a person's name in another form: Малый in 'у Малого', MALAYA as Малая. Cleaning takes
// words away that equal a name, so these forms count as names of the person too.
import { VOCABULARY } from './vocabulary.ts';
import { transliterations } from './verify/spellings.ts';

const ADJECTIVE = [
  'ый',
  'ий',
  'ой',
  'ая',
  'яя',
  'ое',
  'ее',
  'ые',
  'ие',
  'ого',
  'его',
  'ому',
  'ему',
  'ую',
  'юю',
  'ым',
  'им',
  'ом',
  'ем',
  'ых',
  'их',
];
const NOUN = ['', 'а', 'я', 'у', 'ю', 'ом', 'ем', 'е', 'ы', 'и', 'ой', 'ей', 'ью'];

const withEndings = (stem: string, endings: readonly string[]): string[] =>
  stem.length < 2 ? [] : endings.map((ending) => stem + ending).filter((form) => VOCABULARY.has(form));

/** Case forms of a Russian name that are clinical words. */
const caseForms = (name: string): readonly string[] => {
  if (!/^[а-я]{3,}$/.test(name)) return [];
  const adjective = /^(.+?)(?:ый|ий|ой|ая|яя|ое|ее|ого|его)$/.exec(name)?.[1];
  return adjective === undefined ? withEndings(name.replace(/[аяьй]$/, ''), NOUN) : withEndings(adjective, ADJECTIVE);
};

/** What a word in Latin letters may begin with, by its first Russian letter. */
const initials: ReadonlyMap<string, readonly string[]> = new Map(
  [...'абвгдежзийклмнопрстуфхцчшщыэюя'].map((letter) => [letter, transliterations(letter).map((latin) => latin.slice(0, 1))]),
);

/** Clinical words of Russian that are this in Latin letters, as passports and scanners write. A map of all takes as long as ten files. */
const fromLatin = (name: string): readonly string[] => {
  if (!/^[a-z]{2,}$/.test(name)) return [];
  const found: string[] = [];
  for (const word of VOCABULARY) {
    const isNear = word.length <= name.length + 2 && initials.get(word.slice(0, 1))?.includes(name.slice(0, 1)) === true;
    if (isNear && transliterations(word).includes(name)) found.push(word);
  }
  return found;
};

/** Other forms of a folded name among the words that a text may keep: case endings, Russian for Latin letters. */
export const spokenAs = (name: string): readonly string[] => {
  const russian = fromLatin(name);
  return [...russian, ...[name, ...russian].flatMap(caseForms)].filter((form) => form !== name);
};
