// Clean Descriptors (PS3.15 E.3.5): what is left of a free text is clinical words and numbers with a
// unit. An allow-list, so a name that nobody foresaw goes; words that name this patient go as well.
import { fold, UNITS, VOCABULARY } from './vocabulary.ts';

/** Reconstruction kernels as Siemens, GE, Canon and Philips name them. */
const KERNEL = /^(?:(?:b|br|bl|bv|bf|hr|hf|hc|qr|tr|sa|ub|ur|d|h|i|j|t|u)\d{2}[fsh]?|fc\d{2}|y[a-d])$/;
/** Vertebrae, series and phase marks that carry no identity: c1-c7, th1-th12, l1-l5, t1. */
const LEVEL = /^(?:c[1-7]|th?(?:[1-9]|1[0-2])|l[1-5]|s[1-5]|[cthls][+-]|2d|3d|4d)$/;
/** Dates, times, phones and the like: groups of digits tied by punctuation; whole, so no part survives. */
const NUMBER_CHAIN = /\+?\d+(?:[\s]?[-./:\\()][\s]?\d+){2,}|\d{1,4}[-./]\d{1,2}[-./]\d{1,4}|\d+:\d+|\d+-\d+/gu;
const TOKEN = /\d+(?:[.,]\d+)?(?:[\p{L}\p{M}]+|%)?|[\p{L}\p{M}][\p{L}\p{M}\p{N}]*/gu;

/**
 * The text with only allowed words, single digits beside them and numbers with units; separators
 * between kept neighbours stay. `identifiers` are folded tokens of this study's identities: they go
 * even where the vocabulary has the word. Empty when nothing is left.
 */
export const cleanText = (text: string, identifiers: ReadonlySet<string>): string => {
  const source = text.normalize('NFC').replace(NUMBER_CHAIN, (chain) => '\u0000'.repeat(chain.length));
  const tokens = [...source.matchAll(TOKEN)].map((match) => ({ text: match[0], start: match.index, end: match.index + match[0].length }));
  const kinds: Kind[] = [];
  for (const [i, token] of tokens.entries()) {
    const isInitial = /^\p{L}$/u.test(token.text) && (token.text !== token.text.toLowerCase() || source[token.end] === '.');
    const isUnit = kinds[i - 1] === 'amount' && UNITS.has(fold(token.text));
    kinds.push(isInitial ? 'drop' : isUnit ? 'word' : judge(token.text, tokens[i + 1]?.text, identifiers));
  }
  // A lone digit says nothing alone; beside a kept word it is a slice count, a phase, a lobe.
  const isKept = (i: number): boolean =>
    kinds[i] === 'word' || kinds[i] === 'amount' || (kinds[i] === 'digit' && (kinds[i - 1] === 'word' || kinds[i + 1] === 'word'));
  let result = '';
  let last: number | undefined;
  tokens.forEach((token, i) => {
    if (!isKept(i)) return;
    if (last !== undefined) result += i === last + 1 ? separator(source.slice(tokens[last]?.end, token.start)) : ' ';
    result += token.text;
    last = i;
  });
  return result;
};

const separator = (between: string): string => (/^[\s/+\-,;_&]*$/.test(between) ? between || ' ' : ' ');

/** amount: a number whose unit is the next token. digit: a small number that only stays beside a word. */
type Kind = 'word' | 'amount' | 'digit' | 'drop';

const judge = (token: string, next: string | undefined, identifiers: ReadonlySet<string>): Kind => {
  const folded = fold(token);
  if (identifiers.has(folded)) return 'drop';
  const number = /^(\d+(?:[.,]\d+)?)(\D*)$/u.exec(folded);
  if (!number) return VOCABULARY.has(folded) || KERNEL.test(folded) || LEVEL.test(folded) ? 'word' : 'drop';
  const [, digits = '', suffix = ''] = number;
  if (identifiers.has(digits)) return 'drop';
  if (LEVEL.test(folded)) return 'word';
  if (digits.length > 6) return 'drop';
  if (UNITS.has(suffix)) return 'word';
  if (suffix === '' && next !== undefined && UNITS.has(fold(next)) && !identifiers.has(fold(next))) return 'amount';
  if (suffix === '%' && digits.length <= 5) return 'word';
  return suffix === '' && /^\d(?:[.,]\d{1,2})?$/.test(digits) ? 'digit' : 'drop';
};

/** Folded tokens of a text: runs of letters and digits, and runs of each alone. */
export const tokensOf = (text: string): string[] => {
  const folded = fold(text);
  const runs = folded.match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];
  return [...new Set(runs.flatMap((run) => [run, ...(run.match(/[\p{L}\p{M}]+|\p{N}+/gu) ?? [])]))];
};
