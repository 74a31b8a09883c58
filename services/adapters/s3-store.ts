// Objects on any S3 server, over the minio package. Only plain calls: PUT (also conditional), multipart, GET with a
// range, HEAD, LIST, DELETE.
import type { Readable } from 'node:stream';
import { Client } from 'minio';
import type { BucketItem } from 'minio';
import type { ObjectInfo, ObjectStore, PutOptions } from '../ports/object-store.ts';
import { checkConformance } from './s3-conformance.ts';
import { agentFor, codeOf, storeFault, transportFor, withSignal } from './s3-http.ts';
import { uploadStream } from './s3-upload.ts';
import type { S3Link } from './s3-upload.ts';
import type { TlsOptions } from './tls-files.ts';

export interface S3Options {
  /** http://host:port or https://host. */
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
  /** What requests are signed for and new buckets are made in; us-east-1 when not given. */
  readonly region?: string;
  /** Put before every bucket name. */
  readonly bucketPrefix: string;
  /** For https: who may vouch for the server, and what this process shows. */
  readonly tls?: TlsOptions;
}

export interface S3Store extends ObjectStore {
  /** Makes the buckets that are missing. */
  ensureBuckets(names: readonly string[]): Promise<void>;
  /** Those of the buckets that there are. */
  bucketsOf(names: readonly string[]): Promise<string[]>;
  /** Removes the bucket with all that is in it; answers how many objects there were. */
  removeBucket(name: string, signal?: AbortSignal): Promise<number>;
  /** Tries what the design relies on, in the bucket given (s3-conformance.ts). @throws Fault BAD_CONFIG, naming all that failed */
  conformance(bucket?: string): Promise<void>;
}

const MAX_SINGLE_PUT_BYTES = 5 * 1024 * 1024 * 1024;

/** What a server without regions takes. */
const USUAL_REGION = 'us-east-1';

const MISSING = new Set(['NoSuchKey', 'NoSuchVersion', 'NotFound']);
/** 412 by name; two conditional writers at once may also get 409. */
const TAKEN = new Set(['PreconditionFailed', 'ConditionalRequestConflict']);

/** The store. Nothing is connected before its first use. */
export function s3Store(o: S3Options): S3Store {
  const { region = USUAL_REGION } = o;
  const url = new URL(o.endpoint);
  const secure = url.protocol === 'https:';
  const transport = transportFor(secure);
  const agent = agentFor(secure, o.tls);
  const client = new Client({
    endPoint: url.hostname,
    port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
    useSSL: secure,
    accessKey: o.accessKey,
    secretKey: o.secretKey,
    region,
    // A buffer goes in one PUT whatever its size: the condition of a multipart upload is not checked by every server.
    partSize: MAX_SINGLE_PUT_BYTES,
    transport,
    transportAgent: agent,
    // Its retries write to the console and lose the status; the stage loop retries.
    retryOptions: { disableRetry: true },
  });
  const link: S3Link = { client, transport, agent, freeParts: [] };
  const at = (bucket: string): string => o.bucketPrefix + bucket;
  const store: S3Store = {
    put: (bucket, key, body, options = {}) => put(link, at(bucket), key, body, options),
    get: (bucket, key, options = {}) => get(client, at(bucket), key, options),
    getBytes: (bucket, key, limitBytes, signal) => getBytes(client, at(bucket), key, limitBytes, signal),
    head: (bucket, key, signal) => head(client, at(bucket), key, signal),
    list: (bucket, prefix, signal) => list(client, at(bucket), prefix, signal),
    folders: (bucket, signal) => folders(client, at(bucket), signal),
    remove: async (bucket, keys, signal) => {
      for (let i = 0; i < keys.length; i += 1000) {
        const batch = keys.slice(i, i + 1000);
        const results = await faulted(at(bucket), 'removing', signal, () => client.removeObjects(at(bucket), batch));
        const refused = refusalIn(results);
        if (refused !== undefined) throw storeFault({ code: refused }, at(bucket), 'removing', signal);
      }
    },
    ensureBuckets: async (names) => {
      await Promise.all(names.map((name) => ensureBucket(client, at(name), region)));
    },
    bucketsOf: async (names) => {
      const there = await Promise.all(
        names.map((name) => faulted(at(name), 'looking for the bucket', undefined, () => client.bucketExists(at(name)))),
      );
      return names.filter((_, i) => there[i] === true);
    },
    removeBucket: async (name, signal) => {
      const keys: string[] = [];
      for await (const { key } of store.list(name, '', signal)) keys.push(key);
      await store.remove(name, keys, signal);
      await faulted(at(name), 'removing the bucket', signal, () => client.removeBucket(at(name)));
      return keys.length;
    },
    conformance: (bucket = 'ct-research') => checkConformance(store, bucket),
  };
  return store;
}

/**
 * Why an object was not removed, of an answer that was HTTP 200 (DeleteObjects says so key by key). The package gives the entries of
 * DeleteResult/Error themselves, though its types put each into an object with `Error`; either is a refusal. One that names a key that
 * is not there, as Garage does, is none: nothing is left to remove.
 */
function refusalIn(results: readonly unknown[]): string | undefined {
  const entries = results.filter((r) => typeof r === 'object' && r !== null) as { Code?: string; Error?: { Code?: string } }[];
  return entries.map((entry) => entry.Code ?? entry.Error?.Code ?? 'refused').find((code) => !MISSING.has(code));
}

async function faulted<T>(bucket: string, doing: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await withSignal(signal, work);
  } catch (error) {
    throw storeFault(error, bucket, doing, signal);
  }
}

async function ensureBucket(client: Client, bucket: string, region: string): Promise<void> {
  await faulted(bucket, 'making the bucket', undefined, async () => {
    try {
      await client.makeBucket(bucket, region);
    } catch (error) {
      if (!['BucketAlreadyOwnedByYou', 'BucketAlreadyExists'].includes(codeOf(error))) throw error;
    }
  });
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

async function put(
  link: S3Link,
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
      await withSignal(options.signal, () => link.client.putObject(bucket, key, bufferOf(body), body.byteLength, headers));
    else await uploadStream(link, { bucket, key, headers }, body, options);
    return 'created';
  } catch (error) {
    if (options.ifNoneMatch === true && TAKEN.has(codeOf(error))) return 'exists';
    throw storeFault(error, bucket, 'writing', options.signal);
  }
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
  for await (const { name, size, lastModified } of itemsOf(client, bucket, { prefix, isDeep: true }, signal))
    if (name !== undefined) yield { key: name, sizeBytes: size, lastModifiedMs: lastModified?.getTime() ?? 0 };
}

async function folders(client: Client, bucket: string, signal?: AbortSignal): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const { prefix } of itemsOf(client, bucket, { prefix: '', isDeep: false }, signal))
    if (prefix !== undefined) names.push(prefix.replace(/\/$/, ''));
  return names.sort();
}

/** With `isDeep` every object under the prefix, else the objects and folders of its first level. */
async function* itemsOf(
  client: Client,
  bucket: string,
  { prefix, isDeep }: { readonly prefix: string; readonly isDeep: boolean },
  signal?: AbortSignal,
): AsyncGenerator<BucketItem> {
  const items: AsyncIterator<BucketItem> = client.listObjectsV2(bucket, prefix, isDeep)[Symbol.asyncIterator]();
  try {
    for (;;) {
      // Each step may send a request: it has to end with the signal.
      const { done, value } = await withSignal(signal, () => items.next());
      if (done === true) return;
      yield value;
    }
  } catch (error) {
    throw storeFault(error, bucket, 'listing', signal);
  } finally {
    await items.return?.();
  }
}
