// The few header values that ingest needs, from the first bytes of a file as it streams in: no pixel data
// is touched and a broken tail does not matter here (anonymise reads the whole file).
import { constants, inflateRawSync } from 'node:zlib';
import { DicomError } from '../dicom/dicom-error.ts';
import { readElement } from '../dicom/read-dataset.ts';
import { actualEncoding, tagAt, u32 } from '../dicom/read-header.ts';
import type { Reading } from '../dicom/read-header.ts';
import { transferSyntaxOf } from '../dicom/transfer-syntax.ts';

export interface InstanceHeader {
  readonly transferSyntaxUid: string;
  readonly sopClassUid: string;
  readonly sopInstanceUid: string;
  readonly studyInstanceUid: string;
  readonly seriesInstanceUid: string;
  readonly modality: string;
}

/** Bytes from the start of a file that are enough for every header seen; private groups can be long. */
export const HEADER_BYTES = 4 * 1024 * 1024;

const TRANSFER_SYNTAX_UID = 0x00020010;
const SOP_CLASS_UID = 0x00080016;
const SOP_INSTANCE_UID = 0x00080018;
const MODALITY = 0x00080060;
const STUDY_INSTANCE_UID = 0x0020000d;
const SERIES_INSTANCE_UID = 0x0020000e;
const EXPLICIT = { littleEndian: true, explicitVr: true };
const WANTED = new Set([TRANSFER_SYNTAX_UID, SOP_CLASS_UID, SOP_INSTANCE_UID, MODALITY, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID]);

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 128))
    .toString('latin1')
    .replace(/[\0 ]+$/, '');
}

/**
 * Values of the first `bytes` of a Part 10 file; '' for what is not there.
 * @throws DicomError NOT_DICOM, TRUNCATED, BAD_ELEMENT, LIMIT_EXCEEDED, UNSUPPORTED_SYNTAX or BAD_DEFLATE.
 */
export function readInstanceHeader(bytes: Uint8Array): InstanceHeader {
  if (bytes.length < 132 || u32(bytes, 128, false) !== 0x4449434d) throw new DicomError('NOT_DICOM', 'no DICM prefix', { offset: 128 });
  const values = new Map<number, string>();
  const meta = startReading(bytes, 132);
  const inMeta = (tag: number): boolean => tag >>> 16 === 2;
  readUntil(meta, actualEncoding(meta, 132, bytes.length, EXPLICIT), inMeta, values);
  const syntaxUid = values.get(TRANSFER_SYNTAX_UID) ?? '';
  const syntax = transferSyntaxOf(syntaxUid);
  if (syntax === undefined) throw new DicomError('UNSUPPORTED_SYNTAX', 'not a standard transfer syntax', { tag: TRANSFER_SYNTAX_UID });
  const body = syntax.deflated ? startReading(inflateStart(bytes.subarray(meta.next)), 0) : startReading(bytes, meta.next);
  const encoding = actualEncoding(body, body.next, body.bytes.length, { littleEndian: syntax.littleEndian, explicitVr: syntax.explicit });
  readUntil(body, encoding, (tag) => tag <= SERIES_INSTANCE_UID, values);
  return {
    transferSyntaxUid: syntaxUid,
    sopClassUid: values.get(SOP_CLASS_UID) ?? '',
    sopInstanceUid: values.get(SOP_INSTANCE_UID) ?? '',
    studyInstanceUid: values.get(STUDY_INSTANCE_UID) ?? '',
    seriesInstanceUid: values.get(SERIES_INSTANCE_UID) ?? '',
    modality: values.get(MODALITY) ?? '',
  };
}

function startReading(bytes: Uint8Array, next: number): Reading {
  return { bytes, maxDepth: 64, budget: 100_000, next, signed: false };
}

/** Reads elements while their tags are wanted; `r.next` ends behind the last one. */
function readUntil(
  r: Reading,
  encoding: ReturnType<typeof actualEncoding>,
  wanted: (tag: number) => boolean,
  into: Map<number, string>,
): void {
  while (r.bytes.length - r.next >= 8) {
    const at = r.next;
    if (!wanted(tagAt(r.bytes, at, encoding.littleEndian))) return;
    const element = readElement(r, at, r.bytes.length, encoding, 0, []);
    if (WANTED.has(element.tag)) into.set(element.tag, textOf(element.value));
  }
}

/** Most of a deflated dataset that is looked at: a small file may inflate to a thousand times its size, and everybody waits for that. */
const INFLATED_BYTES = 4 * HEADER_BYTES;

/** The start of a deflated dataset (PS3.5 A.5); the stream may be cut off. */
function inflateStart(stored: Uint8Array): Uint8Array {
  for (let start = stored; ; start = start.subarray(0, start.length >> 1)) {
    try {
      const inflated = inflateRawSync(start, { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: INFLATED_BYTES });
      return new Uint8Array(inflated.buffer, inflated.byteOffset, inflated.length);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ERR_BUFFER_TOO_LARGE' || start.length === 0)
        throw new DicomError('BAD_DEFLATE', 'the deflated dataset does not inflate');
    }
  }
}
