// Objects by bucket and name. Plain S3 calls only, so that any S3 server will do.

export interface ObjectInfo {
  readonly key: string;
  readonly sizeBytes: number;
  readonly lastModifiedMs: number;
}

export interface PutOptions {
  /** Size of a streamed body where it is known. */
  readonly sizeBytes?: number;
  readonly contentType?: string;
  /** Create only: answers 'exists' and changes nothing when the name is taken. Whole buffers only. */
  readonly ifNoneMatch?: boolean;
  readonly signal?: AbortSignal;
}

/** Every method throws Fault('STORE_UNAVAILABLE', true) when the server does not answer, STORE_FULL when it has no room. */
export interface ObjectStore {
  put(bucket: string, key: string, body: Uint8Array | AsyncIterable<Uint8Array>, options?: PutOptions): Promise<'created' | 'exists'>;
  /** The bytes as a stream; undefined when there is no such object. `range` is [first byte, length]. */
  get(
    bucket: string,
    key: string,
    options?: { range?: readonly [number, number]; signal?: AbortSignal },
  ): Promise<AsyncIterable<Uint8Array> | undefined>;
  /** The whole object; throws when it is larger than `limitBytes`. */
  getBytes(bucket: string, key: string, limitBytes: number, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  head(bucket: string, key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined>;
  list(bucket: string, prefix: string, signal?: AbortSignal): AsyncIterable<ObjectInfo>;
  /** What stands before the first '/' of the bucket's names, each once, sorted. */
  folders(bucket: string, signal?: AbortSignal): Promise<readonly string[]>;
  remove(bucket: string, keys: readonly string[], signal?: AbortSignal): Promise<void>;
}
