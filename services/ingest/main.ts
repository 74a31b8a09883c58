// The ingest process: one environment, real adapters, one stage.
import { openCodec } from '../adapters/schema-registry.ts';
import { dicomWebClient } from '../adapters/dicomweb-client.ts';
import { openBus } from '../adapters/event-bus.ts';
import { checkConformance } from '../adapters/s3-conformance.ts';
import { s3Store } from '../adapters/s3-store.ts';
import { LONGEST_PULL_MS } from '../kernel/sweep.ts';
import { readCentresFile } from '../runtime/centres-file.ts';
import { kafkaOptions, storeOptions } from '../runtime/env.ts';
import { describeError } from '../runtime/log.ts';
import { runProcess } from '../runtime/process.ts';
import type { ProcessContext } from '../runtime/process.ts';
import { runStage } from '../runtime/stage-loop.ts';
import { runSweeper } from '../runtime/sweeper.ts';
import { tryStore } from '../runtime/try-store.ts';
import { admission, PAUSES } from './admission.ts';
import type { Admission } from './admission.ts';
import { readIngestEnv } from './env.ts';
import { fairPlaces } from '../kernel/fair-places.ts';
import { HEADER_BYTES } from './instance-header.ts';
import { centrePacs, limitedWork } from './ports.ts';
import { slowPulls } from './slow-pulls.ts';

import { ingestStage } from './stage.ts';
import { CLINICAL_BUCKET } from './store-series.ts';
import { tellAgain } from './tell-again.ts';

const env = readIngestEnv();
const JOB_TIMEOUT_MS = 30 * 60_000;
/**
 * Well within the stage's own limit, so that a wait never counts as a failed job. What comes again waits minutes only: it holds a
 * place in the windows of the retry topics, which hold the studies of all centres.
 */
const WAIT_MS = { new: 12 * 3_600_000, again: 5 * 60_000 };
const JUDGE_MS = 1000;
const DAY_MS = 86_400_000;
const LOOK_EVERY_MS = 5000;

await runProcess({ name: 'ingest', zone: 'clinical', env }, async (ctx) => {
  const centres = readCentresFile(env.CENTRES_FILE);
  const store = s3Store(storeOptions(env));
  const room = admission(
    {
      store,
      bucket: CLINICAL_BUCKET,
      clock: ctx.clock,
      budgetBytes: env.CLINICAL_BUDGET_BYTES,
      spillFolder: env.SPILL_FOLDER,
      spillFreeBytes: env.SPILL_FREE_BYTES,
    },
    (pauses) => ctx.log.warn({ pauses }, pauses.length === 0 ? 'takes new studies again' : 'takes no new study: disk'),
  );
  ctx.health.note(() =>
    room.isOpen()
      ? undefined
      : `paused: disk: ${room
          .pauses()
          .map((p) => PAUSES[p])
          .join(', ')}`,
  );
  // Through `room`: a store that is full is a pause from the start.
  const trying = await tryStore(() => checkConformance(room.watched, CLINICAL_BUCKET), ctx);
  const bus = await openBus({ ...kafkaOptions(env), clientId: 'ingest', log: ctx.log });
  ctx.onStop(() => bus.close());
  await room.look(ctx.signal);
  ctx.telemetry.gauge('ingest_paused', () => (room.isOpen() ? 0 : 1));
  ctx.telemetry.gauge('ingest_clinical_bytes', room.usedBytes);
  const line = fairPlaces(env.CONCURRENCY);
  const jobMs = env.JOB_TIMEOUT_MS ?? JOB_TIMEOUT_MS;
  const ports = {
    store: room.watched,
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
      {
        limits: {
          gate: { places: env.PACS_CONNECTIONS, failures: 3, openMs: env.PACS_BREAKER_MS },
          pace: { slowBytesPerSecond: env.PACS_SLOW_BYTES_PER_S, judgeMs: JUDGE_MS },
          jobMs,
          pullMs: LONGEST_PULL_MS,
          waitMs: WAIT_MS,
        },
        quota: { studiesPerMinute: env.PACS_STUDIES_PER_MINUTE, bytesPerSecond: env.PACS_BYTES_PER_S },
        line,
        slow: slowPulls(env.PACS_SLOW_PULLS),
        clock: ctx.clock,
        metrics: ctx.telemetry,
      },
    ),
    random: ctx.random,
    clock: ctx.clock,
    admission: room,
    spill: { folder: env.SPILL_FOLDER, memoryBytes: env.SPILL_MEMORY_BYTES, headBytes: HEADER_BYTES, maxBytes: env.INSTANCE_LIMIT_BYTES },
    // Places of their own: a look into the store takes milliseconds, and must not stand behind pulls that take minutes.
    work: limitedWork(fairPlaces(env.CONCURRENCY), jobMs),
    byContent: new Set<string>(),
    count: (name: string, n: number, labels: Readonly<Record<string, string>>) => ctx.telemetry.counter(name, n, labels),
  };
  const { signal, log, clock, random } = ctx;
  const codec = await openCodec(env.SCHEMA_REGISTRY_URL);
  const sweeping = runSweeper(
    {
      store,
      bucket: CLINICAL_BUCKET,
      layout: 'clinical',
      clock,
      random,
      keepMs: env.CLINICAL_KEEP_DAYS * DAY_MS,
      tellAgain: (manifestKey, stopped) => tellAgain({ store, bus, codec, clock }, manifestKey, stopped),
    },
    { signal, log, everyMs: env.SWEEP_EVERY_MS, swept: ({ bytes }) => room.measured(bytes) },
  );
  const looking = watchRoom(room, ctx);
  await Promise.all([
    runStage(ingestStage, ports, {
      bus,
      codec,
      ctx,
      // What waits for its turn must not keep out the studies of others: `line` limits what runs, and the window per
      // partition what is in hand.
      concurrency: Number.MAX_SAFE_INTEGER,
      window: env.WINDOW,
      retryDelaysMs: env.RETRY_DELAYS_MS,
      jobsFolder: env.JOBS_FOLDER,
    }),
    sweeping,
    looking,
    trying(),
  ]);
});

async function watchRoom(room: Admission, { clock, log, signal }: ProcessContext): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(LOOK_EVERY_MS, signal);
    await room.look(signal).catch((error: unknown) => log.warn(describeError(error), 'the spill folder can not be looked at'));
  }
}
