// The life of a process: log, telemetry, health endpoints, signals, and an end that says how it went.
import Fastify from 'fastify';
import type { Logger } from 'pino';
import type { z } from 'zod';
import { Fault } from '../kernel/fault.ts';
import type { Zone } from '../kernel/stage.ts';
import type { Clock, Randomness } from '../ports/clock.ts';
import { ConfigError, EXIT_CONFIG, type processShape } from './env.ts';
import { createLog, describeError } from './log.ts';
import { systemClock, systemRandom } from './system.ts';
import { startTelemetry, type RunningTelemetry, type Telemetry } from './telemetry.ts';

type ProcessEnv = z.output<z.ZodObject<typeof processShape>>;

export interface Health {
  /** Adds a check of /readyz: true, or the reason why not. Before the first one the process is starting. */
  ready(check: () => true | string): void;
  /** Adds what /readyz tells beside its answer, while there is something to tell. */
  note(read: () => string | undefined): void;
}

export interface ProcessContext {
  readonly name: string;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Randomness;
  /** Aborted by SIGTERM or SIGINT: take nothing new, finish or let go, return. */
  readonly signal: AbortSignal;
  readonly telemetry: Telemetry;
  readonly health: Health;
  /** Run after `main`, the last added first; also when it throws. */
  onStop(stop: () => Promise<void> | void): void;
}

/** A second signal within this time of the first is the same wish, told twice; after it the process ends at once. */
const SAME_SIGNAL_MS = 1000;

/** Time that closing may take after `main` ended, before the process ends anyway. */
const CLOSE_LIMIT_MS = 10_000;

/**
 * Runs `main` as this process until it returns or throws. Resolves never: the process ends with 0, with 78 for a
 * ConfigError, else with 1. The first line of the log with `listening` says where health and metrics are.
 */
export async function runProcess(
  o: { name: string; zone?: Zone; env: ProcessEnv },
  main: (ctx: ProcessContext) => Promise<void>,
): Promise<void> {
  const log = createLog(o.name, o.env.LOG_LEVEL);
  const abort = new AbortController();
  let firstMs = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (abort.signal.aborted) {
      // Ctrl-C reaches the whole process group, and a parent that passes it on makes it come twice.
      if (performance.now() - firstMs >= SAME_SIGNAL_MS) process.exit(130);
      return;
    }
    firstMs = performance.now();
    log.info({ signal }, 'stopping');
    abort.abort();
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  // Node would print its text as it is, and that may quote a patient's value.
  const onUncaught = (text: string) => (error: unknown) => {
    log.fatal({ err: error }, text);
    process.exit(1);
  };
  process.on('unhandledRejection', onUncaught('a promise was rejected that nobody waits for'));
  process.on('uncaughtException', onUncaught('an error was thrown that nobody caught'));
  const telemetry = startTelemetry({
    name: o.name,
    otlpEndpoint: o.env.OTEL_EXPORTER_OTLP_ENDPOINT,
    zipkinUrl: o.env.ZIPKIN_URL,
    warn: (text) => log.warn(text),
  });
  const stops: (() => Promise<void> | void)[] = [() => telemetry.shutdown()];
  const checks: (() => true | string)[] = [];
  const notes: (() => string | undefined)[] = [];
  const ctx: ProcessContext = {
    name: o.name,
    log,
    clock: systemClock,
    random: systemRandom,
    signal: abort.signal,
    telemetry,
    health: { ready: (check) => void checks.push(check), note: (read) => void notes.push(read) },
    onStop: (stop) => void stops.push(stop),
  };
  let exitCode = 0;
  try {
    stops.push(
      await serveHealth(
        o.env,
        (request, response) => telemetry.handleMetrics(request, response),
        () => (abort.signal.aborted ? ['stopping'] : against(checks)),
        () => notes.map((n) => n()).filter((n) => n !== undefined),
        log,
      ),
    );
    await main(ctx);
  } catch (error) {
    exitCode = reportEnd(error, log);
  }
  await closeAll(stops, log);
  log.info({ exitCode }, 'ended');
  log.flush();
  process.exit(exitCode);
}

function against(checks: readonly (() => true | string)[]): string[] {
  return checks.length === 0 ? ['starting'] : checks.map((check) => check()).filter((answer) => answer !== true);
}

function reportEnd(error: unknown, log: Logger): number {
  if (error instanceof ConfigError) {
    process.stderr.write(`BAD_CONFIG: the configuration is not usable\n${error.problems.map((p) => `  ${p}\n`).join('')}`);
    return EXIT_CONFIG;
  }
  log.fatal({ err: error }, 'ended by an error');
  // Invariant violations are ours: their text is written by us and names no one.
  process.stderr.write(`${error instanceof Fault ? error.message : `${error instanceof Error ? error.name : 'error'}: see the log`}\n`);
  return error instanceof Fault && error.code === 'BAD_CONFIG' ? EXIT_CONFIG : 1;
}

async function closeAll(stops: (() => Promise<void> | void)[], log: Logger): Promise<void> {
  const limit = setTimeout(() => {
    log.error('closing takes too long');
    process.exit(1);
  }, CLOSE_LIMIT_MS);
  limit.unref();
  for (const stop of stops.reverse()) {
    try {
      await stop();
    } catch (error) {
      log.warn(describeError(error), 'closing failed');
    }
  }
}

/** /healthz answers while the process lives, /readyz with every reason against it, /metrics in Prometheus text. */
async function serveHealth(
  env: ProcessEnv,
  metrics: RunningTelemetry['handleMetrics'],
  reasons: () => string[],
  notes: () => string[],
  log: Logger,
): Promise<() => Promise<void>> {
  const server = Fastify({ forceCloseConnections: true });
  server.get('/healthz', () => ({ status: 'ok' }));
  server.get('/readyz', async (_request, reply) => {
    const waiting = reasons();
    const told = notes();
    await reply
      .code(waiting.length === 0 ? 200 : 503)
      .send({ status: waiting.length === 0 ? 'ready' : 'waiting', reasons: waiting, ...(told.length === 0 ? {} : { notes: told }) });
  });
  server.get('/metrics', (request, reply) => {
    reply.hijack();
    metrics(request.raw, reply.raw);
  });
  const listening = await server.listen({ host: env.HTTP_HOST, port: env.HTTP_PORT });
  log.info({ listening }, 'started');
  return () => server.close();
}
