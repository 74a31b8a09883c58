// Why a version can't be built or approved. For operators; studies' codes are the kernel's.
export type ReleaseCode =
  | 'BAD_VERSION'
  | 'NO_STUDIES'
  | 'INCOMPLETE_LOG'
  | 'CUT_NOT_REACHED'
  | 'VOLUME_MISSING'
  | 'GATE_FAILED'
  | 'NO_CANDIDATE'
  | 'CANDIDATE_CHANGED'
  | 'NEEDS_TWO_APPROVERS'
  | 'ALREADY_RELEASED'
  | 'SUBJECT_WITHDRAWN';

export class ReleaseError extends Error {
  readonly code: ReleaseCode;

  constructor(code: ReleaseCode, detail: string) {
    super(`${code}: ${detail}`);
    this.name = 'ReleaseError';
    this.code = code;
  }
}
