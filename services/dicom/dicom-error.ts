// The one error of services/dicom: a code, the tag and the offset; never a value, so it can be logged.

export type DicomErrorCode =
  | 'NOT_DICOM' // neither a Part 10 file nor a bare dataset
  | 'TRUNCATED' // the bytes end inside an element, item or deflate stream
  | 'BAD_ELEMENT' // structure that no reading of PS3.5 allows
  | 'DUPLICATE_ELEMENT' // one tag twice in a dataset (PS3.5 7.1): one of them would be hidden
  | 'LIMIT_EXCEEDED' // deeper, longer or more than ReadLimits allow
  | 'UNSUPPORTED_SYNTAX' // a transfer syntax that is not in the table
  | 'BAD_DEFLATE' // the deflated dataset does not inflate
  | 'INCONSISTENT_META' // file meta and file disagree about the transfer syntax
  | 'UNKNOWN_CHARSET' // Specific Character Set holds an unknown term (strict decoding only)
  | 'BAD_TEXT' // bytes that the declared character set does not have (strict decoding only)
  | 'UNENCODABLE_TEXT' // a character that the declared character set can't write
  | 'BAD_VALUE' // a value that the VR can't hold
  | 'UNKNOWN_KEYWORD'; // no attribute of that keyword

/** Refusal of a file, element or value. `tag` is unsigned 0xGGGGEEEE, `offset` counts bytes from the start of the (inflated) input. */
export class DicomError extends Error {
  readonly code: DicomErrorCode;
  readonly tag: number | undefined;
  readonly offset: number | undefined;

  constructor(code: DicomErrorCode, detail: string, where: { tag?: number; offset?: number } = {}) {
    const tag = where.tag === undefined ? '' : ` at ${formatTag(where.tag)}`;
    const offset = where.offset === undefined ? '' : `, byte ${where.offset}`;
    super(`${code}: ${detail}${tag}${offset}`);
    this.name = 'DicomError';
    this.code = code;
    this.tag = where.tag;
    this.offset = where.offset;
  }
}

/** `(0008,0018)`: the usual spelling of a tag, in upper-case hexadecimal. */
export function formatTag(tag: number): string {
  const hex = (tag >>> 0).toString(16).toUpperCase().padStart(8, '0');
  return `(${hex.slice(0, 4)},${hex.slice(4)})`;
}
