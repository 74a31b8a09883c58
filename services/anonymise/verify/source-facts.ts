// What of an original the verifier compares its result with. Small, so that it can be kept from the survey
// of a study, where its own reader reads the original anyway.
import type { Pixels } from './pixels.ts';
import { find, PIXEL_DATA } from './second-reader.ts';
import type { SeenFile, SeenPiece } from './second-reader.ts';

export interface Source {
  syntax: string;
  /** DA, TM and DT values by the kind of their path. */
  dates: SeenPiece['dates'];
  pixels: Pixels | undefined;
}

type Place = readonly [start: number, size: number];

/** A Source whose pixels are places in the original's bytes. */
export interface SourceFacts {
  syntax: string;
  dates: SeenPiece['dates'];
  pixels: { value: Place; fragments: readonly Place[] | undefined };
}

export const sourceOf = (file: SeenFile): Source => ({
  syntax: file.syntax,
  dates: file.pieces.flatMap(({ dates }) => dates),
  pixels: find(file, PIXEL_DATA),
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
