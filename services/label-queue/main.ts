// The process of label-queue: consumer, the readers' API and the outbox.
import { openCodec } from '../adapters/schema-registry.ts';
import { openBus } from '../adapters/event-bus.ts';
import { postgresDatabase } from '../adapters/postgres-database.ts';
import { s3Store } from '../adapters/s3-store.ts';
import { ConfigError, databaseUrl, kafkaOptions, loopOptions, storeOptions } from '../runtime/env.ts';
import { runOutbox } from '../runtime/outbox.ts';
import { runProcess } from '../runtime/process.ts';
import { runStage } from '../runtime/stage-loop.ts';
import { readLabelQueueEnv } from './env.ts';
import { readReadersFile, registerReaders } from './readers.ts';
import { labelServer } from './server.ts';
import { labelQueueStage } from './stage.ts';

const env = readLabelQueueEnv();

await runProcess({ name: labelQueueStage.name, zone: labelQueueStage.zone, env }, async (ctx) => {
  let listening: string | undefined;
  ctx.health.ready(() => (listening === undefined ? 'the API is not up yet' : true));
  const entries = readReadersFile(env.READERS_FILE, (problem) => new ConfigError([`READERS_FILE: ${problem}`]));
  const codec = await openCodec(env.SCHEMA_REGISTRY_URL);
  const database = await postgresDatabase({
    url: databaseUrl(env),
    migrationsDir: new URL('./migrations', import.meta.url).pathname,
    codec,
    source: labelQueueStage.name,
    log: ctx.log,
  });
  ctx.onStop(() => database.close());
  const bus = await openBus({ ...kafkaOptions(env), clientId: labelQueueStage.name, log: ctx.log });
  ctx.onStop(() => bus.close());

  const readers = await registerReaders(entries, database, ctx.random);
  const store = s3Store(storeOptions(env));
  const server = labelServer({
    database,
    store,
    random: ctx.random,
    readers,
    rules: { leaseMs: env.LEASE_MS, maxLeasesPerReader: env.MAX_LEASES_PER_READER },
    failed: (error) => ctx.log.error({ err: error }, 'a request failed'),
  });
  ctx.onStop(() => server.close());
  listening = await server.listen({ host: env.API_HOST, port: env.API_PORT });
  ctx.log.info({ listening, readers: readers.length, simulatedReaders: readers.filter((r) => r.simulated).length }, 'reading room');

  await Promise.all([
    runStage(
      labelQueueStage,
      { database, store, random: ctx.random, eraseAgainAfterMs: env.ERASE_AGAIN_AFTER_MS },
      {
        bus,
        codec,
        ctx,
        ...loopOptions(env),
      },
    ),
    runOutbox(database, { bus, codec, ctx, sourceName: labelQueueStage.name }),
  ]);
});
