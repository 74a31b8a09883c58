// Schemas on a real registry (Apicurio, Confluent API): published, mapped, and refused when their text differs; and what
// becomes of records when a registry that keeps nothing has restarted and gives its ids to other schemas.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { readLocalEnv } from '../../deploy/local/env.ts';
import { prepareRegistry } from '../../deploy/local/extras.ts';
import { freePorts } from '../../deploy/local/ports.ts';
import { startProcess, stopProcess, waitUntilHealthy, type ProcessRecord } from '../../deploy/local/processes.ts';
import { stageEnv } from '../../deploy/local/stages.ts';
import { obtainTools } from '../../deploy/local/tools.ts';
import type { EventRecord } from '../../schemas/events.gen.ts';
import { avroCodec, schemaTexts } from '../../services/adapters/avro-codec.ts';
import { openCodec, publishSchemas, registryIds } from '../../services/adapters/schema-registry.ts';
import { emit } from '../../services/kernel/outcome.ts';
import { deadTopic, retryTopic } from '../../services/kernel/route.ts';
import type { Stage } from '../../services/kernel/stage.ts';
import type { BusRecord } from '../../services/ports/event-bus.ts';
import type { EventCodec } from '../../services/ports/event-codec.ts';
import { runStage } from '../../services/runtime/stage-loop.ts';
import { eventually, openKit, processContext, type Kit } from './research-kit.ts';
import { testPlatform } from './support.ts';

let kit: Kit;
const ends: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  kit = await openKit('registry');
});

afterAll(async () => {
  for (const end of ends.toReversed()) await end();
  await kit?.end();
});

test("every schema is published once, mapped to the registry's id, and records carry that id", async () => {
  const { registryUrl } = await testPlatform();
  if (registryUrl === undefined) {
    // A run of this file alone starts a platform without it.
    process.stdout.write('skipped: this platform runs without a schema registry\n');
    return;
  }
  const published = await publishSchemas(registryUrl);
  const again = await publishSchemas(registryUrl);
  const mapped = await registryIds(registryUrl);
  expect(mapped).toEqual(published);
  expect(again).toEqual(published);
  expect([...mapped.keys()].sort()).toEqual([...schemaTexts().keys()].sort());
  const codec = avroCodec({ registryIds: mapped });
  const event = { type: 'ctstream.research.v1.SubjectWithdrawn', value: { subjectId: 'p' as never, studies: null } } as const;
  const out = codec.encode(event, { id: 'e', source: 's', timeMs: 1_800_000_000_000 });
  const id = Buffer.from(out.value).readUInt32BE(1);
  const answer = (await (await fetch(`${registryUrl}/schemas/ids/${id}`)).json()) as { schema: string };
  expect(answer.schema).toBe(schemaTexts().get('research/subject-withdrawn.v1.1.avsc'));
  expect(codec.decode({ ...out, partition: 0, offset: 0n, timestampMs: 0 })).toMatchObject(event);
});

/** A registry that gives every schema the id 1, and behind it another text. */
async function startLiar(): Promise<{ url: string; stop(): Promise<void> }> {
  const server = createServer((request, response) => {
    request.resume();
    response.setHeader('content-type', 'application/json');
    response.end(request.method === 'POST' ? '{"id":1}' : JSON.stringify({ schema: '{"type":"string"}' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? (address?.port ?? 0) : 0}`,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** How the process of a stage ends that is to use the registry. */
async function endOfStage(registryUrl: string): Promise<{ code: number | null; said: string }> {
  const { PATH, HOME } = process.env;
  const env: NodeJS.ProcessEnv = {
    PATH,
    HOME,
    ...stageEnv('assess', kit.platform, kit.provisioned, kit.dir, 0, 0),
    SCHEMA_REGISTRY_URL: registryUrl,
  };
  const main = join(import.meta.dirname, '../../services/assess/main.ts');
  const child = spawn(process.execPath, ['--no-warnings', main], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const said: string[] = [];
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk.toString()));
  const late = setTimeout(() => child.kill('SIGKILL'), 60_000);
  const code = await new Promise<number | null>((resolve) => child.once('exit', resolve));
  clearTimeout(late);
  return { code, said: said.join('') };
}

test('a registry whose text behind an id is another ends the start', async () => {
  const liar = await startLiar();
  await expect(registryIds(liar.url)).rejects.toMatchObject({
    code: 'BAD_CONFIG',
    message: expect.stringContaining('publish the schemas again'),
  });
  expect(await endOfStage(liar.url)).toMatchObject({ code: 78, said: expect.stringContaining('publish the schemas again') });
  await liar.stop();
  await expect(registryIds(liar.url)).rejects.toMatchObject({ code: 'BAD_CONFIG', message: expect.stringContaining('does not answer') });
});

/** A registry of this file alone, which a test may restart. */
async function ownRegistry(): Promise<{ url: string; restart(): Promise<void> }> {
  const env = readLocalEnv();
  const dir = join(kit.dir, 'registry');
  await mkdir(join(dir, 'logs'), { recursive: true });
  const [port = 0] = await freePorts(1);
  const { spec, url, answers } = await prepareRegistry({ dir, env, tools: await obtainTools(['registry'], env) }, port);
  let running: ProcessRecord | undefined;
  const stop = async (): Promise<void> => {
    if (running !== undefined) await stopProcess(running);
    running = undefined;
  };
  ends.push(stop);
  return {
    url,
    restart: async () => {
      await stop();
      running = await startProcess(spec);
      await waitUntilHealthy(running, answers, 120_000);
    },
  };
}

/** As `publishSchemas`, in an order of the caller's. */
async function publishInOrder(url: string, files: readonly string[]): Promise<void> {
  for (const file of files) {
    const schema = schemaTexts().get(file) ?? '';
    const { namespace, name } = JSON.parse(schema) as { namespace: string; name: string };
    const response = await fetch(`${url}/subjects/${namespace}.${name}/versions`, {
      method: 'POST',
      headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
      body: JSON.stringify({ schema, schemaType: 'AVRO' }),
    });
    if (!response.ok) throw new Error(`publishing ${file}: HTTP ${response.status}`);
  }
}

const TYPE = 'ctstream.clinical.v1.StudyAvailable';
const FILE = 'clinical/study-available.v1.avsc';

async function announce(codec: EventCodec, id: string): Promise<BusRecord> {
  const value = { centre: 'c01', studyInstanceUid: '1.2', revision: 'r', sequence: 1, instanceCount: 1, seriesCount: 1 };
  const event = { type: TYPE, value: { ...value, modalities: ['CT'], noticedBy: 'poll' } } as unknown as EventRecord;
  const record = codec.encode(event, { id, source: 'gateway-c01', timeMs: 1_800_000_000_000 });
  await kit.bus('gateway-c01').publish([record]);
  return { ...record, partition: 0, offset: 0n, timestampMs: 0 };
}

/** A process of ingest's with this codec; what it has handled. */
function startStage(codec: EventCodec): { handled: string[]; stop(): Promise<void> } {
  const { ctx, stop } = processContext('ingest');
  const handled: string[] = [];
  const stage: Stage<typeof TYPE, undefined> = {
    name: 'ingest',
    zone: 'clinical',
    consumes: ['ct.clinical.<centre>.study-available.v1'],
    produces: [],
    jobTimeoutMs: 60_000,
    handle: async ({ id }) => {
      handled.push(id);
      return emit([]);
    },
  };
  const options = { concurrency: 4, window: 64, retryDelaysMs: [300, 300, 300] };
  const running = runStage(stage, undefined, { bus: kit.bus('ingest'), codec, ctx, ...options });
  const end = async (): Promise<void> => {
    stop();
    await running;
  };
  ends.push(() => end().catch(() => undefined));
  return { handled, stop: end };
}

async function recordsOf(topic: string): Promise<BusRecord[]> {
  const log = kit.bus('account');
  return await Array.fromAsync(log.read(await log.ends([topic])));
}

test('a registry that restarted gives other ids: new processes take those, and older records wait instead of being read as garbage', async () => {
  const registry = await ownRegistry();
  const files = [...schemaTexts().keys()];
  await registry.restart();
  await publishInOrder(registry.url, files);
  const idsBefore = await registryIds(registry.url);
  const before = await openCodec(registry.url);
  const old = await announce(before, 'old');

  await registry.restart();
  // It has forgotten everything: nobody starts on it.
  expect(await endOfStage(registry.url)).toMatchObject({ code: 78, said: expect.stringContaining('BAD_CONFIG') });
  await publishInOrder(registry.url, [...files.slice(1), ...files.slice(0, 1)]);
  const idsAfter = await registryIds(registry.url);
  const oldId = Buffer.from(old.value).readUInt32BE(1);
  expect(oldId).toBe(idsBefore.get(FILE));
  const nowBehind = [...idsAfter].find(([, id]) => id === oldId)?.[0];
  expect(nowBehind).toBeDefined();
  expect(nowBehind).not.toBe(FILE);
  const after = await openCodec(registry.url);
  const isMismatch = expect.objectContaining({ code: 'SCHEMA_ID_MISMATCH', retryable: true });
  expect(() => after.decode(old)).toThrow(isMismatch);

  const running = startStage(after);
  const fresh = await announce(after, 'fresh');
  expect(Buffer.from(fresh.value).readUInt32BE(1)).toBe(idsAfter.get(FILE));
  // A process that was not restarted does not read the new ones as garbage either.
  expect(() => before.decode(fresh)).toThrow(isMismatch);
  await eventually('the new record is handled', async () => running.handled.includes('fresh'));
  const last = retryTopic('clinical', 'ingest', '1h');
  const [waiting] = await eventually('the old one waits on and on', async () => {
    const records = await recordsOf(last);
    return records.length >= 3 ? records : undefined;
  });
  expect(waiting?.headers).toMatchObject({ ce_id: 'old', 'ct-code': 'SCHEMA_ID_MISMATCH' });
  expect(running.handled).toEqual(['fresh']);
  await running.stop();

  // With the ids that it had, as a registry restored from its own backup has them, the record is what it was.
  const restored = startStage(before);
  await eventually('the old record is handled', async () => restored.handled.length > 0);
  await restored.stop();
  expect(restored.handled).toEqual(['old']);
  expect(await recordsOf(deadTopic('clinical', 'ingest'))).toEqual([]);
});
