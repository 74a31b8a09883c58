// Nobody closes a round without the token.
import { expect, test } from '@jest/globals';
import type { Database } from '../ports/database.ts';
import { parseCohort } from './cohort.ts';
import { controlServer } from './rounds.ts';

test('POST /rounds', async () => {
  let asked = 0;
  const database = {
    transaction: () => {
      asked += 1;
      return Promise.resolve(undefined);
    },
  } as unknown as Database;
  const server = controlServer({
    database,
    cohort: {
      cohort: parseCohort('{format: ctstream-cohort/1, name: test, version: 1, size: 1, perCentreCap: 1, seed: s}'),
      sha256: 'c'.repeat(64),
    },
    rules: { everyStudies: 1, everyMs: 1, holeWaitMs: 1 },
    token: 'the-token-of-operators',
    closed: () => undefined,
    failed: () => undefined,
  });
  const post = async (headers: Record<string, string>, remoteAddress = '127.0.0.1'): Promise<number> =>
    (await server.inject({ method: 'POST', url: '/rounds', headers, remoteAddress })).statusCode;
  const authorization = 'Bearer the-token-of-operators';
  expect(await post({})).toBe(403);
  expect(await post({ authorization: 'Bearer another-token' })).toBe(403);
  expect(await post({ authorization }, '192.0.2.1')).toBe(403);
  expect(await post({ authorization, origin: 'https://example.org' })).toBe(403);
  expect(asked).toBe(0);
  expect(await post({ authorization })).toBe(200);
  expect(asked).toBe(1);
  await server.close();
});
