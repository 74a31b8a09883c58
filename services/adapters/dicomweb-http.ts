// HTTP to a PACS: basic auth, time limits, and failures as coded faults. No address or UID stands in a fault.
import { Fault } from '../kernel/fault.ts';
import { answered } from './answered.ts';

export interface PacsOptions {
  /** Names the PACS in faults and logs. */
  readonly centre: string;
  /** DICOMweb root, such as http://127.0.0.1:8042/dicom-web */
  readonly dicomWebUrl: string;
  readonly username: string;
  readonly password: string;
  /** Longest wait for the head of an answer, and for a whole search answer; 30 s. */
  readonly timeoutMs?: number;
  /** Longest silence within a stream; 30 s. */
  readonly idleTimeoutMs?: number;
}

export const PACS_TIMEOUT_MS = 30_000;

export function basicAuth(o: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${o.username}:${o.password}`).toString('base64')}`;
}

/** Root without slashes at its end. */
export function rootOf(url: string): string {
  return url.replace(/\/+$/, '');
}

/** The fault that a status stands for; undefined for 2xx and 404. */
export function faultOfStatus(status: number, what: string): Fault | undefined {
  if ((status >= 200 && status < 300) || status === 404) return undefined;
  if (status === 401 || status === 403) return new Fault('PACS_UNAUTHORISED', true, `${what}: HTTP ${status}`);
  // The server may be able to answer later: its own errors, 408 Request Timeout, 429 Too Many Requests. A redirect is a proxy's word
  // about the whole PACS and not about the study.
  const isOfServer = status < 400 || status >= 500 || status === 408 || status === 429;
  return new Fault('PACS_ERROR', isOfServer, `${what}: HTTP ${status}`);
}

/** Node's word for why a connection failed, such as ECONNREFUSED. */
function connectionError(error: unknown): string {
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    if ('code' in e && typeof e.code === 'string') return e.code;
  }
  return error instanceof Error && error.name === 'TimeoutError' ? 'no answer in time' : 'connection failed';
}

/** A Fault for a failed request, or the caller's own abort reason. */
export function faultOfFailure(error: unknown, what: string, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof Fault) return error;
  return new Fault('PACS_UNREACHABLE', true, `${what}: ${connectionError(error)}`);
}

export interface PacsRequest {
  readonly what: string;
  readonly url: string;
  readonly method?: 'GET' | 'POST' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly authorization: string;
  /** Until the head of the answer is there. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * Sends a request and returns once the head of the answer is there; the body is the caller's to read or
 * cancel. Redirects are not followed: a password must not go to another address.
 * @throws Fault as DicomWeb says; 404 is returned.
 */
export async function pacsFetch(r: PacsRequest): Promise<Response> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(new DOMException('no answer in time', 'TimeoutError')), r.timeoutMs);
  try {
    const response = await fetch(r.url, {
      method: r.method ?? 'GET',
      headers: { ...r.headers, authorization: r.authorization },
      redirect: 'manual',
      signal: AbortSignal.any([r.signal, limit.signal]),
      ...(r.body === undefined ? {} : { body: r.body as NonNullable<RequestInit['body']> }),
    });
    const fault = faultOfStatus(response.status, r.what);
    if (fault === undefined) return response;
    await response.body?.cancel();
    throw fault;
  } catch (error) {
    throw faultOfFailure(error, r.what, r.signal);
  } finally {
    clearTimeout(timer);
  }
}

/** The chunks of a body, with a limit on silence. @throws Fault PACS_UNREACHABLE when it stalls or breaks off. */
export async function* bodyChunks(
  response: Response,
  what: string,
  idleTimeoutMs: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  const reader = response.body.getReader();
  const silent = (): Fault => new Fault('PACS_UNREACHABLE', true, `${what}: silent for ${idleTimeoutMs} ms`);
  let finished = false;
  try {
    for (;;) {
      const next = await answered(idleTimeoutMs, reader.read(), silent);
      if (next.done) break;
      yield next.value;
    }
    finished = true;
  } catch (error) {
    throw faultOfFailure(error, what, signal);
  } finally {
    // Not awaited: a stalled connection may never confirm.
    if (!finished) reader.cancel().catch(() => undefined);
  }
}

/** A whole body, at most `limitBytes`. @throws Fault */
export async function wholeBody(
  response: Response,
  what: string,
  limitBytes: number,
  idleTimeoutMs: number,
  signal: AbortSignal,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bodyChunks(response, what, idleTimeoutMs, signal)) {
    size += chunk.length;
    if (size > limitBytes) throw new Fault('PACS_ERROR', false, `${what}: the answer is larger than ${limitBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
