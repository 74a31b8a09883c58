// A small real server that takes spans as Zipkin JSON, in place of a Zipkin: what every stage sends is kept.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Zipkin v2, the parts that we look at; `raw` is all of it as it came. */
export interface ZipkinSpan {
  readonly traceId: string;
  readonly id: string;
  readonly parentId?: string;
  readonly name: string;
  readonly localEndpoint?: { readonly serviceName?: string };
  readonly tags?: Readonly<Record<string, string>>;
}

export interface SpanCollector {
  /** For ZIPKIN_URL. */
  readonly url: string;
  readonly spans: readonly ZipkinSpan[];
  close(): Promise<void>;
}

export function serviceOf(span: ZipkinSpan): string {
  return span.localEndpoint?.serviceName ?? '';
}

/** Listens on a free port of loopback. */
export async function startSpanCollector(): Promise<SpanCollector> {
  const spans: ZipkinSpan[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      spans.push(...(JSON.parse(Buffer.concat(chunks).toString('utf8')) as ZipkinSpan[]));
      response.writeHead(202).end();
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  server.unref();
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/v2/spans`,
    spans,
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((done) => void server.close(() => done()));
    },
  };
}
