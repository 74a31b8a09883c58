// An instance or study that must not cross the boundary: a code and where, never a value.
import type { Code } from '../kernel/codes.ts';

export class Refusal extends Error {
  override name = 'Refusal';
  readonly code: Code;

  /** @param detail tag or count, never a patient's value. */
  constructor(code: Code, detail: string) {
    super(`${code}: ${detail}`);
    this.code = code;
  }
}
