// What the HTTP API may refuse, each with its status.
const STATUS = {
  UNAUTHENTICATED: 401,
  NO_SUCH_TASK: 404,
  LEASE_LOST: 409,
  TASK_CANCELLED: 409,
  WRONG_VOLUME: 409,
  ALREADY_READ: 409,
  SUBJECT_WITHDRAWN: 410,
  TOO_MANY_LEASES: 429,
} as const;

export type ProblemCode = keyof typeof STATUS;

/** A refusal of the API: told to the reader as {error, message}. */
export class ApiProblem extends Error {
  readonly code: ProblemCode;
  readonly status: number;

  constructor(code: ProblemCode, message: string) {
    super(message);
    this.name = 'ApiProblem';
    this.code = code;
    this.status = STATUS[code];
  }
}
