// The contract of the object store on a real S3 server, and what only a real one can show.
import { afterAll, expect, test } from '@jest/globals';
import { createServer, type Server } from 'node:http';
import { createServer as createTcp } from 'node:net';
import { s3Store, type S3Store } from '../../services/adapters/s3-store.ts';
import { storeSuite } from '../contract/store-suite.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

// Real parts on a busy machine: a limit, not an expectation.

const bucketPrefix = testPrefix('store');

async function realStore(): Promise<S3Store> {
  const { minio } = await testPlatform();
  return s3Store({
    endpoint: `http://${minio.endPoint}:${minio.port}`,
    accessKey: minio.accessKey,
    secretKey: minio.secretKey,
    bucketPrefix,
  });
}

afterAll(async () => {
  await releasePlatform();
});

storeSuite('minio on MinIO', async () => {
  const store = await realStore();
  await store.ensureBuckets(['suite']);
  await store.ensureBuckets(['suite']);
  return { store, bucket: 'suite', close: async () => undefined };
});

test('the server honours If-None-Match, and one that does not is refused at start', async () => {
  const store = await realStore();
  await store.ensureBuckets(['conform']);
  await expect(store.conformance('conform')).resolves.toBeUndefined();
  const server = await careless();
  await expect(
    s3Store({ endpoint: server.url, accessKey: 'a', secretKey: 'secretsecret', bucketPrefix: '' }).conformance('any-bucket'),
  ).rejects.toMatchObject({ code: 'BAD_CONFIG' });
  server.close();
});

/** An S3 server that takes every PUT. */
async function careless(): Promise<{ url: string; close(): void }> {
  let last = Buffer.alloc(0);
  const server: Server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (chunk: Buffer) => parts.push(chunk));
    request.on('end', () => {
      if (request.method === 'PUT') last = Buffer.concat(parts);
      response.writeHead(200, { etag: '"x"', 'content-type': 'application/xml' });
      response.end(request.method === 'GET' ? last : request.method === 'POST' ? '<DeleteResult></DeleteResult>' : '');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? (address?.port ?? 0) : 0}`,
    close: () => server.closeAllConnections() ?? server.close(),
  };
}

test('a server that is away, or drops the connection, is STORE_UNAVAILABLE and worth another try', async () => {
  const server = createTcp((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const store = s3Store({ endpoint: `http://127.0.0.1:${port}`, accessKey: 'a', secretKey: 'secretsecret', bucketPrefix: '' });
  const away = { code: 'STORE_UNAVAILABLE', retryable: true };
  await expect(store.put('bucket', 'k', Buffer.from('x'))).rejects.toMatchObject(away);
  await expect(store.getBytes('bucket', 'k', 10)).rejects.toMatchObject(away);
  await expect(store.head('bucket', 'k')).rejects.toMatchObject(away);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  await expect(store.put('bucket', 'k', Buffer.from('x'))).rejects.toMatchObject(away);
});

test('no bucket or no right is a fault that names the bucket and no object', async () => {
  const { minio } = await testPlatform();
  const user = `${bucketPrefix}reader`;
  await minio.addUser(
    user,
    'a-long-secret',
    JSON.stringify({
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Action: ['s3:GetObject'], Resource: [`arn:aws:s3:::${bucketPrefix}suite/*`] }],
    }),
  );
  const store = s3Store({ endpoint: `http://${minio.endPoint}:${minio.port}`, accessKey: user, secretKey: 'a-long-secret', bucketPrefix });
  await expect(store.put('suite', '1.2.840.113', Buffer.from('x'))).rejects.toThrow(
    `STORE_UNAUTHORISED: writing in ${bucketPrefix}suite: AccessDenied`,
  );
  await expect((await realStore()).put('no-such', '1.2.840.113', Buffer.from('x'))).rejects.toThrow(
    /^STORE_UNAVAILABLE: writing in .*no-such: NoSuchBucket$/,
  );
});

test('a stream of unknown size is stored in bounded memory', async () => {
  const store = await realStore();
  const size = 400 * 1024 * 1024;
  const chunk = Buffer.alloc(1024 * 1024, 3);
  let most = 0;
  async function* source(): AsyncGenerator<Uint8Array> {
    for (let sent = 0; sent < size; sent += chunk.length) {
      yield chunk;
      most = Math.max(most, process.memoryUsage().arrayBuffers);
    }
  }
  const before = process.memoryUsage().arrayBuffers;
  await store.put('suite', 'big', source());
  expect((await store.head('suite', 'big'))?.sizeBytes).toBe(size);
  // A third of the object would already be no stream; two parts and what the collector has not seen yet are about 100 MB.
  expect(most - before).toBeLessThan(size / 2);
  await store.remove('suite', ['big']);
});
