// Notices that the wall clock was set back: for libraries that count their intervals by it.

export interface TwoClocks {
  /** What an operator or a time server may set. */
  wall(): number;
  /** What only goes on. */
  steady(): number;
}

const HOST: TwoClocks = { wall: () => Date.now(), steady: () => performance.now() };

/** Each call tells how far the wall clock has gone back since the last one, in milliseconds; 0 when it has not. */
export function clockWatch(clocks: TwoClocks = HOST): () => number {
  const difference = (): number => clocks.wall() - clocks.steady();
  let last = difference();
  return () => {
    const now = difference();
    const wentBack = Math.max(0, last - now);
    last = now;
    return wentBack;
  };
}
