import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Readable } from 'node:stream';
import { extract } from 'tar-stream';
import { TAR_END, tarHeader, tarPadding } from './tar.ts';

test('an independent reader finds every file with its bytes, and no times or owners', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 2000 }), { maxLength: 6 }), async (files) => {
      const name = (i: number): string => `1.2.840.${i}.${'9'.repeat(40)}.dcm`;
      const tar = Buffer.concat([
        ...files.flatMap((bytes, i) => [tarHeader(name(i), bytes.length), bytes, tarPadding(bytes.length)]),
        TAR_END,
      ]);
      expect(tar.length % 512).toBe(0);
      const found: [string, string, number, number][] = [];
      const reader = extract();
      Readable.from([tar]).pipe(reader);
      for await (const entry of reader) {
        const chunks: Buffer[] = [];
        for await (const chunk of entry) chunks.push(chunk as Buffer);
        found.push([entry.header.name, Buffer.concat(chunks).toString('hex'), entry.header.mtime?.getTime() ?? -1, entry.header.uid ?? -1]);
      }
      expect(found).toEqual(files.map((bytes, i) => [name(i), Buffer.from(bytes).toString('hex'), 0, 0]));
    }),
    { numRuns: 50 },
  );
});

test('names that do not fit, and files of 8 GiB and more, are refused', () => {
  expect(() => tarHeader('x'.repeat(101), 1)).toThrow('100');
  expect(() => tarHeader('ä', 1)).toThrow('ASCII');
  expect(() => tarHeader('x', 8 * 1024 ** 3)).toThrow('8 GiB');
});
