// The HTTP server of release, for operators on loopback: build, approve, look. Changes take the token where one is set.
import Fastify, { type FastifyInstance } from 'fastify';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { mayChange } from '../kernel/bearer.ts';
import { Fault } from '../kernel/fault.ts';
import type { Database } from '../ports/database.ts';
import { approveRelease } from './approve.ts';
import { type BuildDeps, buildRelease } from './build.ts';
import { type Contents, contentsOf, type Fact } from './facts.ts';
import { ReleaseError, type ReleaseCode } from './release-error.ts';
import { allVersions } from './versions.ts';

export interface ReleaseServerDeps extends BuildDeps {
  /** Folder that datasets are written to besides the buckets. */
  readonly outDir?: string | undefined;
  /** RELEASE_TOKEN: every POST must bring it; without one every POST is refused. */
  readonly token?: string | undefined;
  /** Told of errors that are not the operator's. */
  readonly failed: (error: unknown) => void;
}

const cutBody = z.array(z.strictObject({ topic: z.string(), partition: z.number().int().min(0), endOffset: z.number().int().min(0) }));
const buildBody = z.strictObject({
  version: z.string(),
  cut: cutBody.optional(),
  acceptHoles: z.boolean().default(false),
  /** Wait, for half a minute at most, until so many graded studies have come from the log. */
  waitForStudies: z.number().int().min(1).optional(),
});
const approveBody = z.strictObject({ approvers: z.array(z.string().max(200)).max(10), simulated: z.boolean() });
const versionParams = z.object({ version: z.string() });

const WAIT_LIMIT_MS = 30_000;

const STATUS: Partial<Record<ReleaseCode, number>> = { BAD_VERSION: 400, NEEDS_TWO_APPROVERS: 400, NO_CANDIDATE: 404 };

async function contentsNow(database: Database): Promise<Contents> {
  return contentsOf(await database.query<Fact>('SELECT type, value FROM fact'));
}

/** The consumer may be a moment behind the label that somebody has just seen. @throws ReleaseError NO_STUDIES */
async function untilReady(database: Database, studies: number): Promise<void> {
  const deadline = Date.now() + WAIT_LIMIT_MS;
  for (;;) {
    const ready = (await contentsNow(database)).members.length;
    if (ready >= studies) return;
    if (Date.now() > deadline) throw new ReleaseError('NO_STUDIES', `${ready} graded studies have come, not ${studies}`);
    await sleep(200);
  }
}

/** The server; the caller listens and closes. One build or approval runs at a time, the next waits. */
export function releaseServer(deps: ReleaseServerDeps): FastifyInstance {
  const server = Fastify({ forceCloseConnections: true });
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = async <T>(work: () => Promise<T>): Promise<T> => {
    const mine = turn.then(work, work);
    turn = mine.catch(() => undefined);
    return await mine;
  };
  // A web page must not release data through the browser of someone on this machine.
  server.addHook('onRequest', async (request, reply) => {
    if (request.headers.origin !== undefined) await reply.code(403).send({ error: 'FORBIDDEN', message: 'not for web pages' });
    else if (request.method !== 'GET' && !mayChange({ ip: request.ip, authorization: request.headers.authorization }, deps.token))
      await reply.code(403).send({ error: 'FORBIDDEN', message: 'only from this machine, with the RELEASE_TOKEN as bearer token' });
  });
  server.setErrorHandler(async (error, _request, reply) => {
    if (error instanceof ReleaseError)
      return await reply.code(STATUS[error.code] ?? 409).send({ error: error.code, message: error.message });
    if (error instanceof z.ZodError)
      return await reply
        .code(400)
        .send({ error: 'BAD_REQUEST', message: error.issues.map((i) => `${i.path.join('.') || 'body'}: ${i.message}`).join('; ') });
    const status = error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500;
    if (status >= 500) deps.failed(error);
    const code = error instanceof Fault ? error.code : status >= 500 ? 'UNEXPECTED' : 'BAD_REQUEST';
    return await reply.code(error instanceof Fault && error.retryable ? 503 : status).send({ error: code, message: 'see the log' });
  });
  const out = deps.outDir === undefined ? {} : { outDir: deps.outDir };
  server.post('/releases', async (request) => {
    const { waitForStudies, ...body } = buildBody.parse(request.body);
    if (waitForStudies !== undefined) await untilReady(deps.database, waitForStudies);
    return await inTurn(async () => await buildRelease(deps, { ...body, ...out }));
  });
  server.post('/releases/:version/approve', async (request) => {
    const { version } = versionParams.parse(request.params);
    const body = approveBody.parse(request.body);
    return await inTurn(async () => await approveRelease(deps, { version, ...body, ...out }));
  });
  server.get('/releases.json', async () => {
    const contents = await contentsNow(deps.database);
    const versions = (await allVersions(deps.database)).map((v) => ({
      version: v.version,
      state: v.state,
      studies: v.members?.length ?? 0,
      previous: v.previous,
      sumsSha256: v.sums_sha256,
      approvers: v.approvers,
      simulatedApproval: v.simulated,
      /** A withdrawal is being carried out on it. */
      erasurePending: v.erasure_pending,
    }));
    return { ready: { studies: contents.members.length, waiting: contents.waiting, exclusions: contents.exclusions.length }, versions };
  });
  return server;
}
