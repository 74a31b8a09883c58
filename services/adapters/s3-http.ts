// The HTTP side of the S3 client: what the minio package lacks, namely abort signals and idle limits.
import { AsyncLocalStorage } from 'node:async_hooks';
import http from 'node:http';
import https from 'node:https';
import { Fault } from '../kernel/fault.ts';
import { isUntrusted, type TlsOptions } from './tls-files.ts';

/** The signal of the call in progress: the minio package has no argument for it. */
const currentSignal = new AsyncLocalStorage<AbortSignal>();

/** Silence on a connection after which the request has failed. */
const IDLE_MS = 60_000;

export function withSignal<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  if (signal === undefined) return work();
  if (signal.aborted) return Promise.reject(signal.reason);
  return currentSignal.run(signal, work);
}

const PACKAGE_RETRIES = new Set([408, 429, 499, 500, 502, 503, 504, 520]);
/** A status of no meaning, which the package takes as failed and reads the code from the answer's body. */
const OTHER_FAILURE = 599;

/** A transport for the minio client: requests end by the current signal, or when nothing moves for a minute. */
export function transportFor(secure: boolean): Pick<typeof http, 'request'> {
  const module = secure ? https : http;
  const request = (options: http.RequestOptions, onResponse: (response: http.IncomingMessage) => void): http.ClientRequest => {
    const signal = currentSignal.getStore();
    const read = (response: http.IncomingMessage): void => {
      // The package throws away what a server says with these, retries or not: MinIO says that its disk is full with a 500.
      if (response.statusCode !== undefined && PACKAGE_RETRIES.has(response.statusCode)) response.statusCode = OTHER_FAILURE;
      onResponse(response);
    };
    const sent = module.request({ ...options, timeout: IDLE_MS, ...(signal === undefined ? {} : { signal }) }, read);
    sent.on('timeout', () => sent.destroy(Object.assign(new Error('no data for a minute'), { code: 'ETIMEDOUT' })));
    return sent;
  };
  return { request: request as typeof http.request };
}

export function agentFor(secure: boolean, tls: TlsOptions = {}): http.Agent {
  const options = { keepAlive: true, maxSockets: 64, ...tls };
  return secure ? new https.Agent(options) : new http.Agent(options);
}

/** S3 error code, or the network's. */
export function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'unknown';
  const { code, name } = error as { code?: unknown; name?: unknown };
  return typeof code === 'string' ? code : typeof name === 'string' ? name : 'unknown';
}

const FULL = new Set([
  'XMinioStorageFull',
  'InsufficientStorage',
  'QuotaExceeded',
  'XMinioAdminBucketQuotaExceeded',
  'EntityTooLarge.Quota',
]);

/** MinIO's first refusals on a full disk are an InternalError with the system's words; later it says XMinioStorageFull. */
const saysFull = (error: unknown): boolean => error instanceof Error && /no space left on device|disk quota exceeded/i.test(error.message);

/** Of the key, the secret and the right; AccessDenied also hides whether an object is there. */
const UNAUTHORISED = new Set([
  'AccessDenied',
  'InvalidAccessKeyId',
  'SignatureDoesNotMatch',
  'AccountProblem',
  'AllAccessDisabled',
  'ExpiredToken',
  'InvalidToken',
  // Where the answer has no body (HEAD), the package makes a code of the status.
  'Forbidden',
  'XMinioInvalidAccessKey',
]);

/** The fault behind an error of the store. Abortions stay what they are. Object names are not told: in ct-clinical they hold UIDs. */
export function storeFault(error: unknown, bucket: string, doing: string, signal?: AbortSignal): unknown {
  if (error instanceof Fault) return error;
  if (signal?.aborted === true) return signal.reason;
  const code = codeOf(error);
  if (FULL.has(code) || saysFull(error)) return new Fault('STORE_FULL', true, `${doing} in ${bucket}: ${code}`, { cause: error });
  if (isUntrusted(code)) return new Fault('STORE_UNTRUSTED', true, `${doing} in ${bucket}: ${code}`, { cause: error });
  if (UNAUTHORISED.has(code)) return new Fault('STORE_UNAUTHORISED', true, `${doing} in ${bucket}: ${code}`, { cause: error });
  return new Fault('STORE_UNAVAILABLE', true, `${doing} in ${bucket}: ${code}`, { cause: error });
}
