// How long a text may be. The longest that PS3.5 Table 6.2-1 allows are far shorter, and explicit VR can't say
// more than 64 KiB of most; what reads, cleans and compares words would work on a longer one for minutes.
import { DicomError } from './dicom-error.ts';
import { vrOf } from './dictionary.ts';
import type { Vr } from './model.ts';
import { isLongVr, isTextVr } from './vr.ts';

const SHORT = 0xffff;
const LONG = 1 << 20;
/** Numbers, as in the contours of a radiotherapy structure set. */
const NUMBERS = 16 << 20;

function limitOf(vr: Vr): number {
  if (!isTextVr(vr)) return Infinity;
  if (vr === 'DS' || vr === 'IS') return NUMBERS;
  return isLongVr(vr) || vr === 'UI' ? LONG : SHORT;
}

/** Throws LIMIT_EXCEEDED when a value is too long for its VR, or for the one that the dictionary has for its tag. */
export function refuseLongText(tag: number, vr: Vr, length: number, offset: number): void {
  if (length > Math.min(limitOf(vr), limitOf(vrOf(tag) ?? vr))) {
    throw new DicomError('LIMIT_EXCEEDED', 'a text longer than any real one', { tag, offset });
  }
}
