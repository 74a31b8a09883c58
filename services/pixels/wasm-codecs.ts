// JPEG-LS, JPEG 2000 and 8-bit JPEG by cornerstone's WASM builds, loaded once each, from the packages' own
// files (they are CommonJS and find their .wasm beside them).
import { createRequire } from 'node:module';
import { DecodeError } from './decode-error.ts';

type FrameInfo = {
  readonly width: number;
  readonly height: number;
  readonly bitsPerSample: number;
  readonly componentCount: number;
  readonly isSigned?: boolean;
};

type WasmDecoder = {
  getEncodedBuffer(length: number): Uint8Array;
  getDecodedBuffer(): Uint8Array;
  decode(): void;
  getFrameInfo(): FrameInfo;
  getNearLossless?(): number;
  getIsReversible?(): boolean;
  delete(): void;
};

type DecoderName = 'JpegLSDecoder' | 'J2KDecoder' | 'JPEGDecoder';
type WasmModule = { readonly [name in DecoderName]?: new () => WasmDecoder };
type WasmFactory = (options: { print: () => void; printErr: () => void }) => Promise<WasmModule>;

const PACKAGES = {
  JpegLSDecoder: '@cornerstonejs/codec-charls/decodewasmjs',
  J2KDecoder: '@cornerstonejs/codec-openjpeg/decodewasmjs',
  JPEGDecoder: '@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs',
} as const satisfies Record<DecoderName, string>;

const requireHere = createRequire(import.meta.url);
const loaded = new Map<DecoderName, Promise<WasmModule>>();
const ready = new Map<DecoderName, WasmModule>();

const load = (name: DecoderName): Promise<WasmModule> => {
  const known = loaded.get(name);
  if (known !== undefined) return known;
  const factory = requireHere(PACKAGES[name]) as WasmFactory;
  // OpenJPEG talks on stdout, which belongs to the commands' JSON; errors come as exceptions or bad frames.
  const quiet = (): void => undefined;
  const module = factory({ print: quiet, printErr: quiet }).then((one) => {
    ready.set(name, one);
    return one;
  });
  loaded.set(name, module);
  return module;
};

export type DecodedFrame = {
  /** Words as the stream gives them: two's complement at `precision` bits when the stream is signed. */
  readonly words: Uint8Array | Uint16Array;
  readonly precision: number;
  readonly lossy: boolean;
};

/** Decodes one frame of `rows` x `columns`. Throws BAD_PIXELS when it does not decode or has another size. */
export const wasmFrame = async (name: DecoderName, stream: Uint8Array, rows: number, columns: number): Promise<DecodedFrame> => {
  await load(name);
  return wasmFrameNow(name, stream, rows, columns);
};

/** Loads every codec, for callers of wasmFrameNow. */
export const loadCodecs = async (): Promise<void> => {
  await Promise.all((Object.keys(PACKAGES) as DecoderName[]).map(load));
};

/** wasmFrame for code that can't wait; the codecs have to be loaded. Throws as wasmFrame does. */
export const wasmFrameNow = (name: DecoderName, stream: Uint8Array, rows: number, columns: number): DecodedFrame => {
  const Codec = ready.get(name)?.[name];
  if (Codec === undefined) throw new Error(`${PACKAGES[name]} has no ${name}`);
  const decoder = new Codec();
  try {
    decoder.getEncodedBuffer(stream.length).set(stream);
    decoder.decode();
    const info = decoder.getFrameInfo();
    const bytes = decoder.getDecodedBuffer().slice();
    const size = info.bitsPerSample > 8 ? 2 : 1;
    if (info.width !== columns || info.height !== rows || info.componentCount !== 1 || info.bitsPerSample > 16) {
      throw new DecodeError('BAD_PIXELS', 'the compressed frame of PixelData does not fit Rows, Columns or one sample');
    }
    if (bytes.length < rows * columns * size) {
      throw new DecodeError('BAD_PIXELS', 'the compressed frame of PixelData decodes to too few pixels');
    }
    const words = size === 2 ? new Uint16Array(bytes.buffer, 0, rows * columns) : bytes.subarray(0, rows * columns);
    const lossy = name === 'JPEGDecoder' || (decoder.getNearLossless?.() ?? 0) > 0 || decoder.getIsReversible?.() === false;
    return { words, precision: info.bitsPerSample, lossy };
  } catch (error) {
    if (error instanceof DecodeError) throw error;
    throw new DecodeError('BAD_PIXELS', `the compressed frame of PixelData does not decode (${name})`);
  } finally {
    decoder.delete();
  }
};
