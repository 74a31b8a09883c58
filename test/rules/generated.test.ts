// Generated files are current: what `npm run generate` would write stands in the repository.
import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { generateDocs } from '../../docs/generate.ts';
import { generate } from '../../schemas/generate.ts';

const root = resolve(import.meta.dirname, '../..');

test('schemas/ and docs/ have the texts that are generated now', async () => {
  for (const [folder, files] of Object.entries({ schemas: generate(), docs: await generateDocs() })) {
    for (const [file, text] of Object.entries(files))
      expect([file, readFileSync(join(root, folder, file), 'utf8') === text]).toEqual([file, true]);
  }
});

test('generated pages name nothing of the machine that made them', async () => {
  for (const text of Object.values(await generateDocs()))
    expect(text).not.toMatch(/(?:^|[\s`(])\/(?:work|tmp|home|root|Users|var\/folders)\b/m);
});
