// Schemas on a real registry (Apicurio, Confluent API): published, mapped, and refused when their text differs.
import { afterAll, expect, test } from '@jest/globals';
import { createServer } from 'node:http';
import { avroCodec, schemaTexts } from '../../services/adapters/avro-codec.ts';
import { publishSchemas, registryIds } from '../../services/adapters/schema-registry.ts';
import { releasePlatform, testPlatform } from './support.ts';

afterAll(async () => {
  await releasePlatform();
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
  const event = { type: 'ctstream.research.v1.SubjectWithdrawn', value: { subjectId: 'p' as never } } as const;
  const out = codec.encode(event, { id: 'e', source: 's', timeMs: 1_800_000_000_000 });
  const id = Buffer.from(out.value).readUInt32BE(1);
  const answer = (await (await fetch(`${registryUrl}/schemas/ids/${id}`)).json()) as { schema: string };
  expect(answer.schema).toBe(schemaTexts().get('research/subject-withdrawn.v1.avsc'));
  expect(codec.decode({ ...out, partition: 0, offset: 0n, timestampMs: 0 })).toMatchObject(event);
}, 60_000);

test('a registry whose text behind an id is another ends the start', async () => {
  const server = createServer((request, response) => {
    request.resume();
    response.setHeader('content-type', 'application/json');
    response.end(request.method === 'POST' ? '{"id":1}' : JSON.stringify({ schema: '{"type":"string"}' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === 'object' ? (address?.port ?? 0) : 0}`;
  await expect(registryIds(url)).rejects.toMatchObject({
    code: 'BAD_CONFIG',
    message: expect.stringContaining('publish the schemas again'),
  });
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await expect(registryIds(url)).rejects.toMatchObject({ code: 'BAD_CONFIG', message: expect.stringContaining('does not answer') });
});
