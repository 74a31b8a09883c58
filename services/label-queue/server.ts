// The HTTP API of the reading room. Readers come with a bearer token; operators look at /queue.json.
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { Readable } from 'node:stream';
import { z } from 'zod';
import { Fault } from '../kernel/fault.ts';
import type { Randomness } from '../ports/clock.ts';
import type { Database } from '../ports/database.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { claim, heartbeat, heldTasks, type LeaseRules, volumeOf } from './leases.ts';
import { ApiProblem } from './problem.ts';
import { authenticate, type Reader } from './readers.ts';
import { SKIP_CODE_LIST } from './skip-codes.ts';
import { queueState } from './state.ts';
import { submit } from './submit.ts';

export interface ServerDeps {
  readonly database: Database;
  readonly store: ObjectStore;
  readonly random: Randomness;
  readonly readers: readonly Reader[];
  readonly rules: LeaseRules;
  /** Told of errors that are not the reader's. */
  readonly failed: (error: unknown) => void;
}

const RESEARCH_BUCKET = 'ct-research';

const token = z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER);
const viewing = {
  token,
  seconds: z.number().min(0).max(86_400),
  windows: z
    .array(z.strictObject({ width: z.number().positive().max(10_000), level: z.number().min(-10_000).max(10_000) }))
    .max(100)
    .default([]),
  slicesVisited: z.number().int().min(0).max(100_000).nullable().default(null),
  pageVersion: z.string().max(64).nullable().default(null),
};
const readingBody = z.strictObject({ ...viewing, grade: z.number().int().min(0).max(4), volumeDigest: z.string().regex(/^[0-9a-f]{64}$/) });
const skipBody = z.strictObject({ ...viewing, seconds: viewing.seconds.default(0), code: z.enum(SKIP_CODE_LIST) });
const tokenBody = z.strictObject({ token });
const taskParams = z.object({ id: z.string().regex(/^[0-9a-f]{1,64}$/) });

async function report(error: unknown, reply: FastifyReply, failed: (error: unknown) => void): Promise<void> {
  if (error instanceof ApiProblem) return void (await reply.code(error.status).send({ error: error.code, message: error.message }));
  if (error instanceof z.ZodError)
    return void (await reply
      .code(400)
      .send({ error: 'BAD_REQUEST', message: error.issues.map((i) => `${i.path.join('.') || 'body'}: ${i.message}`).join('; ') }));
  if (error instanceof Fault && error.retryable) {
    failed(error);
    return void (await reply.code(503).header('retry-after', '5').send({ error: error.code, message: 'try again in a moment' }));
  }
  const status = error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500;
  if (status >= 500) failed(error);
  await reply.code(status).send({
    error: status >= 500 ? 'UNEXPECTED' : 'BAD_REQUEST',
    message: status >= 500 ? 'see the log' : error instanceof Error ? error.message : 'bad request',
  });
}

/** The server; the caller listens and closes. All answers are `no-store`: nothing of a study stays in a cache. */
export function labelServer(deps: ServerDeps): FastifyInstance {
  const { database, random, rules } = deps;
  const server = Fastify({ forceCloseConnections: true, bodyLimit: 64 * 1024 });
  server.addHook(
    'onSend',
    async (_request, reply) => void reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff'),
  );
  server.setErrorHandler(async (error, _request, reply) => await report(error, reply, deps.failed));
  const readerOf = (request: FastifyRequest): Reader => {
    const reader = authenticate(deps.readers, request.headers.authorization);
    if (reader === undefined) throw new ApiProblem('UNAUTHENTICATED', 'send Authorization: Bearer <your token>');
    return reader;
  };
  const idOf = (request: FastifyRequest): string => taskParams.parse(request.params).id;

  server.post('/tasks/claim', async (request, reply) => {
    const task = await claim(database, readerOf(request), rules);
    if (task === undefined) await reply.code(204).send();
    return task;
  });
  server.get('/tasks/mine', async (request) => ({ tasks: await heldTasks(database, readerOf(request)) }));
  server.post(
    '/tasks/:id/heartbeat',
    async (request) => await heartbeat(database, readerOf(request), idOf(request), tokenBody.parse(request.body).token, rules),
  );
  server.post('/tasks/:id/readings', async (request, reply) => {
    const reader = readerOf(request);
    const { token: fence, ...answer } = readingBody.parse(request.body);
    await submit(database, random, reader, idOf(request), fence, answer);
    return await reply.code(201).send({ recorded: true });
  });
  server.post('/tasks/:id/skip', async (request, reply) => {
    const reader = readerOf(request);
    const { token: fence, code, ...rest } = skipBody.parse(request.body);
    await submit(database, random, reader, idOf(request), fence, { ...rest, skip: code });
    return await reply.code(201).send({ recorded: true });
  });
  server.get(
    '/tasks/:id/volume',
    async (request, reply) => await sendVolume(deps, readerOf(request), idOf(request), tokenBody.parse(request.query).token, reply),
  );
  server.get('/queue.json', async (request, reply) => {
    if (!isLocal(request) && !readerOf(request).lead)
      return await reply.code(403).send({ error: 'FORBIDDEN', message: 'for operators: from this host, or with the token of a lead' });
    return await queueState(database);
  });
  return server;
}

/** Asked from this very host and not through a proxy. */
function isLocal(request: FastifyRequest): boolean {
  return (
    ['127.0.0.1', '::1', '::ffff:127.0.0.1'].includes(request.socket.remoteAddress ?? '') &&
    request.headers['x-forwarded-for'] === undefined &&
    request.headers.forwarded === undefined
  );
}

async function sendVolume(deps: ServerDeps, reader: Reader, taskId: string, fence: number, reply: FastifyReply): Promise<FastifyReply> {
  const volume = await volumeOf(deps.database, reader, taskId, fence);
  const abort = new AbortController();
  reply.raw.on('close', () => abort.abort());
  const [info, body] = await Promise.all([
    deps.store.head(RESEARCH_BUCKET, volume.key, abort.signal),
    deps.store.get(RESEARCH_BUCKET, volume.key, { signal: abort.signal }),
  ]);
  // The event named the object: when it is gone, assess erased it before this stage did, or somebody made a mistake.
  if (info === undefined || body === undefined) throw new Fault('MANIFEST_MISSING', true, 'the volume of a task is not in the store');
  return await reply
    .header('content-type', 'application/gzip')
    .header('content-length', info.sizeBytes)
    .header('x-volume-digest', volume.digest)
    .send(Readable.from(body));
}
