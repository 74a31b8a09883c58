// NIfTI-1 single files (nifti1.h): sform = qform, one volume, little endian; and a small reader for checks.
import { createHash, createHmac } from 'node:crypto';
import { createGzip, gunzipSync } from 'node:zlib';
import type { Volume } from './volume.ts';

const HEADER_BYTES = 348;
const DATA_OFFSET = 352;
const DT_INT16 = 4;
const DT_FLOAT32 = 16;
const NIFTI_UNITS_MM = 2;
const XFORM_SCANNER_ANAT = 1;
const MAGIC = 'n+1\0';

interface Quaternion {
  readonly b: number;
  readonly c: number;
  readonly d: number;
  /** -1 where the axes are left-handed: then the third one is reversed. */
  readonly qfac: number;
}

/** Unit quaternion of the affine's directions, as nifti1.h METHOD 2 reads it back (a >= 0). */
function quaternionOf(affine: readonly number[], spacing: readonly number[]): Quaternion {
  const at = (row: number, column: number): number => (affine[row * 4 + column] as number) / (spacing[column] as number);
  const m = [0, 1, 2].map((row) => [at(row, 0), at(row, 1), at(row, 2)]) as number[][];
  const g = (row: number, column: number): number => m[row]?.[column] as number;
  const determinant =
    g(0, 0) * (g(1, 1) * g(2, 2) - g(1, 2) * g(2, 1)) -
    g(0, 1) * (g(1, 0) * g(2, 2) - g(1, 2) * g(2, 0)) +
    g(0, 2) * (g(1, 0) * g(2, 1) - g(1, 1) * g(2, 0));
  const qfac = determinant < 0 ? -1 : 1;
  const r = (row: number, column: number): number => g(row, column) * (column === 2 ? qfac : 1);
  const squares = [
    1 + r(0, 0) + r(1, 1) + r(2, 2),
    1 + r(0, 0) - r(1, 1) - r(2, 2),
    1 - r(0, 0) + r(1, 1) - r(2, 2),
    1 - r(0, 0) - r(1, 1) + r(2, 2),
  ];
  const largest = squares.indexOf(Math.max(...squares));
  const s = 2 * Math.sqrt(squares[largest] as number);
  const table: readonly (readonly [number, number, number, number])[] = [
    [s / 4, (r(2, 1) - r(1, 2)) / s, (r(0, 2) - r(2, 0)) / s, (r(1, 0) - r(0, 1)) / s],
    [(r(2, 1) - r(1, 2)) / s, s / 4, (r(0, 1) + r(1, 0)) / s, (r(0, 2) + r(2, 0)) / s],
    [(r(0, 2) - r(2, 0)) / s, (r(0, 1) + r(1, 0)) / s, s / 4, (r(1, 2) + r(2, 1)) / s],
    [(r(1, 0) - r(0, 1)) / s, (r(0, 2) + r(2, 0)) / s, (r(1, 2) + r(2, 1)) / s, s / 4],
  ];
  const [a, b, c, d] = table[largest] as readonly [number, number, number, number];
  const sign = a < 0 ? -1 : 1;
  return { b: b * sign + 0, c: c * sign + 0, d: d * sign + 0, qfac };
}

/** The 352 bytes before the voxels. No clock, no description: equal volumes give equal bytes. */
export function niftiHeader(volume: Volume): Uint8Array {
  const bytes = new Uint8Array(DATA_OFFSET);
  const view = new DataView(bytes.buffer);
  const isInt = volume.data instanceof Int16Array;
  view.setInt32(0, HEADER_BYTES, true);
  [3, ...volume.shape, 1, 1, 1, 1].forEach((value, at) => view.setInt16(40 + at * 2, value, true));
  view.setInt16(70, isInt ? DT_INT16 : DT_FLOAT32, true);
  view.setInt16(72, isInt ? 16 : 32, true);
  const quaternion = quaternionOf(volume.affine, volume.spacingMm);
  [quaternion.qfac, ...volume.spacingMm].forEach((value, at) => view.setFloat32(76 + at * 4, value, true));
  view.setFloat32(108, DATA_OFFSET, true);
  view.setFloat32(112, 1, true);
  view.setFloat32(116, 0, true);
  view.setUint8(123, NIFTI_UNITS_MM);
  view.setInt16(252, XFORM_SCANNER_ANAT, true);
  view.setInt16(254, XFORM_SCANNER_ANAT, true);
  const offsets = [3, 7, 11].map((at) => volume.affine[at] as number);
  [quaternion.b, quaternion.c, quaternion.d, ...offsets].forEach((value, at) => view.setFloat32(256 + at * 4, value, true));
  volume.affine.slice(0, 12).forEach((value, at) => view.setFloat32(280 + at * 4, value, true));
  for (let at = 0; at < MAGIC.length; at++) bytes[344 + at] = MAGIC.charCodeAt(at);
  return bytes;
}

/** Header, then the voxels slice by slice, little endian. */
export function* niftiChunks(volume: Volume): Generator<Uint8Array> {
  yield niftiHeader(volume);
  const size = volume.shape[0] * volume.shape[1];
  for (let slice = 0; slice < volume.shape[2]; slice++) {
    const part = volume.data.subarray(slice * size, (slice + 1) * size);
    yield littleEndian(part);
  }
}

function littleEndian(part: Int16Array | Float32Array): Uint8Array {
  const bytes = new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] === 1) return bytes;
  const copy = Buffer.from(bytes);
  return part instanceof Int16Array ? copy.swap16() : copy.swap32();
}

/** SHA-256 (hex) of the uncompressed file: the same on any machine, whatever its zlib does. */
export function niftiSha256(volume: Volume): string {
  const hash = createHash('sha256');
  for (const chunk of niftiChunks(volume)) hash.update(chunk);
  return hash.digest('hex');
}

/** HMAC-SHA-256 (hex) of the uncompressed file under a salt (hex): a name of the volume that only who knows the salt can check. */
export function niftiDigest(volume: Volume, saltHex: string): string {
  const mac = createHmac('sha256', Buffer.from(saltHex, 'hex'));
  for (const chunk of niftiChunks(volume)) mac.update(chunk);
  return mac.digest('hex');
}

const GZIP_LEVEL = 6;
const GZIP_OS_AT = 9;
const GZIP_OS_UNKNOWN = 255;

/** The file as a gzip stream: no name, no time, operating system 'unknown' (RFC 1952). */
export async function* niftiGzip(volume: Volume): AsyncGenerator<Uint8Array> {
  const gzip = createGzip({ level: GZIP_LEVEL });
  const feed = (async () => {
    for (const chunk of niftiChunks(volume)) {
      if (!gzip.write(chunk)) await new Promise<void>((resolve) => gzip.once('drain', resolve));
    }
    gzip.end();
  })();
  let seen = 0;
  try {
    for await (const chunk of gzip as AsyncIterable<Buffer>) {
      const at = GZIP_OS_AT - seen;
      if (at >= 0 && at < chunk.length) chunk[at] = GZIP_OS_UNKNOWN;
      seen += chunk.length;
      yield chunk;
    }
    await feed;
  } finally {
    gzip.destroy();
  }
}

export interface NiftiImage {
  readonly shape: readonly number[];
  readonly spacingMm: readonly number[];
  /** sform, 16 numbers, row-major. */
  readonly affine: readonly number[];
  readonly sformCode: number;
  readonly qformCode: number;
  readonly quaternion: readonly [number, number, number];
  readonly qfac: number;
  /** Voxels with scl_slope and scl_inter applied. */
  readonly data: Int16Array | Float32Array;
}

/** Reads a little-endian single-file NIfTI-1 of int16 or float32, gzipped or not. Throws Error on any other. */
export function readNifti(file: Uint8Array): NiftiImage {
  const bytes = file[0] === 0x1f && file[1] === 0x8b ? gunzipSync(file) : file;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getInt32(0, true) !== HEADER_BYTES) throw new Error('no little-endian NIfTI-1 header');
  const floats = (at: number, count: number): number[] => Array.from({ length: count }, (_, n) => view.getFloat32(at + n * 4, true));
  const shape = Array.from({ length: view.getInt16(40, true) }, (_, n) => view.getInt16(42 + n * 2, true));
  const type = view.getInt16(70, true);
  if (type !== DT_INT16 && type !== DT_FLOAT32) throw new Error(`datatype ${type} is neither int16 nor float32`);
  const start = bytes.byteOffset + view.getFloat32(108, true);
  const [slope = 1, inter = 0] = floats(112, 2);
  const own = bytes.buffer.slice(start, start + shape.reduce((a, b) => a * b, 1) * (type === DT_INT16 ? 2 : 4));
  const data = type === DT_INT16 ? new Int16Array(own) : new Float32Array(own);
  if (slope !== 0 && (slope !== 1 || inter !== 0)) {
    for (let at = 0; at < data.length; at++) data[at] = (data[at] as number) * slope + inter;
  }
  const [b = 0, c = 0, d = 0] = floats(256, 3);
  return {
    shape,
    spacingMm: floats(80, 3),
    affine: [...floats(280, 12), 0, 0, 0, 1],
    sformCode: view.getInt16(254, true),
    qformCode: view.getInt16(252, true),
    quaternion: [b, c, d],
    qfac: view.getFloat32(76, true),
    data,
  };
}
