// One trace through the clinical zone, another through the research zone, and the link on the clinical side only.
import { afterAll, expect, test } from '@jest/globals';
import { createServer } from 'node:http';
import { memoryBroker } from '../../test/shared/memory-bus.ts';
import { testContext, until } from '../../test/shared/test-context.ts';
import { avroCodec } from '../adapters/avro-codec.ts';
import { topicPlans } from '../adapters/kafka-topics.ts';
import { emit, reject } from '../kernel/outcome.ts';
import type { Stage } from '../kernel/stage.ts';
import { runStage } from './stage-loop.ts';
import { startTelemetry, traceIdOf } from './telemetry.ts';

interface ZipkinSpan {
  readonly traceId: string;
  readonly name: string;
  readonly tags?: Record<string, string>;
}

const spans: ZipkinSpan[] = [];
const server = createServer((request, response) => {
  let body = '';
  request.on('data', (d: Buffer) => (body += d.toString()));
  request.on('end', () => {
    spans.push(...(JSON.parse(body) as ZipkinSpan[]));
    response.writeHead(202).end();
  });
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

test('traces do not cross the boundary', async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const telemetry = startTelemetry({
    name: 'anonymise',
    zipkinUrl: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/api/v2/spans`,
    warn: () => undefined,
  });
  const broker = memoryBroker();
  for (const plan of topicPlans(['c01'], 1)) broker.createTopic(plan.name, 1);
  const codec = avroCodec();
  const clinicalTrace = 'c'.repeat(32);
  const stored = {
    type: 'ctstream.clinical.v1.StudyStored',
    value: {
      centre: 'c01',
      studyInstanceUid: '1.2.3',
      revision: 'r',
      sequence: 1,
      manifestKey: 'm',
      manifestSha256: 's',
      contentDigest: 'd',
      seriesCount: 1,
      instanceCount: 1,
      sizeBytes: 1,
    },
  } as never;
  const head = { source: 'ingest', timeMs: 1_800_000_000_000, traceparent: `00-${clinicalTrace}-${'1'.repeat(16)}-01` };
  await broker.bus().publish([codec.encode(stored, { id: 'clinical-1', ...head }), codec.encode(stored, { id: 'clinical-2', ...head })]);
  const withdrawn = 'ctstream.research.v1.SubjectWithdrawn';
  const anonymise: Stage<'ctstream.clinical.v1.StudyStored', undefined> = {
    name: 'anonymise',
    zone: 'clinical',
    consumes: ['ct.clinical.study-stored.v1'],
    produces: ['ct.research.subject-withdrawn.v1'],
    jobTimeoutMs: 10_000,
    handle: async (event) => {
      const out = { type: withdrawn, value: { subjectId: `p-${event.id}` }, cause: `manifest-${event.id}` } as never;
      return event.id === 'clinical-1' ? emit([out]) : reject('NO_PIXELS', '', [out]);
    },
  };
  const ctx = testContext({ name: 'anonymise', telemetry });
  const running = runStage(anonymise, undefined, { bus: broker.bus(), codec, ctx, concurrency: 2, window: 8 });
  await until(
    'all events',
    () => broker.records('ct.research.subject-withdrawn.v1').length === 2 && broker.records('ct.clinical.study-rejected.v1').length === 1,
  );
  ctx.stop();
  await running;
  await telemetry.shutdown();

  const research = broker.records('ct.research.subject-withdrawn.v1').map((r) => traceIdOf(r.headers['traceparent']));
  expect(new Set(research).size).toBe(2);
  expect(research).not.toContain(clinicalTrace);
  expect(traceIdOf(broker.records('ct.clinical.study-rejected.v1')[0]?.headers['traceparent'])).toBe(clinicalTrace);

  const clinicalSpans = spans.filter((s) => s.traceId === clinicalTrace);
  const researchSpans = spans.filter((s) => research.includes(s.traceId));
  expect([clinicalSpans.length, researchSpans.length, spans.length]).toEqual([2, 2, 4]);
  expect(new Set(clinicalSpans.map((s) => s.tags?.['ctstream.research_trace_id']))).toEqual(new Set(research));
  const told = JSON.stringify([researchSpans, broker.records('ct.research.subject-withdrawn.v1').map((r) => r.headers)]);
  for (const secret of [clinicalTrace, 'clinical-1', 'clinical-2', '1.2.3', 'c01'])
    expect(told).not.toContain(secret === 'c01' ? '"c01' : secret);
  for (const secret of ['1.2.3', 'c01|']) expect(JSON.stringify(spans)).not.toContain(secret);
  for (const secret of ['1.2.3', 'c01|']) expect(ctx.lines().join('\n')).not.toContain(secret);
});
