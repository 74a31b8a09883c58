// The anonymise process: one environment, real adapters, one stage.
import { openCodec } from '../adapters/schema-registry.ts';
import { kafkaBus } from '../adapters/kafkajs-bus.ts';
import { openPostgresVault } from '../adapters/postgres-vault.ts';
import { s3Store } from '../adapters/s3-store.ts';
import type { CentreId } from '../kernel/ids.ts';
import { readCentresFile } from '../runtime/centres-file.ts';
import { kafkaOptions, secretOf, storeOptions } from '../runtime/env.ts';
import { runProcess } from '../runtime/process.ts';
import { runStage } from '../runtime/stage-loop.ts';
import { readAnonymiseEnv } from './env.ts';
import { DEFAULT_IDENTITY_RULES } from './identity.ts';
import { compileProfile } from './profile/profile.ts';
import { RESEARCH_BUCKET } from './research-events.ts';
import { anonymiseStage } from './stage.ts';

const env = readAnonymiseEnv();

await runProcess({ name: anonymiseStage.name, zone: anonymiseStage.zone, env }, async (ctx) => {
  const profile = compileProfile();
  const namespaces = new Map(readCentresFile(env.CENTRES_FILE).map(({ id, namespace }) => [id, namespace]));
  const store = s3Store(storeOptions(env));
  await store.conformance(RESEARCH_BUCKET);
  const key = Buffer.from(secretOf('VAULT_KEY', undefined, env.VAULT_KEY_FILE).trim(), 'hex');
  const vault = await openPostgresVault({
    connectionString: secretOf('VAULT_URL', env.VAULT_URL, env.VAULT_URL_FILE),
    key,
    maxLocks: env.CONCURRENCY + 1,
  });
  ctx.onStop(() => vault.close());
  const bus = kafkaBus({ ...kafkaOptions(env), clientId: anonymiseStage.name, log: ctx.log });
  ctx.onStop(() => bus.close());
  // Ids of a centre that the file does not name still never meet those of another.
  const rules = { ...DEFAULT_IDENTITY_RULES, namespaceOfCentre: (centre: CentreId) => namespaces.get(centre) ?? `centre:${centre}` };
  const ports = { store, vault, random: ctx.random, profile, rules, spoolFolder: env.SPOOL_FOLDER };
  await runStage({ ...anonymiseStage, jobTimeoutMs: env.JOB_TIMEOUT_MS ?? anonymiseStage.jobTimeoutMs }, ports, {
    bus,
    codec: await openCodec(env.SCHEMA_REGISTRY_URL),
    ctx,
    concurrency: env.CONCURRENCY,
    window: env.WINDOW,
    retryDelaysMs: env.RETRY_DELAYS_MS,
  });
});
