// How a name may stand in bytes: encodings, upper and lower case, Latin letters for Russian ones, and
// Russian case endings.
import { fold } from '../vocabulary.ts';

type Table = Readonly<Record<string, string>>;

// Three habits of writing Russian in Latin letters: passports (ICAO 9303), BGN/PCGN, and scanners' German style.
const ICAO: Table = {
  а: 'a',
  б: 'b',
  в: 'v',
  г: 'g',
  д: 'd',
  е: 'e',
  ж: 'zh',
  з: 'z',
  и: 'i',
  й: 'i',
  к: 'k',
  л: 'l',
  м: 'm',
  н: 'n',
  о: 'o',
  п: 'p',
  р: 'r',
  с: 's',
  т: 't',
  у: 'u',
  ф: 'f',
  х: 'kh',
  ц: 'ts',
  ч: 'ch',
  ш: 'sh',
  щ: 'shch',
  ъ: 'ie',
  ы: 'y',
  ь: '',
  э: 'e',
  ю: 'iu',
  я: 'ia',
};
const BGN: Table = { ...ICAO, й: 'y', ъ: '', ю: 'yu', я: 'ya' };
const GERMAN: Table = { ...ICAO, ж: 'sch', з: 's', й: 'j', х: 'ch', ц: 'z', ч: 'tsch', ш: 'sch', щ: 'schtsch', ъ: '', ю: 'ju', я: 'ja' };

/** The word in Latin letters; itself alone when it has none of the Russian ones. */
export const transliterations = (word: string): readonly string[] => {
  if (!/[а-я]/.test(word)) return [];
  return [...new Set([ICAO, BGN, GERMAN].map((table) => [...word].map((letter) => table[letter] ?? letter).join('')))];
};

/** What a word is compared by when endings may differ: Ivanov, Ivanova, Ivanovym. undefined: too short. */
export const stemOf = (word: string): string | undefined => {
  if (!/^\p{L}{5,}$/u.test(word)) return undefined;
  const stem = word.replace(
    /(?:ого|его|ому|ему|ыми|ими|ами|ями|ой|ей|ый|ий|ая|яя|ую|юю|ым|им|ом|ем|ых|их|ах|ях|ов|ев|а|я|у|ю|е|ы|и|ь|й|о)$/u,
    '',
  );
  return stem.length >= 4 ? stem : undefined;
};

/** Whether a folded token is the word with another ending. */
export const isInflectionOf = (token: string, stem: string): boolean =>
  token.startsWith(stem) && token.length - stem.length <= 3 && /^\p{L}+$/u.test(token);

const title = (word: string): string => word.slice(0, 1).toUpperCase() + word.slice(1);

// 8-bit code pages for Russian, as maps from letter to byte; made from the decoders that Node has.
const pages = ['windows-1251', 'koi8-r', 'ibm866', 'iso-8859-5'].map((label) => {
  const decoder = new TextDecoder(label);
  const map = new Map<string, number>();
  for (let byte = 0; byte < 256; byte++) map.set(decoder.decode(Uint8Array.of(byte)), byte);
  return map;
});

/** The word as byte strings (one character a byte) in every encoding and usual case, ASCII letters lower. */
export const byteForms = (word: string): readonly string[] => {
  const forms = new Set<string>();
  for (const spelling of new Set([word, word.toUpperCase(), title(word), word.replaceAll('е', 'ё')])) {
    forms.add(Buffer.from(spelling, 'utf8').toString('latin1'));
    const wide = Buffer.from(spelling, 'utf16le');
    forms.add(wide.toString('latin1'));
    forms.add(Buffer.from(wide).swap16().toString('latin1'));
    for (const page of pages) {
      const bytes = [...spelling].map((letter) => page.get(letter));
      if (bytes.every((byte) => byte !== undefined)) forms.add(Buffer.from(bytes).toString('latin1'));
    }
  }
  return [...new Set([...forms].map(lowerAscii))];
};

/** ASCII letters to lower case and nothing else: bytes of Russian code pages stay. */
export const lowerAscii = (text: string): string => text.replace(/[A-Z]+/g, (run) => run.toLowerCase());

export { fold };
