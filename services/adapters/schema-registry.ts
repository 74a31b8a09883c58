// Schemas in a registry with the Confluent API (Apicurio's ccompat v7 too), so that other tools decode the topics.
// Services need none; with one, every schema's text there must equal the file here byte for byte.
import { Fault } from '../kernel/fault.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import { avroCodec, schemaTexts } from './avro-codec.ts';

const TIMEOUT_MS = 10_000;
const CONTENT_TYPE = 'application/vnd.schemaregistry.v1+json';

/** Subject of a schema: its record's full name, as for a topic that carries one type. */
function subjectOf(text: string): string {
  const { namespace, name } = JSON.parse(text) as { namespace: string; name: string };
  return `${namespace}.${name}`;
}

async function ask(base: string, method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const url = base.replace(/\/$/, '') + path;
  let response: Response;
  try {
    response = await fetch(url, {
      method,
      headers: { accept: CONTENT_TYPE, 'content-type': CONTENT_TYPE },
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch (error) {
    throw new Fault('BAD_CONFIG', false, `the schema registry does not answer: ${method} ${path}`, { cause: error });
  }
  if (!response.ok) throw new Fault('BAD_CONFIG', false, `the schema registry answered ${response.status} to ${method} ${path}`);
  return (await response.json()) as Record<string, unknown>;
}

function idOf(answer: Record<string, unknown>, what: string): number {
  const id = answer['id'];
  if (typeof id !== 'number') throw new Fault('BAD_CONFIG', false, `the schema registry gave no id for ${what}`);
  return id;
}

/** Publishes every schema under its record's name; those that are there already stay. Gives file to id. */
export async function publishSchemas(url: string): Promise<Map<string, number>> {
  const ids = new Map<string, number>();
  for (const [file, schema] of schemaTexts()) {
    ids.set(
      file,
      idOf(await ask(url, 'POST', `/subjects/${encodeURIComponent(subjectOf(schema))}/versions`, { schema, schemaType: 'AVRO' }), file),
    );
  }
  return ids;
}

/**
 * The registry's ids of our schemas, for `avroCodec`.
 * @throws Fault BAD_CONFIG when one is missing, two share an id, or the text behind an id is not the file byte for byte:
 * an in-memory registry gives other ids after a restart, and records would be read by the wrong schema.
 */
export async function registryIds(url: string): Promise<Map<string, number>> {
  const ids = new Map<string, number>();
  for (const [file, schema] of schemaTexts()) {
    const id = idOf(await ask(url, 'POST', `/subjects/${encodeURIComponent(subjectOf(schema))}`, { schema, schemaType: 'AVRO' }), file);
    const text = (await ask(url, 'GET', `/schemas/ids/${id}`))['schema'];
    if (text !== schema)
      throw new Fault('BAD_CONFIG', false, `the registry's text of id ${id} is not schemas/${file}: publish the schemas again`);
    if ([...ids.values()].includes(id)) throw new Fault('BAD_CONFIG', false, `the registry gave id ${id} twice`);
    ids.set(file, id);
  }
  return ids;
}

/** The codec of a service: with the registry's ids when one is given, else with those of schemas/ids.json. */
export async function openCodec(registryUrl: string | undefined): Promise<EventCodec> {
  return registryUrl === undefined ? avroCodec() : avroCodec({ registryIds: await registryIds(registryUrl) });
}
