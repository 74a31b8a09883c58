// Clean Descriptors (PS3.15 E.3.5): what is left of a free text is clinical words and numbers with a
// unit. An allow-list, so a name that nobody foresaw goes; words that name this patient go as well.
import { dropDays, dropNamesBehindTitles, dropNamesByInitials, dropPlaces, MONTH } from './clean-neighbours.ts';
import { CHAIN, PHRASE } from './clean-phrases.ts';
import { CONTRAST_MEDIA, fold, UNITS, VOCABULARY } from './vocabulary.ts';

/** Reconstruction kernels as Siemens, GE, Canon and Philips name them. */
const KERNEL = /^(?:(?:b|br|bl|bv|bf|hr|hf|hc|qr|tr|sa|ub|ur|d|h|i|j|t|u)\d{2}[fsh]?|fc\d{2}|y[a-d])$/;
/** Vertebrae and segments of the lung: c1-c7, th1-th12, l1-l5, s1-s10. */
const LEVEL = /^(?:c[1-7]|th?(?:[1-9]|1[0-2])|l[1-5]|[sс](?:[1-9]|10)|[234]d)$/;
/** Runs without a break; their blocks of digits and of letters; pieces of a block, each up to the next capital. */
const RUN = /[\p{L}\p{M}\p{N}]+(?:(?<=\d)[.,]\d+[\p{L}\p{M}\p{N}]*)*%?/gu;
const BLOCK = /\d+(?:[.,]\d+)?%?|[\p{L}\p{M}]+|\p{N}/gu;
const PIECE = /\p{Lu}+(?![\p{Ll}\p{M}])|\p{Lu}?[\p{L}\p{M}]+?(?=\p{Lu}|$)|[\p{L}\p{M}]+/gu;

/** amount: a number whose unit is the next piece. digit: a small number that only stays beside a word. */
type Kind = 'word' | 'amount' | 'unit' | 'digit' | 'drop';

export interface Piece {
  text: string;
  start: number;
  end: number;
  kind: Kind;
}

/** More passes than any text took; one that still changes is nothing that is known. */
const MAX_PASSES = 5;

/**
 * The text with only allowed words, single digits beside them and numbers with units; separators between kept
 * neighbours stay, and a text that loses nothing stays as it is. `identifiers` are folded tokens of this study's
 * identities: they go even where the vocabulary has the word. Empty when nothing is left. Cleaning again takes nothing
 * more away: what stands side by side once a word is gone is judged again.
 */
export const cleanText = (text: string, identifiers: ReadonlySet<string>): string => {
  let was = text.normalize('NFC');
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    const is = cleanOnce(was, identifiers);
    if (is === was) return is;
    was = is;
  }
  return '';
};

const cleanOnce = (source: string, identifiers: ReadonlySet<string>): string => {
  const pieces = piecesOf(source, identifiers);
  pieces.forEach((piece, i) => {
    if (piece.kind === 'digit' && !isBesideWord(pieces, i)) piece.kind = 'drop';
  });
  const kept = pieces.flatMap((piece, i) => (piece.kind === 'drop' ? [] : [{ piece, i }]));
  if (!kept.some(({ piece: { kind } }) => kind === 'word' || kind === 'amount')) return '';
  if (kept.length === pieces.length && isPlain(source)) return source;
  let result = '';
  kept.forEach(({ piece, i }, at) => {
    const before = kept[at - 1];
    if (before !== undefined) result += before.i === i - 1 ? separator(source.slice(before.piece.end, piece.start)) : ' ';
    result += piece.text;
  });
  return result;
};

/** Letters, digits and usual signs: no piece was missed. */
const isPlain = (source: string): boolean => /^[\p{L}\p{M}\p{N}\s!-/:-@[-`{-~№°«»–—×]*$/u.test(source);

const separator = (between: string): string => (/^[\s/+\-,;:.()_&^]*$/.test(between) ? between : ' ');

// Behind a kept word it is a slice count, a phase, a lobe; in front of one only at the start of the text.
const isBesideWord = (pieces: readonly Piece[], i: number): boolean => {
  const [before, after] = [pieces[i - 1], pieces[i + 1]];
  if (after !== undefined && after.kind === 'drop' && MONTH.test(fold(after.text))) return false;
  return before === undefined ? after?.kind === 'word' : before.kind !== 'drop';
};

const piecesOf = (source: string, identifiers: ReadonlySet<string>): Piece[] => {
  const whole = [...source.matchAll(PHRASE)].map((match): Piece => ({
    text: match[0],
    start: match.index,
    end: match.index + match[0].length,
    kind: namesSomebody(match[0], identifiers) ? 'drop' : 'word',
  }));
  const blank = (from: string, pattern: RegExp): string => from.replace(pattern, (chain) => '\u0000'.repeat(chain.length));
  // Blanked, so that nothing else matches there.
  const chains = [...blank(source, PHRASE).matchAll(CHAIN)].map((match): Piece => ({
    text: match[0],
    start: match.index,
    end: match.index + match[0].length,
    kind: 'drop',
  }));
  const runs = [...blank(blank(source, PHRASE), CHAIN).matchAll(RUN)];
  const pieces = runs.flatMap((run) => judgeRun(run[0], run.index, source, identifiers));
  const all = [...whole, ...chains, ...pieces].sort((a, b) => a.start - b.start);
  all.forEach((piece, i) => judgeBeside(piece, all[i - 1], all[i + 1], source, identifiers));
  dropDays(all);
  dropNamesByInitials(all, source);
  dropNamesBehindTitles(all, source);
  dropPlaces(all, source);
  return all;
};

/** A run whole when it is known or names somebody, else by its pieces: ThoraxRoutine, LUNG1.25mm, Smith123. */
const judgeRun = (run: string, start: number, source: string, identifiers: ReadonlySet<string>): Piece[] => {
  const one = (kind: Kind): Piece[] => [{ text: run, start, end: start + run.length, kind }];
  const folded = fold(run);
  if (identifiers.has(folded)) return one('drop');
  if (/^\p{L}$/u.test(run)) return one(isInitial(run, start, source) || !VOCABULARY.has(folded) ? 'drop' : 'word');
  const isKnown = KERNEL.test(folded) || LEVEL.test(folded) || VOCABULARY.has(folded);
  if (isKnown && !namesSomebody(run, identifiers)) return one('word');
  const pieces = [...run.matchAll(BLOCK)].flatMap((block) => blockPieces(block[0], start + block.index));
  pieces.forEach((piece, i) => (piece.kind = judgePiece(piece.text, pieces[i + 1]?.text, pieces.length, identifiers)));
  return pieces;
};

/** Letters from which on an identifier is found inside a longer word: the last look at the file finds it in its bytes. */
const MIN_INSIDE = 6;
const insiders = new WeakMap<ReadonlySet<string>, readonly string[]>();

const longOf = (identifiers: ReadonlySet<string>): readonly string[] => {
  const known = insiders.get(identifiers);
  if (known !== undefined) return known;
  const found = [...identifiers].filter((one) => one.length >= MIN_INSIDE && /^\p{L}+$/u.test(one));
  insiders.set(identifiers, found);
  return found;
};

/**
 * Whether letters or digits of a run are an identifier: of a hospital FC-12 the kernel FC07 goes, of a study 0625 the slice of
 * 0.625 mm. Whatever the last look at the file holds against a text must go here, or every study of that place is held. Two digits
 * name nobody.
 */
const namesSomebody = (run: string, identifiers: ReadonlySet<string>): boolean => {
  const folded = fold(run);
  return (
    tokensOf(run).some((token) => token.length > 1 && !/^\d\d$/.test(token) && identifiers.has(token)) ||
    joinedTokensOf(run).some((token) => /\d/.test(token) && !/^\d\d$/.test(token) && identifiers.has(token)) ||
    longOf(identifiers).some((one) => folded.includes(one))
  );
};

const blockPieces = (block: string, start: number): Piece[] => {
  const isKnown = !/^\p{L}/u.test(block) || UNITS.has(fold(block)) || VOCABULARY.has(fold(block));
  const parts = isKnown ? [{ 0: block, index: 0 }] : [...block.matchAll(PIECE)];
  return parts.map(({ 0: text, index }) => ({ text, start: start + index, end: start + index + text.length, kind: 'drop' }));
};

/** A letter alone is an initial when it is a capital or has a point; between capitals it may be a word: КТ С КОНТРАСТОМ. */
const isInitial = (letter: string, at: number, source: string): boolean => {
  if (source[at + 1] === '.') return true;
  if (letter === letter.toLowerCase()) return false;
  const next = /^[ _]+([\p{Lu}]{2,})(?![\p{L}\p{M}])/u.exec(source.slice(at + 1))?.[1];
  return next === undefined || !VOCABULARY.has(fold(next));
};

const judgePiece = (piece: string, next: string | undefined, count: number, identifiers: ReadonlySet<string>): Kind => {
  const folded = fold(piece);
  if ((identifiers.has(folded) && !/^\d\d%?$/.test(folded)) || namesSomebody(piece, identifiers)) return 'drop';
  const number = /^(\d+)(?:[.,](\d+))?(%?)$/.exec(folded);
  if (number) return judgeNumber(number, next);
  if (/^\p{L}$/u.test(piece)) {
    // AThorax, 5s; a letter that is no part of a known word goes.
    return UNITS.has(folded)
      ? 'unit'
      : next !== undefined && /^\p{L}/u.test(next) && VOCABULARY.has(fold(next)) && !identifiers.has(fold(next))
        ? 'word'
        : 'drop';
  }
  if (VOCABULARY.has(folded) || (count > 1 && KERNEL.test(folded))) return 'word';
  return UNITS.has(folded) ? 'unit' : 'drop';
};

const judgeNumber = ([, whole = '', fraction = '', percent = '']: RegExpExecArray, next: string | undefined): Kind => {
  if (whole.length + fraction.length > 6) return 'drop';
  if (percent !== '') return whole.length <= 3 ? 'word' : 'drop';
  if (next !== undefined && UNITS.has(fold(next))) return isVolts(next, whole) && isOfUnit(next, whole) ? 'amount' : 'drop';
  // 1.03 may be the first of March; 0.625 is a slice.
  return whole.length === 1 && fraction.length <= (whole === '0' ? 3 : 2) && !/^(?:0[1-9]|1[0-2])$/.test(fraction) ? 'digit' : 'drop';
};

/** Units of which there may be thousands; of the others three digits at most. A year is an amount of nothing. */
const THOUSANDS: ReadonlySet<string> = new Set('mm мм ms мс hu mas мас ma ма mgy мгр'.split(' '));
const isOfUnit = (unit: string, number: string): boolean =>
  number.length <= (THOUSANDS.has(fold(unit)) ? 4 : 3) && !/^(?:19|20)\d\d$/.test(number);

/** Before a word с is 'with' and см. is 'see': 12345 с пневмонией is no time, 2019 см. архив no length. */
const isNoUnit = (unit: string, behind: string): boolean =>
  (unit === 'с' && /^\s+[а-яё]/.test(behind)) || (unit === 'см' && /^\.\s*[а-яё]/.test(behind));

/** кв is kV behind a tube voltage, else somebody's flat. */
const isVolts = (unit: string, number: string): boolean => fold(unit) !== 'кв' || /^(?:70|80|90|1[0-5]0|135)$/.test(number);

/** What a piece's neighbours make of it: units behind numbers, concentrations behind contrast media. */
const judgeBeside = (
  piece: Piece,
  before: Piece | undefined,
  after: Piece | undefined,
  source: string,
  identifiers: ReadonlySet<string>,
): void => {
  const folded = fold(piece.text);
  const isBehind = before !== undefined && /^[\s/.\-(:]*$/.test(source.slice(before.end, piece.start));
  const isGone = identifiers.has(folded) || namesSomebody(piece.text, identifiers);
  if (/^\d/.test(piece.text) && piece.kind !== 'word') {
    const number = /^(\d+)(?:[.,](\d+))?$/.exec(folded);
    if (number === null) return;
    const isUnitNext =
      after !== undefined &&
      UNITS.has(fold(after.text)) &&
      /^ ?$/.test(source.slice(piece.end, after.start)) &&
      !isNoUnit(fold(after.text), source.slice(after.end));
    if (isUnitNext && (!isGone || /^\d\d$/.test(folded)) && !identifiers.has(fold(after.text)))
      piece.kind = judgeNumber(number, after.text);
    else if (piece.kind === 'amount') piece.kind = 'drop';
    else if (isGone) piece.kind = 'drop';
    if (isBehind && before !== undefined && CONTRAST_MEDIA.has(fold(before.text)) && /^[23]\d0$|^400$/.test(folded) && !isGone)
      piece.kind = 'word';
    return;
  }
  if (UNITS.has(folded) && !isGone) {
    const isUnit = isBehind && (before?.kind === 'amount' || (before?.kind === 'unit' && source[before.end] === '/') || isSize(before));
    if (isUnit) piece.kind = 'unit';
    else if (piece.kind === 'unit') piece.kind = VOCABULARY.has(folded) && piece.text.length > 1 ? 'word' : 'drop';
  }
};

const isSize = (before: Piece | undefined): boolean => before?.kind === 'word' && /\d ?[xх×] ?\d/i.test(before.text);

/** Folded tokens of a text: runs of letters and digits, and runs of each alone. */
export const tokensOf = (text: string): string[] => {
  const folded = fold(text);
  const runs = folded.match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];
  return [...new Set(runs.flatMap((run) => [run, ...(run.match(/[\p{L}\p{M}]+|\p{N}+/gu) ?? [])]))];
};

/** Two to four neighbouring runs of letters or digits as one: an id of clinical words and short numbers, CHEST-1. */
export const joinedTokensOf = (text: string): string[] => {
  const runs = fold(text).match(/[\p{L}\p{M}]+|\p{N}+/gu) ?? [];
  return runs.flatMap((_, at) =>
    [2, 3, 4].filter((count) => at + count <= runs.length).map((count) => runs.slice(at, at + count).join('')),
  );
};
