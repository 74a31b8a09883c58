// The ingest process: one environment, real adapters, one stage.
import { openCodec } from '../adapters/schema-registry.ts';
import { dicomWebClient } from '../adapters/dicomweb-client.ts';
import { kafkaBus } from '../adapters/kafkajs-bus.ts';
import { s3Store } from '../adapters/s3-store.ts';
import { readCentresFile } from '../runtime/centres-file.ts';
import { kafkaOptions, storeOptions } from '../runtime/env.ts';
import { runProcess } from '../runtime/process.ts';
import { runStage } from '../runtime/stage-loop.ts';
import { readIngestEnv } from './env.ts';
import { HEADER_BYTES } from './instance-header.ts';
import { centrePacs, limitedWork } from './ports.ts';
import { ingestStage } from './stage.ts';
import { CLINICAL_BUCKET } from './store-series.ts';

const env = readIngestEnv();
const JOB_TIMEOUT_MS = 30 * 60_000;

await runProcess({ name: 'ingest', zone: 'clinical', env }, async (ctx) => {
  const centres = readCentresFile(env.CENTRES_FILE);
  const store = s3Store(storeOptions(env));
  await store.conformance(CLINICAL_BUCKET);
  const bus = kafkaBus({ ...kafkaOptions(env), clientId: 'ingest', log: ctx.log });
  ctx.onStop(() => bus.close());
  const limits = { places: env.PACS_CONNECTIONS, failures: 3, openMs: env.PACS_BREAKER_MS };
  const ports = {
    store,
    pacs: centrePacs(
      centres,
      (c) =>
        dicomWebClient({
          centre: c.id,
          dicomWebUrl: c.dicomWebUrl,
          username: c.username,
          password: c.password,
          timeoutMs: env.PACS_TIMEOUT_MS,
          idleTimeoutMs: env.PACS_TIMEOUT_MS,
        }),
      limits,
      ctx.clock,
    ),
    random: ctx.random,
    spill: { folder: env.SPILL_FOLDER, memoryBytes: env.SPILL_MEMORY_BYTES, headBytes: HEADER_BYTES, maxBytes: env.INSTANCE_LIMIT_BYTES },
    work: limitedWork(env.CONCURRENCY, env.JOB_TIMEOUT_MS ?? JOB_TIMEOUT_MS),
    count: (name: string, n: number, labels: Readonly<Record<string, string>>) => ctx.telemetry.counter(name, n, labels),
  };
  await runStage(ingestStage, ports, {
    bus,
    codec: await openCodec(env.SCHEMA_REGISTRY_URL),
    ctx,
    // What waits for a place at its PACS must not keep out the studies of others: `work` limits what runs, and the
    // window per partition what is in hand.
    concurrency: Number.MAX_SAFE_INTEGER,
    window: env.WINDOW,
    retryDelaysMs: env.RETRY_DELAYS_MS,
  });
});
