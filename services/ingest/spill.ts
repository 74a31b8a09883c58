// Holds one instance until its size is known: in memory up to a limit, then in a file. Hashes on the way.
import { createHash } from 'node:crypto';
import { openUnnamed, readUnnamed, withRoom } from '../kernel/unnamed-file.ts';

export interface Held {
  readonly sizeBytes: number;
  /** Hex. */
  readonly sha256: string;
  /** Hex; where it was asked for. */
  readonly md5?: string;
  /** The first bytes, at most so many and at most the limits' `headBytes`. */
  head(bytes: number): Uint8Array;
  /** The bytes, once: a list of chunks as long as they are in memory, which costs a reader no promise a chunk. */
  read(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
  /** Frees memory and disk. */
  dispose(): Promise<void>;
}

export interface SpillLimits {
  readonly memoryBytes: number;
  readonly headBytes: number;
  readonly maxBytes: number;
  /** Folder for what does not fit into memory. */
  readonly folder: string;
}

/** The body is larger than `maxBytes`. */
export class TooLarge extends Error {}

/** Takes a body in. MD5 takes more time than all else that is done to it. @throws TooLarge, Fault STORE_FULL, and whatever the body throws. */
export async function hold(body: AsyncIterable<Uint8Array>, limits: SpillLimits, o: { readonly md5: boolean }): Promise<Held> {
  const sha = createHash('sha256');
  const md5 = o.md5 ? createHash('md5') : undefined;
  const chunks: Uint8Array[] = [];
  const head: Uint8Array[] = [];
  let sizeBytes = 0;
  let spill: Spill | undefined;
  try {
    for await (const chunk of body) {
      if (sizeBytes < limits.headBytes) head.push(chunk.subarray(0, limits.headBytes - sizeBytes));
      sizeBytes += chunk.length;
      if (sizeBytes > limits.maxBytes) throw new TooLarge(`larger than ${limits.maxBytes} bytes`);
      sha.update(chunk);
      md5?.update(chunk);
      if (spill === undefined && sizeBytes > limits.memoryBytes) {
        spill = await startSpill(limits.folder);
        for (const kept of chunks) await spill.write(kept);
        chunks.length = 0;
      }
      if (spill === undefined) chunks.push(chunk);
      else await spill.write(chunk);
    }
  } catch (error) {
    await spill?.dispose();
    throw error;
  }
  const file = spill;
  return {
    sizeBytes,
    sha256: sha.digest('hex'),
    ...(md5 === undefined ? {} : { md5: md5.digest('hex') }),
    head: (bytes) => joined(head, bytes),
    read: () => (file === undefined ? chunks : file.read()),
    dispose: async () => {
      chunks.length = 0;
      head.length = 0;
      await file?.dispose();
    },
  };
}

/** The first bytes of the chunks: without a copy when they are in the first chunk, else a copy of no more than them. */
function joined(chunks: readonly Uint8Array[], bytes: number): Uint8Array {
  const [first] = chunks;
  if (first !== undefined && (chunks.length === 1 || first.length >= bytes)) return first.subarray(0, bytes);
  const total = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  return Buffer.concat(chunks, Math.min(total, bytes));
}

interface Spill {
  write(chunk: Uint8Array): Promise<void>;
  read(): AsyncIterable<Uint8Array>;
  dispose(): Promise<void>;
}

async function startSpill(folder: string): Promise<Spill> {
  const file = await openUnnamed(folder);
  let closing: Promise<void> | undefined;
  return {
    write: (chunk) => withRoom(file.writeFile(chunk)),
    read: () => readUnnamed(file),
    dispose: () => (closing ??= file.close()),
  };
}
