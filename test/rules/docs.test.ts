// The pages say what is so: links lead somewhere, every query runs, every table has one, nothing names a machine.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { DuckDBConnection } from '@duckdb/node-api';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { openDuckDb } from '../../services/event-log/parquet.ts';
import { createViews, runQuery, tableNames } from '../../services/event-log/query.ts';

const root = resolve(import.meta.dirname, '../..');
const pages = [
  'README.md',
  'k8s/README.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((f) => f.endsWith('.md'))
    .map((f) => join('docs', f)),
];
const text = (page: string): string => readFileSync(join(root, page), 'utf8');

test('every relative link leads to a file', () => {
  const broken = pages.flatMap((page) =>
    [...text(page).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)]
      .map((m) => resolve(root, dirname(page), m[1] ?? ''))
      .filter((path) => !existsSync(path))
      .map((path) => `${page}: ${relative(root, path)}`),
  );
  expect(broken).toEqual([]);
});

test('every decision is listed', () => {
  const files = readdirSync(join(root, 'docs/decisions')).filter((f) => f !== 'README.md');
  expect(files.filter((f) => !text('docs/decisions/README.md').includes(`(${f})`))).toEqual([]);
});

test('no page names a folder of a machine', () => {
  expect(pages.filter((page) => /(?:^|[\s`("'])\/(?:work|home|root|Users)\//m.test(text(page)))).toEqual([]);
});

test('every default stands as it is given', () => {
  expect(text('docs/configuration.md')).not.toContain('[object ');
});

describe('the example queries of the README', () => {
  const queries = [...text('README.md').matchAll(/```sql\n([\s\S]+?)```/g)]
    .flatMap((m) => (m[1] ?? '').split(';\n').map((q) => q.trim()))
    .filter((q) => q !== '');
  let db: DuckDBConnection;

  beforeAll(async () => {
    db = await openDuckDb();
    await createViews(db, join(root, 'no-such-folder'));
  });
  afterAll(() => db.closeSync());

  test('there is a query for each table, titled with its name', () => {
    expect(queries.map((q) => /^-- ([a-z_.]+): /.exec(q)?.[1]).sort()).toEqual(tableNames());
  });

  test.each(queries.map((query) => [/^-- ([a-z_.]+)/.exec(query)?.[1] ?? '', query]))('the query of %s runs', async (title, query) => {
    expect(query.slice(query.indexOf('\n'))).toContain(title);
    expect((await runQuery(db, query)).columns.length).toBeGreaterThan(0);
  });
});
