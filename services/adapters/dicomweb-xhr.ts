// The XMLHttpRequest that dicomweb-client needs, over fetch: only what that client calls, for JSON answers,
// with a time limit, a size limit and abort.
import { bodyChunks, faultOfFailure, wholeBody } from './dicomweb-http.ts';

export interface FetchXhrOptions {
  readonly what: string;
  readonly authorization: string;
  /** For the whole exchange. */
  readonly timeoutMs: number;
  readonly limitBytes: number;
  readonly signal: AbortSignal;
}

/** One request, as dicomweb-client drives it. After a network failure `status` is 0 and `failure` says why. */
export class FetchXhr {
  readyState = 0;
  status = 0;
  response: unknown = null;
  responseType = '';
  withCredentials = false;
  failure: unknown;
  onreadystatechange: (() => void) | null = null;
  onloadstart: (() => void) | null = null;
  onloadend: (() => void) | null = null;
  onprogress: (() => void) | null = null;
  readonly #options: FetchXhrOptions;
  readonly #abort = new AbortController();
  readonly #headers: Record<string, string> = {};
  #method = 'GET';
  #url = '';
  #answer: Headers = new Headers();

  constructor(options: FetchXhrOptions) {
    this.#options = options;
  }

  open(method: string, url: string): void {
    this.#method = method.toUpperCase();
    // The client encodes the commas of includefield; PS3.18 8.3.4.3 writes them plain and Orthanc reads only that.
    this.#url = url.replaceAll('%2C', ',');
    this.readyState = 1;
  }

  setRequestHeader(name: string, value: string): void {
    this.#headers[name] = value;
  }

  getResponseHeader(name: string): string | null {
    return this.#answer.get(name);
  }

  getAllResponseHeaders(): string {
    return [...this.#answer].map(([name, value]) => `${name}: ${value}\r\n`).join('');
  }

  abort(): void {
    this.#abort.abort();
  }

  send(): void {
    this.onloadstart?.();
    this.#exchange()
      .catch((error: unknown) => {
        this.status = 0;
        this.failure = faultOfFailure(error, this.#options.what, this.#options.signal);
      })
      .finally(() => {
        this.readyState = 4;
        this.onreadystatechange?.();
        this.onloadend?.();
      });
  }

  async #exchange(): Promise<void> {
    const o = this.#options;
    const response = await fetch(this.#url, {
      method: this.#method,
      headers: { ...this.#headers, authorization: o.authorization },
      redirect: 'manual',
      signal: AbortSignal.any([o.signal, this.#abort.signal, AbortSignal.timeout(o.timeoutMs)]),
    });
    this.#answer = response.headers;
    if (response.status !== 200) {
      for await (const _ of bodyChunks(response, o.what, o.timeoutMs, o.signal)) break;
    } else {
      const bytes = await wholeBody(response, o.what, o.limitBytes, o.timeoutMs, o.signal);
      this.response = parseJson(bytes);
    }
    this.status = response.status;
  }
}

/** As the XMLHttpRequest standard says: null when the body is no JSON. */
function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8')) as unknown;
  } catch {
    return null;
  }
}
