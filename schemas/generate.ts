// Writes all generated files: events.gen.ts (types) and ids.json (schema ids) from the Avro files, and the pages that
// docs/generate.ts makes. `--check` only compares.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const here = import.meta.dirname;

interface AvroField {
  name: string;
  type: AvroType;
  doc?: string;
  brand?: string;
}
type AvroType = string | AvroType[] | { type: string; items?: AvroType; name?: string; doc?: string; fields?: AvroField[] };
interface AvroRecord {
  name: string;
  namespace: string;
  doc: string;
  fields: AvroField[];
}

const PRIMITIVES: Record<string, string> = {
  string: 'string',
  int: 'number',
  long: 'number',
  double: 'number',
  float: 'number',
  boolean: 'boolean',
  bytes: 'Uint8Array',
  null: 'null',
};

/** Files of the schemas folder, in the fixed order of their ids. */
export function schemaFiles(): string[] {
  return ['clinical', 'research'].flatMap((zone) =>
    readdirSync(join(here, zone))
      .filter((f) => f.endsWith('.avsc'))
      .sort()
      .map((f) => `${zone}/${f}`),
  );
}

const MINOR = /\.v\d+(?:\.(\d+))?\.avsc$/;
const minorOf = (file: string): number => Number(MINOR.exec(file)?.[1] ?? 0);

/** Of every event and major version the newest file: `x.v1.1.avsc` adds fields to `x.v1.avsc`. */
function newestFiles(files: readonly string[]): string[] {
  const newest = new Map<string, string>();
  for (const file of files) {
    const event = file.replace(/(\.v\d+)\..*$/, '$1');
    const known = newest.get(event);
    if (known === undefined || minorOf(file) > minorOf(known)) newest.set(event, file);
  }
  return [...newest.values()];
}

function typeOf(type: AvroType, nested: string[], brand?: string): string {
  if (typeof type === 'string') {
    const primitive = PRIMITIVES[type];
    if (primitive === undefined) throw new Error(`unknown Avro type ${type}`);
    return brand ?? primitive;
  }
  if (Array.isArray(type)) return type.map((t) => typeOf(t, nested, t === 'null' ? undefined : brand)).join(' | ');
  if (type.type === 'array' && type.items !== undefined) {
    const item = typeOf(type.items, nested, brand);
    return `readonly ${item.includes('|') ? `(${item})` : item}[]`;
  }
  if (type.type === 'record' && type.name !== undefined && type.fields !== undefined) {
    nested.push(interfaceOf(type.name, type.doc ?? '', type.fields, nested));
    return type.name;
  }
  throw new Error(`unknown Avro type ${JSON.stringify(type)}`);
}

function interfaceOf(name: string, doc: string, fields: AvroField[], nested: string[]): string {
  const lines = fields.map((f) => `  /** ${f.doc} */\n  readonly ${f.name}: ${typeOf(f.type, nested, f.brand)};`);
  return `/** ${doc} */\nexport interface ${name} {\n${lines.join('\n')}\n}\n`;
}

function generateTypes(records: AvroRecord[]): string {
  const twice = new Set(records.map((r) => r.name).filter((n, i, all) => all.indexOf(n) !== i));
  const zoneOf = (r: AvroRecord): string => (r.namespace.split('.')[1] ?? '').replace(/^./, (c) => c.toUpperCase());
  const nameOf = (r: AvroRecord): string => (twice.has(r.name) ? zoneOf(r) + r.name : r.name);
  const out: string[] = [];
  const brands = new Set<string>();
  const note = (fields: AvroField[]): void => {
    for (const f of fields) {
      if (f.brand !== undefined) brands.add(f.brand);
      const inner = typeof f.type === 'object' && !Array.isArray(f.type) ? f.type.items : undefined;
      if (typeof inner === 'object' && !Array.isArray(inner) && inner.fields !== undefined) note(inner.fields);
    }
  };
  for (const r of records) {
    note(r.fields);
    const nested: string[] = [];
    const own = interfaceOf(nameOf(r), r.doc, r.fields, nested);
    out.push(...nested, own);
  }
  const ids = [...brands].filter((b) => b !== 'Code').sort();
  return [
    '// Generated from schemas/*/*.avsc by schemas/generate.ts. Do not edit.',
    "import type { Code } from '../services/kernel/codes.ts';",
    `import type { ${ids.join(', ')} } from '../services/kernel/ids.ts';\n`,
    ...out,
    '/** Every event: the full name of its Avro record (also its `ce_type`) and its value. */',
    'export interface EventValues {',
    ...records.map((r) => `  '${r.namespace}.${r.name}': ${nameOf(r)};`),
    '}\n',
    'export type EventType = keyof EventValues;\n',
    'export type EventRecord = { [T in EventType]: { readonly type: T; readonly value: EventValues[T] } }[EventType];\n',
  ].join('\n');
}

/** Ids never change and never go: a new file gets the next number, so that a newer minor version has the higher one. */
function generateIds(files: string[], known: Record<string, number>): Record<string, number> {
  const ids = { ...known };
  let next = Math.max(0, ...Object.values(ids)) + 1;
  for (const file of files.toSorted((a, b) => minorOf(a) - minorOf(b))) ids[file] ??= next++;
  return ids;
}

/** The generated files' texts by path under schemas/. */
export function generate(): Record<string, string> {
  const files = schemaFiles();
  const records = newestFiles(files).map((f) => JSON.parse(readFileSync(join(here, f), 'utf8')) as AvroRecord);
  let known: Record<string, number> = {};
  try {
    known = JSON.parse(readFileSync(join(here, 'ids.json'), 'utf8')) as Record<string, number>;
  } catch {
    // The first run makes the file.
  }
  return { 'events.gen.ts': generateTypes(records), 'ids.json': `${JSON.stringify(generateIds(files, known), null, 2)}\n` };
}

if (import.meta.main) {
  const check = process.argv.includes('--check');
  const { generateDocs } = await import('../docs/generate.ts');
  const folders = { schemas: generate(), docs: await generateDocs() };
  for (const [folder, files] of Object.entries(folders)) {
    for (const [file, text] of Object.entries(files)) {
      const path = join(here, '..', folder, file);
      if (!check) writeFileSync(path, text);
      else if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
        process.stderr.write(`${folder}/${file} is not current: run npm run generate\n`);
        process.exitCode = 1;
      }
    }
  }
}
