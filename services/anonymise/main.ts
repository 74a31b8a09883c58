// The anonymise process: one environment, real adapters, one stage, and the outbox of withdrawals.
import { openCodec } from '../adapters/schema-registry.ts';
import { openBus } from '../adapters/event-bus.ts';
import { openPostgresHeld } from '../adapters/postgres-held.ts';
import { openPostgresVault } from '../adapters/postgres-vault.ts';
import { openPostgresWithdrawals } from '../adapters/postgres-vault-withdraw.ts';
import { s3Store } from '../adapters/s3-store.ts';
import type { CentreId } from '../kernel/ids.ts';
import { readCentresFile } from '../runtime/centres-file.ts';
import { kafkaOptions, loopOptions, secretOf, storeOptions } from '../runtime/env.ts';
import { runOutbox } from '../runtime/outbox.ts';
import { runProcess } from '../runtime/process.ts';
import { runStage } from '../runtime/stage-loop.ts';
import { tryStore } from '../runtime/try-store.ts';
import { readCityIssuers } from '../runtime/city-issuers-file.ts';
import { readAnonymiseEnv } from './env.ts';
import { DEFAULT_IDENTITY_RULES } from './identity.ts';
import { compileProfile } from './profile/profile.ts';
import { RESEARCH_BUCKET } from './research-events.ts';
import { studyShelf } from './shelf.ts';
import { RESEARCH_IDS } from './withdraw-ids.ts';
import { anonymiseAndWithdraw } from './withdraw.ts';

const env = readAnonymiseEnv();

await runProcess({ name: anonymiseAndWithdraw.name, zone: anonymiseAndWithdraw.zone, env }, async (ctx) => {
  const profile = compileProfile();
  const namespaces = new Map(readCentresFile(env.CENTRES_FILE).map(({ id, namespace }) => [id, namespace]));
  const store = s3Store(storeOptions(env));
  const trying = await tryStore(() => store.conformance(RESEARCH_BUCKET), ctx);
  const key = Buffer.from(secretOf('VAULT_KEY', undefined, env.VAULT_KEY_FILE).trim(), 'hex');
  const connectionString = secretOf('VAULT_URL', env.VAULT_URL, env.VAULT_URL_FILE);
  const vault = await openPostgresVault({
    connectionString,
    key,
    maxLocks: env.CONCURRENCY + 1,
  });
  ctx.onStop(() => vault.close());
  // Its tables are there: the vault has made them.
  const held = openPostgresHeld(connectionString);
  ctx.onStop(() => held.close());
  const codec = await openCodec(env.SCHEMA_REGISTRY_URL);
  const withdrawals = await openPostgresWithdrawals({ connectionString, key, codec, log: ctx.log, ids: RESEARCH_IDS });
  ctx.onStop(() => withdrawals.close());
  const open = await withdrawals.tellOpenAgain();
  if (open > 0) ctx.log.info({ open }, 'withdrawals that are not complete are told again');
  const bus = await openBus({ ...kafkaOptions(env), clientId: anonymiseAndWithdraw.name, log: ctx.log });
  ctx.onStop(() => bus.close());
  // Ids of a centre that the file does not name still never meet those of another.
  const rules = {
    ...DEFAULT_IDENTITY_RULES,
    namespaceOfCentre: (centre: CentreId) => namespaces.get(centre) ?? `centre:${centre}`,
    cityIssuers: readCityIssuers(env.CITY_ISSUERS_FILE),
  };
  const ports = {
    store,
    vault,
    held,
    withdrawals,
    random: ctx.random,
    clock: ctx.clock,
    profile,
    rules,
    spoolFolder: env.SPOOL_FOLDER,
    shelf: studyShelf(env.ORIGINALS_MB * 1024 * 1024),
    instanceLimitBytes: env.INSTANCE_LIMIT_MB * 1024 * 1024,
    eraseAgainAfterMs: env.ERASE_AGAIN_AFTER_MS,
  };
  await Promise.all([
    runStage(anonymiseAndWithdraw, ports, {
      bus,
      codec,
      ctx,
      ...loopOptions(env),
    }),
    runOutbox(withdrawals, { bus, codec, ctx, sourceName: 'withdraw' }),
    trying(),
  ]);
});
