// A fault is ours or a dependency's, not the study's: the loop retries it, then parks it as a dead letter.
import type { Code } from './codes.ts';

export class Fault extends Error {
  readonly code: Code;
  /** False when trying again can't help: straight to the dead letters. */
  readonly retryable: boolean;

  /** @param detail what failed, for the log: never a patient's value. */
  constructor(code: Code, retryable: boolean, detail: string, options?: ErrorOptions) {
    super(`${code}: ${detail}`, options);
    this.name = 'Fault';
    this.code = code;
    this.retryable = retryable;
  }
}
