// What of an original the verifier compares its result with. Small, so that it can be kept from the survey
// of a study, where its own reader reads the original anyway.
import { tagOf, vrOf } from '../../dicom/dictionary.ts';
import type { Pixels } from './pixels.ts';
import type { SeenElement, SeenFile } from './second-reader.ts';
import { latin1 } from './study-identifiers.ts';

export interface Source {
  syntax: string;
  /** DA, TM and DT values by path. */
  dates: ReadonlyMap<string, string>;
  pixels: Pixels | undefined;
}

type Place = readonly [start: number, size: number];

/** A Source whose pixels are places in the original's bytes. */
export interface SourceFacts {
  syntax: string;
  dates: ReadonlyMap<string, string>;
  pixels: { value: Place; fragments: readonly Place[] | undefined };
}

const SYNTAX = tagOf('TransferSyntaxUID');
const PIXELS = tagOf('PixelData');

const find = (file: SeenFile, tag: number): SeenElement | undefined => file.elements.find((one) => one.depth === 0 && one.tag === tag);
const textOf = (element: SeenElement | undefined): string => (element === undefined ? '' : latin1(element.value).replace(/[\0 ]+$/, ''));

const isDateVr = (vr: string | undefined): boolean => vr === 'DA' || vr === 'DT' || vr === 'TM';
/** Said so, or known of a value that is UN or text in the file. */
const isDate = ({ vr, tag, value }: SeenElement): boolean =>
  isDateVr(vr) || (value.length >= 2 && value.length <= 256 && isDateVr(vrOf(tag)));

export const sourceOf = (file: SeenFile): Source => ({
  syntax: textOf(find(file, SYNTAX)),
  dates: new Map(file.elements.filter(isDate).map((one) => [one.path, textOf(one)])),
  pixels: find(file, PIXELS),
});

/** undefined when there are no pixels, or when they are not in these bytes as they stand (a deflated file). */
export const sourceFacts = (file: SeenFile, original: Uint8Array): SourceFacts | undefined => {
  const { syntax, dates, pixels } = sourceOf(file);
  const parts = pixels === undefined ? [] : [pixels.value, ...(pixels.fragments ?? [])].filter(({ length }) => length > 0);
  if (pixels === undefined || parts.some(({ buffer }) => buffer !== original.buffer)) return undefined;
  const place = (part: Uint8Array): Place => [part.length === 0 ? 0 : part.byteOffset - original.byteOffset, part.length];
  return { syntax, dates, pixels: { value: place(pixels.value), fragments: pixels.fragments?.map(place) } };
};

/** The source again, out of the same bytes. */
export const placedIn = (original: Uint8Array, { syntax, dates, pixels }: SourceFacts): Source => {
  const at = ([start, size]: Place): Uint8Array => original.subarray(start, start + size);
  return { syntax, dates, pixels: { value: at(pixels.value), fragments: pixels.fragments?.map(at) } };
};
