// A fault is ours or a dependency's, not the study's: the loop retries it, then parks it as a dead letter.
import type { Code } from './codes.ts';

export interface FaultOptions extends ErrorOptions {
  /**
   * Nothing was tried: the record waited for its turn, and makes room for others. It comes again at once, behind those that wait
   * already, and has lost no try. Only after a wait of minutes: else it would go round and round.
   */
  readonly onlyWaited?: boolean;
}

export class Fault extends Error {
  readonly code: Code;
  /** False when trying again can't help: straight to the dead letters. */
  readonly retryable: boolean;
  readonly onlyWaited: boolean;

  /** @param detail what failed, for the log: never a patient's value. */
  constructor(code: Code, retryable: boolean, detail: string, options?: FaultOptions) {
    super(`${code}: ${detail}`, options);
    this.name = 'Fault';
    this.code = code;
    this.retryable = retryable;
    this.onlyWaited = options?.onlyWaited ?? false;
  }
}

/** Code of an error: a fault's own, UNEXPECTED for what nobody foresaw. */
export function faultOf(error: unknown): Fault {
  return error instanceof Fault ? error : new Fault('UNEXPECTED', true, 'an unforeseen error', { cause: error });
}
