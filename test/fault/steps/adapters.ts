// The adapters of a stage, the real ones, each call with a step: after a read, before and after a write.
import { dicomWebClient as realDicomWeb } from '../../../services/adapters/dicomweb-client.ts';
import { openPostgresHeld as realHeld } from '../../../services/adapters/postgres-held.ts';
import { openPostgresVault as realVault } from '../../../services/adapters/postgres-vault.ts';
import { s3Store as realStore, type S3Store } from '../../../services/adapters/s3-store.ts';
import type { PutOptions } from '../../../services/ports/object-store.ts';
import { read, step, write } from './step.ts';

const WRITES = new Set(['subject', 'study', 'token', 'denyStudy', 'subjectLock', 'confirm', 'release', 'hold', 'end']);
const SILENT = new Set(['close', 'studies', 'lineages']);

/** Calls of an object as steps named `<part> <method>`. */
function stepped<T extends object>(target: T, part: string, writes: ReadonlySet<string>): T {
  return new Proxy(target, {
    get(of, name) {
      const method: unknown = Reflect.get(of, name);
      if (typeof method !== 'function' || typeof name !== 'string' || SILENT.has(name)) return method;
      const what = `${part} ${name}`;
      return async (...args: unknown[]): Promise<unknown> => {
        const work = async (): Promise<unknown> => {
          const result: unknown = await Reflect.apply(method, of, args);
          return name === 'subjectLock' && typeof result === 'object' && result !== null ? stepped(result, 'lock', WRITES) : result;
        };
        if (writes.has(name)) return await write(what, work);
        const result = await work();
        read(what);
        return result;
      };
    },
  });
}

/** What an object is, without the ids in its name. */
function kindOf(bucket: string, key: string): string {
  if (key.endsWith('/manifest.json')) return `${bucket} manifest`;
  if (key.endsWith('.tar')) return `${bucket} tar`;
  if (key.startsWith('_claims/')) return key.endsWith('/claim.json') ? `${bucket} claim` : `${bucket} ${key.split('/')[2]} mark`;
  return `${bucket} ${key.slice(key.lastIndexOf('/') + 1)}`;
}

async function* withStep(body: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<Uint8Array> {
  let first = true;
  for await (const chunk of body) {
    yield chunk;
    if (first) step(`within ${what}`);
    first = false;
  }
}

export function s3Store(o: Parameters<typeof realStore>[0]): S3Store {
  const store = realStore(o);
  return {
    ...store,
    put: (bucket: string, key: string, body: Uint8Array | AsyncIterable<Uint8Array>, options?: PutOptions) => {
      const what = `put ${kindOf(bucket, key)}`;
      return write(what, () => store.put(bucket, key, body instanceof Uint8Array ? body : withStep(body, what), options));
    },
    get: async (bucket, key, options) => {
      const found = await store.get(bucket, key, options);
      read(`get ${kindOf(bucket, key)}`);
      return found;
    },
    getBytes: async (bucket, key, limitBytes, signal) => {
      const found = await store.getBytes(bucket, key, limitBytes, signal);
      read(`get ${kindOf(bucket, key)}`);
      return found;
    },
    remove: (bucket, keys, signal) => write(`remove ${kindOf(bucket, keys[0] ?? '')}`, () => store.remove(bucket, keys, signal)),
  };
}

export const dicomWebClient: typeof realDicomWeb = (o) => stepped(realDicomWeb(o), 'pacs', new Set());

export const openPostgresVault: typeof realVault = async (o) => stepped(await realVault(o), 'vault', WRITES);

export const openPostgresHeld: typeof realHeld = (url) => stepped(realHeld(url), 'held', WRITES);
