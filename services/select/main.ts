// The process of select: consumer, rounds, control server and outbox.
import { openCodec } from '../adapters/schema-registry.ts';
import { openBus } from '../adapters/event-bus.ts';
import { postgresDatabase } from '../adapters/postgres-database.ts';
import { ConfigError, databaseUrl, kafkaOptions, loopOptions } from '../runtime/env.ts';
import { runOutbox } from '../runtime/outbox.ts';
import { runProcess } from '../runtime/process.ts';
import { runStage } from '../runtime/stage-loop.ts';
import { type CohortFile, readCohortFile } from './cohort.ts';
import { readSelectEnv } from './env.ts';
import { waiting } from './round.ts';
import { controlServer, type RoundDeps, watchRounds } from './rounds.ts';
import { selectStage } from './stage.ts';

function cohortOf(path: string): CohortFile {
  try {
    return readCohortFile(path);
  } catch (error) {
    throw new ConfigError([`COHORT_FILE: ${error instanceof Error ? error.message : 'unreadable'}`]);
  }
}

const env = readSelectEnv();

await runProcess({ name: selectStage.name, zone: selectStage.zone, env }, async (ctx) => {
  let listening: string | undefined;
  ctx.health.ready(() => (listening === undefined ? 'the API is not up yet' : true));
  const cohort = cohortOf(env.COHORT_FILE);
  const codec = await openCodec(env.SCHEMA_REGISTRY_URL);
  const database = await postgresDatabase({
    url: databaseUrl(env),
    migrationsDir: new URL('./migrations', import.meta.url).pathname,
    codec,
    source: selectStage.name,
    log: ctx.log,
  });
  ctx.onStop(() => database.close());
  const bus = await openBus({ ...kafkaOptions(env), clientId: selectStage.name, log: ctx.log });
  ctx.onStop(() => bus.close());

  const rounds: RoundDeps = {
    database,
    cohort,
    token: env.SELECT_TOKEN,
    rules: { everyStudies: env.SELECT_EVERY_STUDIES, everyMs: env.SELECT_EVERY_MS, holeWaitMs: env.SELECT_HOLE_WAIT_MS },
    closed: (r) => {
      ctx.log.info(
        { cohort: r.cohort, round: r.round, considered: r.considered, selected: r.selected, excluded: r.excluded },
        'round closed',
      );
      if (r.holes.length > 0) ctx.log.warn({ round: r.round, holes: r.holes }, 'the cut passes over offsets that never came');
    },
    failed: (error) => ctx.log.warn({ err: error }, 'closing a round failed, trying again'),
  };
  if (env.SELECT_TOKEN === undefined) ctx.log.warn('SELECT_TOKEN is not set: POST /rounds is refused');
  const server = controlServer(rounds);
  ctx.onStop(() => server.close());
  listening = await server.listen({ host: env.API_HOST, port: env.API_PORT });
  ctx.log.info({ listening, cohort: cohort.cohort.name, cohortSha256: cohort.sha256 }, 'rounds');

  let waits = 0;
  ctx.telemetry.gauge('ctstream_select_waiting_studies', () => waits);
  const count = setInterval(
    () =>
      void waiting(database, cohort.cohort.name).then(
        (w) => void (waits = w.studies),
        () => undefined,
      ),
    15_000,
  );
  ctx.onStop(() => clearInterval(count));

  await Promise.all([
    runStage(
      selectStage,
      { database, eraseAgainAfterMs: env.ERASE_AGAIN_AFTER_MS },
      {
        bus,
        codec,
        ctx,
        ...loopOptions(env),
      },
    ),
    runOutbox(database, { bus, codec, ctx, sourceName: selectStage.name }),
    watchRounds(rounds, ctx.clock, ctx.signal),
  ]);
});
