// Files of the studies in hand, kept in memory from their survey until they are cleaned: each is read from disk and
// parsed once, and what is cleaned is what was judged. Bounded: what finds no room is read again.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { DicomFile } from '../dicom/model.ts';

export interface ShelvedFile {
  bytes: Uint8Array;
  /** As the survey read it, when it judged that the file stays. */
  file?: DicomFile;
}

export interface Shelf {
  /** Reads a file of a study. It stays while there is room; else it holds until the next call. */
  read(study: number, name: string, path: string): ShelvedFile;
  /** A file that stayed. */
  kept(study: number, name: string): ShelvedFile | undefined;
  /** What stayed of a study will be written over. */
  clear(study: number): void;
}

/** A study of 75 slices of 0.5 MB fits into what a thread keeps. */
const CHUNK_BYTES = 4 * 1024 * 1024;
const MOST_CHUNKS = 10;

interface Place {
  files: Map<string, ShelvedFile>;
  chunks: Uint8Array[];
  /** Bytes of the last chunk that are taken. */
  used: number;
}

export const fileShelf = (chunkBytes = CHUNK_BYTES, mostChunks = MOST_CHUNKS): Shelf => {
  const places = new Map<number, Place>();
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
  const passing = reusable();
  return {
    read: (study, name, path) => {
      const place = places.get(study) ?? { files: new Map<string, ShelvedFile>(), chunks: [], used: 0 };
      places.set(study, place);
      let isKept = false;
      const bytes = readInto(path, (size) => {
        const room = roomIn(place, size);
        isKept = room !== undefined;
        return room ?? passing(size);
      });
      const one: ShelvedFile = { bytes };
      if (isKept) place.files.set(name, one);
      return one;
    },
    kept: (study, name) => places.get(study)?.files.get(name),
    clear: (study) => {
      free.push(...(places.get(study)?.chunks ?? []));
      places.delete(study);
    },
  };
};

/** Bytes that the next call gives again: for one file at a time. */
export const reusable = (): ((size: number) => Uint8Array) => {
  let bytes = new Uint8Array(1 << 20);
  return (size) => {
    if (bytes.length < size) bytes = new Uint8Array(size * 2);
    return bytes.subarray(0, size);
  };
};

/** A file, or its start, in the bytes that `room` gives. */
export const readInto = (path: string, room: (size: number) => Uint8Array, limitBytes = Number.POSITIVE_INFINITY): Uint8Array => {
  const file = openSync(path, 'r');
  try {
    const bytes = room(Math.min(fstatSync(file).size, limitBytes));
    let filled = 0;
    for (let got = -1; got !== 0 && filled < bytes.length; filled += got)
      got = readSync(file, bytes, filled, bytes.length - filled, filled);
    return bytes.subarray(0, filled);
  } finally {
    closeSync(file);
  }
};
