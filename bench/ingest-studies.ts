// Studies in a PACS for the ingest bench, of real or synthetic slices copied with UIDs of their own, and their announcements.
import { createHash } from 'node:crypto';
import { feed } from '../services/centre-gateway/feed.ts';
import { generateStudy } from '../services/cli/phantom/generate.ts';
import { TAG } from '../services/dicom/dictionary.ts';
import type { DicomFile } from '../services/dicom/model.ts';
import { readDicom } from '../services/dicom/read.ts';
import { element } from '../services/dicom/values.ts';
import { withElements, writeDicom } from '../services/dicom/write.ts';
import type { OrthancInstance } from '../deploy/local/platform.ts';
import { revisionOf } from '../services/kernel/digest.ts';
import type { CentreId, StudyInstanceUid } from '../services/kernel/ids.ts';
import type { NewEvent } from '../services/kernel/outcome.ts';
import { ctImages } from './replicate.ts';

export interface FedStudy {
  readonly uid: StudyInstanceUid;
  readonly seriesUids: readonly string[];
  /** SOP Instance UIDs of each series. */
  readonly instances: ReadonlyMap<string, readonly string[]>;
  readonly instanceCount: number;
  readonly sizeBytes: number;
  announcement(sequence: number): NewEvent;
}

export interface StudyShape {
  readonly series: number;
  readonly slices: number;
}

/** Slices to copy: the CT images of a folder, or those of a phantom. */
export const sourceSlices = (dicom: string | undefined): DicomFile[] => {
  if (dicom !== undefined) return ctImages(dicom).slice(0, 300);
  const slices: DicomFile[] = [];
  for (const { path, bytes } of generateStudy({ seed: 5, index: 0, slices: 40 })) if (path.startsWith('2/')) slices.push(readDicom(bytes));
  return slices;
};

/** Puts a study of `series` times `slices` files into the PACS. `root` is its UID. */
export const feedStudy = async (
  pacs: OrthancInstance,
  sources: readonly DicomFile[],
  { series, slices }: StudyShape,
  root: string,
): Promise<FedStudy> => {
  const uid = root as StudyInstanceUid;
  const instances = new Map<string, string[]>();
  const hashes: { seriesInstanceUid: string; sopInstanceUid: string; hash: string }[] = [];
  function* files(): Generator<{ path: string; bytes(): Promise<Uint8Array> }> {
    for (let s = 1; s <= series; s++) {
      for (let i = 1; i <= slices; i++) {
        const source = sources[(i - 1) % sources.length];
        if (source === undefined) throw new Error('there is no slice to copy');
        const [seriesInstanceUid, sopInstanceUid] = [`${root}.${s}`, `${root}.${s}.${i}`];
        instances.set(seriesInstanceUid, [...(instances.get(seriesInstanceUid) ?? []), sopInstanceUid]);
        yield {
          path: sopInstanceUid,
          bytes: async () => {
            const bytes = copyOf(source, [root, seriesInstanceUid, sopInstanceUid], i);
            hashes.push({ seriesInstanceUid, sopInstanceUid, hash: createHash('md5').update(bytes).digest('hex') });
            return bytes;
          },
        };
      }
    }
  }
  const { baseUrl: orthancUrl, dicomWebUrl, username, password, centre } = pacs;
  const fed = await feed(files(), { orthancUrl, dicomWebUrl, username, password }, { signal: AbortSignal.timeout(600_000) });
  const refused = fed.find((one) => !one.stored);
  if (refused !== undefined) throw new Error(`the PACS refused a file with HTTP ${refused.httpCode}`);
  const revision = revisionOf(hashes);
  return {
    uid,
    seriesUids: [...instances.keys()],
    instances,
    instanceCount: fed.length,
    sizeBytes: fed.reduce((sum, one) => sum + one.sizeBytes, 0),
    announcement: (sequence) => ({
      type: 'ctstream.clinical.v1.StudyAvailable',
      value: {
        centre: centre as CentreId,
        studyInstanceUid: uid,
        revision,
        sequence,
        instanceCount: fed.length,
        seriesCount: series,
        modalities: ['CT'],
        noticedBy: 'poll',
      },
    }),
  };
};

/** A slice under other UIDs: of study, series and instance. */
export const copyOf = (source: DicomFile, [study, series, sop]: readonly [string, string, string], number: number): Uint8Array =>
  writeDicom({
    ...source,
    meta: withElements(source.meta, [element(TAG.MediaStorageSOPInstanceUID, 'UI', sop)]),
    dataset: withElements(source.dataset, [
      element(TAG.StudyInstanceUID, 'UI', study),
      element(TAG.SeriesInstanceUID, 'UI', series),
      element(TAG.SOPInstanceUID, 'UI', sop),
      element(TAG.InstanceNumber, 'IS', String(number)),
    ]),
  });
