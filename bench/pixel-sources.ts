// The series that the text detector is measured on: real ones of a folder, each by its SeriesInstanceUID, and phantoms.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { isJudgeable } from '../services/anonymise/burned-in-text.ts';
import { dispositionOf } from '../services/anonymise/disposition.ts';
import type { Slice } from '../services/anonymise/pixel-text-plant.ts';
import { seenPixels } from '../services/anonymise/pixels-seen.ts';
import { generateStudy } from '../services/cli/phantom/generate.ts';
import { TAG } from '../services/dicom/dictionary.ts';
import type { Dataset, DicomFile } from '../services/dicom/model.ts';
import { readDicom } from '../services/dicom/read.ts';
import { element, number, text } from '../services/dicom/values.ts';
import { withElements } from '../services/dicom/write.ts';

export interface SourceSlice {
  slice: Slice;
  /** With a SOP Instance UID, which some of the files do not have. */
  dataset: Dataset;
}

export interface SourceSeries {
  name: string;
  slices: SourceSlice[];
}

const filesOf = (folder: string): string[] =>
  readdirSync(folder)
    .sort()
    .flatMap((name) => (statSync(join(folder, name)).isDirectory() ? filesOf(join(folder, name)) : [join(folder, name)]));

const read = (bytes: Uint8Array): DicomFile | undefined => {
  try {
    return readDicom(bytes);
  } catch {
    return undefined;
  }
};

/** The slice of an image whose pixels can be looked at; undefined of all else. */
const sliceOf = (file: DicomFile, n: number): SourceSlice | undefined => {
  const seen = seenPixels(file);
  if (!isJudgeable(file.dataset, seen)) return undefined;
  const [rows, columns] = [number(file.dataset, TAG.Rows) ?? 0, number(file.dataset, TAG.Columns) ?? 0];
  const bytes = seen.bytes.slice(0, rows * columns * 2);
  const isSigned = number(file.dataset, TAG.PixelRepresentation) === 1;
  const pixels = Int32Array.from(isSigned ? new Int16Array(bytes.buffer) : new Uint16Array(bytes.buffer));
  const dataset = withElements(file.dataset, [element(TAG.SOPInstanceUID, 'UI', `2.25.${n + 1}`)], [TAG.PixelData]);
  return { slice: { rows, columns, pixels }, dataset };
};

/** Every CT image of one sample in a folder, by folder and series, whatever else is wrong with its header. */
export const realSeries = (folder: string): SourceSeries[] => {
  const all = new Map<string, SourceSeries>();
  const seen = new Set<string>();
  for (const [n, path] of filesOf(folder).entries()) {
    const file = read(readFileSync(path));
    // Some of these files have no UIDs or are damaged otherwise, which says nothing of their pixels.
    if (file === undefined || text(file.dataset, TAG.Modality) !== 'CT' || number(file.dataset, TAG.SamplesPerPixel) !== 1) continue;
    const slice = sliceOf(file, n);
    if (slice === undefined) continue;
    // One image in many encodings is one image: the same shapes in all of them would be no wonder.
    const digest = createHash('sha256').update(slice.slice.pixels).digest('hex');
    if (seen.has(digest)) continue;
    seen.add(digest);
    const key = `${relative(folder, dirname(path))}/${text(file.dataset, TAG.SeriesInstanceUID) ?? ''}`;
    const series = all.get(key) ?? { name: relative(folder, dirname(path)), slices: [] };
    series.slices.push(slice);
    all.set(key, series);
  }
  return [...all.values()];
};

/** Axial series, both kernels, of `studies` phantoms of a seed. */
export function* phantomSeries(seed: number, studies: number, rows: number, slices: number): Generator<SourceSeries> {
  for (let index = 0; index < studies; index++) {
    const all = new Map<string, SourceSeries>();
    let n = 0;
    for (const { bytes } of generateStudy({ seed, index, rows, slices })) {
      const file = readDicom(bytes);
      if (dispositionOf(file, 'before').kind !== 'kept') continue;
      const uid = text(file.dataset, TAG.SeriesInstanceUID) ?? '';
      const series = all.get(uid) ?? { name: `phantom ${seed}/${index} ${text(file.dataset, TAG.ConvolutionKernel) ?? ''}`, slices: [] };
      const slice = sliceOf(file, n++);
      if (slice !== undefined) series.slices.push(slice);
      all.set(uid, series);
    }
    yield* all.values();
  }
}
