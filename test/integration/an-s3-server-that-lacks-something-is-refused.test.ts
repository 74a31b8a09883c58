// The start-up check of the object store on the real MinIO, and on the same server behind a proxy that takes one feature
// away each time: every lack is named and ends the start, and a server that is away is not blamed for one.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Platform } from '../../deploy/local/platform.ts';
import { s3Store, type S3Store } from '../../services/adapters/s3-store.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

const prefix = testPrefix('conform');
const servers: Server[] = [];
let platform: Platform;

beforeAll(async () => {
  platform = await testPlatform();
  await storeAt(platform.minio.url).ensureBuckets(['suite']);
});

afterAll(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  await releasePlatform();
});

function storeAt(endpoint: string): S3Store {
  const { accessKey, secretKey } = platform.minio;
  return s3Store({ endpoint, accessKey, secretKey, bucketPrefix: prefix });
}

/** What a poor server does to a request: changes its headers, answers in MinIO's place (true), or neither. */
type Lack = (request: IncomingMessage, headers: http.IncomingHttpHeaders, response: ServerResponse) => boolean;

function answer(response: ServerResponse, status: number, body: string): true {
  response.writeHead(status, { 'content-type': 'application/xml', etag: '"x"' });
  response.end(body);
  return true;
}

/** Passes all to MinIO but for what it lacks. The signed host header stays, so signatures hold. */
async function poorServer(lack: Lack): Promise<string> {
  const server = http.createServer((request, response) => {
    const headers = { ...request.headers };
    if (lack(request, headers, response)) return void request.resume();
    const { port } = platform.minio;
    const onward = http.request({ host: '127.0.0.1', port, method: request.method, path: request.url, headers }, (from) => {
      response.writeHead(from.statusCode ?? 500, from.headers);
      from.pipe(response);
    });
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? (address?.port ?? 0) : 0}`;
}

/** The whole object, whatever range was asked for. */
function whole(request: IncomingMessage, response: ServerResponse): true {
  const key = (request.url ?? '').replace(/^\/[^/]+\//, '');
  void storeAt(platform.minio.url)
    .getBytes('suite', key, 1_000_000)
    .then((bytes) => response.writeHead(200, { etag: '"x"', 'content-length': bytes?.byteLength ?? 0 }).end(bytes));
  return true;
}

const isIn = (request: IncomingMessage, check: string): boolean => request.url?.includes(`/${check}`) === true;
const NOT_IMPLEMENTED = '<Error><Code>NotImplemented</Code><Message>no</Message></Error>';
const NO_OBJECTS =
  '<ListBucketResult><Name>b</Name><Prefix></Prefix><KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>';

const LACKS: readonly (readonly [string, RegExp, Lack])[] = [
  // The header is signed, so it can't be taken off on the way: the server says yes and keeps the first, or the second.
  [
    'the condition of a PUT',
    /If-None-Match/,
    (r, h, response) => r.method === 'PUT' && h['if-none-match'] !== undefined && answer(response, 200, ''),
  ],
  [
    'ranges',
    /bytes of a range/,
    (r, h, response) => r.method === 'GET' && h.range !== undefined && isIn(r, 'rangeGet') && whole(r, response),
  ],
  [
    'uploads in parts',
    /multipart/,
    (r, _, response) => r.method === 'POST' && /[?&]uploads/.test(r.url ?? '') && answer(response, 501, NOT_IMPLEMENTED),
  ],
  [
    'listing after PUT',
    /does not list/,
    (r, _, response) => r.method === 'GET' && /list-type=2/.test(r.url ?? '') && answer(response, 200, NO_OBJECTS),
  ],
  [
    'removal',
    /after its removal/,
    (r, _, response) => r.method === 'POST' && /[?&]delete/.test(r.url ?? '') && answer(response, 200, '<DeleteResult></DeleteResult>'),
  ],
];

test('MinIO has all of it, and nothing stays behind', async () => {
  const store = storeAt(await poorServer(() => false));
  await store.conformance('suite');
  expect(await Array.fromAsync(store.list('suite', ''))).toEqual([]);
});

test.each(LACKS)('a server without %s is refused by name', async (_, says, lack) => {
  const checked = storeAt(await poorServer(lack)).conformance('suite');
  await expect(checked).rejects.toMatchObject({ code: 'BAD_CONFIG', retryable: false });
  await expect(checked).rejects.toThrow(says);
  await expect(checked).rejects.toThrow(/MinIO is tried/);
  for (const [, other] of LACKS.filter(([, o]) => String(o) !== String(says))) await expect(checked).rejects.not.toThrow(other);
});

test('everything that is lacking is named at once', async () => {
  const all: Lack = (r, h, response) => LACKS.slice(0, 4).some(([, , lack]) => lack(r, h, response));
  const checked = storeAt(await poorServer(all)).conformance('suite');
  for (const [, says] of LACKS.slice(0, 4)) await expect(checked).rejects.toThrow(says);
});

test('a server that goes away during the check is away, not poor', async () => {
  const gone = await poorServer((r, _, response) => r.method === 'POST' && /[?&]uploads/.test(r.url ?? '') && (response.destroy(), true));
  await expect(storeAt(gone).conformance('suite')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', retryable: true });
});
