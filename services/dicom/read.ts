// Reads a DICOM Part 10 file (PS3.10 7), or a bare dataset, from bytes in memory.
import { inflateRawSync } from 'node:zlib';
import { latin1, withoutPad } from './charset.ts';
import { DicomError } from './dicom-error.ts';
import type { HeaderMemory } from './header-memory.ts';
import { NO_BYTES, NO_ELEMENTS, ReadDataset } from './model.ts';
import type { Dataset, DicomFile, Element, Encoding } from './model.ts';
import { readDataset, readElement } from './read-dataset.ts';
import { actualEncoding, tagAt, u32, UNDEFINED_LENGTH, vrIndexAt } from './read-header.ts';
import type { Reading } from './read-header.ts';
import { EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, transferSyntaxOf } from './transfer-syntax.ts';
import type { TransferSyntax } from './transfer-syntax.ts';

export { DicomError };
export type { DicomErrorCode } from './dicom-error.ts';

/** What a file may cost. Lengths are checked against the bytes that are there in any case. */
export interface ReadLimits {
  /** Sequences within sequences; 64. */
  readonly maxDepth?: number;
  /** Elements, items and fragments together; 250,000 (about 75 MB of objects at worst). */
  readonly maxElements?: number;
  /** Bytes that a deflated dataset may inflate to; 512 MiB, and no more than 64 MiB or 32 times its own size. */
  readonly maxInflatedBytes?: number;
}

const EXPLICIT: Encoding = { littleEndian: true, explicitVr: true };
const META_GROUP_LENGTH = 0x00020000;
const TRANSFER_SYNTAX_UID = 0x00020010;

const startReading = (bytes: Uint8Array, limits: ReadLimits, memory: HeaderMemory | undefined): Reading => ({
  bytes,
  maxDepth: limits.maxDepth ?? 64,
  budget: limits.maxElements ?? 250_000,
  next: 0,
  signed: false,
  memory,
});

/** Character set of a dataset that names none. */
const NO_TERMS: readonly string[] = [];

/**
 * Reads a file: preamble and meta (either may be missing), dataset in any standard transfer syntax.
 * Values are views on `bytes`, which must not change afterwards. Throws DicomError, nothing else. With a `memory`
 * elements of the top level that a file before has as well are that file's objects, and all but the pixels own
 * their bytes.
 */
export function readDicom(input: Uint8Array, limits: ReadLimits = {}, memory?: HeaderMemory): DicomFile {
  const bytes = new Uint8Array(input.buffer, input.byteOffset, input.length);
  const r = startReading(bytes, limits, memory);
  const hasPreamble = bytes.length >= 132 && u32(bytes, 128, false) === 0x4449434d; // 'DICM'
  const preamble = hasPreamble ? bytes.subarray(0, 128) : NO_BYTES;
  const meta = readMeta(r, hasPreamble ? 132 : 0);
  const start = r.next;
  const declaredUid = meta.elements.get(TRANSFER_SYNTAX_UID)?.value;
  const declared = declaredUid === undefined || declaredUid.length === 0 ? '' : uidText(declaredUid);
  const syntax = declared === '' ? guessSyntax(bytes, start, hasPreamble || meta.elements.size > 0) : transferSyntaxOf(declared);
  if (syntax === undefined) {
    throw new DicomError('UNSUPPORTED_SYNTAX', 'not a standard transfer syntax', { tag: TRANSFER_SYNTAX_UID });
  }
  const dataset = syntax.deflated ? readDeflated(r, start, syntax, limits) : readTop(r, start, syntax, bytes.subarray(start));
  return { preamble, meta, dataset, transferSyntaxUid: syntax.uid };
}

function uidText(bytes: Uint8Array): string {
  return withoutPad(latin1(bytes.subarray(0, 128)));
}

function readTop(r: Reading, start: number, syntax: TransferSyntax, stored: Uint8Array): Dataset {
  const encoding = { littleEndian: syntax.littleEndian, explicitVr: syntax.explicit };
  return readDataset(r, start, r.bytes.length, 'top', encoding, 0, NO_TERMS, { stored, transferSyntaxUid: syntax.uid });
}

/** PS3.5 A.5: everything behind the meta is one raw deflate stream, a NUL may pad it. */
function readDeflated(r: Reading, start: number, syntax: TransferSyntax, limits: ReadLimits): Dataset {
  const stored = r.bytes.subarray(start);
  const inflated = inflate(stored, limits.maxInflatedBytes ?? inflatedLimit(stored.length), start);
  return readTop({ ...r, bytes: inflated, next: 0 }, 0, syntax, stored);
}

const MIB = 1 << 20;

/** A stream of zeros inflates to a thousand times its size, a real file to three or four times. */
const inflatedLimit = (storedBytes: number): number => Math.min(512 * MIB, Math.max(64 * MIB, 32 * storedBytes));

function inflate(stored: Uint8Array, maxOutputLength: number, offset: number): Uint8Array {
  try {
    const inflated = inflateRawSync(stored, { maxOutputLength });
    return new Uint8Array(inflated.buffer, inflated.byteOffset, inflated.length);
  } catch (error) {
    const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
    if (code === 'ERR_BUFFER_TOO_LARGE') throw new DicomError('LIMIT_EXCEEDED', 'the deflated dataset is too large', { offset });
    if (code === 'Z_BUF_ERROR') throw new DicomError('TRUNCATED', 'the deflate stream has no end', { offset });
    throw new DicomError('BAD_DEFLATE', 'the deflate stream is damaged', { offset });
  }
}

/**
 * File meta information (PS3.10 7.1), always little endian. Its end is where group 0002 ends, since group
 * lengths are often wrong; only before a deflate stream, which has no group, a fitting length decides.
 */
function readMeta(r: Reading, start: number): Dataset {
  const { bytes } = r;
  const elements = new Map<number, Element>();
  const encoding = actualEncoding(r, start, bytes.length, EXPLICIT);
  let at = start;
  let declaredEnd = -1;
  let isDeflated = false;
  while (bytes.length - at >= 8 && tagAt(bytes, at, true) >>> 16 === 2) {
    if (isDeflated && at === declaredEnd) break;
    const element = readElement(r, at, bytes.length, encoding, 0, []);
    if (elements.has(element.tag)) {
      throw new DicomError('DUPLICATE_ELEMENT', 'the tag stands twice in the file meta', { tag: element.tag, offset: at });
    }
    elements.set(element.tag, element);
    at = r.next;
    if (element.tag === META_GROUP_LENGTH && element.value.length === 4) declaredEnd = at + u32(element.value, 0, true);
    if (element.tag === TRANSFER_SYNTAX_UID) {
      isDeflated = transferSyntaxOf(uidText(element.value))?.deflated ?? false;
    }
  }
  r.next = at;
  return new ReadDataset(elements.size === 0 ? NO_ELEMENTS : elements, [], { bytes, start, end: at, encoding });
}

/**
 * The syntax of a dataset that declares none, from its first element. Without meta the group must be one
 * that datasets start with, 0004 (DICOMDIR) to 0010. Throws NOT_DICOM when nothing fits.
 */
function guessSyntax(bytes: Uint8Array, at: number, isPart10: boolean): TransferSyntax | undefined {
  const left = bytes.length - at;
  if (isPart10 && left === 0) return transferSyntaxOf(EXPLICIT_LE);
  const isFirst = (littleEndian: boolean): boolean => {
    const group = tagAt(bytes, at, littleEndian) >>> 16;
    return group >= 4 && group <= 0x10;
  };
  if (left >= 8) {
    const hasVr = vrIndexAt(bytes, at + 4) !== 0;
    const length = u32(bytes, at + 4, true);
    if (hasVr && isFirst(true)) return transferSyntaxOf(EXPLICIT_LE);
    if (hasVr && isFirst(false)) return transferSyntaxOf(EXPLICIT_BE);
    if (hasVr && isPart10) return transferSyntaxOf(EXPLICIT_LE);
    if ((isPart10 || isFirst(true)) && (length <= left - 8 || length === UNDEFINED_LENGTH)) return transferSyntaxOf(IMPLICIT_LE);
  }
  if (!isPart10) throw new DicomError('NOT_DICOM', 'neither a Part 10 file nor a dataset', { offset: at });
  if (left < 8) throw new DicomError('TRUNCATED', 'the file ends inside its first element', { offset: at });
  throw new DicomError('BAD_ELEMENT', 'no transfer syntax is declared and none fits', { offset: at });
}
