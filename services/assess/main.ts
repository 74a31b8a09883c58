// The assess process: one environment, real adapters, one stage.
import { openCodec } from '../adapters/schema-registry.ts';
import { openBus } from '../adapters/event-bus.ts';
import { s3Store } from '../adapters/s3-store.ts';
import { kafkaOptions, loopOptions, readEnv, storeOptions } from '../runtime/env.ts';
import { runProcess } from '../runtime/process.ts';
import { runStage } from '../runtime/stage-loop.ts';
import { runSweeper } from '../runtime/sweeper.ts';
import { tryStore } from '../runtime/try-store.ts';
import { assessEnv, limitsOf } from './env.ts';
import { assess } from './stage.ts';

const env = readEnv(assessEnv);

await runProcess({ name: assess.name, zone: assess.zone, env }, async (ctx) => {
  const store = s3Store(storeOptions(env));
  const trying = await tryStore(() => store.conformance(), ctx);
  const bus = await openBus({ ...kafkaOptions(env), clientId: assess.name, log: ctx.log });
  ctx.onStop(() => bus.close());
  const ports = { store, random: ctx.random, clock: ctx.clock, limits: limitsOf(env), eraseAgainAfterMs: env.ERASE_AGAIN_AFTER_MS };
  const { signal, log, clock, random } = ctx;
  // Of anonymise's attempts too: the research zone cleans its bucket itself.
  const sweeping = runSweeper(
    { store, bucket: 'ct-research', layout: 'research', clock, random },
    { signal, log, everyMs: env.SWEEP_EVERY_MS },
  );
  const codec = await openCodec(env.SCHEMA_REGISTRY_URL);
  await Promise.all([
    runStage(assess, ports, {
      bus,
      codec,
      ctx,
      ...loopOptions(env),
    }),
    sweeping,
    trying(),
  ]);
});
