// What `ctstream nifti` and `ctstream assess` do with a folder: the gates, the volume and the estimate of the
// pipeline, on files of a disk.
import { createWriteStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isCode, type Code } from '../kernel/codes.ts';
import { DicomError } from '../dicom/dicom-error.ts';
import { TAG } from '../dicom/dictionary.ts';
import type { DicomFile } from '../dicom/model.ts';
import { readDicom } from '../dicom/read.ts';
import { uid } from '../dicom/values.ts';
import { assessEligible, buildVolume, judgeSource, rankSeries, type JudgedSeries, type SeriesSource } from './assess-series.ts';
import type { Estimate } from './estimate.ts';
import { DecodeError } from '../pixels/decode-error.ts';
import { DEFAULT_LIMITS, type AssessLimits } from './limits.ts';
import { niftiChunks, niftiGzip, niftiSha256 } from './nifti.ts';

export interface FolderSeries {
  readonly source: SeriesSource;
  readonly paths: readonly string[];
}

export interface UnreadFile {
  readonly file: string;
  readonly code: Code;
}

async function filesBelow(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Whether the file starts as a Part 10 file does, or as a bare data set might; cheap, so that notes are passed over. */
async function looksDicom(path: string): Promise<boolean> {
  const handle = await open(path);
  try {
    const head = Buffer.alloc(132);
    const { bytesRead } = await handle.read(head, 0, 132, 0);
    if (bytesRead < 16) return false;
    return head.toString('latin1', 128, 132) === 'DICM' || head.readUInt16LE(0) === 8;
  } finally {
    await handle.close();
  }
}

async function* filesOf(paths: readonly string[]): AsyncGenerator<DicomFile> {
  for (const path of paths) yield readDicom(await readFile(path));
}

/** The series of a folder, by SeriesInstanceUID; files that are no DICOM are passed over, damaged ones listed. */
export async function seriesOfFolder(dir: string): Promise<{ series: FolderSeries[]; unread: UnreadFile[] }> {
  const bySeries = new Map<string, string[]>();
  const unread: UnreadFile[] = [];
  for (const path of await filesBelow(dir)) {
    try {
      if (!(await looksDicom(path))) continue;
      const series = uid(readDicom(await readFile(path)).dataset, TAG.SeriesInstanceUID) ?? '';
      const paths = bySeries.get(series);
      if (paths === undefined) bySeries.set(series, [path]);
      else paths.push(path);
    } catch (error) {
      if (!(error instanceof DicomError)) throw error;
      unread.push({ file: path, code: isCode(error.code) ? error.code : 'BAD_ELEMENT' });
    }
  }
  const series = [...bySeries].sort(([a], [b]) => (a < b ? -1 : 1));
  return { series: series.map(([name, paths]) => ({ paths, source: { series: name, files: () => filesOf(paths) } })), unread };
}

export type NiftiResult =
  | { readonly written: string; readonly shape: readonly number[]; readonly affine: readonly number[]; readonly sha256: string }
  | { readonly refused: true; readonly code: Code; readonly codes: readonly Code[] };

const refuse = (codes: readonly Code[]): NiftiResult => ({ refused: true, code: codes[0] ?? 'NOT_A_VOLUME', codes });

/** The codes of the series that comes nearest to a volume: the largest CT one. */
function nearestCodes(judged: readonly JudgedSeries[]): readonly Code[] {
  const refused = judged.flatMap((one) => (one.eligible ? [] : [one]));
  const ct = refused.filter(({ codes }) => !codes.includes('NOT_CT'));
  const largest = [...(ct.length > 0 ? ct : refused)].sort((a, b) => b.slices - a.slices)[0];
  return largest?.codes ?? ['NOT_DICOM'];
}

async function judgeFolder(inDir: string, limits: AssessLimits): Promise<{ judged: JudgedSeries[]; unread: UnreadFile[] }> {
  const { series, unread } = await seriesOfFolder(inDir);
  const judged: JudgedSeries[] = [];
  for (const { source } of series) judged.push(await judgeSource(source, limits));
  return { judged, unread };
}

/**
 * Writes the folder's best series as NIfTI (gzipped when the name ends in .gz), whole and uncropped, or
 * says why none is a volume. The file appears only when it is complete. Throws on file system errors.
 */
export async function niftiFromFolder(inDir: string, outFile: string, limits: AssessLimits = DEFAULT_LIMITS): Promise<NiftiResult> {
  const { judged, unread } = await judgeFolder(inDir, limits);
  // A damaged slice is not left out in silence: the volume would be of what is left.
  if (unread.length > 0) return refuse([...new Set(unread.map(({ code }) => code))]);
  const best = rankSeries(judged.flatMap((one) => (one.eligible ? [one] : [])))[0];
  if (best === undefined) return refuse(nearestCodes(judged));
  try {
    const volume = await buildVolume(best, limits);
    await mkdir(dirname(outFile), { recursive: true });
    const partial = `${outFile}.partial`;
    const chunks = outFile.endsWith('.gz') ? niftiGzip(volume) : niftiChunks(volume);
    await pipeline(Readable.from(chunks), createWriteStream(partial)).catch(async (error: unknown) => {
      await rm(partial, { force: true });
      throw error;
    });
    await rename(partial, outFile);
    return { written: outFile, shape: volume.shape, affine: volume.affine, sha256: niftiSha256(volume) };
  } catch (error) {
    if (error instanceof DecodeError) return refuse([error.code]);
    throw error;
  }
}

export interface AssessedSeries {
  readonly series: string;
  readonly slices: number;
  readonly eligible: boolean;
  readonly codes: readonly Code[];
  readonly kernel: string;
  readonly contrast: string;
  readonly shape?: readonly number[];
  readonly spacingMm?: readonly number[];
  readonly crop?: { readonly first: number; readonly last: number; readonly ofSlices: number };
  readonly estimate?: Estimate;
}

/** Gates and severity estimate of each series of the folder. Throws on file system errors. */
export async function assessFolder(
  inDir: string,
  limits: AssessLimits = DEFAULT_LIMITS,
): Promise<{ series: AssessedSeries[]; unread: UnreadFile[] }> {
  const { judged, unread } = await judgeFolder(inDir, limits);
  const series: AssessedSeries[] = [];
  for (const one of judged) {
    const known = { series: one.source.series, slices: one.slices, kernel: one.facts.kernel, contrast: one.facts.contrast };
    const result = one.eligible ? await assessEligible(one, limits) : one;
    if (!result.eligible) series.push({ ...known, eligible: false, codes: result.codes });
    else if ('volume' in result) {
      const { volume, crop, estimate } = result;
      series.push({ ...known, eligible: true, codes: [], shape: volume.shape, spacingMm: volume.spacingMm, crop, estimate });
    }
  }
  return { series, unread };
}
