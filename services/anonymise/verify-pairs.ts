// Which file of OUT was made from which original: by their pixels, which de-identifying keeps. Pictures that are
// the same (an empty slice, a second copy) are told apart by what else stays: instance number and position.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { TAG } from '../dicom/dictionary.ts';
import type { DicomFile } from '../dicom/model.ts';
import { DicomError, readDicom } from '../dicom/read.ts';
import { text, texts } from '../dicom/values.ts';
import { streamKindOf, withoutNotes } from './codestream.ts';

/** What a file is found by. */
export interface Seen {
  path: string;
  /** SHA-256 of the pixels without notes; undefined: no image that can be read. */
  pixels: string | undefined;
  /** Instance number and position. */
  place: string;
  studyUid: string;
}

export interface Pair {
  original: Seen;
  written: Seen;
}

export interface Pairs {
  pairs: Pair[];
  /** Files of OUT that no original has the pixels of. */
  unmatched: string[];
  /** Originals that nothing in OUT was made from. */
  left: string[];
}

const pixelHash = ({ dataset, transferSyntaxUid }: DicomFile): string | undefined => {
  const pixels = dataset.elements.get(TAG.PixelData);
  if (pixels === undefined) return undefined;
  const hash = createHash('sha256').update(transferSyntaxUid);
  if (pixels.fragments === undefined) return hash.update(pixels.value).digest('hex');
  const stream = Buffer.concat((withoutNotes(pixels, streamKindOf(transferSyntaxUid)) ?? pixels).fragments?.slice(1) ?? []);
  // One byte of padding may have come or gone with the notes.
  return hash.update(stream.at(-1) === 0 ? stream.subarray(0, -1) : stream).digest('hex');
};

/** Reads a file for pairing. */
export const seenFile = (path: string): Seen => {
  try {
    const file = readDicom(readFileSync(path));
    const place = JSON.stringify(
      [TAG.InstanceNumber, TAG.ImagePositionPatient, TAG.AcquisitionNumber].map((tag) => texts(file.dataset, tag)),
    );
    return { path, pixels: pixelHash(file), place, studyUid: text(file.dataset, TAG.StudyInstanceUID) ?? '' };
  } catch (error) {
    if (error instanceof DicomError || (error instanceof Error && 'syscall' in error))
      return { path, pixels: undefined, place: '', studyUid: '' };
    throw error;
  }
};

/** Pairs files by pixels, those of one picture by place, then in order. An original has one result at most. */
export const pairsOf = (originals: readonly Seen[], written: readonly Seen[]): Pairs => {
  const waiting = new Map<string, Seen[]>();
  for (const one of originals) {
    if (one.pixels !== undefined) waiting.set(one.pixels, [...(waiting.get(one.pixels) ?? []), one]);
  }
  const found: Pairs = { pairs: [], unmatched: [], left: [] };
  const taken = new Set<Seen>();
  const take = (one: Seen, isAlike: (other: Seen) => boolean): boolean => {
    const original = (one.pixels === undefined ? [] : (waiting.get(one.pixels) ?? [])).find((other) => !taken.has(other) && isAlike(other));
    if (original === undefined) return false;
    taken.add(original);
    found.pairs.push({ original, written: one });
    return true;
  };
  const rest = written.filter((one) => !take(one, ({ place }) => place === one.place));
  found.unmatched = rest.filter((one) => !take(one, () => true)).map(({ path }) => path);
  found.left = originals.filter((one) => !taken.has(one)).map(({ path }) => path);
  return found;
};
