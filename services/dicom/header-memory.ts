// The headers of a series are nearly the same from slice to slice. An element of the top level whose bytes
// equal those of a file before is that file's element object: it costs no reading, and what was made of the
// object still holds.
import { ReadElement } from './model.ts';
import type { Element, Encoding } from './model.ts';

/** Longer ones are read anew each time, so that the memory stays small. */
const MAX_BYTES = 64 * 1024;

interface Remembered {
  element: Element;
  /** All of the element, in bytes of its own: those of the file may be written over. */
  bytes: Uint8Array;
  encoding: Encoding;
  charset: readonly string[];
  signed: boolean;
}

/** What stands around an element and decides how it reads. */
export interface Around {
  encoding: Encoding;
  charset: readonly string[];
  signed: boolean;
}

export interface HeaderMemory {
  /** The element whose bytes stand at a place, when it is known; `size` is that of its bytes. */
  known(tag: number, bytes: Uint8Array, at: number, end: number, around: Around): { element: Element; size: number } | undefined;
  /** Remembers the element that `read` makes of a copy of bytes; gives that element. */
  remember(tag: number, bytes: Uint8Array, around: Around, read: (own: Uint8Array) => Element): Element | undefined;
  /** The terms that a Specific Character Set element was read as. */
  charsets: Map<Element, readonly string[]>;
}

/** A memory for the files of one series or study; it holds the last element of each tag. */
export const headerMemory = (): HeaderMemory => {
  const last = new Map<number, Remembered>();
  const charsets = new Map<Element, readonly string[]>();
  return {
    charsets,
    known: (tag, bytes, at, end, { encoding, charset, signed }) => {
      const one = last.get(tag);
      if (one === undefined || one.charset !== charset || one.signed !== signed || one.bytes.length > end - at) return undefined;
      if (one.encoding.explicitVr !== encoding.explicitVr || one.encoding.littleEndian !== encoding.littleEndian) return undefined;
      const own = one.bytes;
      for (let i = 0; i < own.length; i++) if (bytes[at + i] !== own[i]) return undefined;
      return { element: one.element, size: own.length };
    },
    remember: (tag, bytes, around, read) => {
      if (bytes.length > MAX_BYTES) return undefined;
      const own = bytes.slice();
      const element = read(own);
      // Where what follows an element decides how it reads, the copy may read otherwise.
      if (ReadElement.originOf(element)?.end !== own.length) return undefined;
      last.set(tag, { element, bytes: own, ...around });
      return element;
    },
  };
};
