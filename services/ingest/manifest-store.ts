// The object store as kernel/manifest.ts asks for it.
import type { ManifestStore } from '../kernel/manifest.ts';
import type { ObjectStore } from '../ports/object-store.ts';

export function asManifestStore(store: ObjectStore): ManifestStore {
  return {
    put: (bucket, key, body, options) => store.put(bucket, key, body, options),
    getBytes: (bucket, key, limitBytes, signal) => store.getBytes(bucket, key, limitBytes, signal),
  };
}
