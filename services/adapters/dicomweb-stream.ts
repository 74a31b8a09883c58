// WADO-RS retrieval as a stream (PS3.18 10.4): files as the server stores them, flat memory.
import { Fault } from '../kernel/fault.ts';
import type { RetrievedPart } from '../ports/dicomweb.ts';
import { basicAuth, bodyChunks, PACS_TIMEOUT_MS, pacsFetch } from './dicomweb-http.ts';
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
  const timeoutMs = o.timeoutMs ?? PACS_TIMEOUT_MS;
  const response = await pacsFetch({
    what,
    url,
    headers: { accept: ACCEPT },
    authorization: basicAuth(o),
    timeoutMs: timeoutMs * FIRST_BYTE_FACTOR,
    signal,
  });
  if (response.status === 404 || response.status === 204) {
    await response.body?.cancel();
    return undefined;
  }
  return partsOf(response, what, o.idleTimeoutMs ?? PACS_TIMEOUT_MS, signal);
}

async function* partsOf(response: Response, what: string, idleTimeoutMs: number, signal: AbortSignal): AsyncGenerator<RetrievedPart> {
  const chunks = bodyChunks(response, what, idleTimeoutMs, signal);
  const contentType = response.headers.get('content-type') ?? '';
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

async function* guarded(body: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw asFault(error, what);
  }
}

function asFault(error: unknown, what: string): unknown {
  return error instanceof MultipartError ? new Fault('PACS_ERROR', true, `${what}: ${error.message}`) : error;
}
