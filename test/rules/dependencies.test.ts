// Every runtime dependency has its reason in docs/decisions/dependencies.md, and is imported by what runs.
import { expect, test } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const text = (path: string): string => readFileSync(join(root, path), 'utf8');
const { dependencies } = JSON.parse(text('package.json')) as { dependencies: Record<string, string> };

test('docs/decisions/dependencies.md lists the runtime dependencies, all and no other, each with a reason', () => {
  const rows = [...text('docs/decisions/dependencies.md').matchAll(/^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$/gm)];
  expect(rows.map((r) => r[1])).toEqual(Object.keys(dependencies).sort());
  expect(rows.filter((r) => (r[3] ?? '').trim().length < 10).map((r) => r[1])).toEqual([]);
});

test('every runtime dependency is imported by a file that is no test, in one exact version', () => {
  const sources = ['services', 'deploy'].flatMap((dir) =>
    readdirSync(join(root, dir), { recursive: true, encoding: 'utf8' })
      .filter((f) => f.endsWith('.ts') && !f.endsWith('.test.ts'))
      .map((f) => text(join(dir, f))),
  );
  const unused = Object.keys(dependencies).filter(
    (name) => !sources.some((source) => source.includes(`'${name}'`) || source.includes(`'${name}/`)),
  );
  expect(unused).toEqual([]);
  expect(Object.entries(dependencies).filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))).toEqual([]);
});
