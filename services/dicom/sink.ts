// Collects the parts of a file that is being written.
import type { Origin } from './model.ts';

/** The first piece of memory is small: most parts of a file, its meta above all, need no more. */
const FIRST_CHUNK = 1024;
const CHUNK = 16 * 1024;
/** Views shorter than this are copied: a part costs more than the copy. */
const COPY_BELOW = 4096;

/** Collects parts: small pieces in chunks of its own that never move, large ones as views. */
export class Sink {
  readonly parts: Uint8Array[] = [];
  length = 0;
  #chunk = new Uint8Array(FIRST_CHUNK);
  #from = 0;
  #at = 0;
  /** The last run of original bytes, not yet passed on, so that neighbours join. */
  #bytes: Uint8Array | undefined;
  #start = 0;
  #end = 0;

  /** Room for `size` bytes to be filled in at once or later. */
  reserve(size: number): DataView {
    this.#flushRun();
    if (this.#at + size > this.#chunk.length) {
      this.#flushChunk();
      this.#chunk = new Uint8Array(Math.max(CHUNK, size));
      this.#from = 0;
      this.#at = 0;
    }
    const view = new DataView(this.#chunk.buffer, this.#at, size);
    this.#at += size;
    this.length += size;
    return view;
  }

  /** A value: copied when small, else passed on as a view. */
  push(bytes: Uint8Array): void {
    this.#flushRun();
    this.#take(bytes);
    this.length += bytes.length;
  }

  /** Bytes start..end of `bytes` as they stand; joins the run before when it ends there. */
  passThrough(origin: Origin): void {
    if (this.#bytes === origin.bytes && this.#end === origin.start) this.#end = origin.end;
    else {
      this.#flushRun();
      this.#bytes = origin.bytes;
      this.#start = origin.start;
      this.#end = origin.end;
    }
    this.length += origin.end - origin.start;
  }

  finish(): Uint8Array[] {
    this.#flushRun();
    this.#flushChunk();
    return this.parts;
  }

  #take(bytes: Uint8Array): void {
    if (bytes.length < COPY_BELOW && this.#at + bytes.length <= this.#chunk.length) {
      this.#chunk.set(bytes, this.#at);
      this.#at += bytes.length;
    } else if (bytes.length < COPY_BELOW) {
      this.#flushChunk();
      this.#chunk = new Uint8Array(CHUNK);
      this.#chunk.set(bytes);
      this.#from = 0;
      this.#at = bytes.length;
    } else {
      this.#flushChunk();
      this.parts.push(bytes);
    }
  }

  #flushRun(): void {
    if (this.#bytes === undefined) return;
    const run = this.#bytes.subarray(this.#start, this.#end);
    this.#bytes = undefined;
    this.#take(run);
  }

  #flushChunk(): void {
    if (this.#at > this.#from) this.parts.push(this.#chunk.subarray(this.#from, this.#at));
    this.#from = this.#at;
  }
}
