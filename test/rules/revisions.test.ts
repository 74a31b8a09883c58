// docs/revisions.md names a test for every row, and each of them is there.
import { expect, test } from '@jest/globals';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/revisions.md'), 'utf8');

/** Rows of the page's tables that have a column `test`, without head and rule. */
function rows(): string[] {
  const tables = page.split(/\n\n+/).filter((block) => /^\|.*\| test \|$/m.test(block));
  return tables.flatMap((table) =>
    table
      .split('\n')
      .filter((line) => line.startsWith('|'))
      .slice(2),
  );
}

/** As a test that runs, or a row of one: `test.skip` and the like are none. */
const quoted = (title: string): string[] => ['test(', '['].flatMap((start) => [`${start}'${title}'`, `${start}"${title}"`]);

test('every row of docs/revisions.md names a test that is there', () => {
  expect(rows().length).toBeGreaterThan(35);
  const missing = rows().flatMap((row) => {
    const [, file = '', title = ''] = /\| `([\w./-]+\.test\.ts)`: (.+) \|$/.exec(row) ?? [];
    const source = file !== '' && existsSync(join(root, file)) ? readFileSync(join(root, file), 'utf8') : '';
    return quoted(title).some((q) => title !== '' && source.includes(q)) ? [] : [row];
  });
  expect(missing).toEqual([]);
});
