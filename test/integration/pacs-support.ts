// For tests of the way from PACS to ct-clinical: a centre of its own on the run's platform, small studies,
// gateway and ingest as processes, and what they published.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import type { OrthancInstance, Platform } from '../../deploy/local/platform.ts';
import { provision, type Provisioned } from '../../deploy/local/provision.ts';
import { startStages, type RunningStages, type StageName } from '../../deploy/local/stages.ts';
import type { EventType } from '../../schemas/events.gen.ts';
import { avroCodec } from '../../services/adapters/avro-codec.ts';
import { kafkaBus } from '../../services/adapters/kafkajs-bus.ts';
import { s3Store, type S3Store } from '../../services/adapters/s3-store.ts';
import { feed, type FeedResult } from '../../services/centre-gateway/feed.ts';
import { TAG } from '../../services/dicom/dictionary.ts';
import { element } from '../../services/dicom/values.ts';
import { makeFile, newDataset, withElements, writeDicom } from '../../services/dicom/write.ts';
import type { EventIn } from '../../services/kernel/stage.ts';
import type { EventBus } from '../../services/ports/event-bus.ts';

const CT_IMAGE = '1.2.840.10008.5.1.4.1.1.2';
const EXPLICIT_LITTLE = '1.2.840.10008.1.2.1';
export const codec = avroCodec();

export interface Lab {
  readonly platform: Platform;
  readonly provisioned: Provisioned;
  readonly stages: RunningStages;
  readonly bus: EventBus;
  readonly store: S3Store;
  /** Folder of logs and the gateway's state. */
  readonly dir: string;
  orthanc(centre: string): OrthancInstance;
  close(): Promise<void>;
}

export interface LabOptions {
  readonly platform: Platform;
  /** Fresh ids: each gets a PACS of its own. */
  readonly centres: readonly string[];
  /** In place of those: who gets a PACS. The others' entries in the centres' files are the test's to write. */
  readonly pacs?: readonly string[];
  readonly prefix: string;
  readonly stages: readonly StageName[];
  readonly env?: Readonly<Partial<Record<StageName, Record<string, string>>>>;
  /** Changes the centres' files before the stages start. */
  readonly before?: (provisioned: Provisioned) => Promise<void>;
}

export async function openLab(o: LabOptions): Promise<Lab> {
  const { platform } = o;
  for (const centre of o.pacs ?? o.centres) await platform.addOrthanc(centre);
  const dir = await mkdtemp(join(tmpdir(), 'ctstream-lab-'));
  const provisioned = await provision(platform, { centres: o.centres, prefix: o.prefix, dir: join(dir, 'files'), partitions: 2 });
  await o.before?.(provisioned);
  const stages = await startStages({ platform, provisioned, dir, only: o.stages, ...(o.env === undefined ? {} : { env: o.env }) });
  const bus = kafkaBus({
    brokers: platform.kafka.brokers,
    ...platform.kafka.admin,
    prefix: o.prefix,
    clientId: 'lab',
    log: pino({ level: 'silent' }),
  });
  const { endPoint, port, accessKey, secretKey } = platform.minio;
  const store = s3Store({ endpoint: `http://${endPoint}:${port}`, accessKey, secretKey, bucketPrefix: o.prefix });
  return {
    platform,
    provisioned,
    stages,
    bus,
    store,
    dir,
    orthanc: (centre) => {
      const found = platform.orthancs.find((x) => x.centre === centre);
      if (found === undefined) throw new Error(`no PACS of ${centre}`);
      return found;
    },
    close: async () => {
      await stages.stop();
      await bus.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

let drawn = 0;

/** A UID that no other test uses. */
export function freshUid(): string {
  drawn += 1;
  return `1.2.826.0.1.3680043.10.1439.${Date.now()}.${process.pid}.${drawn}`;
}

export interface SmallStudy {
  readonly study?: string;
  readonly series?: string;
  readonly patientId?: string;
  readonly modality?: string;
  readonly slices?: number;
  /** Goes into the pixels, so that equal UIDs can have different bytes. */
  readonly seed?: number;
  /** Number of the first slice. */
  readonly first?: number;
}

/** Files of a small CT study with one series. */
export function smallStudy(o: SmallStudy = {}): { study: string; files: Uint8Array[] } {
  const study = o.study ?? freshUid();
  const series = o.series ?? `${study}.1`;
  const files = Array.from({ length: o.slices ?? 3 }, (_, i) => {
    const n = i + (o.first ?? 1);
    const pixels = new Uint8Array(2 * 64 * 64).map((_v, at) => (at * 7 + n * 13 + (o.seed ?? 0) * 31) & 0x7f);
    const dataset = withElements(newDataset(), [
      element(TAG.SOPClassUID, 'UI', CT_IMAGE),
      element(TAG.SOPInstanceUID, 'UI', `${series}.${n}`),
      element(TAG.StudyDate, 'DA', '20200401'),
      element(TAG.Modality, 'CS', o.modality ?? 'CT'),
      element(TAG.StudyDescription, 'LO', 'CHEST'),
      element(TAG.PatientName, 'PN', 'Planted^Name'),
      element(TAG.PatientID, 'LO', o.patientId ?? 'PLANTED-1'),
      element(TAG.StudyInstanceUID, 'UI', study),
      element(TAG.SeriesInstanceUID, 'UI', series),
      element(TAG.InstanceNumber, 'IS', n),
      element(TAG.SamplesPerPixel, 'US', 1),
      element(TAG.PhotometricInterpretation, 'CS', 'MONOCHROME2'),
      element(TAG.Rows, 'US', 64),
      element(TAG.Columns, 'US', 64),
      element(TAG.BitsAllocated, 'US', 16),
      element(TAG.BitsStored, 'US', 12),
      element(TAG.HighBit, 'US', 11),
      element(TAG.PixelRepresentation, 'US', 0),
      element(TAG.PixelData, 'OW', pixels),
    ]);
    return writeDicom(makeFile({ dataset, transferSyntaxUid: EXPLICIT_LITTLE, sopClassUid: CT_IMAGE, sopInstanceUid: `${series}.${n}` }));
  });
  return { study, files };
}

/** Puts files into a centre's PACS; every one must be taken. */
export async function put(pacs: OrthancInstance, files: readonly Uint8Array[]): Promise<FeedResult[]> {
  const target = { orthancUrl: pacs.baseUrl, dicomWebUrl: pacs.dicomWebUrl, username: pacs.username, password: pacs.password };
  const results = await feed(
    files.map((bytes, i) => ({ path: String(i), bytes: async () => bytes })),
    target,
    { signal: AbortSignal.timeout(60_000), concurrency: 1 },
  );
  const refused = results.filter((r) => !r.stored);
  if (refused.length > 0) throw new Error(`the PACS refused ${refused.length} files: HTTP ${refused[0]?.httpCode}`);
  return results;
}

/** Calls Orthanc's REST interface as the gateway's user. */
export async function rest(pacs: OrthancInstance, method: string, path: string, body?: string): Promise<string> {
  const authorization = `Basic ${Buffer.from(`${pacs.username}:${pacs.password}`).toString('base64')}`;
  const response = await fetch(`${pacs.baseUrl}${path}`, { method, headers: { authorization }, ...(body === undefined ? {} : { body }) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: HTTP ${response.status}`);
  return text;
}

/** Removes a study from the PACS. */
export async function removeStudy(pacs: OrthancInstance, study: string): Promise<void> {
  for (const { ID, Type } of JSON.parse(await rest(pacs, 'POST', '/tools/lookup', study)) as { ID: string; Type: string }[]) {
    if (Type === 'Study') await rest(pacs, 'DELETE', `/studies/${ID}`);
  }
}

type Of<T extends EventType> = EventIn<T>;

/** Every event of a type on a topic, oldest first. */
export async function eventsOf<T extends EventType>(lab: Lab, type: T, topic: string): Promise<Of<T>[]> {
  const events: Of<T>[] = [];
  for await (const record of lab.bus.read(await lab.bus.ends([topic]))) {
    const event = codec.decode(record);
    if (event.type === type) events.push(event as Of<T>);
  }
  return events;
}

/** Asks again until the answer is defined. @throws Error with `what` after 60 s */
export async function eventually<A>(what: string, ask: () => Promise<A | undefined>, withinMs = 60_000): Promise<A> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > deadline) throw new Error(`it did not come: ${what}`);
    await sleep(150);
  }
}

export const TOPICS = {
  available: (centre: string): string => `ct.clinical.${centre}.study-available.v1`,
  census: (centre: string): string => `ct.clinical.${centre}.census.v1`,
  refused: (centre: string): string => `ct.clinical.${centre}.intake-refused.v1`,
  status: (centre: string): string => `ct.clinical.${centre}.study-status.v1`,
  stored: 'ct.clinical.study-stored.v1',
  rejected: 'ct.clinical.study-rejected.v1',
  skipped: 'ct.clinical.study-skipped.v1',
} as const;

export const availableOf = (lab: Lab, centre: string): Promise<EventIn<'ctstream.clinical.v1.StudyAvailable'>[]> =>
  eventsOf(lab, 'ctstream.clinical.v1.StudyAvailable', TOPICS.available(centre));
export const storedOf = (lab: Lab): Promise<EventIn<'ctstream.clinical.v1.StudyStored'>[]> =>
  eventsOf(lab, 'ctstream.clinical.v1.StudyStored', TOPICS.stored);
export const rejectedOf = (lab: Lab): Promise<EventIn<'ctstream.clinical.v1.StudyRejected'>[]> =>
  eventsOf(lab, 'ctstream.clinical.v1.StudyRejected', TOPICS.rejected);

/** A census now, through the gateway's own endpoint. */
export async function censusNow(
  lab: Lab,
): Promise<{ status: number; body: { centres: { centre: string; published: boolean; total?: number; code?: string }[] } }> {
  const response = await fetch(`${lab.stages.apiUrl('centre-gateway')}/census`, {
    method: 'POST',
    headers: { authorization: `Bearer ${lab.provisioned.gatewayToken}` },
  });
  return {
    status: response.status,
    body: (await response.json()) as { centres: { centre: string; published: boolean; total?: number; code?: string }[] },
  };
}
