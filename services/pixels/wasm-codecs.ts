// JPEG-LS, JPEG 2000 and 8-bit JPEG by cornerstone's WASM builds, from the packages' own CommonJS files. Each is loaded
// when its first frame comes: that takes some 20 ms of a thread, and most studies need none.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { DecodeError } from './decode-error.ts';
import { refuseOtherSize } from './stated-size.ts';

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
type Exports = object;
/** What Emscripten lets its caller do; the decoders appear in this very object. */
type WasmOptions = WasmModule & {
  print(): void;
  printErr(): void;
  instantiateWasm(imports: object, receive: (instance: { exports: Exports }) => void): Exports;
};
type WasmFactory = (options: WasmOptions) => Promise<WasmModule>;

// The part of WebAssembly's interface that is used: the compiler's library without DOM does not have it.
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: object) => { exports: Exports };
};

const PACKAGES = {
  JpegLSDecoder: '@cornerstonejs/codec-charls',
  J2KDecoder: '@cornerstonejs/codec-openjpeg',
  JPEGDecoder: '@cornerstonejs/codec-libjpeg-turbo-8bit',
} as const satisfies Record<DecoderName, string>;

const requireHere = createRequire(import.meta.url);
const loaded = new Map<DecoderName, WasmModule>();

/** The codec, at once: a survey does not wait in the midst of a file. */
const codecOf = (name: DecoderName): WasmModule => {
  const known = loaded.get(name);
  if (known !== undefined) return known;
  const factory = requireHere(`${PACKAGES[name]}/decodewasmjs`) as WasmFactory;
  const bytes = readFileSync(requireHere.resolve(`${PACKAGES[name]}/decodewasm`));
  // OpenJPEG talks on stdout, which belongs to the commands' JSON; errors come as exceptions or bad frames.
  const quiet = (): void => undefined;
  const module: WasmOptions = {
    print: quiet,
    printErr: quiet,
    instantiateWasm: (imports, receive) => {
      const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), imports);
      receive(instance);
      return instance.exports;
    },
  };
  // With an instance given at once nothing is left to wait for; a build where that is not so fails at its first frame.
  void factory(module);
  loaded.set(name, module);
  return module;
};

export type DecodedFrame = {
  /** Words as the stream gives them: two's complement at `precision` bits when the stream is signed. */
  readonly words: Uint8Array | Uint16Array;
  readonly precision: number;
  readonly lossy: boolean;
};

/** wasmFrameNow for callers that wait. */
export const wasmFrame = async (name: DecoderName, stream: Uint8Array, rows: number, columns: number): Promise<DecodedFrame> =>
  await Promise.resolve(wasmFrameNow(name, stream, rows, columns));

/** Decodes one frame of `rows` x `columns`. Throws BAD_PIXELS when it does not decode or has another size. */
export const wasmFrameNow = (name: DecoderName, stream: Uint8Array, rows: number, columns: number): DecodedFrame => {
  refuseOtherSize(stream, rows, columns);
  const Codec = codecOf(name)[name];
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
