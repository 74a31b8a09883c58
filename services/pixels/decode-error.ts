// The one error of pixel decoding: a code of the closed table and a text without any of the file's values.

export type DecodeCode = 'NO_PIXELS' | 'UNSUPPORTED_SYNTAX' | 'BAD_PIXELS' | 'LOSSY';

/** Thrown when an instance's pixels cannot be had; the study's own fault, never retryable. */
export class DecodeError extends Error {
  readonly code: DecodeCode;

  constructor(code: DecodeCode, message: string) {
    super(message);
    this.name = 'DecodeError';
    this.code = code;
  }
}
