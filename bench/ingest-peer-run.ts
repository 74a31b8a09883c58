// One peer of the ingest bench as a process of its own. What to do comes on stdin as JSON; the answer is a line of JSON.
import { text } from 'node:stream/consumers';
import { api } from 'dicomweb-client';
import type { OrthancInstance, Platform } from '../deploy/local/platform.ts';
import { basicAuth } from '../services/adapters/dicomweb-http.ts';
import { TAR_END, tarHeader, tarPadding } from '../services/kernel/tar.ts';
import { ACCEPT, minioClient, sumOf } from './ingest-limits.ts';

export interface PeerTask {
  readonly peer: 'dicomweb-client' | 'object-per-slice';
  readonly pacs: OrthancInstance;
  readonly minio: Platform['minio'];
  readonly bucket: string;
  /** Series at a time. */
  readonly atOnce: number;
  readonly series: readonly { readonly study: string; readonly series: string; readonly instances: readonly string[] }[];
}

export interface PeerAnswer {
  readonly seconds: number;
  readonly bytes: number;
  readonly maxRssMb: number;
}

/** Requests at a time of the peer with an object per slice: with fewer it is slower. */
const SLICES_AT_ONCE = 16;

/** The part of XMLHttpRequest that dicomweb-client uses, over fetch. */
const xhr = (authorization: string): object => {
  const headers: Record<string, string> = {};
  let [url, answer] = ['', new Headers()];
  const self = {
    readyState: 0,
    status: 0,
    response: undefined as unknown,
    responseType: '',
    onreadystatechange: (): void => undefined,
    open: (_method: string, to: string) => void (url = to),
    setRequestHeader: (name: string, value: string) => void (headers[name] = value),
    getResponseHeader: (name: string) => answer.get(name),
    getAllResponseHeaders: () => [...answer].map(([name, value]) => `${name}: ${value}\r\n`).join(''),
    send: () => {
      void fetch(url, { headers: { ...headers, authorization } })
        .then(async (response) => {
          answer = response.headers;
          self.response = await response.arrayBuffer();
          self.status = response.status;
        })
        .finally(() => {
          self.readyState = 4;
          self.onreadystatechange();
        });
    },
  };
  return self;
};

/** Bulk retrieve with the whole answer in memory, then one object a series. */
const byClient = async (task: PeerTask): Promise<number> => {
  const store = minioClient(task);
  // Its own `mediaTypes` argument is refused for a whole series (0.11.3), so the header is given.
  const client = new api.DICOMwebClient({ url: task.pacs.dicomWebUrl, singlepart: false, headers: { Accept: ACCEPT } });
  return sumOf(task.series, task.atOnce, async ({ study, series }) => {
    const options = {
      studyInstanceUID: study,
      seriesInstanceUID: series,
      request: { instance: xhr(basicAuth(task.pacs)) },
    } as unknown as Parameters<typeof client.retrieveSeries>[0];
    const files = (await client.retrieveSeries(options)) as unknown as ArrayBuffer[];
    const tar = Buffer.concat([
      ...files.flatMap((file, i) => [tarHeader(`${i}.dcm`, file.byteLength), new Uint8Array(file), tarPadding(file.byteLength)]),
      TAR_END,
    ]);
    await store.putObject(task.bucket, `peer/${series}.tar`, tar, tar.length);
    return tar.length;
  });
};

/** Every slice by itself: a WADO-RS request and a PUT each. */
const bySlice = async (task: PeerTask): Promise<number> => {
  const store = minioClient(task);
  const slices = task.series.flatMap(({ study, series, instances }) => instances.map((sop) => ({ study, series, sop })));
  return sumOf(slices, SLICES_AT_ONCE, async ({ study, series, sop }) => {
    const response = await fetch(`${task.pacs.dicomWebUrl}/studies/${study}/series/${series}/instances/${sop}`, {
      headers: { accept: ACCEPT, authorization: basicAuth(task.pacs) },
    });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const body = Buffer.from(await response.arrayBuffer());
    // The frame of the one part: two line ends and a boundary at its end.
    const start = body.indexOf('\r\n\r\n') + 4;
    const file = body.subarray(start, body.lastIndexOf('\r\n--', body.length - 4));
    await store.putObject(task.bucket, `peer/${sop}.dcm`, file, file.length);
    return file.length;
  });
};

if (import.meta.main) {
  const task = JSON.parse(await text(process.stdin)) as PeerTask;
  const startedMs = performance.now();
  const bytes = await (task.peer === 'dicomweb-client' ? byClient : bySlice)(task);
  const answer: PeerAnswer = {
    seconds: (performance.now() - startedMs) / 1000,
    bytes,
    maxRssMb: Math.round(process.resourceUsage().maxRSS / 1024),
  };
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
