// WADO-RS retrieval as a stream (PS3.18 10.4): files as the server stores them, flat memory. Over node:http, whose streams
// take about half the processor time of fetch's.
import http from 'node:http';
import https from 'node:https';
import { Fault } from '../kernel/fault.ts';
import type { RetrievedPart } from '../ports/dicomweb.ts';
import { basicAuth, faultOfFailure, faultOfStatus, PACS_TIMEOUT_MS } from './dicomweb-http.ts';
import type { PacsOptions } from './dicomweb-http.ts';
import { boundaryOf, MultipartError, multipartParts } from './multipart.ts';

// Without transfer-syntax=* many servers transcode to Explicit VR Little Endian, lossy pixels too (PS3.18 8.7.3.5.2).
const ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*';

/** A server may say nothing while it opens files: longer than a search. */
const FIRST_BYTE_FACTOR = 4;

/** The files of a series or study at `url`; undefined on 404. @throws Fault as DicomWeb says, also while the parts are read. */
export async function retrieveStream(
  o: PacsOptions,
  url: string,
  what: string,
  signal: AbortSignal,
): Promise<AsyncIterable<RetrievedPart> | undefined> {
  const firstByteMs = (o.timeoutMs ?? PACS_TIMEOUT_MS) * FIRST_BYTE_FACTOR;
  const response = await head({ what, url, authorization: basicAuth(o), firstByteMs, signal });
  const status = response.statusCode ?? 0;
  if (status >= 200 && status < 300 && status !== 204) return partsOf(response, what, o.idleTimeoutMs ?? PACS_TIMEOUT_MS, signal);
  response.destroy();
  const fault = faultOfStatus(status, what);
  if (fault !== undefined) throw fault;
  return undefined;
}

interface StreamRequest {
  readonly what: string;
  readonly url: string;
  readonly authorization: string;
  /** Longest wait for the head of the answer. */
  readonly firstByteMs: number;
  readonly signal: AbortSignal;
}

/** Sends the request; resolves with the head of the answer. Redirects are not followed: a password must not go to another address. */
function head(r: StreamRequest): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { accept: ACCEPT, authorization: r.authorization };
    // A connection of its own: nothing else waits behind a series, and one that broke off is not used again.
    const options = { headers, signal: r.signal, agent: false as const };
    const request = r.url.startsWith('https:') ? https.get(r.url, options) : http.get(r.url, options);
    const late = setTimeout(() => request.destroy(new DOMException('no answer in time', 'TimeoutError')), r.firstByteMs);
    request.on('response', (response) => {
      clearTimeout(late);
      resolve(response);
    });
    request.on('error', (error) => {
      clearTimeout(late);
      reject(faultOfFailure(error, r.what, r.signal));
    });
  });
}

/**
 * The chunks of the body. Only the wait for the server counts as silence, not the time in which the reader is busy.
 * @throws Fault PACS_UNREACHABLE when it stalls or breaks off.
 */
async function* chunksOf(
  response: http.IncomingMessage,
  what: string,
  idleTimeoutMs: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let waitingSinceMs: number | undefined = performance.now();
  // One timer for the stream: one a chunk would cost more than reading it.
  const watch = setInterval(() => {
    if (waitingSinceMs !== undefined && performance.now() - waitingSinceMs >= idleTimeoutMs)
      response.destroy(new Fault('PACS_UNREACHABLE', true, `${what}: silent for ${idleTimeoutMs} ms`));
  }, idleTimeoutMs / 4);
  try {
    for await (const chunk of response) {
      waitingSinceMs = undefined;
      yield chunk as Buffer;
      waitingSinceMs = performance.now();
    }
  } catch (error) {
    throw faultOfFailure(error, what, signal);
  } finally {
    clearInterval(watch);
    response.destroy();
  }
}

async function* partsOf(
  response: http.IncomingMessage,
  what: string,
  idleTimeoutMs: number,
  signal: AbortSignal,
): AsyncGenerator<RetrievedPart> {
  const chunks = chunksOf(response, what, idleTimeoutMs, signal);
  const contentType = response.headers['content-type'] ?? '';
  try {
    const boundary = boundaryOf(contentType);
    if (boundary !== undefined) {
      for await (const part of multipartParts(chunks, boundary)) yield { headers: part.headers, body: guarded(part.body, what) };
    } else if (/^\s*application\/dicom\s*(;|$)/i.test(contentType)) {
      // Some servers answer a single instance without the multipart frame.
      yield { headers: new Map([['content-type', contentType]]), body: chunks };
    } else {
      throw new MultipartError('the answer is neither multipart nor DICOM');
    }
  } catch (error) {
    throw asFault(error, what);
  } finally {
    await chunks.return(undefined);
  }
}

/** The body with the reader's errors as faults. An iterator and no generator: there are thousands of chunks a second. */
function guarded(body: AsyncIterable<Uint8Array>, what: string): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]: () => {
      const chunks = body[Symbol.asyncIterator]();
      const failed = (error: unknown): never => {
        throw asFault(error, what);
      };
      return { next: () => chunks.next().catch(failed) };
    },
  };
}

function asFault(error: unknown, what: string): unknown {
  return error instanceof MultipartError ? new Fault('PACS_ERROR', true, `${what}: ${error.message}`) : error;
}
