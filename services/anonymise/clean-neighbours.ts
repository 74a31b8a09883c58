// What the neighbours of a word or a number in a description make of it: a month and a day are a date, a word
// and initials are a name.
import type { Piece } from './clean-text.ts';
import { fold } from './vocabulary.ts';

/** A month between or behind numbers makes a date. */
export const MONTH =
  /^(?:jan(?:uary)?|feb(?:ruary)?|march|mar|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?|январ[ья]|феврал[ья]|марта?|апрел[ья]|ма[йя]|июн[ья]|июл[ья]|августа?|сентябр[ья]|октябр[ья]|ноябр[ья]|декабр[ья]|янв|фев|мар|апр|июн|июл|авг|сен|окт|ноя|дек)$/;

/** MAR is a reconstruction, but 5 mar a day. */
export const dropDays = (pieces: readonly Piece[]): void => {
  const isMonth = (piece: Piece | undefined): boolean => piece !== undefined && MONTH.test(fold(piece.text));
  const isDay = (piece: Piece | undefined): boolean =>
    piece !== undefined && piece.kind !== 'amount' && /^(?:\d{1,2}|\d{4})$/.test(piece.text);
  const dates = pieces.filter((piece, i) => {
    const beside = [pieces[i - 1], pieces[i + 1]];
    return (isMonth(piece) && beside.some(isDay)) || (isDay(piece) && beside.some(isMonth));
  });
  for (const piece of dates) piece.kind = 'drop';
};

/** Left, right and directions have points as well. */
const NO_INITIALS: ReadonlySet<string> = new Set(['L', 'R', 'AP', 'PA', 'IV', 'CT', 'MR', 'Л', 'П', 'КТ']);

/** Words that are nobody's name, whoever is named beside them. */
const NOBODY: ReadonlySet<string> = new Set('ct cta ctpa hrct mri mr pet кт мскт скт огк мрт пэт'.split(' '));

/** A clinical word with initials is a name: Малая А.И., Sharp J.; but not in КТ И.И. Иванов. */
export const dropNamesByInitials = (pieces: readonly Piece[], source: string): void => {
  const isInitialAt = (i: number): boolean => /^\p{Lu}$/u.test(pieces[i]?.text ?? '') && source[pieces[i]?.end ?? 0] === '.';
  const isNameAt = (i: number): boolean => pieces[i]?.kind === 'drop' && /^\p{Lu}\p{L}/u.test(pieces[i]?.text ?? '');
  const isTied = (i: number): boolean => /^[\s.,]*$/.test(source.slice(pieces[i]?.end, pieces[i + 1]?.start));
  const run = (from: number, step: 1 | -1): number => {
    let at = from;
    while (isInitialAt(at) && isTied(step === 1 ? at - 1 : at)) at += step;
    return at;
  };
  const isPerson = (from: number, to: number): boolean =>
    to > from &&
    !NO_INITIALS.has(
      pieces
        .slice(from, to)
        .map(({ text }) => text)
        .join(''),
    );
  const names = pieces.filter((piece, i) => {
    if (piece.kind !== 'word' || !/^\p{Lu}\p{L}+$/u.test(piece.text) || NOBODY.has(fold(piece.text))) return false;
    const [end, start] = [run(i + 1, 1), run(i - 1, -1)];
    const isBefore = isPerson(i + 1, end) && !isNameAt(end);
    const isBehind = i - start > 2 && isPerson(start + 1, i) && !isNameAt(start);
    return isBefore || isBehind;
  });
  for (const piece of names) piece.kind = 'drop';
};
