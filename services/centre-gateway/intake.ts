// Pre-flight of a tree of files before a PACS gets them: grouped by study, and what can't go is refused with a code.
// Only names, UIDs and hashes are kept, so a tree of any size fits.
import { digestOfParts, sha256Hex } from '../kernel/digest.ts';
import type { Code } from '../kernel/codes.ts';
import { DicomError, readDicom } from '../dicom/read.ts';
import { uid } from '../dicom/values.ts';
import type { Refusal } from './intake-store.ts';

export interface IntakeFile {
  /** Relative to the folder that is taken in. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

export interface IntakeStudy {
  readonly studyInstanceUid: string;
  /** Paths to send, in the order given; byte-identical copies are left out. */
  readonly files: readonly string[];
}

/** A refusal with the paths that it means; only the refusal itself is published. */
export interface IntakeRefusal extends Refusal {
  readonly paths: readonly string[];
}

export interface Intake {
  readonly studies: readonly IntakeStudy[];
  readonly refused: readonly IntakeRefusal[];
  /** Copies of a file that is there already, byte for byte. */
  readonly duplicates: number;
  /** DICOMDIRs: a directory of the others, no part of any study (PS3.10 8). */
  readonly directories: number;
}

const STUDY_INSTANCE_UID = 0x0020000d;
const SERIES_INSTANCE_UID = 0x0020000e;
const SOP_INSTANCE_UID = 0x00080018;
const MEDIA_STORAGE_SOP_CLASS_UID = 0x00020002;
const DIRECTORY = '1.2.840.10008.1.3.10';

interface Named {
  readonly path: string;
  readonly study: string;
  readonly sop: string;
  readonly sha256: string;
}

type Seen =
  | { readonly kind: 'named'; readonly file: Named }
  | { readonly kind: 'unnamed'; readonly missing: string; readonly sha256: string }
  | { readonly kind: 'directory' }
  | { readonly kind: 'broken'; readonly code: Code; readonly detail: string; readonly sha256: string };

function folderOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}

const FILE_CODES: Readonly<Record<string, Code>> = {
  NOT_DICOM: 'NOT_DICOM',
  TRUNCATED: 'TRUNCATED',
  LIMIT_EXCEEDED: 'LIMIT_EXCEEDED',
  UNSUPPORTED_SYNTAX: 'UNSUPPORTED_SYNTAX',
};

function look(file: IntakeFile): Seen {
  const sha256 = sha256Hex(file.bytes);
  try {
    const dicom = readDicom(file.bytes);
    if (uid(dicom.meta, MEDIA_STORAGE_SOP_CLASS_UID) === DIRECTORY) return { kind: 'directory' };
    const [study, series, sop] = [STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID].map((tag) => uid(dicom.dataset, tag) ?? '');
    const missing = [
      study === '' ? 'StudyInstanceUID (0020,000D)' : '',
      series === '' ? 'SeriesInstanceUID (0020,000E)' : '',
      sop === '' ? 'SOPInstanceUID (0008,0018)' : '',
    ].filter((m) => m !== '');
    if (missing.length > 0) return { kind: 'unnamed', missing: missing.join(', '), sha256 };
    return { kind: 'named', file: { path: file.path, study: study ?? '', sop: sop ?? '', sha256 } };
  } catch (error) {
    if (!(error instanceof DicomError)) throw error;
    return { kind: 'broken', code: FILE_CODES[error.code] ?? 'BAD_ELEMENT', detail: error.message, sha256 };
  }
}

/** The same refusal at each run. A path is relative, so another tree has it too: what it holds goes in with it. */
function intakeId(...what: string[]): string {
  return sha256Hex(['intake', ...what].join('\n')).slice(0, 32);
}

function grouped<T>(items: Iterable<T>, keyOf: (item: T) => string): [string, T[]][] {
  return [...Map.groupBy(items, keyOf)];
}

/**
 * Looks at every file once. Refused are: files that are no DICOM or end too early (unit file); the files of
 * a folder without UIDs (one study unit, since nothing tells them apart); studies where one SOPInstanceUID has
 * two contents (nobody here can say which is right). MIXED_PATIENTS is anonymise's to judge.
 */
export async function preflight(files: AsyncIterable<IntakeFile>): Promise<Intake> {
  const named: Named[] = [];
  const unnamed: { path: string; missing: string; sha256: string }[] = [];
  const refused: IntakeRefusal[] = [];
  let directories = 0;
  for await (const file of files) {
    const seen = look(file);
    if (seen.kind === 'named') named.push(seen.file);
    else if (seen.kind === 'unnamed') unnamed.push({ path: file.path, missing: seen.missing, sha256: seen.sha256 });
    else if (seen.kind === 'directory') directories += 1;
    else
      refused.push({
        intakeId: intakeId('file', file.path, seen.sha256),
        unit: 'file',
        code: seen.code,
        files: 1,
        detail: seen.detail,
        paths: [file.path],
      });
  }
  for (const [folder, group] of grouped(unnamed, (f) => folderOf(f.path))) {
    const missing = [...new Set(group.map((f) => f.missing))].sort().join('; ');
    refused.push({
      intakeId: intakeId('folder', folder, digestOfParts(group.map((f) => f.sha256).sort())),
      unit: 'study',
      code: 'MISSING_UID',
      files: group.length,
      detail: `empty: ${missing}`,
      paths: group.map((f) => f.path),
    });
  }
  const { studies, collided, duplicates } = byStudy(named);
  for (const [study, paths] of collided) {
    refused.push({
      intakeId: intakeId('study', study),
      unit: 'study',
      code: 'UID_COLLISION',
      files: paths.length,
      detail: 'a SOPInstanceUID (0008,0018) of the study stands in two files with other bytes',
      paths,
    });
  }
  return { studies, refused, duplicates, directories };
}

interface ByStudy {
  readonly studies: IntakeStudy[];
  readonly collided: [string, string[]][];
  readonly duplicates: number;
}

function byStudy(named: readonly Named[]): ByStudy {
  const collided = new Set<string>();
  const copies = new Set<Named>();
  for (const [, same] of grouped(named, (f) => f.sop)) {
    const first = same[0];
    for (const file of same.slice(1)) {
      if (file.sha256 === first?.sha256) copies.add(file);
      else for (const other of same) collided.add(other.study);
    }
  }
  const result: ByStudy = { studies: [], collided: [], duplicates: copies.size };
  for (const [study, files] of grouped(named, (f) => f.study)) {
    if (collided.has(study)) result.collided.push([study, files.map((f) => f.path)]);
    else result.studies.push({ studyInstanceUid: study, files: files.filter((f) => !copies.has(f)).map((f) => f.path) });
  }
  return result;
}

/** A file that the PACS would not take, as a refusal. */
export function refusedByPacs(path: string, httpCode: number): IntakeRefusal {
  return {
    intakeId: intakeId('file', path),
    unit: 'file',
    code: 'PACS_REFUSED',
    files: 1,
    detail: `the PACS answered HTTP ${httpCode}`,
    paths: [path],
  };
}

/** A study of which the PACS took no file at all: it counts as sent and rejected. */
export function studyRefusedByPacs(
  studyInstanceUid: string,
  results: readonly { readonly path: string; readonly httpCode: number }[],
): IntakeRefusal {
  const codes = [...new Set(results.map((r) => r.httpCode))].sort((a, b) => a - b).join(', ');
  return {
    intakeId: intakeId('study', studyInstanceUid),
    unit: 'study',
    code: 'PACS_REFUSED',
    files: results.length,
    detail: `the PACS took none of its files: HTTP ${codes}`,
    paths: results.map((r) => r.path),
  };
}
