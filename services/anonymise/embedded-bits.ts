// Overlays hidden in the pixels: bits outside BitsStored (PS3.3 C.9.2, retired form), or bytes behind
// the last pixel. Only for native pixels; a compressed stream holds no more bits than its precision.
import { TAG } from '../dicom/dictionary.ts';
import { number } from '../dicom/values.ts';
import type { Dataset } from '../dicom/model.ts';

/** Whether native pixels have bits beside the stored ones that are no sign extension, or bytes too many. */
export const hasBitsOutside = (dataset: Dataset): boolean => {
  if (hasOverlayInPixels(dataset)) return true;
  const pixels = dataset.elements.get(TAG.PixelData);
  if (pixels === undefined || pixels.fragments !== undefined) return false;
  const need = (tag: number): number => number(dataset, tag) ?? 0;
  const [allocated, stored, high] = [need(TAG.BitsAllocated), need(TAG.BitsStored), need(TAG.HighBit)];
  const count = need(TAG.Rows) * need(TAG.Columns);
  const sizeBytes = (count * allocated) / 8;
  // One byte of padding to an even length; anything more is not image.
  if (pixels.value.length > sizeBytes + (sizeBytes % 2)) return true;
  if (stored === allocated) return false;
  if (allocated !== 16 || stored < 1 || stored > 16 || high !== stored - 1) return true;
  const isSigned = need(TAG.PixelRepresentation) === 1;
  return hasHighBits(pixelWords(pixels.value, dataset.littleEndian), stored, isSigned);
};

// OverlayBitPosition (60xx,0102) other than 0 says that the overlay lies in the pixels' unused bits.
const hasOverlayInPixels = (dataset: Dataset): boolean => {
  for (const tag of dataset.elements.keys())
    if (((tag >>> 16) & 0xff00) === 0x6000 && (tag & 0xffff) === 0x0102 && (number(dataset, tag) ?? 0) !== 0) return true;
  return false;
};

/** 16-bit pixels as numbers; a view where the bytes allow it. */
export const pixelWords = (bytes: Uint8Array, littleEndian: boolean): Uint16Array => {
  const count = bytes.length >>> 1;
  if (littleEndian && bytes.byteOffset % 2 === 0) return new Uint16Array(bytes.buffer, bytes.byteOffset, count);
  const copy = Buffer.from(bytes.subarray(0, count * 2));
  if (!littleEndian) copy.swap16();
  return new Uint16Array(copy.buffer, copy.byteOffset, count);
};

const hasHighBits = (pixels: Uint16Array, stored: number, isSigned: boolean): boolean => {
  const outside = (0xffff << stored) & 0xffff;
  const sign = isSigned ? 1 << (stored - 1) : 0;
  for (let i = 0; i < pixels.length; i++) {
    const bits = (pixels[i] ?? 0) & outside;
    if (bits !== 0 && !(bits === outside && ((pixels[i] ?? 0) & sign) !== 0)) return true;
  }
  return false;
};
