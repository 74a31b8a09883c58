// One stage of the events bench as a process: the real loop around a declared stub. Arguments: NAME [LATENCY_MS]
import { openCodec } from '../services/adapters/schema-registry.ts';
import { openBus } from '../services/adapters/event-bus.ts';
import { openPostgresVault } from '../services/adapters/postgres-vault.ts';
import { anonymiseEnv } from '../services/anonymise/env.ts';
import { anonymiseStage } from '../services/anonymise/stage.ts';
import { assessEnv } from '../services/assess/env.ts';
import { assess } from '../services/assess/stage.ts';
import type { EventType } from '../schemas/events.gen.ts';
import type { Stage } from '../services/kernel/stage.ts';
import { ingestEnvSchema } from '../services/ingest/env.ts';
import { ingestStage } from '../services/ingest/stage.ts';
import { kafkaOptions, loopOptions, readEnv, secretOf } from '../services/runtime/env.ts';
import { runProcess } from '../services/runtime/process.ts';
import { runStage } from '../services/runtime/stage-loop.ts';
import type { ProcessContext } from '../services/runtime/process.ts';
import { stubAnonymise, stubAssess, stubIngest } from './events-stubs.ts';

const [name = '', latency = '0'] = process.argv.slice(2);

/** The contract alone: what a stage does beside its handler needs its real ports. */
const contractOf = <T extends EventType, P>({ name: stage, zone, consumes, produces, jobTimeoutMs }: Stage<T, P>) => ({
  name: stage,
  zone,
  consumes,
  produces,
  jobTimeoutMs,
});

const loop = async (env: Parameters<typeof kafkaOptions>[0] & Parameters<typeof loopOptions>[0], ctx: ProcessContext) => {
  const bus = await openBus({ ...kafkaOptions(env), clientId: name, log: ctx.log });
  ctx.onStop(() => bus.close());
  return { bus, codec: await openCodec(undefined), ctx, ...loopOptions(env) };
};

if (name === 'ingest') {
  const env = readEnv(ingestEnvSchema);
  await runProcess({ name, zone: 'clinical', env }, async (ctx) => {
    const stage = {
      ...contractOf(ingestStage),
      handle: async (e: Parameters<typeof stubIngest>[0], _: object, s: AbortSignal) => stubIngest(e, Number(latency), s),
    };
    await runStage(stage, {}, await loop(env, ctx));
  });
} else if (name === 'anonymise') {
  const env = readEnv(anonymiseEnv);
  await runProcess({ name, zone: 'clinical', env }, async (ctx) => {
    const vault = await openPostgresVault({
      connectionString: secretOf('VAULT_URL', env.VAULT_URL, env.VAULT_URL_FILE),
      key: Buffer.from(secretOf('VAULT_KEY', undefined, env.VAULT_KEY_FILE).trim(), 'hex'),
    });
    ctx.onStop(() => vault.close());
    const site = await vault.siteSecret();
    const stage = {
      ...contractOf(anonymiseStage),
      handle: async (e: Parameters<typeof stubAnonymise>[0], _: object, s: AbortSignal) => stubAnonymise(e, vault, site, s),
    };
    await runStage(stage, {}, await loop(env, ctx));
  });
} else {
  const env = readEnv(assessEnv);
  await runProcess({ name: 'assess', zone: 'research', env }, async (ctx) => {
    const stage = {
      ...contractOf(assess),
      // Withdrawals are not part of the bench.
      consumes: ['ct.research.study-anonymised.v1'],
      handle: async (e: Parameters<typeof stubAssess>[0]) => stubAssess(e),
    };
    await runStage(stage, {}, await loop(env, ctx));
  });
}
