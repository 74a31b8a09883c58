// The few words of WebAssembly that pixel-scan-code.ts needs, as bytes (WebAssembly core specification 5.4 and 5.5).

export const I32 = 0x7f;
export const V128 = 0x7b;
const VOID = 0x40;

const leb = (value: number): number[] => (value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >>> 7)]);
const sleb = (value: number): number[] => {
  const low = value & 0x7f;
  const rest = value >> 7;
  return (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0) ? [low] : [low | 0x80, ...sleb(rest)];
};

export const get = (local: number): number[] => [0x20, local];
export const set = (local: number): number[] => [0x21, local];
export const tee = (local: number): number[] => [0x22, local];
export const num = (value: number): number[] => [0x41, ...sleb(value)];
const simd = (op: number): number[] => [0xfd, ...leb(op)];
export const ADD = [0x6a];
export const SUB = [0x6b];
export const MUL = [0x6c];
export const AND = [0x71];
export const SHL = [0x74];
export const SHR = [0x76];
export const CTZ = [0x68];
export const LESS = [0x49];
export const STORE = [0x36, 2, 0];
export const loadV = (bytes: number): number[] => [...simd(0x00), 0, ...leb(bytes)];
export const LOAD_V = loadV(0);
export const STORE_V = [...simd(0x0b), 0, 0];
export const SPLAT = simd(0x10);
export const EQUAL_V = simd(0x2d);
export const LESS_V = simd(0x2f);
export const AND_V = simd(0x4e);
export const AND_NOT_V = simd(0x4f);
export const OR_V = simd(0x50);
export const SELECT_V = simd(0x52);
export const ANY_TRUE = simd(0x53);
export const BITMASK = simd(0x84);
export const ADD_SATURATING = simd(0x8f);
export const SUB_SATURATING = simd(0x92);
export const MIN_V = simd(0x96);
export const MAX_V = simd(0x98);
export const END = [0x0b];

export const step = (local: number, by: number): number[] => [...get(local), ...num(by), ...ADD, ...set(local)];
/** A loop whose body leaves on the stack whether to go round again. */
export const loopWhile = (body: readonly number[]): number[] => [0x03, VOID, ...body, 0x0d, 0, ...END];
export const ifThen = (body: readonly number[]): number[] => [0x04, VOID, ...body, ...END];

const sized = (bytes: readonly number[]): number[] => [...leb(bytes.length), ...bytes];
export const vector = (parts: readonly (readonly number[])[]): number[] => [...leb(parts.length), ...parts.flat()];
export const section = (id: number, parts: readonly (readonly number[])[]): number[] => [id, ...sized(vector(parts))];
export const name = (text: string): number[] => sized([...text].map((char) => char.charCodeAt(0)));
/** A function body: runs of locals as [count, type], then the code. */
export const body = (locals: readonly (readonly [number, number])[], code: readonly number[]): number[] =>
  sized([...vector(locals), ...code]);
