// Nobody builds or approves without the token.
import { expect, test } from '@jest/globals';
import type { Database } from '../ports/database.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { releaseServer } from './server.ts';

const TOKEN = 'the-token-of-operators';

// What is asked ends at the version's name or the approvers', before database or store are touched.
const serverWith = (token: string | undefined) =>
  releaseServer({
    database: {} as Database,
    store: {} as ObjectStore,
    secret: Buffer.alloc(32, 1),
    codeVersion: 'test',
    stagingDir: 'nowhere',
    takenUntil: async () => await Promise.resolve([]),
    token,
    failed: () => undefined,
  });

test.each([
  ['/releases', { version: 'no-version' }, 'BAD_VERSION'],
  ['/releases/v1.0.0/approve', { approvers: ['Anna'], simulated: false }, 'NEEDS_TWO_APPROVERS'],
])('POST %s', async (url, payload, reached) => {
  const server = serverWith(TOKEN);
  const post = async (headers: Record<string, string>, remoteAddress = '127.0.0.1'): Promise<[number, string | undefined]> => {
    const r = await server.inject({ method: 'POST', url, payload, headers, remoteAddress });
    return [r.statusCode, r.json<{ error?: string }>().error];
  };
  const authorization = `Bearer ${TOKEN}`;
  expect(await post({})).toEqual([403, 'FORBIDDEN']);
  expect(await post({ authorization: 'Bearer another-token-of-operators' })).toEqual([403, 'FORBIDDEN']);
  expect(await post({ authorization }, '192.0.2.1')).toEqual([403, 'FORBIDDEN']);
  expect(await post({ authorization, origin: 'https://example.org' })).toEqual([403, 'FORBIDDEN']);
  expect(await post({ authorization })).toEqual([400, reached]);
  await server.close();
});

test('without a token in the environment nothing can be built', async () => {
  const server = serverWith(undefined);
  const post = { method: 'POST', url: '/releases', payload: { version: 'no-version' } } as const;
  expect((await server.inject(post)).statusCode).toBe(403);
  expect((await server.inject({ ...post, headers: { authorization: 'Bearer undefined' } })).statusCode).toBe(403);
  await server.close();
});
