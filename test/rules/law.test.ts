// The import law and the other rules of the design, as an ordinary test.
import { expect, test } from '@jest/globals';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const STAGES = ['centre-gateway', 'ingest', 'anonymise', 'assess', 'select', 'label-queue', 'release', 'event-log'];
const SDKS = /^(kafkajs|avsc|minio|pg|dicomweb-client|@platformatic\/kafka)$/;

function sources(dir: string): string[] {
  return readdirSync(join(root, dir), { withFileTypes: true, recursive: true })
    .filter((e) => e.isFile() && e.name.endsWith('.ts') && !e.parentPath.includes('node_modules'))
    .map((e) => relative(root, join(e.parentPath, e.name)))
    .sort();
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(/^\s*(?:import|export)\s[^'"]*?from\s+['"]([^'"]+)['"]|^import\s+['"]([^'"]+)['"]/gm)].map(
    (m) => m[1] ?? m[2] ?? '',
  );
}

/** Folder of services/ that a file belongs to, or its top folder. */
function layerOf(path: string): string {
  const [top, second] = path.split('/');
  return top === 'services' ? (second ?? '') : (top ?? '');
}

const all = ['services', 'schemas', 'deploy', 'bench', 'test'].filter((d) => readdirSync(root).includes(d)).flatMap(sources);
const product = all.filter((f) => f.startsWith('services/') && !f.endsWith('.test.ts'));

const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  kernel: ['kernel', 'schemas'],
  dicom: ['dicom', 'kernel'],
  pixels: ['pixels', 'dicom', 'kernel'],
  ports: ['ports', 'kernel', 'schemas'],
  adapters: ['adapters', 'kernel', 'ports', 'schemas'],
  runtime: ['runtime', 'kernel', 'ports', 'schemas'],
};

function forbidden(file: string): string[] {
  const layer = layerOf(file);
  if (layer === 'cli') return [];
  const joins = file.endsWith('/main.ts');
  const allowed = ALLOWED[layer] ?? [
    layer,
    'kernel',
    'ports',
    'dicom',
    'pixels',
    'schemas',
    ...(joins ? ['adapters', 'runtime'] : []),
    ...(file.endsWith('/env.ts') ? ['runtime'] : []),
  ];
  return importsOf(file)
    .filter((i) => i.startsWith('.'))
    .map((i) => relative(root, resolve(root, dirname(file), i)))
    .filter((target) => !allowed.includes(layerOf(target)))
    .map((target) => `${file} -> ${target}`);
}

test('the import law: schemas -> kernel -> ports -> a stage; only main.ts joins', () => {
  expect(product.flatMap(forbidden)).toEqual([]);
});

test('adapters are the only imports of an SDK', () => {
  const found = product
    .filter((f) => layerOf(f) !== 'adapters')
    .flatMap((f) =>
      importsOf(f)
        .filter((i) => SDKS.test(i))
        .map((i) => `${f} -> ${i}`),
    );
  expect(found).toEqual([]);
});

test('process.env is read in env.ts files only', () => {
  const found = product.filter((f) => !f.endsWith('env.ts') && /process\.env\b/.test(readFileSync(join(root, f), 'utf8')));
  expect(found).toEqual([]);
});

test('named exports only, no jest.mock, no skipped or focused tests without a reason', () => {
  const found = all.flatMap((f) => {
    if (f === 'test/rules/law.test.ts' || f.startsWith('test/integration/global-')) return [];
    const text = readFileSync(join(root, f), 'utf8');
    const marks = [
      /^export default /m,
      /jest\.mock\(/,
      /\b(?:it|test|describe)\.only\b/,
      /\bas any\b/,
      /@ts-(?:ignore|nocheck|expect-error)/,
    ];
    return marks.filter((m) => m.test(text)).map((m) => `${f}: ${m.source}`);
  });
  expect(found).toEqual([]);
});

test('a stage folder reads the same everywhere', () => {
  for (const stage of STAGES) {
    const names = readdirSync(join(root, 'services', stage));
    expect([stage, ['README.md', 'env.ts', 'main.ts'].filter((n) => !names.includes(n))]).toEqual([stage, []]);
  }
});

test('every file opens with a word on its job', () => {
  const bare = all.filter((f) => !f.endsWith('.test.ts') && !/^(?:#!.*\n)?(?:\/\/|\/\*)/.test(readFileSync(join(root, f), 'utf8')));
  expect(bare).toEqual([]);
});
