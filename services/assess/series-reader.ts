// Reads a series' instances out of its tar in the object store, in the order they lie there: one stream, one
// instance in memory, each checked against the manifest's hash.
import { sha256Hex } from '../kernel/digest.ts';
import { Fault } from '../kernel/fault.ts';
import type { ManifestSeries } from '../kernel/manifest.ts';
import type { DicomFile } from '../dicom/model.ts';
import { readDicom } from '../dicom/read.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { SeriesSource } from './assess-series.ts';

/** More than any CT slice, so that a wrong manifest can't ask for all memory. */
const LARGEST_INSTANCE_BYTES = 256 * 1024 * 1024;

async function* instanceBytes(store: ObjectStore, bucket: string, series: ManifestSeries, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const instances = [...series.instances].sort((a, b) => a.offset - b.offset);
  const body = await store.get(bucket, series.object, { signal });
  if (body === undefined) throw new Fault('OBJECT_CORRUPT', true, `${series.object}: the manifest names it, the store has it not`);
  let next = 0;
  let position = 0;
  let buffer: Uint8Array | undefined;
  for await (const chunk of body) {
    let instance = instances[next];
    while (instance !== undefined && instance.offset < position + chunk.length) {
      if (instance.sizeBytes > LARGEST_INSTANCE_BYTES)
        throw new Fault('OBJECT_CORRUPT', false, `${series.object}: an instance of ${instance.sizeBytes} bytes`);
      buffer ??= new Uint8Array(instance.sizeBytes);
      const from = Math.max(instance.offset, position);
      const end = instance.offset + instance.sizeBytes;
      const to = Math.min(end, position + chunk.length);
      buffer.set(chunk.subarray(from - position, to - position), from - instance.offset);
      if (end > position + chunk.length) break;
      if (sha256Hex(buffer) !== instance.sha256)
        throw new Fault('OBJECT_CORRUPT', true, `${series.object}: instance at ${instance.offset} does not have its hash`);
      yield buffer;
      buffer = undefined;
      instance = instances[++next];
    }
    position += chunk.length;
  }
  if (next < instances.length)
    throw new Fault('OBJECT_CORRUPT', true, `${series.object}: ends after ${next} of ${instances.length} instances`);
}

async function* files(store: ObjectStore, bucket: string, series: ManifestSeries, signal: AbortSignal): AsyncGenerator<DicomFile> {
  for await (const bytes of instanceBytes(store, bucket, series, signal)) yield readDicom(bytes);
}

/**
 * A source that streams the tar anew each time it is read. Reading throws Fault (OBJECT_CORRUPT and the store's own)
 * and DicomError for an instance that can't be read.
 */
export function storedSeries(store: ObjectStore, bucket: string, series: ManifestSeries, signal: AbortSignal): SeriesSource {
  return { series: series.seriesInstanceUid, files: () => files(store, bucket, series, signal) };
}
