// The archiver of a zone: follows the log and writes Parquet.
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { openCodec } from '../adapters/schema-registry.ts';
import { openBus } from '../adapters/event-bus.ts';
import { openPostgresVault } from '../adapters/postgres-vault.ts';
import { s3Store } from '../adapters/s3-store.ts';
import { siteId } from '../kernel/digest.ts';
import type { CentreId, StudyInstanceUid } from '../kernel/ids.ts';
import type { IdentityVault } from '../ports/identity-vault.ts';
import { kafkaOptions, readEnv, secretOf, storeOptions } from '../runtime/env.ts';
import { runProcess } from '../runtime/process.ts';
import type { ArchivePorts } from './archive.ts';
import { runArchiver } from './archiver.ts';
import { eventLogEnv } from './env.ts';
import { openDuckDb } from './parquet.ts';
import type { TokenSource } from './redact.ts';

const env = readEnv(eventLogEnv);
const name = `archiver-${env.ZONE}`;

async function openTokens(): Promise<{ vault: IdentityVault; tokens: TokenSource }> {
  const key = Buffer.from(readFileSync(secretOf('VAULT_KEY_FILE', env.VAULT_KEY_FILE, undefined), 'utf8').trim(), 'hex');
  const vault = await openPostgresVault({ connectionString: secretOf('VAULT_URL', env.VAULT_URL, env.VAULT_URL_FILE), key });
  const secret = await vault.siteSecret();
  const tokens: TokenSource = {
    studies: (centre, uids) => vault.tokens(centre as CentreId, uids as StudyInstanceUid[]),
    site: (centre) => siteId(secret, centre as CentreId),
    eventId: (id) => createHmac('sha256', secret).update(`archive-event|${id}`).digest('hex').slice(0, 32),
  };
  return { vault, tokens };
}

await runProcess({ name, zone: env.ZONE, env }, async (ctx) => {
  const bus = await openBus({ ...kafkaOptions(env), clientId: name, log: ctx.log });
  ctx.onStop(() => bus.close());
  const db = await openDuckDb();
  ctx.onStop(() => db.closeSync());
  const ports: ArchivePorts = { bus, codec: await openCodec(env.SCHEMA_REGISTRY_URL), store: s3Store(storeOptions(env)), db };
  let withTokens = ports;
  if (env.ZONE === 'clinical') {
    const { vault, tokens } = await openTokens();
    ctx.onStop(() => vault.close());
    withTokens = { ...ports, tokens };
  }
  const { ZONE: zone, ARCHIVE_MAX_RECORDS: maxRecords, ARCHIVE_AS_BAD: asBad, ARCHIVE_ANEW_BEFORE: anewBeforeMs } = env;
  const options = { zone, maxRecords, asBad, anewBeforeMs };
  await runArchiver(withTokens, options, { ctx, everyMs: env.ARCHIVE_EVERY_MS });
});
