// One HTTP request to a part of the platform, also over TLS with the platform's own certificate, which fetch can't be given.
import http from 'node:http';
import https from 'node:https';

export interface PartRequest {
  readonly port: number;
  /** Certificate that vouches for the part; without it the request is plain HTTP. */
  readonly ca?: string | undefined;
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  readonly timeoutMs: number;
}

export function request(o: PartRequest): Promise<{ readonly status: number; readonly text: string }> {
  const { port, method, path, headers, body } = o;
  const options = { host: '127.0.0.1', port, method, path, headers: { ...headers }, signal: AbortSignal.timeout(o.timeoutMs) };
  return new Promise((resolve, reject) => {
    const sent = o.ca === undefined ? http.request(options) : https.request({ ...options, ca: o.ca });
    sent.on('error', reject);
    sent.on('response', (response) => {
      const parts: Buffer[] = [];
      response.on('error', reject);
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString('utf8') }));
    });
    sent.end(body);
  });
}
