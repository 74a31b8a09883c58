// Objects on any S3 server, over the minio package. Only plain calls: PUT (also conditional), multipart, GET with a
// range, HEAD, LIST, DELETE.
import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { Client } from 'minio';
import type { BucketItem } from 'minio';
import { Fault } from '../kernel/fault.ts';
import type { ObjectInfo, ObjectStore, PutOptions } from '../ports/object-store.ts';
import { agentFor, codeOf, storeFault, transportFor, withSignal } from './s3-http.ts';

export interface S3Options {
  /** http://host:port or https://host. */
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
  /** Put before every bucket name. */
  readonly bucketPrefix: string;
}

export interface S3Store extends ObjectStore {
  /** Makes the buckets that are missing. */
  ensureBuckets(names: readonly string[]): Promise<void>;
  /** Tries what the design relies on, in the bucket given: a conditional PUT must refuse. @throws Fault BAD_CONFIG */
  conformance(bucket?: string): Promise<void>;
}

/** A streamed body holds up to two parts in memory. S3 takes 10,000 parts: 160 GB an object. */
const PART_BYTES = 16 * 1024 * 1024;
const PARTS_AT_A_TIME = 2;
const MAX_SINGLE_PUT_BYTES = 5 * 1024 * 1024 * 1024;

const MISSING = new Set(['NoSuchKey', 'NotFound']);
/** 412 by name; two conditional writers at once may also get 409. */
const TAKEN = new Set(['PreconditionFailed', 'ConditionalRequestConflict']);

/** The store. Nothing is connected before its first use. */
export function s3Store(o: S3Options): S3Store {
  const url = new URL(o.endpoint);
  const secure = url.protocol === 'https:';
  const client = new Client({
    endPoint: url.hostname,
    port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
    useSSL: secure,
    accessKey: o.accessKey,
    secretKey: o.secretKey,
    region: 'us-east-1',
    // A buffer goes in one PUT whatever its size: the condition of a multipart upload is not checked by every server.
    partSize: MAX_SINGLE_PUT_BYTES,
    transport: transportFor(secure),
    transportAgent: agentFor(secure),
    // Its retries write to the console and lose the status; the stage loop retries.
    retryOptions: { disableRetry: true },
  });
  const at = (bucket: string): string => o.bucketPrefix + bucket;
  const store: S3Store = {
    put: (bucket, key, body, options = {}) => put(client, at(bucket), key, body, options),
    get: (bucket, key, options = {}) => get(client, at(bucket), key, options),
    getBytes: (bucket, key, limitBytes, signal) => getBytes(client, at(bucket), key, limitBytes, signal),
    head: (bucket, key, signal) => head(client, at(bucket), key, signal),
    list: (bucket, prefix, signal) => list(client, at(bucket), prefix, signal),
    remove: async (bucket, keys, signal) => {
      for (let i = 0; i < keys.length; i += 1000) {
        const batch = keys.slice(i, i + 1000);
        const results = await faulted(at(bucket), 'removing', signal, () => client.removeObjects(at(bucket), batch));
        const refused = results.find((r) => r !== null && r?.Error !== undefined);
        if (refused !== undefined && refused !== null)
          throw new Fault('STORE_UNAVAILABLE', true, `removing in ${at(bucket)}: ${refused.Error?.Code ?? 'refused'}`);
      }
    },
    ensureBuckets: async (names) => {
      await Promise.all(names.map((name) => ensureBucket(client, at(name))));
    },
    conformance: (bucket = 'ct-research') => conformance(store, bucket),
  };
  return store;
}

async function faulted<T>(bucket: string, doing: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await withSignal(signal, work);
  } catch (error) {
    throw storeFault(error, bucket, doing, signal);
  }
}

async function ensureBucket(client: Client, bucket: string): Promise<void> {
  await faulted(bucket, 'making the bucket', undefined, async () => {
    try {
      await client.makeBucket(bucket, 'us-east-1');
    } catch (error) {
      if (!['BucketAlreadyOwnedByYou', 'BucketAlreadyExists'].includes(codeOf(error))) throw error;
    }
  });
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

async function put(
  client: Client,
  bucket: string,
  key: string,
  body: Uint8Array | AsyncIterable<Uint8Array>,
  options: PutOptions,
): Promise<'created' | 'exists'> {
  const headers: Record<string, string> = { 'Content-Type': options.contentType ?? 'application/octet-stream' };
  if (options.ifNoneMatch === true) {
    if (!(body instanceof Uint8Array)) throw new TypeError('a conditional put takes a whole buffer');
    headers['If-None-Match'] = '*';
  }
  try {
    if (body instanceof Uint8Array)
      await withSignal(options.signal, () => client.putObject(bucket, key, bufferOf(body), body.byteLength, headers));
    else await putStream(client, bucket, key, body, headers, options);
    return 'created';
  } catch (error) {
    if (options.ifNoneMatch === true && TAKEN.has(codeOf(error))) return 'exists';
    throw storeFault(error, bucket, 'writing', options.signal);
  }
}

/** Joins chunks to parts of PART_BYTES; the last one is shorter. */
async function* partsOf(body: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  let chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    signal?.throwIfAborted();
    let rest = chunk;
    while (size + rest.byteLength >= PART_BYTES) {
      const fits = PART_BYTES - size;
      yield Buffer.concat([...chunks, rest.subarray(0, fits)], PART_BYTES);
      rest = rest.subarray(fits);
      chunks = [];
      size = 0;
    }
    if (rest.byteLength > 0) {
      chunks.push(rest);
      size += rest.byteLength;
    }
  }
  yield Buffer.concat(chunks, size);
}

/**
 * One PUT when it fits a part, else a multipart upload of its own id: the package's own would resume a pending upload
 * of the same name, and does not see errors of the source.
 */
async function putStream(
  client: Client,
  bucket: string,
  key: string,
  body: AsyncIterable<Uint8Array>,
  headers: Record<string, string>,
  options: PutOptions,
): Promise<void> {
  let sent = 0;
  const checkSize = (): void => {
    if (options.sizeBytes !== undefined && sent !== options.sizeBytes)
      throw new Error(`the body has ${sent} bytes, not ${options.sizeBytes}`);
  };
  let uploadId: string | undefined;
  const tags: { part: number; etag: string }[] = [];
  const running = new Set<Promise<void>>();
  try {
    for await (const part of partsOf(body, options.signal)) {
      sent += part.byteLength;
      if (uploadId === undefined && part.byteLength < PART_BYTES) {
        checkSize();
        await withSignal(options.signal, () => client.putObject(bucket, key, part, part.byteLength, headers));
        return;
      }
      uploadId ??= await withSignal(options.signal, () => client.initiateNewMultipartUpload(bucket, key, headers));
      if (part.byteLength === 0) continue;
      const number = tags.push({ part: tags.length + 1, etag: '' });
      const upload = uploadPart(client, bucket, key, uploadId, number, part, options.signal).then((etag) => {
        tags[number - 1] = { part: number, etag };
      });
      const tracked = upload.finally(() => running.delete(tracked));
      // Its failure is seen where it is awaited below.
      tracked.catch(() => undefined);
      running.add(tracked);
      if (running.size >= PARTS_AT_A_TIME) await Promise.race(running);
    }
    await Promise.all(running);
    checkSize();
    const id = uploadId;
    if (id !== undefined) await withSignal(options.signal, () => client.completeMultipartUpload(bucket, key, id, tags));
  } catch (error) {
    await Promise.allSettled(running);
    // The signal may be the reason that we are here, so the clean-up goes without it.
    if (uploadId !== undefined) await client.abortMultipartUpload(bucket, key, uploadId).catch(() => undefined);
    throw error;
  }
}

async function uploadPart(
  client: Client,
  bucket: string,
  key: string,
  uploadId: string,
  number: number,
  part: Buffer,
  signal: AbortSignal | undefined,
): Promise<string> {
  const query = `partNumber=${number}&uploadId=${encodeURIComponent(uploadId)}`;
  const response = await withSignal(signal, () =>
    client.makeRequestAsync(
      { method: 'PUT', bucketName: bucket, objectName: key, query, headers: { 'Content-Length': part.byteLength } },
      part,
      [200],
    ),
  );
  response.resume();
  return (response.headers.etag ?? '').replaceAll('"', '');
}

async function* nothing(): AsyncGenerator<Uint8Array> {
  // An empty range: HTTP has no way to ask for it.
}

async function* chunksOf(stream: Readable, bucket: string, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of stream) yield chunk as Buffer;
  } catch (error) {
    throw storeFault(error, bucket, 'reading', signal);
  } finally {
    stream.destroy();
  }
}

async function get(
  client: Client,
  bucket: string,
  key: string,
  options: { range?: readonly [number, number]; signal?: AbortSignal },
): Promise<AsyncIterable<Uint8Array> | undefined> {
  const { range, signal } = options;
  if (range !== undefined && range[1] === 0) return (await head(client, bucket, key, signal)) === undefined ? undefined : nothing();
  try {
    const stream = await withSignal(signal, () =>
      range === undefined ? client.getObject(bucket, key) : client.getPartialObject(bucket, key, range[0], range[1]),
    );
    return chunksOf(stream, bucket, signal);
  } catch (error) {
    if (MISSING.has(codeOf(error))) return undefined;
    throw storeFault(error, bucket, 'reading', signal);
  }
}

async function getBytes(
  client: Client,
  bucket: string,
  key: string,
  limitBytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array | undefined> {
  const chunks = await get(client, bucket, key, signal === undefined ? {} : { signal });
  if (chunks === undefined) return undefined;
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.byteLength;
    if (size > limitBytes) throw new Error(`an object in ${bucket} is larger than ${limitBytes} bytes`);
    parts.push(chunk);
  }
  return Buffer.concat(parts, size);
}

async function head(client: Client, bucket: string, key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
  try {
    const stat = await withSignal(signal, () => client.statObject(bucket, key));
    return { key, sizeBytes: stat.size, lastModifiedMs: stat.lastModified.getTime() };
  } catch (error) {
    if (MISSING.has(codeOf(error))) return undefined;
    throw storeFault(error, bucket, 'looking', signal);
  }
}

async function* list(client: Client, bucket: string, prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectInfo> {
  try {
    for await (const item of client.listObjectsV2(bucket, prefix, true)) {
      signal?.throwIfAborted();
      const { name, size, lastModified } = item as BucketItem;
      if (name !== undefined) yield { key: name, sizeBytes: size, lastModifiedMs: lastModified?.getTime() ?? 0 };
    }
  } catch (error) {
    throw storeFault(error, bucket, 'listing', signal);
  }
}

/** Some servers ignore If-None-Match, and then two attempts of one revision would overwrite each other's manifest. */
async function conformance(store: ObjectStore, bucket: string): Promise<void> {
  const key = `.conformance/${randomBytes(8).toString('hex')}`;
  const put = (text: string): Promise<'created' | 'exists'> =>
    store.put(bucket, key, Buffer.from(text), { ifNoneMatch: true, contentType: 'text/plain' });
  const answers = [await put('first'), await put('second')];
  const bytes = await store.getBytes(bucket, key, 64);
  await store.remove(bucket, [key]);
  if (answers.join() !== 'created,exists' || bytes === undefined || Buffer.from(bytes).toString() !== 'first') {
    throw new Fault('BAD_CONFIG', false, 'the object store does not honour If-None-Match on PUT: use another server');
  }
}
