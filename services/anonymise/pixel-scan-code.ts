// The two inner loops over pixels as WebAssembly with SIMD, assembled here so that no compiler or blob is
// needed. Measured on 512 x 512: 0.04 + 0.09 ms a slice, twice that where marks are thick; in JavaScript
// the same loops take 0.5 to 0.9 ms, as much as reading and writing the file.
import {
  ADD,
  ADD_SATURATING,
  AND,
  AND_NOT_V,
  AND_V,
  ANY_TRUE,
  BITMASK,
  CTZ,
  END,
  EQUAL_V,
  I32,
  LESS,
  LESS_V,
  LOAD_V,
  MAX_V,
  MIN_V,
  MUL,
  OR_V,
  SELECT_V,
  SHL,
  SHR,
  SPLAT,
  STORE,
  STORE_V,
  SUB,
  SUB_SATURATING,
  V128,
  body,
  get,
  ifThen,
  loadV,
  loopWhile,
  name,
  num,
  section,
  set,
  step,
  tee,
  vector,
} from './wasm-words.ts';

/** How far across a ridge its ground is looked at, in pixels: letters of 8 pixels stand this close. */
export const REACH_OF_RIDGE = 2;
/** How far across a run of one value: for strokes of one or two pixels, and for wider ones. */
export const REACHES = [2, 3, 5] as const;

/** Columns at the edges of a slice whose pixels are no marks themselves: their ground lies outside. */
export const MARGIN = REACH_OF_RIDGE;

/** What a mark is. */
export const KIND = { BRIGHT: 0, DARK: 1, RUN: 2 } as const;

/** (at, end, out): least and greatest 16-bit values in [at, end), eight lanes of each, at out and out + 16. */
const extremes = (() => {
  const [at, end, out, least, most, now] = [0, 1, 2, 3, 4, 5];
  return [
    ...num(32767),
    ...SPLAT,
    ...set(least),
    ...num(-32768),
    ...SPLAT,
    ...set(most),
    ...loopWhile([
      ...get(at),
      ...LOAD_V,
      ...set(now),
      ...get(least),
      ...get(now),
      ...MIN_V,
      ...set(least),
      ...get(most),
      ...get(now),
      ...MAX_V,
      ...set(most),
      ...step(at, 16),
      ...get(at),
      ...get(end),
      ...LESS,
    ]),
    ...get(out),
    ...get(least),
    ...STORE_V,
    ...get(out),
    ...num(16),
    ...ADD,
    ...get(most),
    ...STORE_V,
    ...END,
  ];
})();

/**
 * (at, end, down, contrast, edge, ridge, least, ink, out, room): looks at the pixels in [at, end), sixteen at a time,
 * `down` bytes to a row. Notes the index of each pixel, the MARGIN of each row apart, that lies more than `ridge` above
 * (BRIGHT, when it is more than `ink` too) or below (DARK) both pixels REACH_OF_RIDGE aside or both as far up and down;
 * and of each that equals the pixels before and behind it in a row or column and lies more than `contrast` above, or
 * below, both pixels that are as far across as one of REACHES (RUN); `edge` instead of it where it is `least`. Runs down a column are noted in every
 * other row, from the first one on: one of them leads to the whole shape, and a stroke of four pixels has one.
 * Indices of 32 bits from `out` on, each KIND in its own `room` bytes; the ends of the three lists before `out`.
 */
const marks = (() => {
  const [at, end, down, contrast, edge, ridge, least, ink, out, room] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const [mask, place, first, allowed, rowEnd, down2, here, ends] = [10, 11, 12, 13, 14, 15, 16, [17, 18, 19]] as const;
  const [now, floor, ceiling, more, less, lessAtLeast, leastV, inkV, one, other] = [20, 21, 22, 23, 24, 25, 26, 27, 28, 29];
  const found = [
    { bright: 30, dark: 31, across: 32, downwards: 33 },
    { bright: 34, dark: 35, across: 36, downwards: 37 },
  ] as const;
  /** Pixels at an address and some bytes on. */
  const load = (address: readonly number[], bytes = 0): number[] => [...address, ...loadV(bytes)];
  const endOf = (kind: number): number => ends[kind] ?? 0;
  // Addresses are of two pixels before the ones in question: what is added in an instruction can't be negative.
  const BACK = REACH_OF_RIDGE * 2;
  const aside = (pixels: number, vector: number): number[] => load(get(at), BACK + pixels * 2 + vector);
  const away = (rows: number, vector: number): number[] => {
    const by = Math.abs(rows) === REACH_OF_RIDGE ? get(down2) : get(down);
    return load([...get(at), ...by, ...(rows < 0 ? SUB : ADD)], BACK + vector);
  };
  const equalBoth = (before: readonly number[], behind: readonly number[]): number[] => [
    ...get(now),
    ...before,
    ...EQUAL_V,
    ...get(now),
    ...behind,
    ...EQUAL_V,
    ...AND_V,
  ];
  /** Sets `one` and `other` to the pixels of a pair, then leaves what `join` makes of them. */
  const pair = (before: readonly number[], behind: readonly number[]): number[] => [...before, ...set(one), ...behind, ...set(other)];
  const joined = (join: readonly number[]): number[] => [...get(one), ...get(other), ...join];
  /** What a vector has; all that most vectors take. */
  const looked = (n: 0 | 1, isEven: boolean): number[] => {
    const vector = n * 16;
    const { bright, dark, across, downwards } = found[n];
    return [
      ...aside(0, vector),
      ...set(now),
      ...pair(aside(-REACH_OF_RIDGE, vector), aside(REACH_OF_RIDGE, vector)),
      ...joined(MAX_V),
      ...set(bright),
      ...joined(MIN_V),
      ...set(dark),
      ...pair(away(-REACH_OF_RIDGE, vector), away(REACH_OF_RIDGE, vector)),
      ...get(bright),
      ...joined(MAX_V),
      ...MIN_V,
      ...get(now),
      ...get(more),
      ...SUB_SATURATING,
      ...LESS_V,
      ...set(bright),
      ...get(now),
      ...get(more),
      ...ADD_SATURATING,
      ...get(dark),
      ...joined(MIN_V),
      ...MAX_V,
      ...LESS_V,
      ...set(dark),
      ...equalBoth(aside(-1, vector), aside(1, vector)),
      ...set(across),
      ...(isEven ? [...equalBoth(away(-1, vector), away(1, vector)), ...set(downwards)] : []),
    ];
  };
  const anyRun = (n: 0 | 1, isEven: boolean): number[] => [
    ...get(found[n].across),
    ...(isEven ? [...get(found[n].downwards), ...OR_V] : []),
  ];
  const any = (n: 0 | 1, isEven: boolean): number[] => {
    return [...get(found[n].bright), ...get(found[n].dark), ...OR_V, ...anyRun(n, isEven), ...OR_V];
  };
  /** Adds the indices of the lanes on the stack to a list. */
  const emit = (kind: number): number[] => [
    ...BITMASK,
    ...set(mask),
    ...get(mask),
    ...ifThen(
      loopWhile([
        ...get(here),
        ...get(mask),
        ...CTZ,
        ...num(1),
        ...SHL,
        ...ADD,
        ...set(place),
        ...get(endOf(kind)),
        ...get(place),
        ...get(first),
        ...SUB,
        ...num(1),
        ...SHR,
        ...STORE,
        // Beside the edges the two sides lie in other rows: what is noted there is written over.
        ...get(endOf(kind)),
        ...get(place),
        ...get(allowed),
        ...SUB,
        ...get(down),
        ...num(4 * MARGIN),
        ...SUB,
        ...LESS,
        ...num(2),
        ...SHL,
        ...ADD,
        ...set(endOf(kind)),
        ...get(mask),
        ...get(mask),
        ...num(1),
        ...SUB,
        ...AND,
        ...tee(mask),
      ]),
    ),
  ];
  const column = (rows: number): number[] => [...get(here), ...get(down), ...num(rows), ...MUL, ...ADD];
  const ofReaches = (isDown: boolean, inPair: readonly number[], among: readonly number[]): number[] =>
    REACHES.flatMap((n, i) => [
      ...(isDown ? load(column(-n)) : load([...get(here), ...num(n * 2), ...SUB])),
      ...(isDown ? load(column(n)) : load(get(here), n * 2)),
      ...inPair,
      ...(i === 0 ? [] : among),
    ]);
  /** Whether both pixels of some pair lie below the floor; above the ceiling. */
  const isAbove = (isDown: boolean): number[] => [...ofReaches(isDown, MAX_V, MIN_V), ...get(floor), ...LESS_V];
  const isBelow = (isDown: boolean): number[] => [...get(ceiling), ...ofReaches(isDown, MIN_V, MAX_V), ...LESS_V];
  const standing = (n: 0 | 1, isEven: boolean, test: (isDown: boolean) => number[]): number[] => {
    const { across, downwards } = found[n];
    return [...test(true), ...get(across), ...AND_V, ...(isEven ? [...test(false), ...get(downwards), ...AND_V, ...OR_V] : [])];
  };
  const standingRuns = (n: 0 | 1, isEven: boolean): number[] => [
    ...anyRun(n, isEven),
    ...ANY_TRUE,
    ...ifThen([
      ...get(now),
      ...get(less),
      ...SUB_SATURATING,
      ...set(floor),
      ...get(now),
      ...get(lessAtLeast),
      ...get(less),
      ...get(now),
      ...get(leastV),
      ...EQUAL_V,
      ...tee(one),
      ...SELECT_V,
      ...ADD_SATURATING,
      ...set(ceiling),
      ...standing(n, isEven, isBelow),
      ...set(other),
      // Nothing lies below the least value, which most of these have.
      ...anyRun(n, isEven),
      ...get(one),
      ...AND_NOT_V,
      ...ANY_TRUE,
      ...ifThen([...standing(n, isEven, isAbove), ...get(other), ...OR_V, ...set(other)]),
      ...get(other),
      ...emit(KIND.RUN),
    ]),
  ];
  const noted = (n: 0 | 1, isEven: boolean): number[] => {
    const { bright, dark } = found[n];
    return [
      ...get(at),
      ...num(BACK + n * 16),
      ...ADD,
      ...set(here),
      ...load(get(here)),
      ...set(now),
      ...get(bright),
      ...get(inkV),
      ...get(now),
      ...LESS_V,
      ...AND_V,
      ...emit(KIND.BRIGHT),
      ...get(dark),
      ...emit(KIND.DARK),
      ...standingRuns(n, isEven),
    ];
  };
  const row = (isEven: boolean): number[] => [
    ...get(at),
    ...num(2 * MARGIN),
    ...ADD,
    ...set(allowed),
    ...get(at),
    ...get(down),
    ...ADD,
    ...set(rowEnd),
    ...step(at, -BACK),
    ...loopWhile([
      ...looked(0, isEven),
      ...looked(1, isEven),
      ...any(0, isEven),
      ...any(1, isEven),
      ...OR_V,
      ...ANY_TRUE,
      ...ifThen([...noted(0, isEven), ...noted(1, isEven)]),
      ...step(at, 32),
      ...get(at),
      ...get(rowEnd),
      ...num(BACK),
      ...SUB,
      ...LESS,
    ]),
    ...get(rowEnd),
    ...set(at),
  ];
  const splat = (from: number, to: number): number[] => [...get(from), ...SPLAT, ...set(to)];
  return [
    ...splat(ridge, more),
    ...splat(contrast, less),
    ...splat(edge, lessAtLeast),
    ...splat(least, leastV),
    ...splat(ink, inkV),
    ...get(at),
    ...set(first),
    ...get(down),
    ...num(REACH_OF_RIDGE),
    ...MUL,
    ...set(down2),
    ...ends.flatMap((list, kind) => [...get(out), ...get(room), ...num(kind), ...MUL, ...ADD, ...set(list)]),
    ...loopWhile([...row(true), ...get(at), ...get(end), ...LESS, ...ifThen(row(false)), ...get(at), ...get(end), ...LESS]),
    ...ends.flatMap((list, kind) => [...get(out), ...num(12 - 4 * kind), ...SUB, ...get(list), ...STORE]),
    ...END,
  ];
})();

const MODULE = Uint8Array.from([
  0x00,
  0x61,
  0x73,
  0x6d,
  1,
  0,
  0,
  0,
  ...section(1, [
    [0x60, ...vector([[I32], [I32], [I32]]), 0],
    [0x60, ...vector(Array.from({ length: 10 }, () => [I32])), 0],
  ]),
  ...section(3, [[0], [1]]),
  ...section(5, [[0, 1]]),
  ...section(7, [
    [...name('memory'), 2, 0],
    [...name('extremes'), 0, 0],
    [...name('marks'), 0, 1],
  ]),
  ...section(10, [
    body([[3, V128]], extremes),
    body(
      [
        [10, I32],
        [18, V128],
      ],
      marks,
    ),
  ]),
]);

// The part of WebAssembly's interface that is used: the compiler's library without DOM does not have it.
interface Memory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object) => { exports: unknown };
};

type Contrasts = [contrast: number, edge: number, ridge: number];

export interface ScanCode {
  memory: Memory;
  extremes(at: number, end: number, out: number): void;
  marks(...numbers: [at: number, end: number, down: number, ...Contrasts, least: number, ink: number, out: number, room: number]): void;
}

/** Compiles the loops, with a memory of their own. */
export const scanCode = (): ScanCode => new WebAssembly.Instance(new WebAssembly.Module(MODULE)).exports as ScanCode;
