// Writes DICOM files, and makes and edits datasets. What was not changed is written byte for byte as it was read.
import { deflateRawSync } from 'node:zlib';
import { DicomError } from './dicom-error.ts';
import { TAG } from './dictionary.ts';
import { inTagOrder, swapped, writeDataset } from './encode.ts';
import { NO_ELEMENTS, ReadDataset, ReadElement } from './model.ts';
import type { Dataset, DicomFile, Element, Encoding } from './model.ts';
import { charsetTerms } from './read-dataset.ts';
import { Sink } from './sink.ts';
import { transferSyntaxOf } from './transfer-syntax.ts';
import { IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME } from './uid.ts';
import { element, uid } from './values.ts';

const EXPLICIT: Encoding = { littleEndian: true, explicitVr: true };
const MAGIC = Uint8Array.from([0x44, 0x49, 0x43, 0x4d]);

/** The whole file in one piece; see writeDicomParts. */
export function writeDicom(file: DicomFile): Uint8Array {
  const parts = writeDicomParts(file);
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/**
 * The file as parts to be written one after another; large values, the pixels above all, are the views that
 * the file holds. A file as read gives the bytes it was read from; an edited dataset loses the bytes that
 * stood behind its last element. Throws DicomError (UNSUPPORTED_SYNTAX, INCONSISTENT_META, LIMIT_EXCEEDED).
 */
export function writeDicomParts(file: DicomFile): Uint8Array[] {
  const syntax = transferSyntaxOf(file.transferSyntaxUid);
  if (syntax === undefined) throw new DicomError('UNSUPPORTED_SYNTAX', 'not a standard transfer syntax');
  const declared = uid(file.meta, TAG.TransferSyntaxUID) ?? '';
  if (declared !== '' && declared !== file.transferSyntaxUid) {
    throw new DicomError('INCONSISTENT_META', 'file meta names another transfer syntax', { tag: TAG.TransferSyntaxUID });
  }
  const head = new Sink();
  writeHead(head, file);
  const origin = ReadDataset.originOf(file.dataset);
  if (origin?.stored !== undefined && origin.transferSyntaxUid === syntax.uid) {
    head.push(origin.stored);
    return head.finish();
  }
  const body = syntax.deflated ? new Sink() : head;
  writeDataset(body, file.dataset, { littleEndian: syntax.littleEndian, explicitVr: syntax.explicit }, []);
  if (syntax.deflated) {
    const deflated = deflateRawSync(Buffer.concat(body.finish()));
    head.push(new Uint8Array(deflated.buffer, deflated.byteOffset, deflated.length));
    if (deflated.length % 2 === 1) head.reserve(1); // PS3.5 A.5: a NUL pads the stream
  }
  return head.finish();
}

/** Preamble, prefix and meta, with the group length right where the meta was changed. */
function writeHead(sink: Sink, { preamble, meta }: DicomFile): void {
  if (preamble.length !== 0 && preamble.length !== 128) throw new DicomError('BAD_VALUE', 'a preamble has 128 bytes or none');
  sink.push(preamble);
  if (preamble.length === 128) sink.push(MAGIC);
  const origin = ReadDataset.originOf(meta);
  if (origin !== undefined) sink.passThrough(origin);
  else if (meta.elements.size > 0) {
    const body = new Sink();
    writeDataset(body, withElements(meta, [], [TAG.FileMetaInformationGroupLength]), EXPLICIT, []);
    const length = element(TAG.FileMetaInformationGroupLength, 'UL', body.length);
    writeDataset(sink, withElements(newDataset(), [length]), EXPLICIT, []);
    for (const part of body.finish()) sink.push(part);
  }
}

/** An empty dataset; explicit little endian in the default repertoire unless told. */
export function newDataset(options: { littleEndian?: boolean; explicitVr?: boolean; charset?: readonly string[] } = {}): Dataset {
  const { littleEndian = true, explicitVr = true, charset = [] } = options;
  return { elements: NO_ELEMENTS, littleEndian, explicitVr, charset };
}

/** The element with its value in the byte order of `dataset`: what was read elsewhere may have the other. */
function adopt(dataset: Dataset, changed: Element): Element {
  const origin = ReadElement.originOf(changed);
  if (origin === undefined || origin.encoding.littleEndian === dataset.littleEndian) return changed;
  return { ...changed, value: swapped(changed) };
}

/**
 * A new dataset with elements put in or replaced (by their tag) and others taken out, ascending by tag. A
 * changed Specific Character Set becomes the dataset's; no text is recoded, neither what stood there nor what
 * comes from a dataset in another one (withCharset of recode.ts does that). Retired group lengths (PS3.5 7.2) of the groups touched go, as they would be wrong.
 */
export function withElements(dataset: Dataset, changes: Iterable<Element>, removals: Iterable<number> = []): Dataset {
  const elements = new Map<number, Element>();
  for (const old of inTagOrder(dataset.elements)) elements.set(old.tag, old);
  const groups = new Set<number>();
  const touch = (tag: number): void => {
    if ((tag & 0xffff) !== 0) groups.add((tag & 0xffff0000) >>> 0);
  };
  for (const tag of removals) {
    if (elements.delete(tag >>> 0)) touch(tag);
  }
  let charset = dataset.charset;
  if (dataset.elements.has(TAG.SpecificCharacterSet) && !elements.has(TAG.SpecificCharacterSet)) charset = [];
  for (const changed of changes) {
    elements.set(changed.tag, adopt(dataset, changed));
    touch(changed.tag);
    if (changed.tag === TAG.SpecificCharacterSet) charset = charsetTerms(changed.value);
  }
  for (const group of groups) elements.delete(group);
  const { littleEndian, explicitVr } = dataset;
  const ordered = new Map<number, Element>();
  for (const one of inTagOrder(elements)) ordered.set(one.tag, one);
  return { elements: ordered, littleEndian, explicitVr, charset };
}

/**
 * A file around a dataset: zero preamble and fresh meta (PS3.10 7.1). The dataset is written in the byte
 * order and VR form of the syntax, whatever its own; pixels are not compressed or decompressed.
 */
export function makeFile(options: {
  transferSyntaxUid: string;
  dataset: Dataset;
  sopClassUid: string;
  sopInstanceUid: string;
  implementationClassUid?: string;
  implementationVersionName?: string;
}): DicomFile {
  const { transferSyntaxUid, dataset } = options;
  const meta = withElements(newDataset(), [
    element(TAG.FileMetaInformationVersion, 'OB', Uint8Array.of(0, 1)),
    element(TAG.MediaStorageSOPClassUID, 'UI', options.sopClassUid),
    element(TAG.MediaStorageSOPInstanceUID, 'UI', options.sopInstanceUid),
    element(TAG.TransferSyntaxUID, 'UI', transferSyntaxUid),
    element(TAG.ImplementationClassUID, 'UI', options.implementationClassUid ?? IMPLEMENTATION_CLASS_UID),
    element(TAG.ImplementationVersionName, 'SH', options.implementationVersionName ?? IMPLEMENTATION_VERSION_NAME),
  ]);
  if (transferSyntaxOf(transferSyntaxUid) === undefined) {
    throw new DicomError('UNSUPPORTED_SYNTAX', 'not a standard transfer syntax');
  }
  const length = new Sink();
  writeDataset(length, meta, EXPLICIT, []);
  const groupLength = element(TAG.FileMetaInformationGroupLength, 'UL', length.length);
  return {
    preamble: new Uint8Array(128),
    meta: { ...meta, elements: new Map([[groupLength.tag, groupLength], ...meta.elements]) },
    dataset,
    transferSyntaxUid,
  };
}
