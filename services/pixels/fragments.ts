// Joins the fragments of a single-frame encapsulated image into one code stream (PS3.5 A.4). With one
// frame all fragments after the Basic Offset Table are that frame, whatever the table says.
import { DecodeError } from './decode-error.ts';

/** The code stream of the only frame; `fragments[0]` is the Basic Offset Table. */
export const joinFragments = (fragments: readonly Uint8Array[]): Uint8Array => {
  const parts = fragments.slice(1).filter((part) => part.length > 0);
  const only = parts[0];
  if (only === undefined) throw new DecodeError('NO_PIXELS', 'PixelData (7FE0,0010) holds no fragment');
  if (parts.length === 1) return only;
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
};
