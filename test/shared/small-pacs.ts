// A small DICOMweb server of our own, for what a real PACS will not do when asked: hang, drip, or answer late.
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface PacsInstance {
  readonly seriesInstanceUid: string;
  readonly sopInstanceUid: string;
  readonly bytes: Uint8Array;
}

/** `drips`: searches are answered, a series comes as a few bytes now and then and never ends. */
export type Manner = 'well' | 'hangs' | 'drips';

export interface SmallPacs {
  readonly dicomWebUrl: string;
  /** Instances by StudyInstanceUID; may be filled at any time. */
  readonly studies: Map<string, readonly PacsInstance[]>;
  manner: Manner;
  /** Waited before each answer. */
  latencyMs: number;
  /** Answers that were asked for and have not ended. */
  open(): number;
  /** Answers that have ended, however. */
  ended(): number;
  /** Breaks every connection, as a restart does. */
  breakAll(): void;
  close(): Promise<void>;
}

const CT_IMAGE = '1.2.840.10008.5.1.4.1.1.2';
const DRIP = { bytes: 64, everyMs: 100 };
const BOUNDARY = 'small-pacs';

export async function startSmallPacs(o: { manner?: Manner; latencyMs?: number; port?: number } = {}): Promise<SmallPacs> {
  const studies = new Map<string, readonly PacsInstance[]>();
  const open = new Set<ServerResponse>();
  let ended = 0;
  const server = createServer((request, response) => {
    open.add(response);
    response.once('close', () => {
      open.delete(response);
      ended += 1;
    });
    answer(pacs, new URL(request.url ?? '/', 'http://pacs'), response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => void server.listen(o.port ?? 0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const breakAll = (): void => server.closeAllConnections();
  const pacs: SmallPacs = {
    dicomWebUrl: `http://127.0.0.1:${port}/dicom-web`,
    studies,
    manner: o.manner ?? 'well',
    latencyMs: o.latencyMs ?? 0,
    open: () => open.size,
    ended: () => ended,
    breakAll,
    close: async () => {
      const closed = new Promise((resolve) => void server.close(resolve));
      breakAll();
      await closed;
    },
  };
  return pacs;
}

async function answer(pacs: SmallPacs, url: URL, response: ServerResponse): Promise<void> {
  if (pacs.manner === 'hangs') return;
  if (pacs.latencyMs > 0) await sleep(pacs.latencyMs);
  const [, , , inPath, what, series] = url.pathname.split('/');
  const study = inPath ?? url.searchParams.get('StudyInstanceUID') ?? '';
  const instances = pacs.studies.get(study) ?? [];
  if (what === 'series')
    return await sendSeries(
      pacs,
      instances.filter((i) => i.seriesInstanceUid === series),
      response,
    );
  const isFirstPage = Number(url.searchParams.get('offset') ?? 0) === 0;
  const rows = what === 'instances' ? instances.map(instanceRow) : [studyRow(study, instances.length)];
  response.setHeader('content-type', 'application/dicom+json');
  response.end(JSON.stringify(instances.length > 0 && isFirstPage ? rows : []));
}

type Row = Record<string, { vr: string; Value: (string | number)[] }>;

/** DICOM JSON model, PS3.18 F.2. */
const studyRow = (study: string, count: number): Row => ({
  '0020000D': { vr: 'UI', Value: [study] },
  '00100020': { vr: 'LO', Value: ['P1'] },
  '00080061': { vr: 'CS', Value: ['CT'] },
  '00201208': { vr: 'IS', Value: [count] },
});

const instanceRow = (i: PacsInstance): Row => ({
  '0020000E': { vr: 'UI', Value: [i.seriesInstanceUid] },
  '00080018': { vr: 'UI', Value: [i.sopInstanceUid] },
  '00080016': { vr: 'UI', Value: [CT_IMAGE] },
  '00080060': { vr: 'CS', Value: ['CT'] },
});

async function sendSeries(pacs: SmallPacs, instances: readonly PacsInstance[], response: ServerResponse): Promise<void> {
  response.setHeader('content-type', `multipart/related; type="application/dicom"; boundary=${BOUNDARY}`);
  for (const { bytes } of instances) {
    response.write(`\r\n--${BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n`);
    if (pacs.manner === 'drips') return await drip(bytes, response);
    if (!response.write(bytes)) await new Promise<void>((resolve) => void response.once('drain', resolve).once('close', resolve));
  }
  response.end(`\r\n--${BOUNDARY}--\r\n`);
}

/** The first byte again at the end: an instance that never is whole. */
async function drip(bytes: Uint8Array, response: ServerResponse): Promise<void> {
  for (let at = 0; !response.closed && !response.destroyed; at += DRIP.bytes) {
    response.write(at < bytes.length ? bytes.subarray(at, at + DRIP.bytes) : new Uint8Array(DRIP.bytes));
    await sleep(DRIP.everyMs);
  }
}
