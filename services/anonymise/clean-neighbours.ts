// What the neighbours of a word or a number in a description make of it: a month and a day are a date, a word
// and initials or a title are a name, what stands behind a ward is its number.
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
const NOBODY: ReadonlySet<string> = new Set('ct cta ctpa hrct mri mr pet covid кт мскт скт огк мрт пэт ковид'.split(' '));

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

/** Behind one of these stands a name, whatever else the word may mean: Dr. House, врач Легких. */
const TITLE = /^(?:dr|doctor|mrs?|ms|miss|prof|professor|sir|nurse|врач|доктор|др|проф|профессор|гн|гжа|медсестра|лаборант|фельдшер)$/;
/** MR is an image, Mr a man. */
const isTitle = (text: string): boolean => TITLE.test(fold(text).replace(/[^\p{L}]/gu, '')) && text !== 'MR' && text !== 'MS';

/** Words that say who did something: names follow them, one or several. */
const SIGNER =
  /^(?:by|signed|signature|reader|readers|radiologist|radiologists|radiographer|technologist|technician|tech|operator|physician|surgeon|consultant|referrer|attending|resident|fellow|attn|рентгенолог|рентгенолаборант|рентгенлаборант|оператор|исполнитель|исполнил|исполнила|выполнил|выполнила|описал|описала|подпись|направил|направила|хирург|терапевт|пульмонолог|онколог|зав|заведующий|заведующая)$/;
/** Before BY in capitals: FOLLOWED BY CT says nobody. */
const SIGNS =
  /^(?:read|signed|reported|dictated|approved|verified|reviewed|performed|interpreted|scanned|ordered|requested|referred|done)$/;
const AND = /^(?:and|und|и)$/;
/** Clinical words among the names behind a title: a first and a last name; what comes then is the text again. */
const MAX_NAMES = 2;
/** Pieces behind a title that may be of its names: a text of titles alone would take as long as its square. */
const MAX_LOOK = 12;

/**
 * Names that are clinical words, behind titles and behind who signed: Dr. Ray Hand; Read by Small and Young. Words that
 * are none went by themselves.
 */
export const dropNamesBehindTitles = (pieces: readonly Piece[], source: string): void => {
  pieces.forEach((piece, i) => {
    if (isTitle(piece.text)) {
      piece.kind = 'drop';
      dropNames(pieces, i, /^[\s/.\-(:_^]*$/, source);
    } else if (isSigner(pieces, i)) dropNames(pieces, i, /^[\s,:(_^&/-]*$/, source);
  });
};

const isSigner = (pieces: readonly Piece[], i: number): boolean => {
  const text = pieces[i]?.text ?? '';
  return SIGNER.test(fold(text)) && (text !== 'BY' || SIGNS.test(fold(pieces[i - 1]?.text ?? '')));
};

const dropNames = (pieces: readonly Piece[], title: number, tie: RegExp, source: string): void => {
  let names = 0;
  for (let i = title + 1; names < MAX_NAMES && i <= title + MAX_LOOK; i++) {
    const [before, piece] = [pieces[i - 1], pieces[i]];
    if (before === undefined || piece === undefined || !tie.test(source.slice(before.end, piece.start))) return;
    if (AND.test(fold(piece.text))) continue;
    if (!/^\p{Lu}[\p{L}\p{M}-]*$/u.test(piece.text) || NOBODY.has(fold(piece.text))) return;
    if (piece.kind !== 'drop') names += 1;
    piece.kind = 'drop';
  }
};

/** Behind one of these stands the number of a bed, a card or a room, though a kernel may look the same: ward B12. */
const PLACE =
  /^(?:id|mrn|no|nr|acc|ward|room|bed|bay|box|unit|case|card|file|floor|building|block|палата|палате|корпус|корпусе|отд|отделение|отделении|каб|кабинет|койка|карта|этаж|иб|ид)$/;

/** What stands behind a word for a place, as far as it has digits. */
export const dropPlaces = (pieces: readonly Piece[], source: string): void => {
  pieces.forEach((piece, i) => {
    if (!PLACE.test(fold(piece.text))) return;
    for (let at = i + 1; /\d/.test(pieces[at]?.text ?? '') && isTiedTo(pieces, at, source); at++) {
      const one = pieces[at];
      if (one !== undefined) one.kind = 'drop';
    }
  });
};

const isTiedTo = (pieces: readonly Piece[], i: number, source: string): boolean =>
  /^[\s.,:#№-]*$/.test(source.slice(pieces[i - 1]?.end, pieces[i]?.start));
