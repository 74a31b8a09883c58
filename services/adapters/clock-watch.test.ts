import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { clockWatch } from './clock-watch.ts';

test('every step back is told once, by its size; going on and steps ahead are none', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ on: fc.nat(100_000), step: fc.integer({ min: -10_000_000, max: 10_000_000 }) })), (moves) => {
      let [wall, steady] = [1_600_000_000_000, 5];
      const wentBack = clockWatch({ wall: () => wall, steady: () => steady });
      for (const { on, step } of moves) {
        wall += on + step;
        steady += on;
        expect(wentBack()).toBe(Math.max(0, -step));
        expect(wentBack()).toBe(0);
      }
    }),
  );
});
