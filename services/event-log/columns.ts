// How an Avro record becomes typed Parquet columns: snake_case names and DuckDB types. Pure.

export interface AvroField {
  readonly name: string;
  readonly type: AvroType;
  readonly doc?: string;
}
export type AvroType =
  | string
  | readonly AvroType[]
  | { readonly type: string; readonly items?: AvroType; readonly fields?: readonly AvroField[] };

export interface Column {
  readonly name: string;
  readonly type: string;
}

const PRIMITIVES: Readonly<Record<string, string>> = {
  string: 'VARCHAR',
  int: 'INTEGER',
  long: 'BIGINT',
  double: 'DOUBLE',
  float: 'REAL',
  boolean: 'BOOLEAN',
};

/** `studyInstanceUid` -> `study_instance_uid`; `sha256sumsSha256` stays one word. */
export function snakeCase(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase();
}

/** DuckDB type of an Avro type. @throws Error for one that no event uses yet. */
function duckType(type: AvroType): string {
  if (typeof type === 'string') {
    const primitive = PRIMITIVES[type];
    if (primitive === undefined) throw new Error(`no column type for the Avro type ${type}`);
    return primitive;
  }
  if ('length' in type) {
    const [only, ...more] = type.filter((t) => t !== 'null');
    if (only === undefined || more.length > 0) throw new Error('only unions with null become columns');
    return duckType(only);
  }
  if (type.type === 'array' && type.items !== undefined) return `${duckType(type.items)}[]`;
  if (type.type === 'record' && type.fields !== undefined) {
    return `STRUCT(${type.fields.map((f) => `"${snakeCase(f.name)}" ${duckType(f.type)}`).join(', ')})`;
  }
  throw new Error(`no column type for ${JSON.stringify(type)}`);
}

/** Columns that every record has, whatever its event. `record_offset` is Kafka's offset; `bad_code` says why a record
 * is no good event, and then the event's own columns are null. */
export const ENVELOPE: readonly Column[] = [
  { name: 'topic', type: 'VARCHAR' },
  { name: 'partition', type: 'INTEGER' },
  { name: 'record_offset', type: 'BIGINT' },
  { name: 'record_key', type: 'VARCHAR' },
  { name: 'event_id', type: 'VARCHAR' },
  { name: 'event_type', type: 'VARCHAR' },
  { name: 'event_source', type: 'VARCHAR' },
  { name: 'event_time', type: 'TIMESTAMP' },
  { name: 'event_sequence', type: 'BIGINT' },
  { name: 'bad_code', type: 'VARCHAR' },
];

/** Columns of retry and dead topics: metadata only, never the value. */
export const PARKED: readonly Column[] = [
  { name: 'stage', type: 'VARCHAR' },
  { name: 'code', type: 'VARCHAR' },
  { name: 'attempts', type: 'INTEGER' },
  { name: 'origin_topic', type: 'VARCHAR' },
];

export function valueColumns(fields: readonly AvroField[]): Column[] {
  return fields.map((f) => ({ name: snakeCase(f.name), type: duckType(f.type) }));
}

/** The value with its keys in snake_case, nested ones too, ready to be a row. */
export function snakeRow(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snakeRow);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [snakeCase(k), snakeRow(v)]));
}
