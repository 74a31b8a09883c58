// The DICOMweb adapters against servers that misbehave as real ones do.
import { afterEach, describe, expect, test } from '@jest/globals';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StudyInstanceUid } from '../kernel/ids.ts';
import type { DicomWeb, RetrievedPart } from '../ports/dicomweb.ts';
import { dicomWebClient } from './dicomweb-client.ts';
import { orthancChanges } from './dicomweb-orthanc.ts';

const servers: Server[] = [];
const signal = new AbortController().signal;
const study = '1.2' as StudyInstanceUid;

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function listen(handler: Handler): Promise<string> {
  const server = createServer(handler);
  servers.push(server);
  await new Promise<void>((ready) => void server.listen(0, '127.0.0.1', ready));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const optionsOf = (root: string) => ({
  centre: 'c1',
  dicomWebUrl: `${root}/dicom-web`,
  username: 'u',
  password: 'p',
  timeoutMs: 400,
  idleTimeoutMs: 400,
});

const serve = async (handler: Handler): Promise<DicomWeb> => dicomWebClient(optionsOf(await listen(handler)));

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

const row = (uid: string): object => ({
  '0020000D': { vr: 'UI', Value: [uid] },
  '00080061': { vr: 'CS', Value: ['CT\\SR'] },
  '00201208': { vr: 'IS', Value: [7] },
});
const json = (response: ServerResponse, body: unknown): void =>
  void response.writeHead(200, { 'content-type': 'application/dicom+json' }).end(JSON.stringify(body));

async function uids(web: DicomWeb, pageSize: number): Promise<string[]> {
  const found: string[] = [];
  for await (const s of web.studies({ pageSize }, signal)) found.push(s.studyInstanceUid);
  return found;
}

async function readAll(parts: AsyncIterable<RetrievedPart> | undefined): Promise<number[]> {
  const sizes: number[] = [];
  for await (const part of parts ?? []) {
    let size = 0;
    for await (const chunk of part.body) size += chunk.length;
    sizes.push(size);
  }
  return sizes;
}

describe('QIDO-RS', () => {
  const all = Array.from({ length: 25 }, (_, i) => row(`1.2.${i}`));

  test('pages to the end, also when the server gives fewer rows than asked for', async () => {
    const web = await serve((request, response) => {
      const query = new URL(request.url ?? '', 'http://x').searchParams;
      const offset = Number(query.get('offset'));
      json(response, all.slice(offset, offset + Math.min(Number(query.get('limit')), 4)));
    });
    expect(await uids(web, 10)).toHaveLength(25);
  });

  test('a server that ignores offset gives each study once, and 204 is none', async () => {
    expect(await uids(await serve((_request, response) => json(response, all)), 10)).toHaveLength(25);
    expect(await uids(await serve((_request, response) => void response.writeHead(204).end()), 10)).toEqual([]);
  });

  test('a server that ignores offset and not limit is not taken for one that has no more', async () => {
    const having = (rows: readonly object[]): Promise<DicomWeb> =>
      serve((request, response) => json(response, rows.slice(0, Number(new URL(request.url ?? '', 'http://x').searchParams.get('limit')))));
    await expect(uids(await having(all), 10)).rejects.toMatchObject({ code: 'PACS_ERROR', retryable: true });
    expect(await uids(await having(all.slice(0, 7)), 10)).toHaveLength(7);
    const instances = Array.from({ length: 300 }, (_, i) => ({ '00080018': { vr: 'UI', Value: [`1.${i}`] } }));
    await expect((await having(instances)).instances(study, signal)).rejects.toMatchObject({ code: 'PACS_ERROR' });
    expect(await (await having(instances.slice(0, 200))).instances(study, signal)).toHaveLength(200);
  });

  const MIB = 1024 * 1024;
  const instanceRow = (i: number): object => ({ '00080018': { vr: 'UI', Value: [`1.${i}`] } });
  const query = (request: IncomingMessage): { offset: number; limit: number } => {
    const { searchParams } = new URL(request.url ?? '', 'http://x');
    return { offset: Number(searchParams.get('offset')), limit: Number(searchParams.get('limit')) };
  };

  test('what a study has is read to its end, or to the page behind what the caller can use: there may be far more than was announced', async () => {
    let pages = 0;
    const upTo = (most: number): Promise<DicomWeb> =>
      serve((request, response) => {
        pages += 1;
        const { offset, limit } = query(request);
        const rows = Math.max(0, Math.min(limit, most - offset));
        json(
          response,
          Array.from({ length: rows }, (_, i) => instanceRow(offset + i)),
        );
      });
    expect(await (await upTo(20_000)).instances(study, signal, 21_000)).toHaveLength(20_000);
    pages = 0;
    const larger = await upTo(5_000);
    expect(await larger.instances(study, signal, 600)).toHaveLength(601);
    expect(pages).toBe(3);
    expect(await larger.series(study, signal, 0)).toHaveLength(1);
  });

  test('an answer about one study has a limit that fits one study; the list of a whole PACS may be longer', async () => {
    const long = JSON.stringify([{ ...row('1.2'), '00081030': { vr: 'LO', Value: ['x'.repeat(17 * MIB)] } }]);
    const root = await listen((_request, response) => void response.writeHead(200).end(long));
    const web = dicomWebClient({ ...optionsOf(root), timeoutMs: 20_000 });
    for (const search of [web.study, web.series, web.instances])
      await expect(search(study, signal)).rejects.toMatchObject({ code: 'PACS_ERROR' });
    expect(await uids(web, 10)).toEqual(['1.2']);
  });

  test('of a row nothing is kept that is longer than UIDs can be', async () => {
    const web = await serve((_request, response) => json(response, [{ '00080018': { vr: 'UI', Value: ['1'.repeat(5000)] } }]));
    await expect(web.instances(study, signal)).rejects.toMatchObject({ code: 'PACS_ERROR', retryable: true });
  });

  test('a server that goes back to its last page at the end has paged all the same', async () => {
    const web = await serve((request, response) => {
      const query = new URL(request.url ?? '', 'http://x').searchParams;
      const offset = Math.min(Number(query.get('offset')), 10);
      json(response, all.slice(0, 20).slice(offset, offset + Number(query.get('limit'))));
    });
    expect(await uids(web, 10)).toHaveLength(20);
  });

  test('rows are read as the DICOM JSON model says, and the search asks as the standard writes it', async () => {
    let asked: IncomingMessage | undefined;
    const web = await serve((request, response) => {
      asked = request;
      json(response, [row('1.2'), row('1.3'), { '0020000D': { vr: 'UI' } }]);
    });
    expect(await web.study(study, signal)).toEqual([
      { studyInstanceUid: '1.2', patientId: '', studyDate: '', studyDescription: '', modalities: ['CT', 'SR'], instanceCount: 7 },
    ]);
    expect(asked?.url).toBe('/dicom-web/studies?includefield=00080061,00081030,00201208&StudyInstanceUID=1.2');
    expect(asked?.headers.authorization).toBe(`Basic ${Buffer.from('u:p').toString('base64')}`);
    expect(asked?.headers.accept).toBe('application/dicom+json');
  });

  test.each([
    ['10000000', 10_000_000],
    ['4294967295', undefined],
    ['-1', undefined],
    ['1.5', undefined],
    ['', undefined],
  ])('a study that is said to have "%s" instances has %s', async (said, count) => {
    const web = await serve((_request, response) => json(response, [{ ...row('1.2'), '00201208': { vr: 'IS', Value: [said] } }]));
    expect((await web.study(study, signal)).map((s) => s.instanceCount)).toEqual([count]);
  });

  test.each([
    ['an error', 500, '', { code: 'PACS_ERROR', retryable: true }],
    ['a bad request', 400, '', { code: 'PACS_ERROR', retryable: false }],
    ['a redirect', 302, '', { code: 'PACS_ERROR', retryable: true }],
    ['forbidden', 403, '', { code: 'PACS_UNAUTHORISED', retryable: true }],
    ['no JSON', 200, '<html>', { code: 'PACS_ERROR', retryable: true }],
    ['another JSON', 200, '{"a":1}', { code: 'PACS_ERROR', retryable: true }],
  ])('%s has a code', async (_name, status, body, fault) => {
    const web = await serve((_request, response) => void response.writeHead(status, { location: 'http://127.0.0.1:9/' }).end(body));
    await expect(web.study(study, signal)).rejects.toMatchObject(fault);
  });

  test("a server that does not answer, and the caller's own abort, end the wait", async () => {
    const web = await serve(() => undefined);
    await expect(web.study(study, signal)).rejects.toMatchObject({ code: 'PACS_UNREACHABLE', retryable: true });
    await expect(web.study(study, AbortSignal.abort(new Error('stopping')))).rejects.toThrow('stopping');
  });
});

test("an Orthanc's changes come in their order, those that follow each other with one question", async () => {
  const changes = ['NewInstance i1', 'NewInstance i2', 'NewSeries s1', 'StableStudy t1', 'NewInstance i1'];
  let questions = 0;
  const root = await listen((request, response) => {
    if (request.url?.startsWith('/changes') === true) {
      const rows = changes.map((c, n) => ({ ChangeType: c.split(' ')[0], ID: c.split(' ')[1], Seq: n + 1 }));
      return json(response, { Changes: rows, Done: true, Last: 5 });
    }
    questions += 1;
    void text(request).then((body) => {
      const { Resources } = JSON.parse(body) as { Resources: string[] };
      json(
        response,
        [...new Set(Resources.map((id) => `1.${id.slice(1)}`))].map((uid) => ({ ID: uid, MainDicomTags: { StudyInstanceUID: uid } })),
      );
    });
  });
  expect(await orthancChanges({ ...optionsOf(root), orthancUrl: root }).since(0, 500, signal)).toEqual({
    changes: [
      { kind: 'touched', studies: ['1.1', '1.2'] },
      { kind: 'stable', studies: ['1.1'] },
      { kind: 'touched', studies: ['1.1'] },
    ],
    last: 5,
    done: true,
  });
  expect(questions).toBe(3);
});

describe('WADO-RS', () => {
  const type = 'multipart/related; type="application/dicom"; boundary=b';
  const part = (body: string | Buffer): Buffer =>
    Buffer.concat([Buffer.from('--b\r\nContent-Type: application/dicom\r\n\r\n'), Buffer.from(body), Buffer.from('\r\n')]);

  test('asks for the stored syntax and gives the parts; 404 is undefined; one bare file is a part', async () => {
    let accept: string | undefined;
    const web = await serve((request, response) => {
      accept = request.headers.accept;
      if (request.url?.endsWith('/none') === true) response.writeHead(404).end();
      else if (request.url?.endsWith('/single') === true) response.writeHead(200, { 'content-type': 'application/dicom' }).end('abc');
      else response.writeHead(200, { 'content-type': type }).end(Buffer.concat([part('one'), part(''), Buffer.from('--b--')]));
    });
    expect(await readAll(await web.retrieveSeries(study, '1.2.3', signal))).toEqual([3, 0]);
    expect(accept).toBe('multipart/related; type="application/dicom"; transfer-syntax=*');
    expect(await web.retrieveSeries(study, 'none', signal)).toBeUndefined();
    expect(await readAll(await web.retrieveSeries(study, 'single', signal))).toEqual([3]);
  });

  test('a stream that stalls, breaks off, ends without its boundary or is something else has a code', async () => {
    const web = await serve((request, response) => {
      response.writeHead(200, { 'content-type': request.url?.endsWith('/html') === true ? 'text/html' : type });
      response.write(part('one'));
      if (request.url?.endsWith('/breaks') === true) setTimeout(() => response.destroy(), 50);
      else if (request.url?.endsWith('/stalls') !== true) response.end();
    });
    const failing = async (series: string): Promise<number[]> => readAll(await web.retrieveSeries(study, series, signal));
    await expect(failing('stalls')).rejects.toMatchObject({ code: 'PACS_UNREACHABLE', retryable: true });
    await expect(failing('breaks')).rejects.toMatchObject({ code: 'PACS_UNREACHABLE', retryable: true });
    await expect(failing('ends')).rejects.toMatchObject({ code: 'PACS_ERROR', retryable: true });
    await expect(failing('html')).rejects.toMatchObject({ code: 'PACS_ERROR' });
  });

  test('a slow reader holds the server up: the stream is not gathered in memory', async () => {
    const total = 150;
    let written = 0;
    const web = await serve((_request, response) => {
      response.writeHead(200, { 'content-type': type });
      response.write('--b\r\n\r\n');
      const megabyte = Buffer.alloc(1024 * 1024, 0x41);
      const more = (): void => {
        while (written < total) {
          written += 1;
          if (!response.write(megabyte)) return void response.once('drain', more);
        }
        response.end('\r\n--b--');
      };
      more();
    });
    const parts = await web.retrieveSeries(study, '1.2.3', signal);
    let read = 0;
    for await (const one of parts ?? []) {
      for await (const chunk of one.body) {
        if (read === 0) await sleep(300);
        if (read === 0) expect(written).toBeLessThan(60);
        read += chunk.length;
      }
    }
    expect(read).toBe(total * 1024 * 1024);
  }, 30_000);
});
