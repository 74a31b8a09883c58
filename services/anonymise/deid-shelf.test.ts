import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fileShelf } from './deid-shelf.ts';

const CHUNK = 64;
const CHUNKS = 3;
let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'ctstream-shelf-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('read' as const), study: fc.nat(2), bytes: fc.uint8Array({ maxLength: 80 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const), study: fc.nat(2) }) },
);

describe('shelf', () => {
  test('what stays of a study keeps its bytes until the study is cleared, and no more stays than there is room', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const shelf = fileShelf(CHUNK, CHUNKS);
        const files: { study: number; name: string; bytes: Uint8Array }[] = [];
        steps.forEach((one, i) => {
          if (one.kind === 'clear') {
            shelf.clear(one.study);
            for (const file of files.filter(({ study }) => study === one.study)) expect(shelf.kept(file.study, file.name)).toBeUndefined();
            files.splice(0, files.length, ...files.filter(({ study }) => study !== one.study));
            return;
          }
          const path = join(folder, 'file');
          writeFileSync(path, one.bytes);
          const name = String(i);
          expect(Buffer.from(shelf.read(one.study, name, path).bytes)).toEqual(Buffer.from(one.bytes));
          files.push({ study: one.study, name, bytes: one.bytes });
        });
        const kept = files.flatMap(({ study, name, bytes }) => {
          const stayed = shelf.kept(study, name);
          return stayed === undefined ? [] : [{ is: Buffer.from(stayed.bytes), was: Buffer.from(bytes) }];
        });
        for (const { is, was } of kept) expect(is).toEqual(was);
        expect(kept.reduce((sum, { is }) => sum + is.length, 0)).toBeLessThanOrEqual(CHUNK * CHUNKS);
      }),
    );
  });

  test('a study that was cleared leaves its room to the next', () => {
    const shelf = fileShelf(CHUNK, 1);
    const path = join(folder, 'one');
    writeFileSync(path, new Uint8Array(CHUNK));
    for (const study of [1, 2, 3]) {
      shelf.read(study, 'a', path);
      shelf.read(study, 'b', path);
      expect([shelf.kept(study, 'a') !== undefined, shelf.kept(study, 'b') !== undefined]).toEqual([true, false]);
      shelf.clear(study);
    }
  });
});
