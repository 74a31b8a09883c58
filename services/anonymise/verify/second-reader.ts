// Reads a DICOM file with dicom-parser, which shares no code with our writer, into a flat list of
// elements: what the verifier sees is what somebody else's software would see.
import { inflateRawSync } from 'node:zlib';
import dicomParser from 'dicom-parser';
import type { DataSet, Element as ParsedElement } from 'dicom-parser';
import { vrOf } from '../../dicom/dictionary.ts';

export interface SeenElement {
  tag: number;
  /** Tags from the top, such as (0008,1140)[0](0008,1155). */
  path: string;
  /** As the file says it; of the dictionary where it does not; UN when nobody knows. */
  vr: string;
  value: Uint8Array;
  /** Encapsulated pixel data without the offset table. */
  fragments: readonly Uint8Array[] | undefined;
  isSequence: boolean;
  depth: number;
  /** Private creator of the element's block in its own dataset. */
  creator: string | undefined;
}

export interface SeenFile {
  elements: readonly SeenElement[];
  /** Everything but the values of PixelData at the top level, inflated when deflated. */
  withoutPixels: readonly Uint8Array[];
  preamble: Uint8Array;
}

const PIXEL_DATA = 0x7fe00010;

/** Reads a Part 10 file. Throws whatever dicom-parser throws: the caller holds the file. */
export const seeFile = (bytes: Uint8Array): SeenFile => {
  // Of a deflated file dicom-parser reads the dataset from the inflated bytes, the meta from the others.
  let metaEnd = 0;
  const dataSet = dicomParser.parseDicom(bytes, {
    vrCallback: (tag: string) => vrOf(tagNumber(tag)),
    inflater: (array: Uint8Array, position: number) => {
      metaEnd = position;
      return inflateRawSync(array.subarray(position), { maxOutputLength: 512 * 1024 * 1024 });
    },
  });
  if (dataSet.warnings.length > 0) throw new Error('dicom-parser warns of the structure');
  const all = asBytes(dataSet.byteArray);
  const elements: SeenElement[] = [];
  walk(dataSet, (tag) => (tag >>> 16 === 2 ? bytes : all), '', 0, elements);
  return { elements, withoutPixels: [bytes.subarray(0, metaEnd), ...outside(dataSet, all)], preamble: bytes.subarray(0, 128) };
};

const asBytes = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);

const tagNumber = (tag: string): number => Number.parseInt(tag.slice(1), 16);

const paths = new Map<string, string>();

const pathOf = (tag: string): string => {
  const known = paths.get(tag);
  if (known !== undefined) return known;
  const path = `(${tag.slice(1, 5)},${tag.slice(5)})`.toUpperCase();
  // Standard tags come again and again; of others there may be any number.
  if (paths.size < 10_000) paths.set(tag, path);
  return path;
};

/** Bytes that an element's offset counts in. */
type BytesOf = (tag: number) => Uint8Array;

const walk = (dataSet: DataSet, all: BytesOf, prefix: string, depth: number, into: SeenElement[]): void => {
  for (const parsed of Object.values(dataSet.elements)) {
    const tag = tagNumber(parsed.tag);
    // dicom-parser lists delimiters of undefined-length items as elements.
    if (tag >>> 16 === 0xfffe) continue;
    const path = prefix + pathOf(parsed.tag);
    into.push(seen(parsed, dataSet, all, tag, path, depth));
    parsed.items?.forEach((item, i) => {
      if (item.dataSet !== undefined) walk(item.dataSet, all, `${path}[${i}]`, depth + 1, into);
    });
  }
};

const seen = (parsed: ParsedElement, dataSet: DataSet, bytesOf: BytesOf, tag: number, path: string, depth: number): SeenElement => {
  const isSequence = parsed.items !== undefined;
  const all = bytesOf(tag);
  const isEmpty = isSequence || parsed.fragments !== undefined;
  return {
    tag,
    path,
    vr: parsed.vr ?? vrOf(tag) ?? 'UN',
    value: isEmpty ? new Uint8Array(0) : all.subarray(parsed.dataOffset, parsed.dataOffset + parsed.length),
    fragments: parsed.fragments?.map((fragment) => all.subarray(fragment.position, fragment.position + fragment.length)),
    isSequence,
    depth,
    creator: creatorOf(tag, dataSet),
  };
};

const creatorOf = (tag: number, dataSet: DataSet): string | undefined => {
  if (((tag >>> 16) & 1) === 0 || (tag & 0xffff) <= 0xff) return undefined;
  const creatorTag = ((tag & 0xffff0000) | ((tag >>> 8) & 0xff)) >>> 0;
  return dataSet.string(`x${creatorTag.toString(16).padStart(8, '0')}`);
};

const outside = (dataSet: DataSet, all: Uint8Array): Uint8Array[] => {
  const pixels = dataSet.elements[`x${PIXEL_DATA.toString(16)}`];
  if (pixels === undefined) return [all];
  return [all.subarray(0, pixels.dataOffset), all.subarray(pixels.dataOffset + pixels.length)];
};
