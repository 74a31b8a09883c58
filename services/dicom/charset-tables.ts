// The code tables behind Specific Character Set (PS3.3 C.12.1.1.2): terms, escape sequences and both
// directions of each coded set. Tables come from the platform's TextDecoder, made when first needed.

/** A coded character set; numbers are ISO-IR registrations. */
export type SetId = 'ascii' | number;

/** Right halves (G1) of single-byte sets. 100 and 13 are computed, not decoded. */
const PAGES: Readonly<Record<number, string>> = {
  100: 'latin1',
  101: 'iso-8859-2',
  109: 'iso-8859-3',
  110: 'iso-8859-4',
  144: 'iso-8859-5',
  127: 'iso-8859-6',
  126: 'iso-8859-7',
  138: 'iso-8859-8',
  148: 'iso-8859-9',
  203: 'iso-8859-15',
  166: 'windows-874',
  13: 'jis-x-0201',
};

/** Two-byte sets: decoder, prefix before the pair (EUC), and whether they are designated to G0 (7 bits) or G1. */
const PAIRS: Readonly<Record<number, { label: string; prefix: readonly number[]; half: 'g0' | 'g1' }>> = {
  87: { label: 'euc-jp', prefix: [], half: 'g0' }, // JIS X 0208
  159: { label: 'euc-jp', prefix: [0x8f], half: 'g0' }, // JIS X 0212
  149: { label: 'euc-kr', prefix: [], half: 'g1' }, // KS X 1001
  58: { label: 'gb18030', prefix: [], half: 'g1' }, // GB 2312
};

/** Escape sequences without the ESC (PS3.3 Tables C.12-3 and C.12-4). */
export const ESCAPES: readonly (readonly [string, 'g0' | 'g1', SetId])[] = [
  ['(B', 'g0', 'ascii'],
  ['(J', 'g0', 'ascii'],
  [')I', 'g1', 13],
  ['-A', 'g1', 100],
  ['-B', 'g1', 101],
  ['-C', 'g1', 109],
  ['-D', 'g1', 110],
  ['-L', 'g1', 144],
  ['-G', 'g1', 127],
  ['-F', 'g1', 126],
  ['-H', 'g1', 138],
  ['-M', 'g1', 148],
  ['-b', 'g1', 203],
  ['-T', 'g1', 166],
  ['$B', 'g0', 87],
  ['$(D', 'g0', 159],
  ['$)C', 'g1', 149],
  ['$)A', 'g1', 58],
];

export interface Term {
  /** 'multi' are the sets without code extensions that hold everything in one code. */
  readonly kind: 'single' | 'pairs' | 'multi';
  readonly set: SetId;
  /** TextDecoder label of a 'multi' term. */
  readonly label: string;
}

/** A defined term, also in the misspellings that scanners write (`ISO-IR 100`, `iso_ir_192`); `undefined` when unknown. */
export function parseTerm(term: string): Term | undefined {
  const upper = term.trim().toUpperCase();
  if (upper === '') return { kind: 'single', set: 'ascii', label: '' };
  if (upper === 'GB18030' || upper === 'GBK') return { kind: 'multi', set: 'ascii', label: upper.toLowerCase() };
  const match = /^ISO(?:[ _-]?2022)?[ _-]?IR[ _-]?(\d{1,3})$/.exec(upper);
  if (match === null) return undefined;
  const id = Number(match[1]);
  if (id === 6) return { kind: 'single', set: 'ascii', label: '' };
  if (id === 192) return { kind: 'multi', set: 'ascii', label: 'utf-8' };
  if (PAGES[id] !== undefined) return { kind: 'single', set: id, label: '' };
  return PAIRS[id] === undefined ? undefined : { kind: 'pairs', set: id, label: '' };
}

export const isPairSet = (set: SetId): set is number => typeof set === 'number' && PAIRS[set] !== undefined;
export const halfOf = (set: SetId): 'g0' | 'g1' => (set === 'ascii' ? 'g0' : (PAIRS[set]?.half ?? 'g1'));

function once<K, V>(make: (key: K) => V): (key: K) => V {
  const made = new Map<K, V>();
  return (key) => {
    const old = made.get(key);
    if (old !== undefined) return old;
    const fresh = make(key);
    made.set(key, fresh);
    return fresh;
  };
}

/** Characters of the bytes 0x80..0xFF of a single-byte set, '\uFFFD' where there is none. */
export const upperHalf = once((set: number): readonly string[] => {
  const label = PAGES[set] ?? 'latin1';
  const decoder = label === 'latin1' || label === 'jis-x-0201' ? undefined : new TextDecoder(label);
  return Array.from({ length: 128 }, (_, i) => {
    const byte = 0x80 + i;
    // The platform takes 8859-9 and TIS-620 for Windows pages; below 0xA0 ISO pages have controls.
    if (byte < 0xa0 || label === 'latin1') return String.fromCharCode(byte);
    if (decoder === undefined) return byte >= 0xa1 && byte <= 0xdf ? String.fromCharCode(0xff61 + byte - 0xa1) : '\uFFFD';
    return decoder.decode(Uint8Array.of(byte));
  });
});

const upperHalfBytes = once(
  (set: number): ReadonlyMap<string, number> =>
    new Map(
      upperHalf(set)
        .map((char, i) => [char, 0x80 + i] as const)
        .filter(([char]) => char !== '\uFFFD'),
    ),
);

const pairDecoder = once((set: number) => new TextDecoder(PAIRS[set]?.label ?? 'euc-jp'));

/** Character of a pair of bytes (either half), '\uFFFD' when the set has none. */
export function pairChar(set: number, first: number, second: number): string {
  const prefix = PAIRS[set]?.prefix ?? [];
  const char = pairDecoder(set).decode(Uint8Array.of(...prefix, first | 0x80, second | 0x80));
  return [...char].length === 1 ? char : '\uFFFD';
}

const pairBytes = once((set: number): ReadonlyMap<string, readonly number[]> => {
  const table = new Map<string, readonly number[]>();
  const high = halfOf(set) === 'g1' ? 0x80 : 0;
  for (let first = 0x21; first < 0x7f; first++) {
    for (let second = 0x21; second < 0x7f; second++) {
      const char = pairChar(set, first, second);
      if (char !== '\uFFFD' && !table.has(char)) table.set(char, [first | high, second | high]);
    }
  }
  return table;
});

/** Bytes of a character in a set, without escape sequences; `undefined` when the set lacks it. */
export function bytesInSet(set: SetId, char: string): readonly number[] | undefined {
  if (set === 'ascii') return char < '\x80' ? [char.charCodeAt(0)] : undefined;
  if (isPairSet(set)) return pairBytes(set).get(char);
  const byte = upperHalfBytes(set).get(char);
  return byte === undefined ? undefined : [byte];
}

/** Two-byte part of GBK, which GB18030 shares. */
const gbkBytes = once((label: string): ReadonlyMap<string, readonly number[]> => {
  const decoder = new TextDecoder(label);
  const table = new Map<string, readonly number[]>();
  for (let first = 0x81; first <= 0xfe; first++) {
    for (let second = 0x40; second <= 0xfe; second++) {
      const char = second === 0x7f ? '\uFFFD' : decoder.decode(Uint8Array.of(first, second));
      if ([...char].length === 1 && char !== '\uFFFD' && !table.has(char)) table.set(char, [first, second]);
    }
  }
  return table;
});

/** The four bytes at a place in GB18030's linear order, which starts at 81 30 81 30. */
function fourBytes(place: number): readonly number[] {
  return [
    0x81 + Math.floor(place / 12600),
    0x30 + (Math.floor(place / 1260) % 10),
    0x81 + (Math.floor(place / 10) % 126),
    0x30 + (place % 10),
  ];
}

const FOUR_BYTE_BMP = 39420;
const FOUR_BYTE_SUPPLEMENTARY = 189000;

const gbFourBytes = once((label: string): ReadonlyMap<string, readonly number[]> => {
  const decoder = new TextDecoder(label);
  const table = new Map<string, readonly number[]>();
  for (let place = 0; place < FOUR_BYTE_BMP; place++) {
    const bytes = fourBytes(place);
    const char = decoder.decode(Uint8Array.from(bytes));
    if (char !== '\uFFFD' && !table.has(char)) table.set(char, bytes);
  }
  return table;
});

/** Bytes of a character in UTF-8, GBK or GB18030; `undefined` when the code lacks it. */
export function bytesInMulti(label: string, char: string): readonly number[] | undefined {
  const point = char.codePointAt(0) ?? 0;
  if (point < 0x80) return [point];
  if (label === 'utf-8') return point >= 0xd800 && point <= 0xdfff ? undefined : [...new TextEncoder().encode(char)];
  const pair = gbkBytes('gbk').get(char);
  if (label === 'gbk') return pair;
  if (point >= 0x10000) return fourBytes(FOUR_BYTE_SUPPLEMENTARY + point - 0x10000);
  return gbkBytes('gb18030').get(char) ?? gbFourBytes('gb18030').get(char);
}
