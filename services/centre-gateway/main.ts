// The gateway process: for each centre its PACS, its Kafka credential, its watch and its outbox.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Fastify from 'fastify';
import { openCodec } from '../adapters/schema-registry.ts';
import { dicomWebClient } from '../adapters/dicomweb-client.ts';
import { orthancChanges } from '../adapters/dicomweb-orthanc.ts';
import { openBus } from '../adapters/event-bus.ts';
import type { EventBus } from '../ports/event-bus.ts';
import { readCentresFile } from '../runtime/centres-file.ts';
import type { Centre } from '../runtime/centres-file.ts';
import { ConfigError, secretOf } from '../runtime/env.ts';
import { runOutbox } from '../runtime/outbox.ts';
import { runProcess } from '../runtime/process.ts';
import type { ProcessContext } from '../runtime/process.ts';
import { gatewayRoutes } from './api.ts';
import type { Served } from './api.ts';
import { readGatewayEnv } from './env.ts';
import type { CentreLink } from './link.ts';
import { outboxOf } from './outbox.ts';
import { scopeRule } from './scope.ts';
import { addCentre, openState, sourceOf } from './state.ts';
import type { State } from './state.ts';
import { followStatus } from './status.ts';
import { superviseCentre } from './supervise.ts';
import { watchCentre } from './watch.ts';

const env = readGatewayEnv();

/** Each centre publishes and reads as itself, so the broker keeps centres apart also within one process. */
function busOf(centre: Centre, ctx: ProcessContext): Promise<EventBus> {
  return openBus({
    brokers: env.KAFKA_BROKERS,
    username: centre.kafkaUsername ?? '',
    password: centre.kafkaPassword ?? '',
    ...(env.KAFKA_SSL_CA_FILE === undefined ? {} : { ssl: { ca: secretOf('KAFKA_SSL_CA', undefined, env.KAFKA_SSL_CA_FILE) } }),
    prefix: env.TOPIC_PREFIX,
    sessionTimeoutMs: env.KAFKA_SESSION_TIMEOUT_MS,
    client: env.KAFKA_CLIENT,
    clientId: `gateway-${centre.id}`,
    log: ctx.log,
  });
}

function linkOf(centre: Centre, ctx: ProcessContext): CentreLink {
  const pacs = {
    centre: centre.id,
    dicomWebUrl: centre.dicomWebUrl,
    username: centre.username,
    password: centre.password,
    timeoutMs: env.PACS_TIMEOUT_MS,
  };
  return {
    centre: centre.id,
    name: centre.name ?? centre.id,
    web: dicomWebClient(pacs),
    changes: centre.orthanc === undefined ? undefined : orthancChanges({ ...pacs, orthancUrl: centre.orthanc.url }),
    inScope: scopeRule(centre.scope),
    quiet: { stableAfterMs: env.STABLE_AFTER_MS, stableSaidMs: env.STABLE_SAID_MS },
    countPauseMs: env.COUNT_PAUSE_MS,
    pollMs: centre.orthanc === undefined ? env.QIDO_POLL_MS : env.CHANGES_POLL_MS,
    lookBackDays: env.QIDO_LOOK_BACK_DAYS,
    censusEveryMs: env.CENSUS_EVERY_MS,
    outboxLimit: env.OUTBOX_LIMIT,
    clock: ctx.clock,
    random: ctx.random,
    span: (name, work) =>
      ctx.telemetry.span(name, { kind: 'producer', attributes: { centre: centre.id } }, (span) => work(span.traceparent)),
    count: (name) => ctx.telemetry.counter(name, 1, { centre: centre.id }),
    log: (level, fields, text) => ctx.log[level](fields, text),
  };
}

async function serveApi(state: State, centres: readonly Served[], ctx: ProcessContext): Promise<void> {
  const server = Fastify({ forceCloseConnections: true });
  gatewayRoutes(server, { state, centres, token: env.GATEWAY_TOKEN });
  const listening = await server.listen({ host: env.API_HOST, port: env.API_PORT });
  ctx.onStop(() => server.close());
  ctx.log.info({ listening, centres: centres.length }, 'status page');
}

await runProcess({ name: 'centre-gateway', zone: 'clinical', env }, async (ctx) => {
  let up = false;
  ctx.health.ready(() => up || 'the API is not up yet');
  const codec = await openCodec(env.SCHEMA_REGISTRY_URL);
  const centres = readCentresFile(env.CENTRES_FILE);
  const missing = centres
    .filter((c) => c.kafkaUsername === undefined || c.kafkaPassword === undefined)
    .map((c) => `CENTRES_FILE: centre ${c.id} has no kafkaUsername and kafkaPassword`);
  if (missing.length > 0) throw new ConfigError(missing);
  mkdirSync(env.STATE_DIR, { recursive: true, mode: 0o700 });
  const state = openState({ file: join(env.STATE_DIR, 'gateway.sqlite'), codec, nowMs: () => ctx.clock.nowMs() });
  ctx.onStop(() => state.close());
  const served = centres.map((centre) => {
    addCentre(state, centre.id);
    const link = linkOf(centre, ctx);
    return { centre, link, watch: watchCentre(state, link) };
  });
  process.on('SIGUSR2', () => {
    for (const { watch } of served) watch.census().catch(() => ctx.log.warn('a census that SIGUSR2 asked for failed; see the status page'));
  });
  await serveApi(state, served, ctx);
  up = true;
  await Promise.all(
    served.map(async ({ centre, link, watch }) => {
      const bus = await busOf(centre, ctx);
      ctx.onStop(() => bus.close());
      await Promise.all([
        watch.run(ctx.signal),
        superviseCentre(
          link,
          'outbox',
          () => runOutbox(outboxOf(state, centre.id), { bus, codec, ctx, sourceName: sourceOf(state, centre.id) }),
          ctx.signal,
        ),
        superviseCentre(link, 'status', () => followStatus(state, link, bus, codec, ctx.signal), ctx.signal),
      ]);
    }),
  );
});
