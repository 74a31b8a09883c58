// The process of release: consumer, the operators' server and the outbox.
import { openCodec } from '../adapters/schema-registry.ts';
import { openBus } from '../adapters/event-bus.ts';
import { postgresDatabase } from '../adapters/postgres-database.ts';
import { s3Store } from '../adapters/s3-store.ts';
import { databaseUrl, kafkaOptions, loopOptions, storeOptions } from '../runtime/env.ts';
import { runOutbox } from '../runtime/outbox.ts';
import { runProcess } from '../runtime/process.ts';
import { runStage } from '../runtime/stage-loop.ts';
import { tryStore } from '../runtime/try-store.ts';
import { CANDIDATES } from './build.ts';
import { readReleaseEnv, readReleaseSecret } from './env.ts';
import { releaseServer } from './server.ts';
import { releaseStage, takenUntil } from './stage.ts';

const env = readReleaseEnv();

await runProcess({ name: releaseStage.name, zone: releaseStage.zone, env }, async (ctx) => {
  let listening: string | undefined;
  ctx.health.ready(() => (listening === undefined ? 'the API is not up yet' : true));
  const secret = readReleaseSecret(env.RELEASE_SECRET_FILE);
  const codec = await openCodec(env.SCHEMA_REGISTRY_URL);
  const database = await postgresDatabase({
    url: databaseUrl(env),
    migrationsDir: new URL('./migrations', import.meta.url).pathname,
    codec,
    source: releaseStage.name,
    log: ctx.log,
  });
  ctx.onStop(() => database.close());
  const bus = await openBus({ ...kafkaOptions(env), clientId: releaseStage.name, log: ctx.log });
  ctx.onStop(() => bus.close());

  const store = s3Store(storeOptions(env));
  const trying = await tryStore(() => store.conformance(CANDIDATES), ctx);
  const deps = {
    database,
    store,
    secret,
    codeVersion: env.CODE_VERSION,
    stagingDir: env.STAGING_DIR,
    outDir: env.RELEASE_OUT_DIR,
  };
  const server = releaseServer({
    ...deps,
    takenUntil: async () => await takenUntil(bus),
    token: env.RELEASE_TOKEN,
    failed: (error) => ctx.log.error({ err: error }, 'a request failed'),
  });
  ctx.onStop(() => server.close());
  if (env.RELEASE_TOKEN === undefined) ctx.log.warn('RELEASE_TOKEN is not set: nothing can be built or approved');
  listening = await server.listen({ host: env.API_HOST, port: env.API_PORT });
  ctx.log.info({ listening }, 'releases');

  await Promise.all([
    runStage(
      releaseStage,
      { ...deps, clock: ctx.clock, eraseAgainAfterMs: env.ERASE_AGAIN_AFTER_MS },
      {
        bus,
        codec,
        ctx,
        ...loopOptions(env),
      },
    ),
    runOutbox(database, { bus, codec, ctx, sourceName: releaseStage.name }),
    trying(),
  ]);
});
