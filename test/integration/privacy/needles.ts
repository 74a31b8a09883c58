// What may stand nowhere, and how it may be spelled in bytes. Written apart from the anonymiser's own verifier, by
// the rules of the same reference: six letters or eight digits and more anywhere, shorter ones as whole tokens.

export interface Needles {
  /** Byte strings, ASCII letters lower, each at least 6 bytes long, with what they spell. */
  readonly anywhere: ReadonlyMap<string, string>;
  /** Folded words, looked for as whole tokens of any text. */
  readonly tokens: ReadonlySet<string>;
  /** Short numbers: as whole tokens of free text only; elsewhere every size and offset would be one. */
  readonly numbers: ReadonlySet<string>;
}

/** Words of planted addresses and institutions that name nobody by themselves. */
const COMMON = new Set(['general', 'hospital', 'avenue', 'street', 'больница', 'имени', 'city', 'van', 'der', 'пр', 'ул']);

export const fold = (text: string): string => text.normalize('NFC').toLowerCase().replaceAll('ё', 'е');
export const tokensOf = (text: string): string[] => fold(text).match(/[\p{L}\p{N}]+/gu) ?? [];
const lettersIn = (text: string): number => text.replace(/\P{L}/gu, '').length;
const digitsIn = (text: string): number => text.replace(/\P{N}/gu, '').length;
const isLong = (text: string): boolean => lettersIn(text) >= 6 || digitsIn(text) >= 8;
const titled = (text: string): string => text.replace(/\p{L}+/gu, (word) => word.slice(0, 1).toUpperCase() + word.slice(1));

/** Bytes of 8-bit code pages, from the decoders that Node has. */
const pages = ['windows-1251', 'koi8-r', 'ibm866', 'iso-8859-5', 'windows-1252'].map((label) => {
  const decoder = new TextDecoder(label);
  return new Map(Array.from({ length: 256 }, (_, byte) => [decoder.decode(Uint8Array.of(byte)), byte]));
});

export const lowerAscii = (latin1: string): string => latin1.replace(/[A-Z]+/g, (run) => run.toLowerCase());

const escaped = (text: string): string =>
  [...text].map((c) => (c.charCodeAt(0) < 128 ? c : `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)).join('');

/** The text as bytes (one character a byte) in every encoding and usual case, ASCII letters lower. */
export function byteForms(text: string): string[] {
  const lower = text.toLowerCase();
  const cases = [text, lower, text.toUpperCase(), titled(lower)];
  const forms = new Set<string>();
  for (const spelling of new Set([...cases, ...cases.map((c) => c.replaceAll('ё', 'е').replaceAll('Ё', 'Е'))])) {
    const wide = Buffer.from(spelling, 'utf16le');
    for (const bytes of [Buffer.from(spelling, 'utf8'), wide, Buffer.from(wide).swap16()]) forms.add(bytes.toString('latin1'));
    forms.add(escaped(spelling));
    forms.add(encodeURIComponent(spelling));
    for (const page of pages) {
      const bytes = [...spelling].map((letter) => page.get(letter));
      if (bytes.every((byte) => byte !== undefined)) forms.add(Buffer.from(bytes).toString('latin1'));
    }
  }
  return [...new Set([...forms].map(lowerAscii))];
}

const UID = /^[0-9]+(\.[0-9]+)+$/;

/** A date of a person or study also as people and databases write it. */
function datesOf(text: string): string[] {
  const match = /^(\d{4})(\d{2})(\d{2})$/.exec(text);
  return match === null ? [text] : [text, `${match[1]}-${match[2]}-${match[3]}`, `${match[3]}.${match[2]}.${match[1]}`];
}

/** A UID by its long number, and the ends of it: a cut or re-rooted UID is one too. */
function uidParts(uid: string): string[] {
  const longest = uid.split('.').reduce((a, b) => (b.length > a.length ? b : a), '');
  return longest.length < 12 ? [uid] : [longest, longest.slice(0, 20), longest.slice(-20)];
}

/** Needles of identifiers: each whole, and each of its words. */
export function needlesOf(identifiers: Iterable<string>): Needles {
  const anywhere = new Map<string, string>();
  const tokens = new Set<string>();
  const numbers = new Set<string>();
  const add = (text: string): void => {
    if (isLong(text)) {
      for (const form of byteForms(text)) if (form.length >= 6) anywhere.set(form, text);
    } else if (/^\d+$/.test(text)) {
      if (text.length >= 3) numbers.add(text);
    } else if (text.length >= 2) tokens.add(text);
  };
  for (const identifier of identifiers) {
    if (identifier === '') continue;
    if (UID.test(identifier)) {
      for (const part of uidParts(identifier)) add(part);
      continue;
    }
    for (const form of datesOf(identifier)) add(form);
    const digits = identifier.replace(/\D/g, '');
    if (digits.length >= 8) add(digits);
    const words = tokensOf(identifier);
    // A token of one word is itself; "O'Brien" is also written in one.
    for (const word of words) if (!COMMON.has(word)) add(word);
    if (words.length > 1 && isLong(identifier)) add(identifier);
  }
  return { anywhere, tokens, numbers };
}

/** Ids that count from the first character to the last: event ids, trace ids, digests, centre ids. */
export function exactNeedles(ids: Iterable<string>): Needles {
  const all = [...ids];
  const long = all.filter((id) => id.length >= 12);
  return {
    anywhere: new Map(long.flatMap((id) => byteForms(id).map((form) => [form, id] as const))),
    tokens: new Set(all.filter((id) => id.length < 12).map(fold)),
    numbers: new Set(),
  };
}

export function joined(...all: readonly Needles[]): Needles {
  return {
    anywhere: new Map(all.flatMap((n) => [...n.anywhere])),
    tokens: new Set(all.flatMap((n) => [...n.tokens])),
    numbers: new Set(all.flatMap((n) => [...n.numbers])),
  };
}
