// What the PACS lists of a study (QIDO-RS) right before it is pulled.
import { revisionOf } from '../kernel/digest.ts';
import { isUid } from '../kernel/ids.ts';
import type { StudyInstanceUid } from '../kernel/ids.ts';
import type { DicomWeb } from '../ports/dicomweb.ts';
import { StudyProblem } from './store-series.ts';

export interface ListedSeries {
  readonly seriesInstanceUid: string;
  readonly instanceCount: number;
  /** AvailableTransferSyntaxUID (0008,3002) by SOPInstanceUID, where the server says it. */
  readonly storedSyntaxes: ReadonlyMap<string, readonly string[]>;
}

export interface Listing {
  /** Sorted by UID. */
  readonly series: readonly ListedSeries[];
  /** The announced revision is, or may be, made of the MD5 of the instances: it is not that of their UIDs. */
  readonly md5: boolean;
}

interface Asked {
  readonly studyInstanceUid: StudyInstanceUid;
  /** As it was announced. */
  readonly revision: string;
  readonly instanceCount: number;
  readonly seriesCount: number;
  /**
   * The centre's last revision was made of hashes: the next will be too, and then nothing is learned from a list of instances, which
   * costs an Orthanc more than sending them. The series with their counts do. When it is not so, ingest only took MD5s in vain.
   */
  readonly byContent: boolean;
}

/** Rows beyond what was announced: enough to say how much more there is, and no PACS fills the memory with what nobody announced. */
const MORE_ROWS = 1000;

/** Series and counts of a study; none when it is not there. Far beyond what was announced it need not be whole. @throws StudyProblem where a UID is missing or none; Fault of the PACS */
export async function listStudy(web: DicomWeb, asked: Asked, signal: AbortSignal): Promise<Listing> {
  const listing = (asked.byContent ? await countedSeries(web, asked, signal) : undefined) ?? (await listedInstances(web, asked, signal));
  const uids = listing.series.map((s) => s.seriesInstanceUid);
  if (uids.includes('')) throw new StudyProblem('MISSING_UID', 'QIDO-RS lists a series without SeriesInstanceUID (0020,000E)');
  if (!uids.every(isUid)) throw new StudyProblem('BAD_ELEMENT', 'a SeriesInstanceUID (0020,000E) is no UID');
  return listing;
}

const NONE: ReadonlyMap<string, readonly string[]> = new Map();

/** undefined when the server does not count the instances of each. */
async function countedSeries(web: DicomWeb, { studyInstanceUid, seriesCount }: Asked, signal: AbortSignal): Promise<Listing | undefined> {
  const counts = new Map<string, number>();
  for (const { seriesInstanceUid, instanceCount } of await web.series(studyInstanceUid, signal, seriesCount + MORE_ROWS)) {
    if (instanceCount === undefined) return undefined;
    counts.set(seriesInstanceUid, (counts.get(seriesInstanceUid) ?? 0) + instanceCount);
  }
  const series = [...counts].map(([seriesInstanceUid, instanceCount]) => ({ seriesInstanceUid, instanceCount, storedSyntaxes: NONE }));
  return { series: series.sort(byUid), md5: true };
}

async function listedInstances(web: DicomWeb, { studyInstanceUid, revision, instanceCount }: Asked, signal: AbortSignal): Promise<Listing> {
  const listed = await web.instances(studyInstanceUid, signal, instanceCount + MORE_ROWS);
  if (listed.some((i) => i.sopInstanceUid === ''))
    throw new StudyProblem('MISSING_UID', 'QIDO-RS lists an instance without SOPInstanceUID (0008,0018)');
  const series = [...Map.groupBy(listed, (i) => i.seriesInstanceUid)].map(([seriesInstanceUid, instances]) => ({
    seriesInstanceUid,
    instanceCount: instances.length,
    storedSyntaxes: new Map(
      instances.flatMap((i) =>
        i.availableTransferSyntaxUids.length === 0 ? [] : [[i.sopInstanceUid, i.availableTransferSyntaxUids] as const],
      ),
    ),
  }));
  return { series: series.sort(byUid), md5: revisionOf(listed) !== revision };
}

function byUid(a: ListedSeries, b: ListedSeries): number {
  return a.seriesInstanceUid < b.seriesInstanceUid ? -1 : 1;
}
