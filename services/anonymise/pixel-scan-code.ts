// The two inner loops over pixels as WebAssembly with SIMD, assembled here so that no compiler or blob is
// needed. Measured on 512 x 512: 0.04 + 0.1 ms a slice; the same loops in JavaScript take 0.5 to 0.9 ms,
// as much as reading and writing the file.

/** How far across a ridge its ground is looked at, in pixels: letters of 8 pixels stand this close. */
export const REACH_OF_RIDGE = 2;
/** How far across a run of one value: for strokes of one or two pixels, and for wider ones. */
export const REACHES = [2, 3, 5] as const;

/** What a mark is. */
export const KIND = { BRIGHT: 0, DARK: 1, RUN: 2 } as const;

const I32 = 0x7f;
const V128 = 0x7b;
const VOID = 0x40;

const leb = (value: number): number[] => (value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >>> 7)]);
const sleb = (value: number): number[] => {
  const low = value & 0x7f;
  const rest = value >> 7;
  return (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0) ? [low] : [low | 0x80, ...sleb(rest)];
};

const get = (local: number): number[] => [0x20, local];
const set = (local: number): number[] => [0x21, local];
const tee = (local: number): number[] => [0x22, local];
const num = (value: number): number[] => [0x41, ...sleb(value)];
const simd = (op: number): number[] => [0xfd, ...leb(op)];
const ADD = [0x6a];
const SUB = [0x6b];
const MUL = [0x6c];
const AND = [0x71];
const SHL = [0x74];
const CTZ = [0x68];
const LESS = [0x49];
const IS_ZERO = [0x45];
const STORE = [0x36, 2, 0];
const LOAD_V = [...simd(0x00), 0, 0];
const STORE_V = [...simd(0x0b), 0, 0];
const SPLAT = simd(0x10);
const EQUAL_V = simd(0x2d);
const LESS_V = simd(0x2f);
const AND_V = simd(0x4e);
const OR_V = simd(0x50);
const ANY_TRUE = simd(0x53);
const BITMASK = simd(0x84);
const ADD_SATURATING = simd(0x8f);
const SUB_SATURATING = simd(0x92);
const MIN_V = simd(0x96);
const MAX_V = simd(0x98);
const END = [0x0b];

const step = (local: number, by: number): number[] => [...get(local), ...num(by), ...ADD, ...set(local)];
/** A loop whose body leaves on the stack whether to go round again. */
const loopWhile = (body: readonly number[]): number[] => [0x03, VOID, ...body, 0x0d, 0, ...END];
const ifThen = (body: readonly number[]): number[] => [0x04, VOID, ...body, ...END];

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
 * (at, end, down, contrast, ridge, out) -> out: looks at the pixels in [at, end), eight at a time, `down` bytes to
 * a row. Writes index * 4 + KIND of each pixel that lies more than `ridge` above (BRIGHT) or below (DARK) both pixels
 * REACH_OF_RIDGE aside or both as far up and down; and of each that equals the pixels before and behind it in a row or
 * column and lies more than `contrast` above, or below, both pixels that are as far across as one of REACHES (RUN).
 */
const marks = (() => {
  const [at, end, down, contrast, ridge, out, mask, now, floor, ceiling, more, less, runsAcross, runsDown, hit, runs, dark] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
  ];
  const load = (address: readonly number[]): number[] => [...address, ...LOAD_V];
  const before = (distance: readonly number[]): number[] => load([...get(at), ...distance, ...SUB]);
  const behind = (distance: readonly number[]): number[] => load([...get(at), ...distance, ...ADD]);
  const across = (pixels: number): number[] => num(pixels * 2);
  const along = (rows: number): number[] => [...get(down), ...num(rows), ...MUL];
  const both = (distance: readonly number[], join: readonly number[]): number[] => [...before(distance), ...behind(distance), ...join];
  const isRun = (distance: readonly number[]): number[] => [
    ...get(now),
    ...before(distance),
    ...EQUAL_V,
    ...get(now),
    ...behind(distance),
    ...EQUAL_V,
    ...AND_V,
  ];
  /** Sets floor and ceiling: `by` below and above the pixels. */
  const reach = (by: number): number[] => [
    ...get(now),
    ...get(by),
    ...SUB_SATURATING,
    ...set(floor),
    ...get(now),
    ...get(by),
    ...ADD_SATURATING,
    ...set(ceiling),
  ];
  /** Whether both pixels at the distance lie below the floor; above the ceiling. */
  const isAbove = (distance: readonly number[]): number[] => [...both(distance, MAX_V), ...get(floor), ...LESS_V];
  const isBelow = (distance: readonly number[]): number[] => [...get(ceiling), ...both(distance, MIN_V), ...LESS_V];
  const standsOut = (distance: readonly number[]): number[] => [...isAbove(distance), ...isBelow(distance), ...OR_V];
  const emit = (from: number, kind: number): number[] => [
    ...get(from),
    ...BITMASK,
    ...set(mask),
    ...get(mask),
    ...ifThen(
      loopWhile([
        ...get(out),
        ...get(at),
        ...num(1),
        ...SHL,
        ...get(mask),
        ...CTZ,
        ...num(2),
        ...SHL,
        ...ADD,
        ...num(kind),
        ...ADD,
        ...STORE,
        ...step(out, 4),
        ...get(mask),
        ...get(mask),
        ...num(1),
        ...SUB,
        ...AND,
        ...set(mask),
        ...get(mask),
        ...IS_ZERO,
        ...IS_ZERO,
      ]),
    ),
  ];
  const byReach = (distance: (pixels: number) => number[]): number[] =>
    REACHES.flatMap((pixels, i) => [...standsOut(distance(pixels)), ...(i === 0 ? [] : OR_V)]);
  return [
    ...get(ridge),
    ...SPLAT,
    ...set(more),
    ...get(contrast),
    ...SPLAT,
    ...set(less),
    ...loopWhile([
      ...load(get(at)),
      ...set(now),
      ...reach(more),
      ...isAbove(across(REACH_OF_RIDGE)),
      ...isAbove(along(REACH_OF_RIDGE)),
      ...OR_V,
      ...set(hit),
      ...isBelow(across(REACH_OF_RIDGE)),
      ...isBelow(along(REACH_OF_RIDGE)),
      ...OR_V,
      ...set(dark),
      ...isRun(across(1)),
      ...set(runsAcross),
      ...isRun(along(1)),
      ...set(runsDown),
      // Most vectors have neither.
      ...get(hit),
      ...get(dark),
      ...OR_V,
      ...get(runsAcross),
      ...get(runsDown),
      ...OR_V,
      ...tee(runs),
      ...OR_V,
      ...ANY_TRUE,
      ...ifThen([
        ...emit(hit, KIND.BRIGHT),
        ...emit(dark, KIND.DARK),
        ...get(runs),
        ...ANY_TRUE,
        ...ifThen([
          ...reach(less),
          ...byReach(along),
          ...get(runsAcross),
          ...AND_V,
          ...byReach(across),
          ...get(runsDown),
          ...AND_V,
          ...OR_V,
          ...set(hit),
          ...emit(hit, KIND.RUN),
        ]),
      ]),
      ...step(at, 16),
      ...get(at),
      ...get(end),
      ...LESS,
    ]),
    ...get(out),
    ...END,
  ];
})();

const sized = (bytes: readonly number[]): number[] => [...leb(bytes.length), ...bytes];
const vector = (parts: readonly (readonly number[])[]): number[] => [...leb(parts.length), ...parts.flat()];
const section = (id: number, parts: readonly (readonly number[])[]): number[] => [id, ...sized(vector(parts))];
const name = (text: string): number[] => sized([...text].map((char) => char.charCodeAt(0)));
/** A function body: runs of locals as [count, type], then the code. */
const body = (locals: readonly (readonly [number, number])[], code: readonly number[]): number[] => sized([...vector(locals), ...code]);

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
    [0x60, ...vector([[I32], [I32], [I32], [I32], [I32], [I32]]), 1, I32],
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
        [1, I32],
        [10, V128],
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

export interface ScanCode {
  memory: Memory;
  extremes(at: number, end: number, out: number): void;
  marks(at: number, end: number, down: number, contrast: number, ridge: number, out: number): number;
}

/** Compiles the loops, with a memory of their own. */
export const scanCode = (): ScanCode => new WebAssembly.Instance(new WebAssembly.Module(MODULE)).exports as ScanCode;
