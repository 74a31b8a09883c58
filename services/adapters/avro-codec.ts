// Events to bytes and back: Avro in Confluent framing (a zero byte, the schema id, the record) under
// CloudEvents headers in binary mode. The .avsc files are the truth.
import avro from 'avsc';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ids from '../../schemas/ids.json' with { type: 'json' };
import type { EventRecord, EventType } from '../../schemas/events.gen.ts';
import { Fault } from '../kernel/fault.ts';
import type { NewEvent } from '../kernel/outcome.ts';
import { keyOf, topicOf } from '../kernel/route.ts';
import type { EventIn } from '../kernel/stage.ts';
import type { BusRecord, OutgoingRecord } from '../ports/event-bus.ts';
import type { Envelope, EventCodec } from '../ports/event-codec.ts';

const SCHEMAS = join(import.meta.dirname, '..', '..', 'schemas');
const FRAME_BYTES = 5;
const CONTENT_TYPE = 'application/avro';

interface KnownSchema {
  readonly file: string;
  readonly type: EventType;
  readonly avro: avro.Type;
  readonly id: number;
}

export interface CodecOptions {
  /** Schema file to id, in place of schemas/ids.json when a registry gave its own. */
  readonly registryIds?: ReadonlyMap<string, number>;
  /** In place of the schemas of this version, in the order of their ids: file to text and id. */
  readonly schemas?: ReadonlyMap<string, { readonly text: string; readonly id: number }>;
}

/** Texts of the .avsc files by path under schemas/, as they are to stand in a registry. */
export function schemaTexts(): Map<string, string> {
  return new Map(Object.keys(ids).map((file) => [file, readFileSync(join(SCHEMAS, file), 'utf8')]));
}

/** Schemas of this version by file, in the order of their ids. */
export function ownSchemas(): Map<string, { text: string; id: number }> {
  const order = Object.entries(ids).sort(([, a], [, b]) => a - b);
  const texts = schemaTexts();
  return new Map(order.map(([file, id]) => [file, { text: texts.get(file) ?? '', id }]));
}

function loadSchemas({ registryIds, schemas = ownSchemas() }: CodecOptions): KnownSchema[] {
  return [...schemas].map(([file, { text, id: own }]) => {
    const type = avro.Type.forSchema(JSON.parse(text) as avro.Schema);
    const id = registryIds === undefined ? own : registryIds.get(file);
    if (type.name === undefined || id === undefined) throw new Error(`schemas/${file} has no name or no id`);
    return { file, type: type.name as EventType, avro: type, id };
  });
}

interface Readable extends KnownSchema {
  /** From an earlier version's bytes to the newest one's value. */
  readonly resolver: ReturnType<avro.Type['createResolver']> | undefined;
  /** The type's other versions. */
  readonly others: readonly avro.Type[];
}

/** The codec: writes each type's newest version, reads every version that it knows as the newest. */
export function avroCodec(o: CodecOptions = {}): EventCodec {
  const schemas = loadSchemas(o);
  // The later entry wins: the newest version.
  const byType = new Map(schemas.map((s) => [s.type, s]));
  const byId = new Map(
    schemas.map((s): [number, Readable] => {
      const newest = byType.get(s.type);
      const resolver = newest === undefined || newest === s ? undefined : newest.avro.createResolver(s.avro);
      const others = schemas.filter((o) => o.type === s.type && o !== s).map((o) => o.avro);
      return [s.id, { ...s, resolver, others }];
    }),
  );
  const idsOfRegistry = o.registryIds !== undefined;
  const newestOf = (s: KnownSchema): avro.Type => byType.get(s.type)?.avro ?? s.avro;
  return {
    encode: (event, envelope) => encode(byType, event, envelope),
    decode: (record) => decode(byId, newestOf, idsOfRegistry, record),
  };
}

function encode(byType: ReadonlyMap<EventType, KnownSchema>, event: NewEvent, envelope: Envelope): OutgoingRecord {
  const schema = byType.get(event.type);
  if (schema === undefined) throw new Error(`no schema for ${event.type}`);
  const wrong: string[] = [];
  // A mistake of ours: names the fields, never their values.
  if (!schema.avro.isValid(event.value, { errorHook: (path) => void wrong.push(path.join('.')) }))
    throw new Error(`${event.type} does not fit its schema at ${wrong.join(', ')}`);
  const body = schema.avro.toBuffer(event.value);
  const frame = Buffer.allocUnsafe(FRAME_BYTES);
  frame.writeUInt8(0, 0);
  frame.writeUInt32BE(schema.id, 1);
  return {
    topic: topicOf(event),
    key: keyOf(event),
    value: Buffer.concat([frame, body]),
    headers: {
      ce_specversion: '1.0',
      ce_id: envelope.id,
      ce_type: event.type,
      ce_source: envelope.source,
      ce_time: new Date(envelope.timeMs).toISOString(),
      'content-type': CONTENT_TYPE,
      ...(envelope.traceparent === undefined ? {} : { traceparent: envelope.traceparent }),
      ...(envelope.sequence === undefined ? {} : { ce_sequence: String(envelope.sequence) }),
    },
  };
}

const fits = (type: avro.Type, bytes: Buffer): boolean => {
  try {
    type.fromBuffer(bytes);
    return true;
  } catch {
    return false;
  }
};

function bad(what: string): Fault {
  return new Fault('BAD_EVENT', false, what);
}

function decode(
  byId: ReadonlyMap<number, Readable>,
  newestOf: (s: KnownSchema) => avro.Type,
  idsOfRegistry: boolean,
  record: BusRecord,
): EventIn {
  const value = Buffer.from(record.value.buffer, record.value.byteOffset, record.value.byteLength);
  if (value.length < FRAME_BYTES || value[0] !== 0) throw bad('no Confluent frame');
  const id = value.readUInt32BE(1);
  const schema = byId.get(id);
  if (schema === undefined) throw new Fault('SCHEMA_AHEAD', true, `schema id ${id} is not known to this version`);
  // A registry that lost its ids gives them anew, to other schemas. Its own ids back, and the record can be read again.
  if (record.headers['ce_type'] !== schema.type && idsOfRegistry)
    throw new Fault('SCHEMA_ID_MISMATCH', true, `schema id ${id} is ${schema.type} in the registry, and ce_type says another`);
  if (record.headers['ce_type'] !== schema.type) throw bad(`ce_type is not ${schema.type}, which the bytes are`);
  const { ce_id, ce_source, ce_time, ce_sequence } = record.headers;
  if (ce_id === undefined || ce_id === '') throw bad('no ce_id');
  if (record.headers['ce_specversion'] !== '1.0') throw bad('ce_specversion is not 1.0');
  const timeMs = Date.parse(ce_time ?? '');
  if (Number.isNaN(timeMs)) throw bad('ce_time is no time');
  if (ce_sequence !== undefined && !/^\d{1,19}$/.test(ce_sequence)) throw bad('ce_sequence is no number');
  let decoded: unknown;
  // Without the frame; fromBuffer also refuses bytes that are left over.
  const body = value.subarray(FRAME_BYTES);
  try {
    decoded = newestOf(schema).fromBuffer(body, schema.resolver);
  } catch {
    if (idsOfRegistry && schema.others.some((other) => fits(other, body)))
      throw new Fault('SCHEMA_ID_MISMATCH', true, `schema id ${id} is another version of ${schema.type} in the registry`);
    throw bad(`the bytes are no ${schema.type}`);
  }
  // The registered type's own schema gave the value, so the pair is an EventRecord.
  const event = { type: schema.type, value: decoded } as EventRecord;
  const envelope = {
    id: ce_id,
    source: ce_source ?? '',
    timeMs,
    topic: record.topic,
    partition: record.partition,
    offset: record.offset,
    key: record.key,
  };
  return { ...event, ...envelope, ...(ce_sequence === undefined ? {} : { sequence: BigInt(ce_sequence) }) } as EventIn;
}
