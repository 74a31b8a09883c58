// Whether two versions of an event read each other, and what an Avro resolver does not see.
import avro from 'avsc';

export interface AvroField {
  readonly name: string;
  readonly type: unknown;
  readonly doc?: string;
  readonly brand?: string;
  readonly default?: unknown;
  readonly aliases?: readonly string[];
}

export interface AvroRecord {
  readonly type: 'record';
  readonly name: string;
  readonly namespace: string;
  readonly doc: string;
  readonly fields: AvroField[];
}

/** Fields of nested records with their path; arrays and unions are looked into. */
function walk(fields: readonly AvroField[], path = ''): { path: string; field: AvroField }[] {
  return fields.flatMap((field) => [
    { path: path + field.name, field },
    ...nested(field.type).flatMap((inner) => walk(inner, `${path}${field.name}.`)),
  ]);
}

function nested(type: unknown): AvroField[][] {
  if (Array.isArray(type)) return type.flatMap(nested);
  if (typeof type !== 'object' || type === null) return [];
  const { fields, items, values, type: inner } = type as { fields?: AvroField[]; items?: unknown; values?: unknown; type?: unknown };
  if (fields !== undefined) return [fields];
  return [items, values, typeof inner === 'object' ? inner : undefined].flatMap(nested);
}

/** What is missing for people: a doc on the record and on every field. */
export function lintSchema(record: AvroRecord): string[] {
  const bare = walk(record.fields)
    .filter(({ field }) => (field.doc ?? '').trim() === '')
    .map(({ path }) => `${path} has no doc`);
  return (record.doc ?? '').trim() === '' ? [`${record.name} has no doc`, ...bare] : bare;
}

/** An Avro resolver compares names without their version, so both get the same one. */
function typeOf(record: AvroRecord): avro.Type {
  return avro.Type.forSchema({ ...record, namespace: 'compared', name: 'Event' } as unknown as avro.Schema);
}

function readProblem(reader: AvroRecord, writer: AvroRecord, which: string): string[] {
  try {
    typeOf(reader).createResolver(typeOf(writer));
    return [];
  } catch (error) {
    return [`${which}: ${error instanceof Error ? error.message : 'unreadable'}`];
  }
}

function logicalTypes(type: unknown): string {
  return (JSON.stringify(type).match(/"logicalType":"[^"]+"/g) ?? []).join();
}

/** Every reason why two versions of one event can't live side by side; empty when they can. */
export function compareVersions(older: AvroRecord, newer: AvroRecord): string[] {
  const problems = [
    ...readProblem(newer, older, "the newer can't read the older"),
    ...readProblem(older, newer, "the older can't read the newer"),
  ];
  const now = new Map(walk(newer.fields).map(({ path, field }) => [path, field]));
  for (const { path, field } of walk(older.fields)) {
    const after = now.get(path);
    if (after === undefined) problems.push(`${path} went or was renamed`);
    else {
      if (logicalTypes(field.type) !== logicalTypes(after.type)) problems.push(`${path} changed its logical type`);
      if (field.brand !== after.brand) problems.push(`${path} changed its brand`);
    }
  }
  for (const { path, field } of walk(newer.fields)) if (field.aliases !== undefined) problems.push(`${path} has an alias: a rename`);
  return problems;
}
