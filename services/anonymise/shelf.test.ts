import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { reusable, studyShelf } from './shelf.ts';

const CHUNK = 64;
const CHUNKS = 3;

const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('add' as const), study: fc.nat(2), bytes: fc.uint8Array({ maxLength: 80 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const), study: fc.nat(2) }) },
);

interface Added {
  study: number;
  name: string;
  bytes: Uint8Array;
}

describe('shelf', () => {
  test('what is kept of a study keeps its bytes until the study is cleared, and no more is kept than there is room', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const shelf = studyShelf(CHUNK * CHUNKS, CHUNK);
        let added: Added[] = [];
        for (const [i, one] of steps.entries()) {
          if (one.kind === 'clear') {
            shelf.clear(one.study);
            for (const { study, name } of added) if (study === one.study) expect(shelf.kept(study, name)).toBeUndefined();
            added = added.filter(({ study }) => study !== one.study);
            continue;
          }
          const room = shelf.add(one.study, String(i), one.bytes.length);
          expect(shelf.kept(one.study, String(i))).toBe(room);
          if (room === undefined) continue;
          room.bytes.set(one.bytes);
          added.push({ study: one.study, name: String(i), bytes: one.bytes });
        }
        for (const { study, name, bytes } of added) expect(Buffer.from(shelf.kept(study, name)?.bytes ?? [])).toEqual(Buffer.from(bytes));
        expect(added.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBeLessThanOrEqual(CHUNK * CHUNKS);
      }),
    );
  });

  test('bytes for one file after the other: a large one takes hardly more than itself', () => {
    const room = reusable();
    expect(room(3 << 20).buffer).toBe(room((3 << 20) + 1000).buffer);
    expect(room(64 << 20).buffer.byteLength).toBeLessThanOrEqual(65 << 20);
  });

  test('a study that is cleared leaves its room to the next', () => {
    const shelf = studyShelf(CHUNK, CHUNK);
    for (const study of [1, 2, {}]) {
      expect([shelf.add(study, 'a', CHUNK) !== undefined, shelf.add(study, 'b', CHUNK) !== undefined]).toEqual([true, false]);
      shelf.clear(study);
    }
  });
});
