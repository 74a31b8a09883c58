// The HTTP side of the S3 client: what the minio package lacks, namely abort signals and idle limits.
import { AsyncLocalStorage } from 'node:async_hooks';
import http from 'node:http';
import https from 'node:https';
import { Fault } from '../kernel/fault.ts';

/** The signal of the call in progress: the minio package has no argument for it. */
const currentSignal = new AsyncLocalStorage<AbortSignal>();

/** Silence on a connection after which the request has failed. */
const IDLE_MS = 60_000;

export function withSignal<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  if (signal === undefined) return work();
  if (signal.aborted) return Promise.reject(signal.reason);
  return currentSignal.run(signal, work);
}

/** A transport for the minio client: requests end by the current signal, or when nothing moves for a minute. */
export function transportFor(secure: boolean): Pick<typeof http, 'request'> {
  const module = secure ? https : http;
  const request = (options: http.RequestOptions, onResponse: (response: http.IncomingMessage) => void): http.ClientRequest => {
    const signal = currentSignal.getStore();
    const sent = module.request({ ...options, timeout: IDLE_MS, ...(signal === undefined ? {} : { signal }) }, onResponse);
    sent.on('timeout', () => sent.destroy(Object.assign(new Error('no data for a minute'), { code: 'ETIMEDOUT' })));
    return sent;
  };
  return { request: request as typeof http.request };
}

export function agentFor(secure: boolean): http.Agent {
  const options = { keepAlive: true, maxSockets: 64 };
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

/** The fault behind an error of the store. Abortions stay what they are. Object names are not told: in ct-clinical they hold UIDs. */
export function storeFault(error: unknown, bucket: string, doing: string, signal?: AbortSignal): unknown {
  if (error instanceof Fault) return error;
  if (signal?.aborted === true) return signal.reason;
  const code = codeOf(error);
  if (FULL.has(code)) return new Fault('STORE_FULL', true, `${doing} in ${bucket}: ${code}`, { cause: error });
  return new Fault('STORE_UNAVAILABLE', true, `${doing} in ${bucket}: ${code}`, { cause: error });
}
