// Reads the originals of a series out of its tar in ct-clinical, one instance in memory at a time.
import { sha256Hex } from '../kernel/digest.ts';
import { Fault } from '../kernel/fault.ts';
import type { ManifestInstance, ManifestSeries } from '../kernel/manifest.ts';
import type { ObjectStore } from '../ports/object-store.ts';

export const CLINICAL_BUCKET = 'ct-clinical';

export interface Original {
  entry: ManifestInstance;
  bytes: Uint8Array;
}

/**
 * The instances in the order of the tar, each checked against its hash, in the bytes that `room` gives; those that it gives none
 * are passed over. Throws Fault MANIFEST_MISSING when the object is gone, OBJECT_CORRUPT when its bytes are others.
 */
export async function* originalsOf(
  store: ObjectStore,
  series: ManifestSeries,
  signal: AbortSignal,
  room: (entry: ManifestInstance) => Uint8Array | undefined,
): AsyncIterable<Original> {
  const body = await store.get(CLINICAL_BUCKET, series.object, { signal });
  if (body === undefined) throw new Fault('MANIFEST_MISSING', true, 'an object that the manifest names is not in ct-clinical');
  const reader = cursor(body);
  for (const entry of [...series.instances].sort((a, b) => a.offset - b.offset)) {
    signal.throwIfAborted();
    const bytes = room(entry);
    if (bytes === undefined) continue;
    await reader.skipTo(entry.offset);
    await reader.fill(bytes);
    if (sha256Hex(bytes) !== entry.sha256)
      throw new Fault('OBJECT_CORRUPT', true, 'an instance in ct-clinical does not have the hash of its manifest');
    yield { entry, bytes };
  }
}

const corrupt = (): Fault => new Fault('OBJECT_CORRUPT', true, 'an object in ct-clinical is shorter than its manifest says');

/** A stream of chunks as positions: skip to a byte, fill bytes with what follows. */
const cursor = (body: AsyncIterable<Uint8Array>): { skipTo(offset: number): Promise<void>; fill(bytes: Uint8Array): Promise<void> } => {
  const chunks = body[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array(0);
  let at = 0;
  const nextChunk = async (): Promise<void> => {
    const next = await chunks.next();
    if (next.done === true) throw corrupt();
    rest = next.value;
  };
  const skipTo = async (offset: number): Promise<void> => {
    if (offset < at) throw corrupt();
    while (at < offset) {
      if (rest.length === 0) await nextChunk();
      const step = Math.min(rest.length, offset - at);
      rest = rest.subarray(step);
      at += step;
    }
  };
  const fill = async (bytes: Uint8Array): Promise<void> => {
    let filled = 0;
    while (filled < bytes.length) {
      if (rest.length === 0) await nextChunk();
      const step = Math.min(rest.length, bytes.length - filled);
      bytes.set(rest.subarray(0, step), filled);
      rest = rest.subarray(step);
      filled += step;
    }
    at += bytes.length;
  };
  return { skipTo, fill };
};
