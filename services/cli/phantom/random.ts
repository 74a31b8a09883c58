// Seeded randomness of the phantom: one independent stream per purpose, so that adding a draw
// in one place never changes what another place makes.

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform in [low, high). */
  between(low: number, high: number): number;
  /** Whole number in [low, high], both included. */
  whole(low: number, high: number): number;
  pick<T>(choices: readonly T[]): T;
  chance(probability: number): boolean;
  digits(count: number): string;
  bytes(count: number): Uint8Array;
}

/** 32-bit mix of a key (FNV-1a with a final avalanche); the state of every stream starts here. */
function hash32(key: string, salt: number): number {
  let h = 0x811c9dc5 ^ salt;
  for (let i = 0; i < key.length; i++) h = Math.imul(h ^ key.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A stream of its own for each list of parts, e.g. `random(seed, 'patient', 4)`. */
export function random(...parts: readonly (string | number)[]): Random {
  const key = parts.join('/');
  let a = hash32(key, 1);
  let b = hash32(key, 2);
  let c = hash32(key, 3);
  let counter = 1;
  // sfc32 (Doty-Humphrey's PractRand generator): three words of state and a counter.
  const word = (): number => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + sum) | 0;
    return sum >>> 0;
  };
  for (let i = 0; i < 12; i++) word();
  const next = (): number => word() / 0x1_0000_0000;
  const whole = (low: number, high: number): number => low + Math.floor(next() * (high - low + 1));
  return {
    next,
    between: (low, high) => low + next() * (high - low),
    whole,
    pick: (choices) => {
      const choice = choices[whole(0, choices.length - 1)];
      if (choice === undefined) throw new Error('nothing to pick from');
      return choice;
    },
    chance: (probability) => next() < probability,
    digits: (count) => Array.from({ length: count }, () => whole(0, 9)).join(''),
    bytes: (count) => Uint8Array.from({ length: count }, () => word() & 0xff),
  };
}

const GAUSSIAN_BITS = 14;
let gaussianTable: Float32Array | undefined;

/** Normal deviates (mean 0, sigma 1), the same 2^14 of them for everyone. */
function gaussians(): Float32Array {
  if (gaussianTable !== undefined) return gaussianTable;
  const { next } = random('gaussian-table');
  const table = new Float32Array(1 << GAUSSIAN_BITS);
  for (let i = 0; i < table.length; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - next()));
    const angle = 2 * Math.PI * next();
    table[i] = radius * Math.cos(angle);
    table[i + 1] = radius * Math.sin(angle);
  }
  gaussianTable = table;
  return table;
}

/** Adds normal noise of the given sigma to every value; two deviates per xorshift step. */
export function addNoise(values: Float32Array, sigma: number, seed: string): void {
  const table = gaussians();
  const mask = table.length - 1;
  let state = hash32(seed, 7) || 1;
  for (let i = 0; i < values.length; i += 2) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    values[i]! += table[state & mask]! * sigma;
    if (i + 1 < values.length) values[i + 1]! += table[(state >>> 15) & mask]! * sigma;
  }
}
