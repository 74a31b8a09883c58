// A PACS that answers 500 once gets the file again; one that keeps refusing is told of, and asked no more than three times.
import { afterEach, expect, test } from '@jest/globals';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { feed } from './feed.ts';

let server: Server | undefined;
afterEach(() => void server?.close());

async function pacsThatAnswers(...codes: number[]): Promise<{ url: string; asked: () => number }> {
  let asked = 0;
  const started = createServer((request, response) => {
    request.resume().on('end', () => {
      response.statusCode = codes[Math.min(asked, codes.length - 1)] ?? 500;
      asked += 1;
      response.end();
    });
  });
  server = started;
  await new Promise<void>((done) => void started.listen(0, '127.0.0.1', done));
  return { url: `http://127.0.0.1:${(started.address() as AddressInfo).port}`, asked: () => asked };
}

test.each([
  [[500, 200], true, 200, 2],
  [[500], false, 500, 3],
  [[400], false, 400, 1],
])('answers %j', async (codes, stored, httpCode, asked) => {
  const pacs = await pacsThatAnswers(...codes);
  const target = { orthancUrl: pacs.url, dicomWebUrl: pacs.url, username: 'u', password: 'p' };
  const files = [{ path: 'a.dcm', bytes: () => Promise.resolve(new Uint8Array(4)) }];
  const [result] = await feed(files, target, { signal: AbortSignal.timeout(10_000) });
  expect([result?.stored, result?.httpCode, pacs.asked()]).toEqual([stored, httpCode, asked]);
});
