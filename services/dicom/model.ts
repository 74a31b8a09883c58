// What a DICOM file is to us: elements, datasets and files as plain readonly values.
// An element or dataset that was read remembers its original bytes in a private field, which a spread
// (`{ ...element, value }`) does not copy: what was changed can never be written back as it was.

export type Vr =
  | 'AE'
  | 'AS'
  | 'AT'
  | 'CS'
  | 'DA'
  | 'DS'
  | 'DT'
  | 'FD'
  | 'FL'
  | 'IS'
  | 'LO'
  | 'LT'
  | 'OB'
  | 'OD'
  | 'OF'
  | 'OL'
  | 'OV'
  | 'OW'
  | 'PN'
  | 'SH'
  | 'SL'
  | 'SQ'
  | 'SS'
  | 'ST'
  | 'SV'
  | 'TM'
  | 'UC'
  | 'UI'
  | 'UL'
  | 'UN'
  | 'UR'
  | 'US'
  | 'UT'
  | 'UV';

export interface Element {
  /** Unsigned 0xGGGGEEEE. */
  readonly tag: number;
  readonly vr: Vr;
  /** Value bytes as stored, in the dataset's byte order (UN always little endian); empty when `items` or `fragments` stand. */
  readonly value: Uint8Array;
  /** Items of a SQ, or of a UN that holds a sequence (implicit little endian inside, PS3.5 6.2.2 note 2). */
  readonly items?: readonly Dataset[] | undefined;
  /** Encapsulated pixel data (PS3.5 A.4); [0] is the Basic Offset Table. */
  readonly fragments?: readonly Uint8Array[] | undefined;
}

export interface Dataset {
  /** By tag, in file order. */
  readonly elements: ReadonlyMap<number, Element>;
  readonly littleEndian: boolean;
  readonly explicitVr: boolean;
  /** Defined terms of the effective Specific Character Set; items inherit it. [] is the default repertoire. */
  readonly charset: readonly string[];
}

export interface DicomFile {
  /** 128 bytes, or 0 when the file has none. */
  readonly preamble: Uint8Array;
  /** Group 0002; no elements when the file has none. */
  readonly meta: Dataset;
  readonly dataset: Dataset;
  readonly transferSyntaxUid: string;
}

/** Byte order and header form of a piece of a file (PS3.5 7.1). */
export interface Encoding {
  readonly littleEndian: boolean;
  readonly explicitVr: boolean;
}

/** Where in `bytes` something came from, and in which encoding. */
export interface Origin {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly encoding: Encoding;
}

/** Origin of a whole file's dataset: also what stood behind the last element, and the deflated form. */
export interface DatasetOrigin extends Origin {
  /** Declared syntax; the bytes are written verbatim only under the same one. */
  readonly transferSyntaxUid?: string;
  /** The bytes as they stood in the file, trailing bytes included, where they differ from start..end. */
  readonly stored?: Uint8Array;
}

export const NO_BYTES = new Uint8Array(0);
export const NO_ELEMENTS: ReadonlyMap<number, Element> = new Map();

/** An element as read. A class only for the private field: see the head of this file. */
export class ReadElement implements Element {
  readonly tag: number;
  readonly vr: Vr;
  readonly value: Uint8Array;
  readonly items: readonly Dataset[] | undefined;
  readonly fragments: readonly Uint8Array[] | undefined;
  readonly #origin: Origin;
  #text: { charset: readonly string[]; text: string | undefined } | undefined;

  constructor(
    tag: number,
    vr: Vr,
    value: Uint8Array,
    items: readonly Dataset[] | undefined,
    fragments: readonly Uint8Array[] | undefined,
    origin: Origin,
  ) {
    this.tag = tag;
    this.vr = vr;
    this.value = value;
    this.items = items;
    this.fragments = fragments;
    this.#origin = origin;
  }

  static originOf(element: Element): Origin | undefined {
    return element instanceof ReadElement ? element.#origin : undefined;
  }

  /** What `make` gives, made once per character set: elements are asked again and again, also of later files. */
  static textOf(
    element: Element,
    charset: readonly string[],
    make: (element: Element, charset: readonly string[]) => string | undefined,
  ): string | undefined {
    if (!(element instanceof ReadElement)) return make(element, charset);
    if (element.#text?.charset !== charset) element.#text = { charset, text: make(element, charset) };
    return element.#text.text;
  }
}

/** A dataset or item as read; the private field as in ReadElement. */
export class ReadDataset implements Dataset {
  readonly elements: ReadonlyMap<number, Element>;
  readonly littleEndian: boolean;
  readonly explicitVr: boolean;
  readonly charset: readonly string[];
  readonly #origin: DatasetOrigin;

  constructor(elements: ReadonlyMap<number, Element>, charset: readonly string[], origin: DatasetOrigin) {
    this.elements = elements;
    this.littleEndian = origin.encoding.littleEndian;
    this.explicitVr = origin.encoding.explicitVr;
    this.charset = charset;
    this.#origin = origin;
  }

  static originOf(dataset: Dataset): DatasetOrigin | undefined {
    return dataset instanceof ReadDataset ? dataset.#origin : undefined;
  }
}
