// From decoded sample words to stored values: mask and sign-extend as BitsStored, HighBit and
// PixelRepresentation say (PS3.5 8.1.1); bits outside may hold overlays or rubbish.

export type PixelLayout = {
  readonly rows: number;
  readonly columns: number;
  readonly bitsAllocated: number;
  readonly bitsStored: number;
  readonly highBit: number;
  readonly signed: boolean;
  /** Stored padding value; some writers put it outside of BitsStored, where a mask would turn it to bone. */
  readonly padding: number | undefined;
};

export type SampleWords = Uint8Array | Uint16Array | Uint32Array;

/** Masks and sign-extends words of `bitsAllocated` bits in place of their meaning; one value a pixel. */
export const storedValues = (words: SampleWords, layout: PixelLayout): Int32Array => {
  const { bitsStored, highBit, signed, padding } = layout;
  const drop = 32 - highBit - 1;
  const keep = 32 - bitsStored;
  const wordMask = words instanceof Uint8Array ? 0xff : words instanceof Uint16Array ? 0xffff : 0xffffffff;
  const paddingWord = padding === undefined || bitsStored >= layout.bitsAllocated ? -1 : (padding & wordMask) >>> 0;
  const out = new Int32Array(words.length);
  for (let index = 0; index < words.length; index++) {
    const word = words[index] as number;
    if (word === paddingWord) out[index] = padding as number;
    else out[index] = signed ? (word << drop) >> keep : (word << drop) >>> keep;
  }
  return out;
};
