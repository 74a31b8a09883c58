// Overlays hidden in the pixels: bits outside BitsStored (PS3.3 C.9.2, retired form), or bytes behind
// the last pixel. A compressed stream may have more bits than are stored, so its decoded words count too.
import { TAG } from '../dicom/dictionary.ts';
import { number } from '../dicom/values.ts';
import type { Dataset } from '../dicom/model.ts';
import { scanOf } from './pixel-scan.ts';
import type { PixelScan } from './pixel-scan.ts';

/** Whether native pixels have bits beside the stored ones that are no sign extension, or bytes too many. `scan` is of these pixels. */
export const hasBitsOutside = (dataset: Dataset, scan: PixelScan | undefined = scanOf(dataset)): boolean => {
  if (hasOverlayInPixels(dataset)) return true;
  const pixels = dataset.elements.get(TAG.PixelData);
  if (pixels === undefined) return false;
  const need = (tag: number): number => number(dataset, tag) ?? 0;
  const [allocated, stored, high] = [need(TAG.BitsAllocated), need(TAG.BitsStored), need(TAG.HighBit)];
  const count = need(TAG.Rows) * need(TAG.Columns);
  const sizeBytes = (count * allocated) / 8;
  // One byte of padding to an even length; anything more is not image.
  if (pixels.fragments === undefined && pixels.value.length > sizeBytes + (sizeBytes % 2)) return true;
  if (stored === allocated) return false;
  if (stored > allocated || stored < 1 || stored > 16 || high !== stored - 1) return true;
  const isSigned = need(TAG.PixelRepresentation) === 1;
  return scan !== undefined && hasHighBits(scan, stored, isSigned);
};

// OverlayBitPosition (60xx,0102) other than 0 says that the overlay lies in the pixels' unused bits.
const hasOverlayInPixels = (dataset: Dataset): boolean => {
  for (const tag of dataset.elements.keys())
    if (((tag >>> 16) & 0xff00) === 0x6000 && (tag & 0xffff) === 0x0102 && (number(dataset, tag) ?? 0) !== 0) return true;
  return false;
};

/** Bits outside the stored ones are 0, or copies of the sign: then the words stay in this range. */
const hasHighBits = ({ least, most }: PixelScan, stored: number, isSigned: boolean): boolean =>
  most >= 2 ** stored || least < (isSigned ? -(2 ** (stored - 1)) : 0);
