// The gateway's HTTP side: status page and JSON for people of the centre, census and refusals for the machine it runs on.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { knowsToken, mayChange } from '../kernel/bearer.ts';
import { isCode } from '../kernel/codes.ts';
import type { Code } from '../kernel/codes.ts';
import { Fault } from '../kernel/fault.ts';
import { LARGEST_INT } from './announce.ts';
import { enqueueRefusal } from './intake-store.ts';
import type { CentreLink } from './link.ts';
import { outboxDepth } from './outbox.ts';
import { reportOf, statusPage } from './report.ts';
import type { State } from './state.ts';
import { announceAgain, announcedSince } from './studies.ts';
import type { Watch } from './watch.ts';

export interface Served {
  readonly link: CentreLink;
  readonly watch: Watch;
}

export interface ApiDeps {
  readonly state: State;
  readonly centres: readonly Served[];
  /** Needed for everything that changes something; without it those answers are 403. */
  readonly token: string | undefined;
}

const NOT_SERVED = 'this gateway does not serve the centre';
const PUBLISHED_WITHIN_MS = 30_000;

const refusalsShape = z.object({
  centre: z.string(),
  refusals: z
    .array(
      z.object({
        intakeId: z.string().regex(/^[0-9a-f]{16,64}$/),
        unit: z.enum(['study', 'file']),
        code: z.string().refine((text): text is Code => isCode(text), 'is no code'),
        files: z.number().int().min(0).max(LARGEST_INT),
        detail: z.string().max(500),
      }),
    )
    .max(10_000),
});

const againShape = z.object({
  centre: z.string(),
  since: z
    .string()
    .refine((text) => !Number.isNaN(Date.parse(text)), 'is no time')
    .optional(),
  dryRun: z.boolean().default(false),
});

const problemsOf = (error: z.ZodError): string => error.issues.map((i) => `${i.path.join('.')}: ${i.message}`).join('; ');

/** Only in the header: an address with a token in it stands in logs and histories. */
function hasToken(deps: ApiDeps, request: FastifyRequest): boolean {
  return knowsToken(request.headers.authorization, deps.token);
}

/** True for a caller on this machine that knows the token; otherwise answers 403. A page in a browser can't send the header. */
async function allowed(deps: ApiDeps, request: FastifyRequest, reply: FastifyReply): Promise<boolean> {
  if (mayChange({ ip: request.ip, authorization: request.headers.authorization }, deps.token)) return true;
  await reply.code(403).send({ error: 'only from this machine, with the GATEWAY_TOKEN as bearer token' });
  return false;
}

/** Adds the routes to a server. */
export function gatewayRoutes(server: FastifyInstance, deps: ApiDeps): void {
  const reports = (request: FastifyRequest): ReturnType<typeof reportOf>[] =>
    deps.centres.map((c) => reportOf(deps.state, c.link, hasToken(deps, request)));
  server.get('/', async (request, reply) =>
    reply
      .type('text/html; charset=utf-8')
      .header('cache-control', 'no-store')
      .header('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'")
      .send(statusPage(reports(request))),
  );
  server.get('/status.json', async (request, reply) => reply.header('cache-control', 'no-store').send({ centres: reports(request) }));

  server.post<{ Querystring: { centre?: string } }>('/census', async (request, reply) => {
    if (!(await allowed(deps, request, reply))) return reply;
    const wanted = deps.centres.filter((c) => request.query.centre === undefined || c.link.centre === request.query.centre);
    const taken = await Promise.all(wanted.map((c) => censusOf(deps.state, c)));
    return reply.code(taken.every((t) => t.published) ? 200 : 503).send({ centres: taken });
  });

  server.post('/announce-again', async (request, reply) => {
    if (!(await allowed(deps, request, reply))) return reply;
    const body = againShape.safeParse(request.body);
    if (!body.success) return reply.code(400).send({ error: problemsOf(body.error) });
    const { dryRun, since } = body.data;
    const centre = deps.centres.find((c) => c.link.centre === body.data.centre)?.link.centre;
    if (centre === undefined) return reply.code(404).send({ error: NOT_SERVED });
    const studies = (dryRun ? announcedSince : announceAgain)(deps.state, centre, since === undefined ? 0 : Date.parse(since));
    return reply.send({ centre, studies, dryRun });
  });

  server.post('/intake-refused', { bodyLimit: 8 * 1024 * 1024 }, async (request, reply) => {
    if (!(await allowed(deps, request, reply))) return reply;
    const body = refusalsShape.safeParse(request.body);
    if (!body.success) return reply.code(400).send({ error: problemsOf(body.error) });
    const served = deps.centres.find((c) => c.link.centre === body.data.centre);
    if (served === undefined) return reply.code(404).send({ error: NOT_SERVED });
    const accepted = deps.state.transaction(
      () => body.data.refusals.filter((r) => enqueueRefusal(deps.state, served.link.centre, r)).length,
    );
    return reply.send({ accepted });
  });
}

type CensusAnswer = {
  readonly centre: string;
  readonly published: boolean;
  readonly censusId?: string;
  readonly total?: number;
  readonly code?: string;
  readonly detail?: string;
};

/** Takes a census and waits until it is in the log. */
async function censusOf(state: State, served: Served): Promise<CensusAnswer> {
  const { centre, clock } = served.link;
  try {
    const done = await served.watch.census();
    const until = clock.nowMs() + PUBLISHED_WITHIN_MS;
    while (clock.nowMs() < until && unsentUpTo(state, centre, done.outboxSequence) > 0) await clock.sleep(100);
    return {
      centre,
      censusId: done.censusId,
      total: done.total,
      published: outboxDepth(state, centre) === 0 || unsentUpTo(state, centre, done.outboxSequence) === 0,
    };
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return { centre, published: false, code: error.code, detail: error.message };
  }
}

function unsentUpTo(state: State, centre: string, sequence: number): number {
  return (
    state.get<{ n: number }>('SELECT count(*) AS n FROM outbox WHERE centre = ? AND sent_ms IS NULL AND sequence <= ?', centre, sequence)
      ?.n ?? 0
  );
}
