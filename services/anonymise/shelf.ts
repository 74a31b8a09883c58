// Originals of the studies in hand, kept in memory from their survey until they are cleaned: each is fetched and parsed
// once, and what is cleaned is what was judged. Bounded: what finds no room is fetched again.
import type { DicomFile } from '../dicom/model.ts';

export interface ShelvedFile {
  readonly bytes: Uint8Array;
  /** As the survey read it, when it judged that the file stays. */
  file?: DicomFile;
}

/** By what its files are told from those of others: a number, or an object of the job's own. */
export type StudyInHand = number | object;

export interface Shelf {
  /** Room for a file of a study, to be filled at once; undefined when none is left. */
  add(study: StudyInHand, name: string, sizeBytes: number): ShelvedFile | undefined;
  kept(study: StudyInHand, name: string): ShelvedFile | undefined;
  /** What is kept of a study will be written over. */
  clear(study: StudyInHand): void;
}

const CHUNK_BYTES = 4 * 1024 * 1024;

interface Place {
  files: Map<string, ShelvedFile>;
  chunks: Uint8Array[];
  /** Bytes of the last chunk that are taken. */
  used: number;
}

/** A shelf of so many bytes, in chunks that belong to one study at a time. */
export const studyShelf = (bytes: number, chunkBytes = CHUNK_BYTES): Shelf => {
  const mostChunks = Math.floor(bytes / chunkBytes);
  const places = new Map<StudyInHand, Place>();
  // Used again and again: touching new memory costs more than reading a file into it.
  const free: Uint8Array[] = [];
  let made = 0;
  const newChunk = (): Uint8Array | undefined => free.pop() ?? (made++ < mostChunks ? new Uint8Array(chunkBytes) : undefined);
  const roomIn = (place: Place, size: number): Uint8Array | undefined => {
    if (size > chunkBytes) return undefined;
    if (place.chunks.length === 0 || place.used + size > chunkBytes) {
      const chunk = newChunk();
      if (chunk === undefined) return undefined;
      place.chunks.push(chunk);
      place.used = 0;
    }
    const start = place.used;
    place.used += size;
    return place.chunks.at(-1)?.subarray(start, place.used);
  };
  return {
    add: (study, name, sizeBytes) => {
      const place = places.get(study) ?? { files: new Map<string, ShelvedFile>(), chunks: [], used: 0 };
      const room = roomIn(place, sizeBytes);
      if (room === undefined) return undefined;
      places.set(study, place);
      const one: ShelvedFile = { bytes: room };
      place.files.set(name, one);
      return one;
    },
    kept: (study, name) => places.get(study)?.files.get(name),
    clear: (study) => {
      free.push(...(places.get(study)?.chunks ?? []));
      places.delete(study);
    },
  };
};

/** The next file is often a little larger; what is large has no such neighbours. */
const MOST_SPARE_BYTES = 1 << 20;

/** Bytes that the next call gives again: for one file at a time. */
export const reusable = (): ((size: number) => Uint8Array) => {
  let bytes = new Uint8Array(1 << 20);
  return (size) => {
    if (bytes.length < size) bytes = new Uint8Array(size + Math.min(size, MOST_SPARE_BYTES));
    return bytes.subarray(0, size);
  };
};
