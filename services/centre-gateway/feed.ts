// Pushes files into a PACS: for the demo and for folders that a person gives. Not part of the running gateway.
import { setTimeout as sleep } from 'node:timers/promises';
import { Fault } from '../kernel/fault.ts';

export interface FeedTarget {
  /** Orthanc's REST root: files go to POST /instances. Without it, STOW-RS (PS3.18 10.5) at `dicomWebUrl`. */
  readonly orthancUrl?: string | undefined;
  readonly dicomWebUrl: string;
  readonly username: string;
  readonly password: string;
}

export interface FeedFile {
  readonly path: string;
  /** Read only when its turn comes. */
  bytes(): Promise<Uint8Array>;
}

export interface FeedResult {
  readonly path: string;
  readonly stored: boolean;
  /** 0 only together with an exception: the PACS answered every file of a result. */
  readonly httpCode: number;
  readonly sizeBytes: number;
}

const TIMEOUT_MS = 60_000;
const ATTEMPTS = 3;

/**
 * Sends the files, `concurrency` at a time, and tells of each what the PACS answered. A refusal (4xx, 5xx) is a
 * result with `stored: false`; one bad file does not stop the others.
 * @throws Fault PACS_UNREACHABLE or PACS_UNAUTHORISED: then no file can go.
 */
export async function feed(
  files: Iterable<FeedFile>,
  target: FeedTarget,
  options: { concurrency?: number; signal: AbortSignal; onResult?: (result: FeedResult) => void },
): Promise<FeedResult[]> {
  const waiting = files[Symbol.iterator]();
  const results: FeedResult[] = [];
  const work = async (): Promise<void> => {
    for (let next = waiting.next(); next.done !== true; next = waiting.next()) {
      options.signal.throwIfAborted();
      const result = await send(next.value, target, options.signal);
      results.push(result);
      options.onResult?.(result);
    }
  };
  await Promise.all(Array.from({ length: options.concurrency ?? 4 }, work));
  return results;
}

async function send(file: FeedFile, target: FeedTarget, signal: AbortSignal): Promise<FeedResult> {
  const bytes = await file.bytes();
  for (let attempt = 1; ; attempt += 1) {
    const response = await post(bytes, target, signal).catch((error: unknown) => {
      if (signal.aborted) throw signal.reason;
      if (attempt < ATTEMPTS) return undefined;
      throw new Fault('PACS_UNREACHABLE', true, 'the PACS does not take files', { cause: error });
    });
    if (response === undefined) continue;
    await response.arrayBuffer();
    // A PACS under load may answer 500 to a file that it takes a moment later (seen with Orthanc, 48 of them on 2 cores).
    if (response.status >= 500 && attempt < ATTEMPTS) {
      await sleep(attempt * 500, undefined, { signal });
      continue;
    }
    if (response.status === 401 || response.status === 403) throw new Fault('PACS_UNAUTHORISED', true, `storing: HTTP ${response.status}`);
    // 202 of STOW-RS: taken with warnings, or some of several files; with one file a failure is 409.
    return { path: file.path, stored: response.ok, httpCode: response.status, sizeBytes: bytes.byteLength };
  }
}

function post(bytes: Uint8Array, target: FeedTarget, signal: AbortSignal): Promise<Response> {
  const authorization = `Basic ${Buffer.from(`${target.username}:${target.password}`).toString('base64')}`;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  if (target.orthancUrl !== undefined) {
    return fetch(`${target.orthancUrl.replace(/\/+$/, '')}/instances`, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/dicom' },
      body: bytes as Uint8Array<ArrayBuffer>,
      signal: limit,
    });
  }
  const boundary = `ctstream-${crypto.randomUUID()}`;
  const body = Buffer.concat([
    Buffer.from(`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`),
    bytes,
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);
  const headers = {
    authorization,
    accept: 'application/dicom+json',
    'content-type': `multipart/related; type="application/dicom"; boundary=${boundary}`,
  };
  return fetch(`${target.dicomWebUrl.replace(/\/+$/, '')}/studies`, { method: 'POST', headers, body, signal: limit });
}
