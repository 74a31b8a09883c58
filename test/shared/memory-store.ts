// An object store in memory, held to the same contract suite as the real one.
import type { ObjectInfo, ObjectStore } from '../../services/ports/object-store.ts';

interface Stored {
  readonly bytes: Buffer;
  readonly lastModifiedMs: number;
}

export interface MemoryStore extends ObjectStore {
  /** Names of a bucket, sorted. */
  keys(bucket: string): string[];
}

/** An empty store; buckets come into being with their first object. */
export function memoryStore(nowMs: () => number = () => Date.now()): MemoryStore {
  const buckets = new Map<string, Map<string, Stored>>();
  const bucketOf = (name: string): Map<string, Stored> => {
    const bucket = buckets.get(name) ?? new Map<string, Stored>();
    buckets.set(name, bucket);
    return bucket;
  };
  const infoOf = (key: string, o: Stored): ObjectInfo => ({ key, sizeBytes: o.bytes.length, lastModifiedMs: o.lastModifiedMs });
  const sortedKeys = (bucket: string): string[] =>
    [...bucketOf(bucket).keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

  async function* chunks(bytes: Buffer, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += 65_536) {
      signal?.throwIfAborted();
      yield bytes.subarray(at, at + 65_536);
    }
  }
  async function* list(bucket: string, prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectInfo> {
    for (const key of sortedKeys(bucket)) {
      signal?.throwIfAborted();
      const found = bucketOf(bucket).get(key);
      if (key.startsWith(prefix) && found !== undefined) yield infoOf(key, found);
    }
  }

  const store: MemoryStore = {
    put: async (bucket, key, body, options = {}) => {
      options.signal?.throwIfAborted();
      if (options.ifNoneMatch === true && !(body instanceof Uint8Array)) throw new TypeError('a conditional put takes a whole buffer');
      const parts: Uint8Array[] = [];
      if (body instanceof Uint8Array) parts.push(Uint8Array.from(body));
      else
        for await (const chunk of body) {
          options.signal?.throwIfAborted();
          parts.push(Uint8Array.from(chunk));
        }
      const bytes = Buffer.concat(parts);
      if (options.sizeBytes !== undefined && bytes.length !== options.sizeBytes)
        throw new Error(`the body has ${bytes.length} bytes, not ${options.sizeBytes}`);
      if (options.ifNoneMatch === true && bucketOf(bucket).has(key)) return 'exists';
      bucketOf(bucket).set(key, { bytes, lastModifiedMs: nowMs() });
      return 'created';
    },
    get: async (bucket, key, options = {}) => {
      options.signal?.throwIfAborted();
      const found = bucketOf(bucket).get(key);
      if (found === undefined) return undefined;
      const { range } = options;
      return chunks(range === undefined ? found.bytes : found.bytes.subarray(range[0], range[0] + range[1]), options.signal);
    },
    getBytes: async (bucket, key, limitBytes) => {
      const found = bucketOf(bucket).get(key);
      if (found !== undefined && found.bytes.length > limitBytes)
        throw new Error(`an object in ${bucket} is larger than ${limitBytes} bytes`);
      return found === undefined ? undefined : Buffer.from(found.bytes);
    },
    head: async (bucket, key) => {
      const found = bucketOf(bucket).get(key);
      return found === undefined ? undefined : infoOf(key, found);
    },
    list,
    folders: async (bucket) =>
      [...new Set(sortedKeys(bucket).flatMap((key) => (key.includes('/') ? [key.split('/')[0] ?? ''] : [])))].sort(),
    remove: async (bucket, keys) => {
      for (const key of keys) bucketOf(bucket).delete(key);
    },
    keys: sortedKeys,
  };
  return store;
}
