// De-identified series as tars on local disk, in files without names, until the whole study is verified: before that not a byte
// goes to ct-research. Names are research UIDs, times are 0, so equal files give equal bytes.
import type { FileHandle } from 'node:fs/promises';
import { sha256Hex } from '../kernel/digest.ts';
import type { ManifestInstance } from '../kernel/manifest.ts';
import type { CleanInstance } from './instance.ts';
import { openUnnamed, readUnnamed, withRoom } from '../kernel/unnamed-file.ts';
import { TAR_END, TAR_HEADER_BYTES, tarHeader, tarPadding } from '../kernel/tar.ts';

export interface SpooledSeries {
  seriesInstanceUid: string;
  modality: string;
  /** The tar as a stream, until the spool is disposed of. */
  read(): AsyncIterable<Uint8Array>;
  sizeBytes: number;
  instances: ManifestInstance[];
}

export interface Spool {
  /** @throws Fault STORE_FULL when the folder has no room, as `finish` does. */
  add(instance: CleanInstance): Promise<void>;
  /** Ends every tar. */
  finish(): Promise<readonly SpooledSeries[]>;
  /** Frees the disk; called in any case. */
  dispose(): Promise<void>;
}

interface OpenSeries extends SpooledSeries {
  file: FileHandle;
}

/** A spool on the file system of `folder`. */
export const openSpool = (folder: string): Spool => {
  const opened = new Map<string, OpenSeries>();
  return {
    add: async (instance) => {
      const series = opened.get(instance.seriesInstanceUid) ?? (await openSeries(folder, instance, opened));
      const { sopInstanceUid, sopClassUid, transferSyntaxUid, bytes } = instance;
      const parts = tarEntry(`${sopInstanceUid}.dcm`, bytes);
      series.instances.push({
        sopInstanceUid,
        sopClassUid,
        transferSyntaxUid,
        offset: series.sizeBytes + TAR_HEADER_BYTES,
        sizeBytes: bytes.length,
        sha256: sha256Hex(bytes),
      });
      series.sizeBytes += await appendAll(series.file, parts);
    },
    finish: async () => {
      const all = [...opened.values()];
      for (const series of all) {
        // Two empty blocks end a tar.
        series.sizeBytes += await appendAll(series.file, [TAR_END]);
        series.instances.sort((a, b) => (a.sopInstanceUid < b.sopInstanceUid ? -1 : 1));
      }
      return all.sort((a, b) => (a.seriesInstanceUid < b.seriesInstanceUid ? -1 : 1));
    },
    dispose: async () => {
      for (const series of opened.values()) await series.file.close().catch(() => undefined);
    },
  };
};

/** The bytes that were written: all. One call for the three parts of a slice: each call costs the thread as much as hashing it. */
const appendAll = async (file: FileHandle, parts: readonly Uint8Array[]): Promise<number> => {
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  const { bytesWritten } = await withRoom(file.writev(parts));
  // A call may write less, on a disk that is nearly full for one: the rest goes on from there, or fails.
  if (bytesWritten < size) await withRoom(file.writeFile(Buffer.concat(parts).subarray(bytesWritten)));
  return size;
};

const openSeries = async (folder: string, instance: CleanInstance, into: Map<string, OpenSeries>): Promise<OpenSeries> => {
  const file = await openUnnamed(folder);
  const series: OpenSeries = {
    seriesInstanceUid: instance.seriesInstanceUid,
    modality: instance.modality,
    read: () => readUnnamed(file),
    sizeBytes: 0,
    instances: [],
    file,
  };
  into.set(series.seriesInstanceUid, series);
  return series;
};

/** Header, bytes and padding of one file; without the blocks that end a tar. */
const tarEntry = (name: string, bytes: Uint8Array): readonly Uint8Array[] => [
  tarHeader(name, bytes.length),
  bytes,
  tarPadding(bytes.length),
];
