// What the parts can do at all, with bare clients: no parsing, no hash, no check. Every function answers the bytes it moved.
import http from 'node:http';
import { Client } from 'minio';
import type { OrthancInstance, Platform } from '../deploy/local/platform.ts';
import { basicAuth } from '../services/adapters/dicomweb-http.ts';

export const ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*';
const LINK_SECONDS = 3600;

/** Runs `work` on the items, `width` at a time, and adds up what each answers. */
export const sumOf = async <T>(items: readonly T[], width: number, work: (item: T, index: number) => Promise<number>): Promise<number> => {
  let next = 0;
  let sum = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < items.length; i = next++) {
      const item = items[i];
      if (item !== undefined) sum += await work(item, i);
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  return sum;
};

export const minioClient = ({ minio }: Pick<Platform, 'minio'>): Client =>
  new Client({ ...minio, endPoint: minio.endPoint, port: minio.port, useSSL: false, region: 'us-east-1' });

const agent = new http.Agent({ keepAlive: true });

type Answer = http.IncomingMessage;

const answerOf = (request: http.ClientRequest): Promise<Answer> =>
  new Promise((resolve, reject) => {
    request.on('error', reject);
    request.on('response', (answer) => {
      if (answer.statusCode === 200) resolve(answer);
      else reject(new Error(`HTTP ${answer.statusCode}`));
    });
  });

const discard = async (answer: Answer): Promise<number> => {
  let bytes = 0;
  answer.on('data', (chunk: Buffer) => (bytes += chunk.length));
  await new Promise((resolve, reject) => answer.on('end', resolve).on('error', reject));
  return bytes;
};

const optionsOf = (url: string): http.RequestOptions => {
  const { hostname, port, pathname, search } = new URL(url);
  return { hostname, port, path: pathname + search, agent };
};

/** The series of a study, `<study>/series/<series>`. */
const wado = (pacs: OrthancInstance, path: string): Promise<Answer> =>
  answerOf(http.get({ ...optionsOf(`${pacs.dicomWebUrl}/studies/${path}`), headers: { authorization: basicAuth(pacs), accept: ACCEPT } }));

export const readSeries = async (pacs: OrthancInstance, path: string): Promise<number> => discard(await wado(pacs, path));

/** One series in memory: what the PUT limit sends. */
export const seriesBytes = async (pacs: OrthancInstance, path: string): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  for await (const chunk of await wado(pacs, path)) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
};

const putRequest = async (client: Client, bucket: string, key: string, length: number): Promise<http.ClientRequest> =>
  http.request({
    ...optionsOf(await client.presignedPutObject(bucket, key, LINK_SECONDS)),
    method: 'PUT',
    headers: { 'content-length': length },
  });

export const putObject = async (client: Client, bucket: string, key: string, body: Buffer): Promise<number> => {
  const request = await putRequest(client, bucket, key, body.length);
  const answered = answerOf(request);
  request.end(body);
  await discard(await answered);
  return body.length;
};

export const getObject = async (client: Client, bucket: string, key: string): Promise<number> =>
  discard(await answerOf(http.get(optionsOf(await client.presignedGetObject(bucket, key, LINK_SECONDS)))));

/** WADO-RS straight into a PUT, whose length is known. */
export const pipeSeries = async (
  pacs: OrthancInstance,
  path: string,
  to: { client: Client; bucket: string; key: string; length: number },
): Promise<number> => {
  const [answer, request] = await Promise.all([wado(pacs, path), putRequest(to.client, to.bucket, to.key, to.length)]);
  const answered = answerOf(request);
  answer.pipe(request);
  await discard(await answered);
  return to.length;
};
