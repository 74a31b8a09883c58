// The transfer syntaxes of PS3.6 Table A-1 and what each means for reading, writing and loss (PS3.5 Annex A).

export interface TransferSyntax {
  readonly uid: string;
  readonly name: string;
  readonly explicit: boolean;
  readonly littleEndian: boolean;
  /** Pixel data in fragments (PS3.5 A.4). */
  readonly encapsulated: boolean;
  /** The dataset is one raw deflate stream (PS3.5 A.5). */
  readonly deflated: boolean;
  /** 'maybe': the syntax allows both; only the codestream or LossyImageCompression tells. */
  readonly lossy: boolean | 'maybe';
}

export const IMPLICIT_LE = '1.2.840.10008.1.2';
export const EXPLICIT_LE = '1.2.840.10008.1.2.1';
export const DEFLATED_LE = '1.2.840.10008.1.2.1.99';
export const EXPLICIT_BE = '1.2.840.10008.1.2.2';
export const JPEG_BASELINE = '1.2.840.10008.1.2.4.50';
export const JPEG_EXTENDED = '1.2.840.10008.1.2.4.51';
export const JPEG_LOSSLESS = '1.2.840.10008.1.2.4.57';
export const JPEG_LOSSLESS_SV1 = '1.2.840.10008.1.2.4.70';
export const JPEG_LS_LOSSLESS = '1.2.840.10008.1.2.4.80';
export const JPEG_LS_NEAR_LOSSLESS = '1.2.840.10008.1.2.4.81';
export const JPEG_2000_LOSSLESS = '1.2.840.10008.1.2.4.90';
export const JPEG_2000 = '1.2.840.10008.1.2.4.91';
export const RLE_LOSSLESS = '1.2.840.10008.1.2.5';

type Loss = TransferSyntax['lossy'];

const native = (
  uid: string,
  name: string,
  form: { explicit?: boolean; littleEndian?: boolean; deflated?: boolean; lossy?: Loss } = {},
): TransferSyntax => ({
  uid,
  name,
  explicit: form.explicit ?? true,
  littleEndian: form.littleEndian ?? true,
  encapsulated: false,
  deflated: form.deflated ?? false,
  lossy: form.lossy ?? false,
});

const encapsulated = (suffix: string, name: string, lossy: Loss): TransferSyntax => ({
  ...native(`1.2.840.10008.1.2.${suffix}`, name),
  encapsulated: true,
  lossy,
});

const TABLE: readonly TransferSyntax[] = [
  native(IMPLICIT_LE, 'Implicit VR Little Endian', { explicit: false }),
  native(EXPLICIT_LE, 'Explicit VR Little Endian'),
  native(DEFLATED_LE, 'Deflated Explicit VR Little Endian', { deflated: true }),
  native(EXPLICIT_BE, 'Explicit VR Big Endian', { littleEndian: false }),
  native('1.2.840.10008.1.20', 'Papyrus 3 Implicit VR Little Endian', { explicit: false }),
  // Pixels stand elsewhere, so what was lost there can't be seen here.
  native('1.2.840.10008.1.2.4.94', 'JPIP Referenced', { lossy: 'maybe' }),
  native('1.2.840.10008.1.2.4.95', 'JPIP Referenced Deflate', { deflated: true, lossy: 'maybe' }),
  native('1.2.840.10008.1.2.4.204', 'JPIP HTJ2K Referenced', { lossy: 'maybe' }),
  native('1.2.840.10008.1.2.4.205', 'JPIP HTJ2K Referenced Deflate', { deflated: true, lossy: 'maybe' }),
  native('1.2.840.10008.1.2.7.1', 'SMPTE ST 2110-20 Uncompressed Progressive Active Video'),
  native('1.2.840.10008.1.2.7.2', 'SMPTE ST 2110-20 Uncompressed Interlaced Active Video'),
  native('1.2.840.10008.1.2.7.3', 'SMPTE ST 2110-30 PCM Digital Audio'),
  encapsulated('1.98', 'Encapsulated Uncompressed Explicit VR Little Endian', false),
  encapsulated('8.1', 'Deflated Image Frame Compression', false),
  encapsulated('5', 'RLE Lossless', false),
  encapsulated('4.50', 'JPEG Baseline (Process 1)', true),
  encapsulated('4.51', 'JPEG Extended (Process 2 and 4)', true),
  encapsulated('4.52', 'JPEG Extended (Process 3 and 5)', true),
  encapsulated('4.53', 'JPEG Spectral Selection, Non-Hierarchical (Process 6 and 8)', true),
  encapsulated('4.54', 'JPEG Spectral Selection, Non-Hierarchical (Process 7 and 9)', true),
  encapsulated('4.55', 'JPEG Full Progression, Non-Hierarchical (Process 10 and 12)', true),
  encapsulated('4.56', 'JPEG Full Progression, Non-Hierarchical (Process 11 and 13)', true),
  encapsulated('4.57', 'JPEG Lossless, Non-Hierarchical (Process 14)', false),
  encapsulated('4.58', 'JPEG Lossless, Non-Hierarchical (Process 15)', false),
  encapsulated('4.59', 'JPEG Extended, Hierarchical (Process 16 and 18)', true),
  encapsulated('4.60', 'JPEG Extended, Hierarchical (Process 17 and 19)', true),
  encapsulated('4.61', 'JPEG Spectral Selection, Hierarchical (Process 20 and 22)', true),
  encapsulated('4.62', 'JPEG Spectral Selection, Hierarchical (Process 21 and 23)', true),
  encapsulated('4.63', 'JPEG Full Progression, Hierarchical (Process 24 and 26)', true),
  encapsulated('4.64', 'JPEG Full Progression, Hierarchical (Process 25 and 27)', true),
  encapsulated('4.65', 'JPEG Lossless, Hierarchical (Process 28)', false),
  encapsulated('4.66', 'JPEG Lossless, Hierarchical (Process 29)', false),
  encapsulated('4.70', 'JPEG Lossless, First-Order Prediction (Process 14, Selection Value 1)', false),
  encapsulated('4.80', 'JPEG-LS Lossless', false),
  encapsulated('4.81', 'JPEG-LS Near-Lossless', true),
  encapsulated('4.90', 'JPEG 2000 (Lossless Only)', false),
  encapsulated('4.91', 'JPEG 2000', 'maybe'),
  encapsulated('4.92', 'JPEG 2000 Part 2 Multi-component (Lossless Only)', false),
  encapsulated('4.93', 'JPEG 2000 Part 2 Multi-component', 'maybe'),
  encapsulated('4.100', 'MPEG2 Main Profile / Main Level', true),
  encapsulated('4.100.1', 'Fragmentable MPEG2 Main Profile / Main Level', true),
  encapsulated('4.101', 'MPEG2 Main Profile / High Level', true),
  encapsulated('4.101.1', 'Fragmentable MPEG2 Main Profile / High Level', true),
  encapsulated('4.102', 'MPEG-4 AVC/H.264 High Profile / Level 4.1', true),
  encapsulated('4.102.1', 'Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1', true),
  encapsulated('4.103', 'MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1', true),
  encapsulated('4.103.1', 'Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1', true),
  encapsulated('4.104', 'MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video', true),
  encapsulated('4.104.1', 'Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video', true),
  encapsulated('4.105', 'MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video', true),
  encapsulated('4.105.1', 'Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video', true),
  encapsulated('4.106', 'MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2', true),
  encapsulated('4.106.1', 'Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2', true),
  encapsulated('4.107', 'HEVC/H.265 Main Profile / Level 5.1', true),
  encapsulated('4.108', 'HEVC/H.265 Main 10 Profile / Level 5.1', true),
  encapsulated('4.110', 'JPEG XL Lossless', false),
  encapsulated('4.111', 'JPEG XL JPEG Recompression', true),
  encapsulated('4.112', 'JPEG XL', 'maybe'),
  encapsulated('4.201', 'High-Throughput JPEG 2000 (Lossless Only)', false),
  encapsulated('4.202', 'High-Throughput JPEG 2000 with RPCL Options (Lossless Only)', false),
  encapsulated('4.203', 'High-Throughput JPEG 2000', 'maybe'),
];

const BY_UID: ReadonlyMap<string, TransferSyntax> = new Map(TABLE.map((syntax) => [syntax.uid, syntax]));

/** The syntax of a UID, `undefined` when it is not a standard one that carries a dataset. */
export function transferSyntaxOf(uid: string): TransferSyntax | undefined {
  return BY_UID.get(uid);
}

/** All known syntaxes, in the order of the table. */
export const TRANSFER_SYNTAXES: readonly TransferSyntax[] = TABLE;
