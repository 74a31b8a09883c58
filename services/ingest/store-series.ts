// One series from the PACS into one tar in ct-clinical, streamed; checks each file's header on the way.
import type { Code } from '../kernel/codes.ts';
import { Fault } from '../kernel/fault.ts';
import { isUid } from '../kernel/ids.ts';
import type { ManifestInstance, ManifestSeries } from '../kernel/manifest.ts';
import { DicomError } from '../dicom/dicom-error.ts';
import type { RetrievedPart } from '../ports/dicomweb.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { HEADER_BYTES, readInstanceHeader } from './instance-header.ts';
import type { InstanceHeader } from './instance-header.ts';
import { hold, TooLarge } from './spill.ts';
import type { Held, SpillLimits } from './spill.ts';
import { TAR_END, TAR_HEADER_BYTES, tarHeader, tarPadding } from '../kernel/tar.ts';

export const CLINICAL_BUCKET = 'ct-clinical';

/** The study's own fault, found while it streams in: the handler turns it into a rejection, or waits for the study that is there now. */
export class StudyProblem extends Error {
  readonly code: Code;

  /** @param detail tag or count, never a patient's value */
  constructor(code: Code, detail: string) {
    super(detail);
    this.name = 'StudyProblem';
    this.code = code;
  }
}

export interface SeriesJob {
  readonly study: string;
  readonly seriesInstanceUid: string;
  /** Instances that QIDO-RS lists. */
  readonly instanceCount: number;
  /** AvailableTransferSyntaxUID (0008,3002) by SOPInstanceUID, where the server says it. */
  readonly storedSyntaxes: ReadonlyMap<string, readonly string[]>;
  readonly objectKey: string;
  /** The revision is, or may be, made of the MD5 of the instances. */
  readonly md5: boolean;
  readonly spill: SpillLimits;
  readonly signal: AbortSignal;
}

export interface SeriesStored {
  readonly series: ManifestSeries;
  /** MD5 per SOPInstanceUID, where the job asks for it. */
  readonly md5: ReadonlyMap<string, string>;
  /** Instances that came twice with the same bytes. */
  readonly duplicates: number;
  /** Instances that came in another syntax than the server says it stores. */
  readonly transcoded: number;
}

interface Received {
  readonly instance: ManifestInstance;
  readonly md5: string | undefined;
}

interface Progress {
  readonly instances: Map<string, Received>;
  modality: string;
  position: number;
  duplicates: number;
  transcoded: number;
  failure: unknown;
}

/**
 * Streams the parts into `objectKey`. @throws StudyProblem; Fault INCOMPLETE_TRANSFER when listed
 * instances did not come, and the faults of PACS and store.
 */
export async function storeSeries(store: ObjectStore, parts: AsyncIterable<RetrievedPart>, job: SeriesJob): Promise<SeriesStored> {
  const progress: Progress = {
    instances: new Map(),
    modality: '',
    position: 0,
    duplicates: 0,
    transcoded: 0,
    failure: undefined,
  };
  try {
    await store.put(CLINICAL_BUCKET, job.objectKey, tarOf(parts, job, progress), { contentType: 'application/x-tar', signal: job.signal });
  } catch (error) {
    // What stopped the stream, not what the store made of it.
    throw progress.failure ?? error;
  }
  const missing = job.instanceCount - progress.instances.size;
  if (missing > 0) throw new Fault('INCOMPLETE_TRANSFER', true, `${missing} of ${job.instanceCount} instances of a series did not come`);
  const received = [...progress.instances].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    series: {
      seriesInstanceUid: job.seriesInstanceUid,
      modality: progress.modality,
      object: job.objectKey,
      sizeBytes: progress.position,
      instances: received.map(([, r]) => r.instance),
    },
    md5: new Map(received.flatMap(([sop, { md5 }]) => (md5 === undefined ? [] : [[sop, md5]]))),
    duplicates: progress.duplicates,
    transcoded: progress.transcoded,
  };
}

async function* tarOf(parts: AsyncIterable<RetrievedPart>, job: SeriesJob, progress: Progress): AsyncGenerator<Uint8Array> {
  try {
    for await (const part of parts) {
      job.signal.throwIfAborted();
      const held = await hold(part.body, job.spill, job);
      try {
        const entry = entryOf(held, job, progress);
        if (entry === undefined) continue;
        yield entry.header;
        // Not `yield*`, which costs some promises more a chunk.
        const bytes = held.read();
        if (Symbol.iterator in bytes) for (const chunk of bytes) yield chunk;
        else for await (const chunk of bytes) yield chunk;
        if (entry.padding.length > 0) yield entry.padding;
      } finally {
        await held.dispose();
      }
    }
    progress.position += TAR_END.length;
    yield TAR_END;
  } catch (error) {
    progress.failure = error instanceof TooLarge ? new StudyProblem('LIMIT_EXCEEDED', `an instance is ${error.message}`) : error;
    throw progress.failure;
  }
}

/** Notes an instance; answers what stands around it in the tar, or undefined when it came before. */
function entryOf(held: Held, job: SeriesJob, progress: Progress): { header: Uint8Array; padding: Uint8Array } | undefined {
  const header = headerOf(held, job);
  const before = progress.instances.get(header.sopInstanceUid);
  if (before !== undefined) {
    if (before.instance.sha256 !== held.sha256)
      throw new StudyProblem('UID_COLLISION', 'the PACS sent one SOPInstanceUID (0008,0018) with two contents');
    progress.duplicates += 1;
    return undefined;
  }
  // All that is listed is what was announced: what comes beyond it is another study, and nobody knows where it would end.
  if (progress.instances.size >= job.instanceCount)
    throw new StudyProblem('STUDY_CHANGED', `more than the ${job.instanceCount} listed instances of a series came`);
  if (job.storedSyntaxes.get(header.sopInstanceUid)?.includes(header.transferSyntaxUid) === false) progress.transcoded += 1;
  progress.modality ||= header.modality;
  const { sopInstanceUid, sopClassUid, transferSyntaxUid } = header;
  const { sizeBytes, sha256, md5 } = held;
  progress.instances.set(sopInstanceUid, {
    instance: { sopInstanceUid, sopClassUid, transferSyntaxUid, offset: progress.position + TAR_HEADER_BYTES, sizeBytes, sha256 },
    md5,
  });
  const padding = tarPadding(held.sizeBytes);
  progress.position += TAR_HEADER_BYTES + held.sizeBytes + padding.length;
  return { header: tarHeader(`${header.sopInstanceUid}.dcm`, held.sizeBytes), padding };
}

const DICOM_CODES: Readonly<Record<string, Code>> = { NOT_DICOM: 'NOT_DICOM', TRUNCATED: 'TRUNCATED', LIMIT_EXCEEDED: 'LIMIT_EXCEEDED' };

/** Enough for nearly every header; what is in it needs no copy of the rest. */
const SHORT_HEAD_BYTES = 32 * 1024;

/** The header from the first bytes if it ends there, else from all that may hold it. @throws DicomError */
function readHead(held: Held): InstanceHeader {
  const short = held.head(SHORT_HEAD_BYTES);
  try {
    const header = readInstanceHeader(short);
    // The last of the wanted elements: what stands before it was read.
    if (header.seriesInstanceUid !== '') return header;
  } catch (error) {
    if (!(error instanceof DicomError)) throw error;
  }
  return readInstanceHeader(held.head(HEADER_BYTES));
}

function headerOf(held: Held, job: SeriesJob): InstanceHeader {
  let header: InstanceHeader;
  try {
    header = readHead(held);
  } catch (error) {
    if (!(error instanceof DicomError)) throw error;
    throw new StudyProblem(DICOM_CODES[error.code] ?? 'BAD_ELEMENT', error.message);
  }
  if (header.sopInstanceUid === '') throw new StudyProblem('MISSING_UID', 'an instance has no SOPInstanceUID (0008,0018)');
  if (!isUid(header.sopInstanceUid)) throw new StudyProblem('BAD_ELEMENT', 'a SOPInstanceUID (0008,0018) is no UID');
  if (header.studyInstanceUid !== job.study || header.seriesInstanceUid !== job.seriesInstanceUid) {
    throw new Fault('PACS_ERROR', false, 'the PACS sent an instance of another study or series than it was asked for');
  }
  return header;
}
