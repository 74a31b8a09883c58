// Files for a bench: the CT images of a folder, or phantoms, copied with UIDs of their own until there are enough.
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DicomError } from '../services/dicom/dicom-error.ts';
import { TAG } from '../services/dicom/dictionary.ts';
import type { DicomFile } from '../services/dicom/model.ts';
import { readDicom } from '../services/dicom/read.ts';
import { SOP_CLASS, uidFromBytes } from '../services/dicom/uid.ts';
import { element, text } from '../services/dicom/values.ts';
import { withElements, writeDicom } from '../services/dicom/write.ts';

export interface Replicated {
  files: number;
  bytes: number;
}

/** Smaller files are documents and topograms: they would flatter everybody's files per second. */
const MIN_BYTES = 256 * 1024;

const OWN_UIDS = [TAG.StudyInstanceUID, TAG.SeriesInstanceUID, TAG.SOPInstanceUID, TAG.FrameOfReferenceUID];

/** Writes at least `atLeast` files under `out`, `<copy>/<n>.dcm`, of the first `sourceFiles` at most. Throws when `from` holds no CT image. */
export const replicate = (from: string, out: string, atLeast: number, sourceFiles = Number.POSITIVE_INFINITY): Replicated => {
  const sources = ctImages(from).slice(0, sourceFiles);
  const done: Replicated = { files: 0, bytes: 0 };
  for (let copy = 0; done.files < atLeast; copy++) {
    const folder = join(out, String(copy).padStart(4, '0'));
    mkdirSync(folder, { recursive: true });
    sources.forEach((source, i) => {
      const bytes = writeDicom(copyOf(source, copy));
      writeFileSync(join(folder, `${String(i + 1).padStart(4, '0')}.dcm`), bytes);
      done.files += 1;
      done.bytes += bytes.length;
    });
  }
  return done;
};

/** CT images under a folder. Throws when there is none. */
export const ctImages = (from: string): DicomFile[] => {
  const images = readdirSync(from, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => ctImage(join(from, name)))
    .filter((file) => file !== undefined);
  if (images.length === 0) throw new Error(`no CT image of ${MIN_BYTES / 1024} KiB or more with its UIDs in ${from}`);
  return images;
};

const ctImage = (path: string): DicomFile | undefined => {
  try {
    const bytes = readFileSync(path);
    const file = readDicom(bytes);
    const { dataset } = file;
    const hasUids = [TAG.StudyInstanceUID, TAG.SeriesInstanceUID, TAG.SOPInstanceUID].every((tag) => text(dataset, tag) !== undefined);
    return bytes.length >= MIN_BYTES && hasUids && text(dataset, TAG.SOPClassUID) === SOP_CLASS.CTImageStorage ? file : undefined;
  } catch (error) {
    if (error instanceof DicomError || (error instanceof Error && 'code' in error && error.code === 'EISDIR')) return undefined;
    throw error;
  }
};

const copyOf = (file: DicomFile, copy: number): DicomFile => {
  const own = (uid: string): string => uidFromBytes(createHash('sha256').update(`${copy}/${uid}`).digest().subarray(0, 16));
  const changes = OWN_UIDS.flatMap((tag) => {
    const uid = text(file.dataset, tag);
    return uid === undefined ? [] : [element(tag, 'UI', own(uid))];
  });
  const sop = own(text(file.dataset, TAG.SOPInstanceUID) ?? '');
  return {
    ...file,
    meta: withElements(file.meta, [element(TAG.MediaStorageSOPInstanceUID, 'UI', sop)]),
    dataset: withElements(file.dataset, changes),
  };
};
