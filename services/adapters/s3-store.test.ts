// What only shows on the wire: the region that a request is signed for, and what ends a request to a server that is silent.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { parseEnv, storeOptions, storeShape } from '../runtime/env.ts';
import { z } from 'zod';
import { s3Store, type S3Store } from './s3-store.ts';

let server: Server;
const asked: { line: string; scope: string; body: string }[] = [];

beforeAll(async () => {
  server = createServer((request, response) => {
    void text(request).then((body) => {
      const scope =
        /Credential=([^,]*)/
          .exec(request.headers.authorization ?? '')?.[1]
          ?.split('/')
          .at(2) ?? '';
      asked.push({ line: `${request.method} ${request.url}`, scope, body });
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => void server.close());

test.each([
  [{ S3_REGION: 'eu-central-1' }, 'eu-central-1'],
  [{}, 'us-east-1'],
])('every request is signed for S3_REGION, and buckets are made there: %j', async (given, region) => {
  asked.length = 0;
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const env = parseEnv(z.object(storeShape), { S3_ENDPOINT: endpoint, S3_ACCESS_KEY: 'a', S3_SECRET_KEY: 'secretsecret', ...given });
  const store = s3Store(storeOptions(env));
  await store.put('some', 'key', Buffer.from('x'));
  await store.head('some', 'key');
  await store.ensureBuckets(['new']);
  expect(asked.map(({ line, scope }) => [line, scope])).toEqual([
    ['PUT /some/key', region],
    ['HEAD /some/key', region],
    ['PUT /new', region],
  ]);
  expect(asked[2]?.body).toContain(region === 'us-east-1' ? '' : `<LocationConstraint>${region}</LocationConstraint>`);
});

test('a bucket is removed with all that is in it, and one that is not there is not named', async () => {
  const lines: string[] = [];
  const bucket = createServer((request, response) => {
    lines.push(`${request.method} ${request.url?.split('?')[0]}`);
    if (request.url?.startsWith('/x-gone') === true) response.statusCode = 404;
    if (request.method === 'DELETE') response.statusCode = 204;
    const isListing = request.method === 'GET';
    response.end(isListing ? LAST_PAGE : request.method === 'POST' ? '<DeleteResult></DeleteResult>' : '');
  });
  await new Promise<void>((resolve) => bucket.listen(0, '127.0.0.1', resolve));
  try {
    const endpoint = `http://127.0.0.1:${(bucket.address() as AddressInfo).port}`;
    const store = s3Store({ endpoint, accessKey: 'a', secretKey: 'secretsecret', bucketPrefix: 'x-' });
    expect(await store.bucketsOf(['here', 'gone'])).toEqual(['here']);
    lines.length = 0;
    expect(await store.removeBucket('here')).toBe(1);
    expect(lines.map((line) => line.replace(/\/$/, ''))).toEqual(['GET /x-here', 'POST /x-here', 'DELETE /x-here']);
  } finally {
    bucket.closeAllConnections();
    bucket.close();
  }
});

const LAST_PAGE = `<?xml version="1.0"?><ListBucketResult><Name>some</Name><IsTruncated>false</IsTruncated>
<Contents><Key>a</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"e"</ETag></Contents></ListBucketResult>`;

const FIRST_PAGE = `<?xml version="1.0"?><ListBucketResult><Name>some</Name><IsTruncated>true</IsTruncated>
<NextContinuationToken>more</NextContinuationToken><Contents><Key>a</Key><Size>1</Size>
<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"e"</ETag></Contents></ListBucketResult>`;

test.each([
  ['from the first page', [], []],
  ['in the middle', [FIRST_PAGE], ['a']],
])('a listing ends with its signal at a server that falls silent %s', async (_, pages, keys) => {
  const answers = [...pages];
  const silent = createServer((_request, response) => {
    const page = answers.shift();
    if (page !== undefined) response.end(page);
  });
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  try {
    const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const store = s3Store({ endpoint, accessKey: 'a', secretKey: 'secretsecret', bucketPrefix: '' });
    const found: string[] = [];
    const listing = async (): Promise<void> => {
      for await (const { key } of store.list('some', '', AbortSignal.timeout(1000))) found.push(key);
    };
    await expect(listing()).rejects.toMatchObject({ name: 'TimeoutError' });
    expect(found).toEqual(keys);
  } finally {
    silent.closeAllConnections();
    silent.close();
  }
});

async function removingAt(answers: string[], work: (store: S3Store) => Promise<void>): Promise<void> {
  const server = createServer((request, response) => {
    request.resume();
    response.end(`<?xml version="1.0"?><DeleteResult>${answers.shift()}</DeleteResult>`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await work(s3Store({ endpoint, accessKey: 'a', secretKey: 'secretsecret', bucketPrefix: '' }));
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const notRemoved = (key: string, code: string): string => `<Error><Key>${key}</Key><Code>${code}</Code><Message>no</Message></Error>`;

test('an object that the server refuses to remove is a fault, though the answer is 200', async () => {
  const refusal = notRemoved('b', 'AccessDenied');
  await removingAt([refusal, `${refusal}${refusal}`, ''], async (store) => {
    await expect(store.remove('some', ['a', 'b'])).rejects.toMatchObject({ code: 'STORE_UNAUTHORISED' });
    await expect(store.remove('some', ['a', 'b'])).rejects.toMatchObject({ code: 'STORE_UNAUTHORISED' });
    await store.remove('some', ['a', 'b']);
  });
});

test('an object that is not there is removed, also where the server says that it is missing', async () => {
  const missing = `${notRemoved('a', 'NoSuchKey')}${notRemoved('b', 'NoSuchVersion')}`;
  await removingAt([notRemoved('a', 'NoSuchKey'), missing, `${missing}${notRemoved('c', 'AccessDenied')}`], async (store) => {
    await store.remove('some', ['a']);
    await store.remove('some', ['a', 'b']);
    await expect(store.remove('some', ['a', 'b', 'c'])).rejects.toMatchObject({ code: 'STORE_UNAUTHORISED' });
  });
});
