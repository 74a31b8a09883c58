// When rounds close: every N studies, every T ms, or on command over HTTP (loopback, with the token; where none is set, never).
import Fastify, { type FastifyInstance } from 'fastify';
import { mayChange } from '../kernel/bearer.ts';
import { Fault } from '../kernel/fault.ts';
import type { Clock } from '../ports/clock.ts';
import type { Database } from '../ports/database.ts';
import type { CohortFile } from './cohort.ts';
import { closeRound, type RoundResult, type Waiting, waiting } from './round.ts';

export interface RoundRules {
  readonly everyStudies: number;
  readonly everyMs: number;
  readonly holeWaitMs: number;
}

export interface RoundDeps {
  readonly database: Database;
  readonly cohort: CohortFile;
  readonly rules: RoundRules;
  /** SELECT_TOKEN: POST /rounds must bring it; without one every POST is refused. */
  readonly token?: string | undefined;
  /** Told of every closed round. */
  readonly closed: (round: RoundResult) => void;
  /** Told when the database did not answer; the next look tries again. */
  readonly failed: (error: unknown) => void;
}

const LOOK_EVERY_MS = 1000;

type IsDue = (waits: Waiting) => boolean;

async function close(deps: RoundDeps, isDue?: IsDue, signal?: AbortSignal): Promise<RoundResult | undefined> {
  const round = await closeRound(deps.database, deps.cohort, deps.rules.holeWaitMs, isDue, signal);
  if (round !== undefined) deps.closed(round);
  return round;
}

/** Closes rounds by number and time until `signal` aborts. Faults that may pass are told and tried again. */
export async function watchRounds(deps: RoundDeps, clock: Clock, signal: AbortSignal): Promise<void> {
  const { everyStudies, everyMs } = deps.rules;
  const isDue: IsDue = (w) => w.studies >= everyStudies || (w.studies > 0 && w.oldestMs >= everyMs);
  while (!signal.aborted) {
    try {
      // Asked of all that waits it only spares the lock; whether a round closes it says of what the cut covers.
      if (isDue(await waiting(deps.database, deps.cohort.cohort.name))) await close(deps, isDue, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Fault) || !error.retryable) throw error;
      deps.failed(error);
    }
    await clock.sleep(Math.min(LOOK_EVERY_MS, everyMs), signal);
  }
}

/** The control server: `POST /rounds` closes a round now, `GET /rounds.json` tells what waits and what was decided. */
export function controlServer(deps: RoundDeps): FastifyInstance {
  const server = Fastify({ forceCloseConnections: true });
  // A web page must not close rounds through the browser of someone on this machine.
  server.addHook('onRequest', async (request, reply) => {
    if (request.headers.origin !== undefined) await reply.code(403).send({ error: 'not for web pages' });
    else if (request.method !== 'GET' && !mayChange({ ip: request.ip, authorization: request.headers.authorization }, deps.token))
      await reply.code(403).send({ error: 'only from this machine, with the SELECT_TOKEN as bearer token' });
  });
  server.post('/rounds', async () => {
    const round = await close(deps);
    return round === undefined ? { closed: false } : { closed: true, ...round };
  });
  server.get('/rounds.json', async () => {
    const { cohort } = deps.cohort;
    const rounds = await deps.database.query(
      'SELECT number AS round, considered, selected, excluded FROM round WHERE cohort = $1 ORDER BY number DESC LIMIT 100',
      [cohort.name],
    );
    return {
      cohort: cohort.name,
      cohortSha256: deps.cohort.sha256,
      size: cohort.size,
      waiting: await waiting(deps.database, cohort.name),
      rounds,
    };
  });
  return server;
}
