// Streams into one object: a single PUT when it is small, else a multipart upload in a few buffers that are used again.
// Parts go by presigned requests: the minio package would take SHA-256 of every byte once more, and make the server check it.
import type http from 'node:http';
import type { Client } from 'minio';
import type { PutOptions } from '../ports/object-store.ts';
import { withSignal } from './s3-http.ts';

export interface S3Link {
  readonly client: Client;
  readonly transport: Pick<typeof http, 'request'>;
  readonly agent: http.Agent;
  /** Part buffers that no upload has in use. New ones for each object would cost more than the copies: memory outside the heap makes V8 collect all of it. */
  readonly freeParts: Buffer[];
}

/**
 * The least that S3 takes for a part that is not the last: buffers of it are most of what a series needs in memory. 10,000
 * parts make an object of 52 GB at most.
 */
export const PART_BYTES = 5 * 1024 * 1024;
/** A stream holds one buffer more: the one that is being filled. */
const PARTS_AT_A_TIME = 2;
/** Most part buffers kept while nothing uses them: those of two uploads. */
const FREE_PARTS = 2 * (PARTS_AT_A_TIME + 1);
const LINK_SECONDS = 3600;
/** Longest error text that is read. */
const ERROR_BYTES = 64 * 1024;

export interface Destination {
  readonly bucket: string;
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Writes the body. The package's own multipart upload would resume a pending one of the same name, and does not see
 * errors of the source; this one has an id of its own and is aborted when anything fails.
 * @throws what the body throws, the store's errors (with `code`), Error when the size is not the promised one
 */
export async function uploadStream(
  link: S3Link,
  to: Destination,
  body: AsyncIterable<Uint8Array>,
  options: Pick<PutOptions, 'signal' | 'sizeBytes'>,
): Promise<void> {
  const { client } = link;
  const { bucket, key, headers } = to;
  const { signal } = options;
  const etags: string[] = [];
  const running = new Set<Promise<void>>();
  const failed = new AbortController();
  let uploadId: string | undefined;
  let sent = 0;

  const send = async (part: Buffer): Promise<void> => {
    uploadId ??= await withSignal(signal, () => client.initiateNewMultipartUpload(bucket, key, { ...headers }));
    const index = etags.push('') - 1;
    const query = { partNumber: String(index + 1), uploadId };
    const upload = sendPart(link, to, query, part, signal)
      .then(
        (etag) => {
          etags[index] = etag;
          // The server has all of it, so nothing reads the buffer any more.
          giveBack(link.freeParts, part);
        },
        (error: unknown) => failed.abort(error),
      )
      .finally(() => running.delete(upload));
    running.add(upload);
    if (running.size >= PARTS_AT_A_TIME) await Promise.race(running);
    failed.signal.throwIfAborted();
  };

  try {
    for await (const { part, isLast } of partsOf(body, link.freeParts, signal)) {
      sent += part.byteLength;
      if (isLast && options.sizeBytes !== undefined && sent !== options.sizeBytes)
        throw new Error(`the body has ${sent} bytes, not ${options.sizeBytes}`);
      if (isLast && uploadId === undefined) {
        await withSignal(signal, () => client.putObject(bucket, key, part, part.byteLength, { ...headers }));
        giveBack(link.freeParts, part);
        return;
      }
      if (part.byteLength > 0) await send(part);
    }
    await Promise.all(running);
    failed.signal.throwIfAborted();
    const parts = etags.map((etag, i) => ({ part: i + 1, etag }));
    const id = uploadId;
    if (id !== undefined) await withSignal(signal, () => client.completeMultipartUpload(bucket, key, id, parts));
  } catch (error) {
    await Promise.all(running);
    // The signal may be the reason that we are here, so the clean-up goes without it.
    if (uploadId !== undefined) await client.abortMultipartUpload(bucket, key, uploadId).catch(() => undefined);
    throw error;
  }
}

/** Keeps the whole buffer that a part is the start of. Only for what the server has answered to: a failed request may still read it. */
function giveBack(free: Buffer[], part: Buffer): void {
  if (free.length < FREE_PARTS) free.push(Buffer.from(part.buffer));
}

/** Copies chunks into parts of `PART_BYTES`, in buffers from `free` where there is one; the last part is shorter, or empty. */
async function* partsOf(
  body: AsyncIterable<Uint8Array>,
  free: Buffer[],
  signal: AbortSignal | undefined,
): AsyncGenerator<{ part: Buffer; isLast: boolean }> {
  const take = (): Buffer => free.pop() ?? Buffer.allocUnsafeSlow(PART_BYTES);
  let buffer = take();
  let size = 0;
  for await (const chunk of body) {
    signal?.throwIfAborted();
    for (let from = 0; from < chunk.byteLength;) {
      const fits = Math.min(PART_BYTES - size, chunk.byteLength - from);
      buffer.set(chunk.subarray(from, from + fits), size);
      size += fits;
      from += fits;
      if (size < PART_BYTES) continue;
      yield { part: buffer, isLast: false };
      buffer = take();
      size = 0;
    }
  }
  yield { part: buffer.subarray(0, size), isLast: true };
}

/** Uploads one part. Gives its ETag. */
async function sendPart(
  link: S3Link,
  { bucket, key }: Destination,
  query: Readonly<Record<string, string>>,
  part: Buffer,
  signal: AbortSignal | undefined,
): Promise<string> {
  const url = new URL(await link.client.presignedUrl('PUT', bucket, key, LINK_SECONDS, { ...query }));
  return await withSignal(
    signal,
    () =>
      new Promise<string>((resolve, reject) => {
        const request = link.transport.request(
          {
            protocol: url.protocol,
            hostname: url.hostname,
            port: url.port,
            path: url.pathname + url.search,
            method: 'PUT',
            headers: { 'content-length': part.byteLength },
            agent: link.agent,
          },
          (response) => {
            endOf(response).then((text) => {
              if (response.statusCode === 200) resolve((response.headers.etag ?? '').replaceAll('"', ''));
              else reject(refusal(response.statusCode, text));
            }, reject);
          },
        );
        request.on('error', reject);
        request.end(part);
      }),
  );
}

/** The text of an answer, or its start. */
async function endOf(response: http.IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response) if (text.length < ERROR_BYTES) text += (chunk as Buffer).toString('utf8');
  return text;
}

/** An error with the code that the server gave, as the package's own errors have it. */
function refusal(status: number | undefined, text: string): Error {
  const code = /<Code>(\w{1,64})<\/Code>/.exec(text)?.[1] ?? `HTTP${status}`;
  return Object.assign(new Error(`the store refused a part: ${code}`), { code });
}
